"""What can be seen of a mark on the finished image: its visible ink, the box around it, what it shares with others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backend.synthetic.placing import PlacedMark
from backend.synthetic.scan import ScanStyle
from backend.synthetic.warp import Warp

__all__ = ["Sighting", "look", "share_ink"]

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
    coverage, left, top = warp.patch(placed.mark.coverage, placed.x, placed.y)
    ink = style.visible(coverage, placed.mark.ink.density)
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
