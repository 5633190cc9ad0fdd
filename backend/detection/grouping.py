"""Pieces of ink that lie close together become regions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from backend.geometry import Boxes, as_boxes

__all__ = ["Regions", "halve", "regions_of"]

_SMALLEST_PIECE = 3
"""Cells below which a connected piece of ink is a speck."""
_COARSE = 2
"""Cells that one coarse cell spans on either axis; bridging wide gaps there costs a quarter."""
_WIDE_GAP = 3.0
"""Gap, in cells, from which the coarse grid is fine enough."""


@dataclass(frozen=True)
class Regions:
    """Connected regions of a layer.

    Attributes:
        boxes: (N, 4) tight around the ink, cells of the mask.
        ink: (N,) inked area, square cells.
    """

    boxes: Boxes
    ink: NDArray[np.float64]


def halve(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Halves the resolution; a cell is inked when any of its four pixels is."""
    height, width = mask.shape
    padded = np.pad(mask, ((0, height % 2), (0, width % 2)))
    rows = np.maximum(padded[0::2], padded[1::2])
    return np.maximum(rows[:, 0::2], rows[:, 1::2])


def regions_of(mask: NDArray[np.uint8], *, gaps: Sequence[tuple[float, float]]) -> list[Regions]:
    """Groups the inked cells of a mask that are at most a gap apart, once for each of `gaps` (across, down; cells).

    Only inked cells are looked at after the labelling: a page is some 98 % paper.
    """
    points = cv2.findNonZero(mask)
    if points is None:
        return []
    x, y = points.reshape(-1, 2).T
    pieces = _labels(mask)[y, x]
    solid = np.bincount(pieces)[pieces] >= _SMALLEST_PIECE
    x, y = x[solid], y[solid]
    return [_grouped(x, y, mask.shape, gap=gap) for gap in gaps]


def _labels(mask: NDArray[np.uint8]) -> NDArray[np.int32]:
    return np.asarray(cv2.connectedComponents(mask, connectivity=8)[1], np.int32)


def _grouped(
    x: NDArray[np.int32], y: NDArray[np.int32], shape: tuple[int, ...], *, gap: tuple[float, float]
) -> Regions:
    if not x.size:
        return Regions(as_boxes([]), np.zeros(0))
    scale = _COARSE if max(gap) >= _WIDE_GAP else 1
    grid = np.zeros((-(-shape[0] // scale), -(-shape[1] // scale)), np.uint8)
    rows, columns = y // scale, x // scale
    grid[rows, columns] = 255
    reach = [2 * max(1, round(side / scale / 2)) + 1 for side in gap]
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, reach)
    region = _labels(np.asarray(cv2.dilate(grid, kernel), np.uint8))[rows, columns]
    order = np.argsort(region, kind="stable")
    starts = np.flatnonzero(np.diff(region[order], prepend=-1))
    x, y = x[order], y[order]
    corners = [np.minimum.reduceat(x, starts), np.minimum.reduceat(y, starts)]
    corners += [np.maximum.reduceat(x, starts) + 1, np.maximum.reduceat(y, starts) + 1]
    return Regions(np.column_stack(corners).astype(np.float64), np.diff(starts, append=x.size).astype(np.float64))
