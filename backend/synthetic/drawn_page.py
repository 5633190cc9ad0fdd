"""One drawn contract page: print, marks in their places, wear, warp and scan put together, with the true boxes.

What can be seen of a mark on the finished image: its visible ink, the box around it, what it shares with others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from backend import geometry
from backend.synthetic.inked_prints import draw_stamp, draw_thumb
from backend.synthetic.layout import write_page
from backend.synthetic.lookalikes import LOOKALIKES, ink_lookalike
from backend.synthetic.marks import LANGUAGES, DrawnLookalike, DrawnMark, DrawnPage, Ink, Label, Language, Mark, ink_box
from backend.synthetic.paper import Warp, draw_warp, show_through, uneven_toner, wear
from backend.synthetic.scan import ScanStyle, compressed, develop, draw_style
from backend.synthetic.sheet import A4, Rect, Sheet
from backend.synthetic.signatures import draw_signature
from backend.synthetic.texts import pick

__all__ = ["PlacedMark", "Sighting", "draw_count", "draw_page", "look", "place_marks", "share_ink", "truth_of"]

_DRAW: Mapping[Label, Callable[..., Mark]] = {"signature": draw_signature, "stamp": draw_stamp, "thumb": draw_thumb}
_SHARES: Mapping[Label, float] = {"signature": 0.44, "stamp": 0.38, "thumb": 0.18}
_COUNTS = (0.15, 0.12, 0.19, 0.17, 0.14, 0.10, 0.07, 0.04, 0.02)
_TRIES = 12
_MOST_SHARED = 0.08
"""Marks of one class may share this much of the smaller box; more is one blot to an annotator too."""
_LEAST_INK = 0.45
"""Share of a mark's ink that must stay on a page at whose edge it is cut."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PlacedMark:
    """A mark with the sheet pixel of its top left corner."""

    mark: Mark
    x: int
    y: int

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Bounds of the ink on the sheet, xyxy in pixels."""
        left, top, right, bottom = self.mark.box
        return self.x + left, self.y + top, self.x + right, self.y + bottom


def draw_count(rng: np.random.Generator) -> int:
    """How many marks a page has: none on 15 % of pages, mostly two or three, eight at most."""
    return int(rng.choice(len(_COUNTS), p=_COUNTS))


def place_marks(sheet: Sheet, rng: np.random.Generator, anchors: Sequence[Rect], count: int) -> list[PlacedMark]:
    """Draws `count` marks and finds places for them; the later lie over the earlier.

    A mark for which no place is free is left out, so there may be fewer.
    """
    placed: list[PlacedMark] = []
    labels = rng.choice(list(_SHARES), size=count, p=list(_SHARES.values()))
    for label in labels:
        mark = _DRAW[label](rng, dpi=sheet.dpi)
        for _ in range(_TRIES):
            candidate = _propose(sheet, rng, anchors, placed, mark)
            on_sheet = _cut(sheet, candidate)
            if _fits(candidate, on_sheet, placed):
                placed.append(on_sheet)
                break
    return placed


def _propose(
    sheet: Sheet, rng: np.random.Generator, anchors: Sequence[Rect], placed: Sequence[PlacedMark], mark: Mark
) -> PlacedMark:
    """A place for the mark, not yet checked."""
    height, width = sheet.density.shape[:2]
    others = [other.box for other in placed if other.mark.label != mark.label]
    ways = {"anchor": 0.55 * bool(anchors), "over": 0.30 * bool(others), "edge": 0.05, "anywhere": 0.23}
    weights = np.array(list(ways.values()))
    way = str(rng.choice(list(ways), p=weights / weights.sum()))
    left, top, right, bottom = mark.box
    wide, high = right - left, bottom - top
    if way == "edge":
        x, y = _at_edge(rng, width, height, wide, high)
    else:
        if way == "anchor":
            x, y = _in_anchor(rng, pick(rng, anchors), sheet.scale)
        elif way == "over":
            over = pick(rng, others)
            x, y = rng.uniform(over[0] - 0.2 * wide, over[2] + 0.2 * wide), rng.uniform(over[1], over[3])
        else:
            x, y = _anywhere(rng, width, height)
        x = float(np.clip(x, wide / 2, max(width - wide / 2, wide / 2)))
        y = float(np.clip(y, high / 2, max(height - high / 2, high / 2)))
    return PlacedMark(mark=mark, x=round(x - wide / 2) - left, y=round(y - high / 2) - top)


def _in_anchor(rng: np.random.Generator, anchor: Rect, scale: float) -> tuple[float, float]:
    """Where people sign: around the middle of the free space, often over the line below it."""
    x = anchor.x + anchor.width * rng.uniform(0.1, 0.8)
    return x * scale, (anchor.y + anchor.height * rng.normal(0.6, 0.25)) * scale


def _at_edge(rng: np.random.Generator, width: int, height: int, wide: int, high: int) -> tuple[float, float]:
    """Up to half of the mark is beyond one edge of the sheet."""
    inwards, x, y = rng.uniform(0.0, 0.35), rng.uniform(0, width), rng.uniform(0, height)
    if rng.random() < 0.6:
        return pick(rng, (inwards * wide, width - inwards * wide)), y
    return x, pick(rng, (inwards * high, height - inwards * high))


def _anywhere(rng: np.random.Generator, width: int, height: int) -> tuple[float, float]:
    """Over text, in a side margin, or at the foot where pages are initialled."""
    where = rng.random()
    if where < 0.17:
        return (pick(rng, (0.08, 0.92)) + rng.normal(0, 0.01)) * width, rng.uniform(0.05, 0.95) * height
    if where < 0.34:
        return (pick(rng, (0.12, 0.88)) + rng.normal(0, 0.03)) * width, rng.uniform(0.92, 0.97) * height
    return rng.uniform(0.1, 0.9) * width, rng.uniform(0.1, 0.95) * height


def _cut(sheet: Sheet, candidate: PlacedMark) -> PlacedMark:
    """The mark without what would fall off the sheet; when ink is lost it is a partial one."""
    height, width = sheet.density.shape[:2]
    mark, x, y = candidate.mark, candidate.x, candidate.y
    inside = mark.coverage[max(-y, 0) : max(height - y, 0), max(-x, 0) : max(width - x, 0)]
    left, top, right, bottom = candidate.box
    lost = left < 0 or top < 0 or right > width or bottom > height
    return PlacedMark(mark=replace(mark, coverage=inside, partial=mark.partial or lost), x=max(x, 0), y=max(y, 0))


def _fits(whole: PlacedMark, on_sheet: PlacedMark, placed: Sequence[PlacedMark]) -> bool:
    """Enough of the ink is on the sheet, and it does not lie on marks of its own class."""
    if on_sheet.mark.coverage.sum() < _LEAST_INK * whole.mark.coverage.sum():
        return False
    own = geometry.as_boxes(on_sheet.box)
    alike = geometry.as_boxes([other.box for other in placed if other.mark.label == on_sheet.mark.label])
    shared = np.concatenate([geometry.coverage(own, alike).ravel(), geometry.coverage(alike, own).ravel()])
    return bool((shared <= _MOST_SHARED).all())


@dataclass(frozen=True, kw_only=True, eq=False)
class _Laid:
    """A lookalike with the sheet pixel of its top left corner."""

    kind: str
    coverage: NDArray[np.float32]
    ink: Ink
    x: int
    y: int


def _lay_lookalikes(
    sheet: Sheet, rng: np.random.Generator, taken: Sequence[tuple[int, int, int, int]], count: int
) -> list[_Laid]:
    """Lays up to `count` of them where no mark is, nor another one of them: over print, in margins, anywhere."""
    height, width = sheet.density.shape[:2]
    boxes, laid = list(taken), list[_Laid]()
    for _ in range(count):
        kind = pick(rng, LOOKALIKES)
        coverage, ink = ink_lookalike(rng, kind, dpi=sheet.dpi)
        high, wide = coverage.shape
        if high >= height or wide >= width:
            continue
        for _ in range(_TRIES):
            x, y = int(rng.integers(0, width - wide)), int(rng.integers(0, height - high))
            left, top, right, bottom = ink_box(coverage)
            box = x + left, y + top, x + right, y + bottom
            if not geometry.coverage(geometry.as_boxes([box]), geometry.as_boxes(boxes)).any():
                sheet.lay(coverage, x, y, ink.density)
                boxes.append(box)
                laid.append(_Laid(kind=kind, coverage=coverage, ink=ink, x=x, y=y))
                break
    return laid


_LEAST_PIXELS = 12
"""Visible ink of fewer pixels is no mark that anyone would box."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Sighting:
    """Visible ink of one mark on an image.

    Attributes:
        ink: Where it is visible, (h, w), cut to its bounds.
        left: Image column of the first column of `ink`.
        top: Image row of the first row of `ink`.
        cut: It touches the image's edge.
    """

    ink: NDArray[np.bool_]
    left: int
    top: int
    cut: bool = False

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Bounds on the image, xyxy in pixels."""
        height, width = self.ink.shape
        return self.left, self.top, self.left + width, self.top + height


def look(placed: PlacedMark, warp: Warp, style: ScanStyle) -> Sighting | None:
    """Finds a mark's visible ink after the warp and in that kind of scan; None when there is next to none."""
    return _look(placed.mark.coverage, placed.mark.ink, (placed.x, placed.y), warp, style)


def _look(
    coverage: NDArray[np.float32], of_ink: Ink, place: tuple[int, int], warp: Warp, style: ScanStyle
) -> Sighting | None:
    coverage, left, top = warp.patch(coverage, *place)
    ink = style.visible(coverage, of_ink.density)
    if np.count_nonzero(ink) < _LEAST_PIXELS:
        return None
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    tight = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    left, top = left + int(columns[0]), top + int(rows[0])
    width, height = warp.size
    cut = left <= 0 or top <= 0 or left + tight.shape[1] >= width or top + tight.shape[0] >= height
    return Sighting(ink=tight, left=left, top=top, cut=cut)


def share_ink(one: Sighting, other: Sighting) -> bool:
    """Whether any pixel shows ink of both."""
    left, top = max(one.left, other.left), max(one.top, other.top)
    right, bottom = min(one.box[2], other.box[2]), min(one.box[3], other.box[3])
    if right <= left or bottom <= top:
        return False
    first, second = (
        mark.ink[top - mark.top : bottom - mark.top, left - mark.left : right - mark.left] for mark in (one, other)
    )
    return bool((first & second).any())


def draw_page(
    seed: int,
    *,
    dpi: float = 200,
    language: Language | None = None,
    marks: int | None = None,
    style: ScanStyle | None = None,
    size: tuple[int, int] | None = None,
    lookalikes: int = 0,
) -> DrawnPage:
    """Draws an A4 contract page, one in 25 lying on its side; the same arguments give the same page.

    Print, marks, wear, warp, scan and lookalikes each draw from a random stream of their own. So `marks=0` gives the
    very page of the same seed without its marks.

    Args:
        seed: Not negative.
        dpi: Resolution that the page is drawn and scanned at, such as 72 to 300.
        language: `ar`, `en` or `mixed` (two columns, or one of both); random when None.
        marks: How many marks to lay; random when None. A mark without a free place, or too faint for the scan, is not
            counted as drawn.
        style: How the page is captured; random when None.
        size: Width and height in pixels to squash the finished page to, such as (640, 640).
        lookalikes: How many things to lay beside the marks that people take for one, such as filled-in words. One
            without a free place, or too faint for the scan, is not counted as drawn.
    """
    choices, print_, laying, using, landing, scanning, alike = map(
        np.random.default_rng, np.random.SeedSequence(seed).spawn(7)
    )
    spoken: Language = LANGUAGES[int(choices.choice(3, p=(0.4, 0.35, 0.25)))]
    count, own_style = draw_count(choices), draw_style(choices)
    printed_through, worn_toner, landscape = choices.random(3) < (0.15, 0.35, 0.04)
    spoken, style = language or spoken, style or own_style
    count = count if marks is None else marks

    sheet = Sheet(dpi, A4[::-1] if landscape else A4)
    anchors = write_page(sheet, print_, spoken)
    if printed_through:
        show_through(sheet, using)
    if worn_toner:
        uneven_toner(sheet, using)
    wear(sheet, using)
    placed = place_marks(sheet, laying, anchors, count)
    for one in placed:
        sheet.lay(one.mark.coverage, one.x, one.y, one.mark.ink.density)
    others = _lay_lookalikes(sheet, alike, [one.box for one in placed], lookalikes)

    warp = _landing(sheet, landing, style)
    seen = [(one.mark, found) for one in placed if (found := look(one, warp, style)) is not None]
    pixels = develop(warp.page(sheet.density, outside=style.surround), scanning, style, dpi=dpi)
    mistaken = tuple(
        DrawnLookalike(kind=one.kind, box=_floats(found.box))
        for one in others
        if (found := _look(one.coverage, one.ink, (one.x, one.y), warp, style)) is not None
    )
    page = DrawnPage(pixels=pixels, dpi=dpi, language=spoken, marks=truth_of(seen), seed=seed, lookalikes=mistaken)
    return page if size is None else _squashed(page, size, style)


def _landing(sheet: Sheet, rng: np.random.Generator, style: ScanStyle) -> Warp:
    """How the sheet lies under the scanner or in front of the telephone."""
    height, width = sheet.density.shape[:2]
    skew = rng.choice([0.0, 0.25, 0.9], p=[0.35, 0.4, 0.25])
    photo = rng.uniform(0.008, 0.045), rng.uniform(0, 0.004)
    perspective, curl = photo if style.photo else (0.0, 0.0)
    shown = 1.0
    if rng.random() < 0.12:
        shown = rng.uniform(0.86, 1.06)
    return draw_warp(rng, width, height, skew=float(skew), perspective=perspective, curl=curl, zoom=shown)


def truth_of(seen: Sequence[tuple[Mark, Sighting]]) -> tuple[DrawnMark, ...]:
    """What is known of the marks that are seen on a page."""
    return tuple(
        DrawnMark(
            label=mark.label,
            box=_floats(sighting.box),
            ink=mark.ink.name,
            kind=mark.kind,
            faded=mark.faded,
            partial=mark.partial or sighting.cut,
            overlaps=any(share_ink(sighting, other) for _, other in seen if other is not sighting),
        )
        for mark, sighting in seen
    )


def _floats(box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    left, top, right, bottom = box
    return float(left), float(top), float(right), float(bottom)


def _squashed(page: DrawnPage, size: tuple[int, int], style: ScanStyle) -> DrawnPage:
    """The page resized to `size` without keeping its shape, and saved once more."""
    height, width = page.pixels.shape[:2]
    across, down = size[0] / width, size[1] / height
    smaller = across < 1 and down < 1
    pixels = cv2.resize(page.pixels, size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)
    pixels = compressed(np.asarray(pixels, np.uint8), quality=style.quality, subsampled=style.subsampled)
    return replace(
        page,
        pixels=pixels,
        dpi=page.dpi * (across + down) / 2,
        marks=tuple(replace(one, box=_scaled(one.box, across, down)) for one in page.marks),
        lookalikes=tuple(replace(one, box=_scaled(one.box, across, down)) for one in page.lookalikes),
    )


def _scaled(box: tuple[float, float, float, float], across: float, down: float) -> tuple[float, float, float, float]:
    left, top, right, bottom = box
    return left * across, top * down, right * across, bottom * down
