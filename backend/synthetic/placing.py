"""Where marks go on a page: signing places, over text, over each other, into margins and off the edge."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from backend import geometry
from backend.synthetic.marks import Label, Mark
from backend.synthetic.sheet import Rect, Sheet
from backend.synthetic.signatures import draw_signature
from backend.synthetic.stamps import draw_stamp
from backend.synthetic.texts import pick
from backend.synthetic.thumbs import draw_thumb

__all__ = ["PlacedMark", "draw_count", "place_marks"]

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
