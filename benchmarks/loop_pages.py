"""Pages in a style that no bundled training saw, with their marks known: what a new customer sends.

Text, hands, ridges, paper and scanners are those of `backend.synthetic`; new are the stamps' shapes and all inks
(`benchmarks.loop_marks`), the layouts (a coloured side bar, squared paper, a ruled checklist) and what lies on them
that is no mark: badges printed like seals, and pen strokes that sign nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from backend.geometry import as_boxes, coverage
from backend.synthetic import lettering
from backend.synthetic.blocks import Draft, clauses, heading, signature_block
from backend.synthetic.drawn_page import PlacedMark, look, truth_of
from backend.synthetic.lexicons import ARABIC, ENGLISH
from backend.synthetic.marks import DrawnPage, Label, Language
from backend.synthetic.paper import draw_warp
from backend.synthetic.scan import develop, draw_style
from backend.synthetic.sheet import Density, Rect, Sheet, Type, density_of, diluted
from backend.synthetic.stamp_parts import draw_star
from backend.synthetic.texts import Writer, pick
from benchmarks.loop_marks import NEW_INKS, draw_new_mark

__all__ = ["new_page"]

_LABELS: tuple[Label, ...] = ("signature", "stamp", "thumb")
_SHARES = (0.42, 0.40, 0.18)
_COUNTS = (1, 2, 3, 4, 5)
_TRIES = 12
_MOST_SHARED = 0.08
"""Marks of one class share no more than this: more is one blot to an annotator too."""
_HOUSE: tuple[Density, ...] = (density_of(0, 105, 120), density_of(150, 80, 30), density_of(90, 110, 30))
_PENS: tuple[Density, ...] = tuple(NEW_INKS.values())


def new_page(series: int, number: int, *, dpi: float = 150) -> DrawnPage:
    """Page `number` of a series; the same two numbers give the same page, and no two series share one.

    Args:
        series: Not negative: the rounds, and the held-out pages, are a series each.
        number: Not negative.
        dpi: Resolution that it is drawn and scanned at.
    """
    seeds = np.random.SeedSequence([20_270, series, number]).spawn(3)
    printing, laying, scanning = map(np.random.default_rng, seeds)
    sheet = Sheet(dpi)
    draft = _draft(sheet, printing)
    pick(printing, _LAYOUTS)(draft)
    _badges(draft)
    _strokes(draft)
    placed = _place(sheet, laying, draft.anchors)
    for one in placed:
        sheet.lay(one.mark.coverage, one.x, one.y, one.mark.ink.density)
    style = draw_style(scanning)
    height, width = sheet.density.shape[:2]
    warp = draw_warp(scanning, width, height, skew=0.4, perspective=0.0, curl=0.0)
    pixels = develop(warp.page(sheet.density, outside=style.surround), scanning, style, dpi=dpi)
    seen = [(one.mark, sighting) for one in placed if (sighting := look(one, warp, style)) is not None]
    language: Language = "ar" if draft.body.rtl else "en"
    return DrawnPage(pixels=pixels, dpi=dpi, language=language, marks=truth_of(seen), seed=number)


def _draft(sheet: Sheet, rng: np.random.Generator) -> Draft:
    arabic = bool(rng.random() < 0.5)
    faces = lettering.fonts_of("kufi" if arabic else "sans", bold=True, arabic=arabic)
    body = Type(font=faces[0], points=float(rng.uniform(8, 10)), density=(0.9,) * 3, rtl=arabic, leading=1.5)
    return Draft(
        sheet=sheet,
        rng=rng,
        writer=Writer(ARABIC if arabic else ENGLISH, rng),
        body=body,
        title=body,
        left=20,
        width=sheet.width - 40,
        y=24,
        bottom=sheet.height - 24,
        align="start",
        accent=pick(rng, _HOUSE),
    )


def _side_bar(draft: Draft) -> None:
    """A coloured band down one side, the text beside it, places to sign one under another."""
    sheet, wide = draft.sheet, float(draft.rng.uniform(28, 40))
    left = draft.chance(0.5)
    sheet.fill(Rect(0 if left else sheet.width - wide, 0, wide, sheet.height), diluted(draft.accent, 0.8))
    draft.left, draft.width = (wide + 10 if left else 14), sheet.width - wide - 24
    heading(draft, draft.writer.title(), larger=1.6)
    clauses(draft, until=float(draft.rng.uniform(130, 180)))
    while draft.room() > 45:
        signature_block(draft, people=1)


def _squared(draft: Draft) -> None:
    """Squared paper in the house colour, with text in two narrow columns."""
    sheet, pale = draft.sheet, diluted(draft.accent, 0.35)
    for at in np.arange(5, sheet.height, 5):
        sheet.fill(Rect(0, float(at), sheet.width, 0.15), pale)
    for at in np.arange(5, sheet.width, 5):
        sheet.fill(Rect(float(at), 0, 0.15, sheet.height), pale)
    heading(draft, draft.writer.title(), centred=True, larger=1.5)
    top, whole = draft.y, draft.width
    draft.width = whole / 2 - 4
    for column in range(2):
        draft.left, draft.y = 20 + column * (whole / 2 + 4), top
        clauses(draft, until=float(draft.rng.uniform(120, 170)), first=1 + 4 * column)
    draft.left, draft.width = 20, whole
    draft.y = max(draft.y, 175)
    signature_block(draft, people=3)


def _checklist(draft: Draft) -> None:
    """Shaded rows with a field at the end of each; the last rows are for signing."""
    sheet, rng = draft.sheet, draft.rng
    heading(draft, draft.writer.title(), larger=1.4)
    high = float(rng.uniform(9, 13))
    rows = int(rng.integers(10, 15))
    for row in range(rows):
        if row % 2 == 0:
            sheet.fill(Rect(draft.left, draft.y, draft.width, high), diluted(draft.accent, 0.18))
        sheet.frame(Rect(draft.left + draft.width - high, draft.y + 1, high - 2, high - 2), draft.accent, thickness=0.5)
        top = draft.y
        draft.y += 1.5
        draft.paragraph(draft.writer.field())
        draft.y = top + high
    draft.y += 6
    while draft.room() > 40:
        signature_block(draft, people=2)


_LAYOUTS: tuple[Callable[[Draft], None], ...] = (_side_bar, _squared, _checklist)


def _badges(draft: Draft) -> None:
    """Quality badges, printed: a jagged disc with letters left white, sometimes two beside each other."""
    sheet, rng = draft.sheet, draft.rng
    if draft.chance(0.3):
        return
    size = float(rng.uniform(18, 28))
    left, top = float(rng.uniform(12, 150)), pick(rng, (float(rng.uniform(6, 14)), sheet.height - size - 10))
    for place in range(1 + draft.chance(0.35)):
        pixels = sheet.pixels(size)
        star = draw_star(pixels, points=24, sharpness=0.88)
        x, y = sheet.pixels(left + place * (size + 4)), sheet.pixels(top)
        sheet.knock_out(np.ones_like(star), x, y)
        sheet.lay(star, x, y, draft.accent)
        face = pick(rng, lettering.fonts_of("sans", "serif", bold=True, arabic=False))
        for text, share in (("ISO", 0.34), (draft.writer.serial(4), 0.56)):
            word = lettering.render(text, face, 0.2 * pixels)
            sheet.knock_out(word, x + (pixels - word.shape[1]) // 2, y + round(share * pixels) - word.shape[0] // 2)


def _strokes(draft: Draft) -> None:
    """What readers leave with a pen: rings around words, double strokes in the margin, large ticks, arrows."""
    sheet, rng = draft.sheet, draft.rng
    pen = pick(rng, _PENS)
    for _ in range(int(rng.integers(0, 5))):
        x, y = float(rng.uniform(15, sheet.width - 50)), float(rng.uniform(25, sheet.height - 60))
        wide, high = float(rng.uniform(14, 38)), float(rng.uniform(6, 16))
        for line in pick(rng, _GESTURES)(rng, x, y, wide, high):
            _draw(sheet, line, pen)


Line = list[tuple[float, float]]


def _around(rng: np.random.Generator, x: float, y: float, wide: float, high: float) -> list[Line]:
    turns = np.linspace(0, 2 * math.pi * float(rng.uniform(1.0, 1.25)), 40)
    swell = 1 + 0.06 * np.sin(3 * turns + rng.uniform(0, 6)) + 0.02 * turns
    return [_points(x + wide / 2 * (1 + swell * np.cos(turns)), y + high / 2 * (1 + swell * np.sin(turns)))]


def _beside(rng: np.random.Generator, x: float, y: float, _: float, high: float) -> list[Line]:
    down = np.linspace(0, 2.5 * high, 12)
    return [_points(x + gap + rng.normal(0, 0.25, 12).cumsum() * 0.3, y + down) for gap in (0.0, 2.2)]


def _tick(rng: np.random.Generator, x: float, y: float, wide: float, high: float) -> list[Line]:
    reach = float(rng.uniform(0.5, 0.9)) * wide
    return [[(x, y + 0.6 * high), (x + 0.25 * reach, y + high), (x + reach, y - 0.3 * high)]]


def _arrow(_: np.random.Generator, x: float, y: float, wide: float, high: float) -> list[Line]:
    tip = (x + wide, y)
    return [[(x, y + high), tip], [(tip[0] - 4, tip[1] - 1), tip, (tip[0] - 2, tip[1] + 4)]]


_GESTURES: tuple[Callable[[np.random.Generator, float, float, float, float], list[Line]], ...] = (
    _around,
    _beside,
    _tick,
    _arrow,
)


def _points(x: np.ndarray, y: np.ndarray) -> Line:
    return [(float(a), float(b)) for a, b in zip(x, y, strict=True)]


def _draw(sheet: Sheet, line: Line, pen: Density) -> None:
    """A pen's line: the way there and back as one outline, which lies on itself."""
    sheet.polygon([*line, *line[::-1]], pen, thickness=0.5)


def _place(sheet: Sheet, rng: np.random.Generator, anchors: Sequence[Rect]) -> list[PlacedMark]:
    """Draws marks and lays most of them where people sign, the others anywhere; whole ones only."""
    height, width = sheet.density.shape[:2]
    placed: list[PlacedMark] = []
    for label in rng.choice(_LABELS, size=int(rng.choice(_COUNTS)), p=_SHARES):
        mark = draw_new_mark(rng, label, dpi=sheet.dpi)
        high, wide = mark.coverage.shape
        for _ in range(_TRIES):
            x, y = rng.uniform(0.05, 0.95) * width, rng.uniform(0.08, 0.95) * height
            if anchors and rng.random() < 0.7:
                spot = pick(rng, anchors)
                x = (spot.x + spot.width * rng.uniform(0.1, 0.9)) * sheet.scale
                y = (spot.y + spot.height * rng.normal(0.6, 0.2)) * sheet.scale
            left, top = round(x - wide / 2), round(y - high / 2)
            one = PlacedMark(mark=mark, x=left, y=top)
            if 0 <= left < width - wide and 0 <= top < height - high and _free(one, placed):
                placed.append(one)
                break
    return placed


def _free(one: PlacedMark, placed: Sequence[PlacedMark]) -> bool:
    own = as_boxes(one.box)
    alike = as_boxes([other.box for other in placed if other.mark.label == one.mark.label])
    shared = np.concatenate([coverage(own, alike).ravel(), coverage(alike, own).ravel()])
    return bool((shared <= _MOST_SHARED).all())
