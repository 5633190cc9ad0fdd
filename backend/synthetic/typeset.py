"""Words into lines and paragraphs: wrapping, justifying, and reading order from right to left."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import Literal

from backend.synthetic import lettering
from backend.synthetic.lettering import Coverage, Font
from backend.synthetic.sheet import BLACK, MM_PER_POINT, Density, Rect, Sheet

__all__ = ["Align", "Type", "line_width", "set_line", "set_paragraph"]

Align = Literal["start", "end", "centre", "justify"]
_SPACE = 0.27


@dataclass(frozen=True, kw_only=True)
class Type:
    """How text is set.

    Attributes:
        font: The typeface.
        points: Size in points.
        density: The print's optical density.
        rtl: Lines run from right to left.
        leading: Distance of baselines, in sizes.
        underline: A rule under the words.
    """

    font: Font
    points: float
    density: Density = BLACK
    rtl: bool = False
    leading: float = 1.35
    underline: bool = False

    @property
    def pitch(self) -> float:
        """Distance of two baselines in mm."""
        return self.points * MM_PER_POINT * self.leading

    def pixels(self, sheet: Sheet) -> float:
        return self.points * MM_PER_POINT * sheet.scale


@lru_cache(maxsize=20_000)
def _word(text: str, font: Font, size: float) -> tuple[Coverage, int, float]:
    """Coverage, the column in it where the word starts, and its advance, all in pixels."""
    coverage = lettering.render(text, font, size)
    advance = lettering.width_of(text, font, size)
    return coverage, math.floor((coverage.shape[1] - advance) / 2), advance


def _in_visual_order(words: Sequence[str], *, rtl: bool) -> list[str]:
    """Words from left to right: runs against the line's direction keep their own order."""
    runs = [
        (leftwards, list(run)) for leftwards, run in groupby(words, key=lambda word: _runs_right_to_left(word, rtl))
    ]
    return [word for leftwards, run in (runs[::-1] if rtl else runs) for word in (run[::-1] if leftwards else run)]


def _runs_right_to_left(word: str, otherwise: bool) -> bool:
    if lettering.is_arabic(word):
        return True
    return otherwise and not any(character.isascii() and character.isalpha() for character in word)


def _printed(word: str, *, rtl: bool) -> str:
    """A word without Arabic letters ending a sentence: in a line to the left its full stop stands on the left."""
    if not rtl or lettering.is_arabic(word):
        return word
    bare = word.rstrip(".,:;،")
    return word[len(bare) :] + bare


def line_width(sheet: Sheet, text: str, style: Type) -> float:
    """Width in mm of `text` on one line."""
    size = style.pixels(sheet)
    words = text.split()
    return (sum(_word(word, style.font, size)[2] for word in words) + _SPACE * size * (len(words) - 1)) / sheet.scale


def set_line(
    sheet: Sheet, text: str, x: float, y: float, style: Type, *, width: float | None = None, align: Align = "start"
) -> None:
    """Prints one line with its top at `y`, inside `width` mm from `x` (aligned there), or from `x` rightwards."""
    room = line_width(sheet, text, style) if width is None else width
    _set_words(sheet, text.split(), x, y, style, width=room, align=align)


def set_paragraph(
    sheet: Sheet,
    text: str,
    x: float,
    y: float,
    style: Type,
    *,
    width: float,
    align: Align = "start",
    bottom: float = 1e9,
) -> float:
    """Prints wrapped text into a column and stops at `bottom`.

    Returns:
        Where the next line goes, in mm from the top.
    """
    lines = _wrap(sheet, text.split(), style, width)
    for index, words in enumerate(lines):
        if y + style.pitch > bottom:
            break
        last = index == len(lines) - 1
        used: Align = "start" if last and align == "justify" else align
        _set_words(sheet, words, x, y, style, width=width, align=used)
        y += style.pitch
    return y


def _wrap(sheet: Sheet, words: Sequence[str], style: Type, width: float) -> list[list[str]]:
    size, room = style.pixels(sheet), width * sheet.scale
    lines: list[list[str]] = [[]]
    used = 0.0
    for word in words:
        advance = _word(word, style.font, size)[2]
        if lines[-1] and used + advance > room:
            lines.append([])
            used = 0.0
        lines[-1].append(word)
        used += advance + _SPACE * size
    return lines


def _set_words(
    sheet: Sheet, words: Sequence[str], x: float, y: float, style: Type, *, width: float, align: Align
) -> None:
    if not words:
        return
    size = style.pixels(sheet)
    order = _in_visual_order(words, rtl=style.rtl)
    drawn = [_word(_printed(word, rtl=style.rtl), style.font, size) for word in order]
    gap, room = _SPACE * size, width * sheet.scale
    used = sum(advance for _, _, advance in drawn) + gap * (len(drawn) - 1)
    left = x * sheet.scale
    if align == "justify" and len(drawn) > 1:
        gap += max(room - used, 0) / (len(drawn) - 1)
    elif align == "centre":
        left += (room - used) / 2
    elif (align == "end") != style.rtl:
        left += room - used
    top, ascent = y * sheet.scale, lettering.metrics(style.font, size)[0]
    start = left
    for coverage, margin, advance in drawn:
        sheet.lay(coverage, round(left) - margin, round(top), style.density)
        left += advance + gap
    if style.underline:
        under = (top + ascent + 0.12 * size) / sheet.scale
        line = Rect(start / sheet.scale, under, (left - gap - start) / sheet.scale, 0.06 * size / sheet.scale)
        sheet.fill(line, style.density)
