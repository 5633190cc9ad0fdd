"""The blank sheet, drawn in millimetres as optical density per channel, and the lines and paragraphs printed on it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from backend.synthetic import lettering
from backend.synthetic.lettering import Coverage, Font
from backend.synthetic.marks import MM_PER_INCH

__all__ = [
    "A4",
    "BLACK",
    "MM_PER_POINT",
    "Align",
    "Density",
    "Rect",
    "Sheet",
    "Type",
    "density_of",
    "diluted",
    "line_width",
    "set_line",
    "set_paragraph",
]

Density = tuple[float, float, float]

A4 = (210.0, 297.0)
MM_PER_POINT = MM_PER_INCH / 72
BLACK: Density = (1.3, 1.3, 1.3)
_SUBPIXEL_BITS = 4


def density_of(red: int, green: int, blue: int) -> Density:
    """The optical density (R, G, B) that makes white paper show this 8-bit colour."""
    shares = np.maximum(np.array([red, green, blue]) / 255.0, 0.03)
    red_density, green_density, blue_density = (float(value) for value in -np.log10(shares))
    return red_density, green_density, blue_density


def diluted(density: Density, share: float) -> Density:
    """That share of an ink's density; a negative share takes print of this colour away, as white letters do."""
    red, green, blue = density
    return red * share, green * share, blue * share


@dataclass(frozen=True)
class Rect:
    """A rectangle on a sheet in mm: top left corner and size."""

    x: float
    y: float
    width: float
    height: float


class Sheet:
    """A page of optical density, (H, W, 3) float32: 0 is bare paper, inks over each other add up.

    All positions and sizes are millimetres from the top left corner unless they are called pixels.
    """

    def __init__(self, dpi: float, size: tuple[float, float] = A4) -> None:
        self.dpi = dpi
        self.width, self.height = size
        self.scale = dpi / MM_PER_INCH
        self.density = np.zeros((self.pixels(self.height), self.pixels(self.width), 3), np.float32)

    def pixels(self, millimetres: float) -> int:
        return round(millimetres * self.scale)

    def lay(self, coverage: Coverage, x: int, y: int, density: Density) -> None:
        """Prints `coverage` (h, w) of an ink with its top left at pixel (x, y); what falls off the sheet is cut."""
        target, part = self._overlap(coverage, x, y)
        for channel, strength in enumerate(density):
            if strength:
                target[..., channel] += part * np.float32(strength)

    def knock_out(self, coverage: Coverage, x: int, y: int) -> None:
        """Takes print away where `coverage` lies, as white letters on a coloured bar do."""
        target, part = self._overlap(coverage, x, y)
        target *= 1 - part[..., None]

    def picture(self, density: NDArray[np.float32], x: float, y: float) -> None:
        """Prints a picture, (h, w, 3) of density, with its top left at (x, y)."""
        target, part = self._overlap(density, self.pixels(x), self.pixels(y))
        target += part

    def fill(self, rect: Rect, density: Density) -> None:
        """A filled rectangle; one thinner than a pixel becomes a paler pixel."""
        wide, high = rect.width * self.scale, rect.height * self.scale
        share = min(wide, 1.0) * min(high, 1.0)
        shape = (max(round(high), 1), max(round(wide), 1))
        self.lay(np.full(shape, np.float32(share)), self.pixels(rect.x), self.pixels(rect.y), density)

    def frame(self, rect: Rect, density: Density, *, thickness: float) -> None:
        """Four ruled lines around a rectangle."""
        for top in (rect.y, rect.y + rect.height):
            self.fill(Rect(rect.x, top, rect.width, thickness), density)
        for left in (rect.x, rect.x + rect.width):
            self.fill(Rect(left, rect.y, thickness, rect.height), density)

    def dots(self, x: float, y: float, width: float, density: Density, *, pitch: float = 1.2) -> None:
        """A dotted leader."""
        for left in np.arange(x, x + width, pitch):
            self.fill(Rect(float(left), y, 0.35, 0.35), density)

    def polygon(
        self, points: Sequence[tuple[float, float]], density: Density, *, thickness: float | None = None
    ) -> None:
        """A filled polygon, or with a `thickness` its closed outline."""
        outline = np.array(points, dtype=np.float64) * self.scale
        margin = 2 + (thickness or 0) * self.scale
        left, top = np.floor(outline.min(axis=0) - margin).astype(int)
        right, bottom = np.ceil(outline.max(axis=0) + margin).astype(int)
        canvas = np.zeros((bottom - top, right - left), np.uint8)
        path = np.round((outline - (left, top)) * (1 << _SUBPIXEL_BITS)).astype(np.int32)
        if thickness is None:
            cv2.fillPoly(canvas, [path], 255, cv2.LINE_AA, _SUBPIXEL_BITS)
        else:
            width = max(round(thickness * self.scale), 1)
            cv2.polylines(canvas, [path], True, 255, width, cv2.LINE_AA, _SUBPIXEL_BITS)
        self.lay(canvas.astype(np.float32) / np.float32(255), int(left), int(top), density)

    def ellipse(self, rect: Rect, density: Density, *, thickness: float | None = None) -> None:
        """An ellipse inside that rectangle, filled or as an outline."""
        turn = np.linspace(0, 2 * np.pi, 73)[:-1]
        across, down = rect.width / 2, rect.height / 2
        ring = np.column_stack([rect.x + across * (1 + np.cos(turn)), rect.y + down * (1 + np.sin(turn))])
        self.polygon([(float(x), float(y)) for x, y in ring], density, thickness=thickness)

    def _overlap(self, patch: NDArray[np.float32], x: int, y: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        height, width = self.density.shape[:2]
        left, top = max(x, 0), max(y, 0)
        right, bottom = min(x + patch.shape[1], width), min(y + patch.shape[0], height)
        right, bottom = max(right, left), max(bottom, top)
        return self.density[top:bottom, left:right], patch[top - y : bottom - y, left - x : right - x]


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
