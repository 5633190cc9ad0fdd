"""Pieces of ink that lie close together become regions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from backend.geometry import Boxes

__all__ = ["Pieces", "Regions", "halve", "pieces_of", "regions_of"]

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


@dataclass(frozen=True)
class Pieces:
    """Connected pieces of a mask, and which piece each inked pixel belongs to.

    Attributes:
        boxes: (N, 4), pixels of the mask.
        ink: (N,) inked area, square pixels.
        x: (K,) column of each inked pixel.
        y: (K,) row of each inked pixel.
        piece: (K,) index of its piece.
        shape: Height and width of the mask.
    """

    boxes: Boxes
    ink: NDArray[np.float64]
    x: NDArray[np.int32]
    y: NDArray[np.int32]
    piece: NDArray[np.intp]
    shape: tuple[int, ...]

    def mask_of(self, wanted: NDArray[np.bool_]) -> NDArray[np.uint8]:
        """The mask with only the wanted pieces, 0 or 255."""
        mask = np.zeros(self.shape, np.uint8)
        kept = wanted[self.piece]
        mask[self.y[kept], self.x[kept]] = 255
        return mask


def halve(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Halves the resolution of an (h, w) mask with even sides; a cell is not 0 when any of its four pixels is not."""
    size = (mask.shape[1] // 2, mask.shape[0] // 2)
    return np.asarray(cv2.resize(mask, size, interpolation=cv2.INTER_AREA), np.uint8)


def pieces_of(mask: NDArray[np.uint8]) -> Pieces:
    """Takes a binary mask apart into its connected pieces."""
    x, y = _inked(mask)
    piece, regions = _collected(x, y, _labels(mask)[y, x])
    return Pieces(regions.boxes, regions.ink, x, y, piece, mask.shape)


def regions_of(mask: NDArray[np.uint8], *, gaps: Sequence[tuple[float, float]]) -> list[Regions]:
    """Groups the inked cells of a mask that are at most a gap apart, once for each of `gaps` (across, down; cells).

    Only inked cells are looked at after the labelling: a page is some 98 % paper.
    """
    x, y = _inked(mask)
    if not x.size:
        return []
    piece = _labels(mask)[y, x]
    solid = np.bincount(piece)[piece] >= _SMALLEST_PIECE
    x, y = x[solid], y[solid]
    return [_grouped(x, y, mask.shape, gap=gap) for gap in gaps] if x.size else []


def _inked(mask: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Columns and rows of the pixels that are not 0, (2, K)."""
    points = cv2.findNonZero(mask)
    return np.zeros((2, 0), np.int32) if points is None else np.asarray(points, np.int32).reshape(-1, 2).T


def _labels(mask: NDArray[np.uint8]) -> NDArray[np.int32]:
    return np.asarray(cv2.connectedComponents(mask, connectivity=8)[1], np.int32)


def _grouped(
    x: NDArray[np.int32], y: NDArray[np.int32], shape: tuple[int, ...], *, gap: tuple[float, float]
) -> Regions:
    scale = _COARSE if max(gap) >= _WIDE_GAP else 1
    grid = np.zeros((-(-shape[0] // scale), -(-shape[1] // scale)), np.uint8)
    rows, columns = y // scale, x // scale
    grid[rows, columns] = 255
    reach = [2 * max(1, round(side / scale / 2)) + 1 for side in gap]
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, reach)
    return _collected(x, y, _labels(np.asarray(cv2.dilate(grid, kernel), np.uint8))[rows, columns])[1]


def _collected(
    x: NDArray[np.int32], y: NDArray[np.int32], label: NDArray[np.int32]
) -> tuple[NDArray[np.intp], Regions]:
    """Boxes and sizes of labelled points: the region of each point, and the regions."""
    sizes = np.bincount(label)
    used = sizes > 0
    region = (np.cumsum(used) - 1)[label]
    sizes = sizes[used]
    # 16-bit keys are sorted by radix; a page has far fewer regions than that.
    order = np.argsort(region.astype(np.uint16) if len(sizes) < 1 << 16 else region, kind="stable")
    starts = np.cumsum(sizes) - sizes
    boxes = np.empty((len(sizes), 4))
    if len(sizes):
        x, y = x[order], y[order]
        boxes[:, 0], boxes[:, 1] = np.minimum.reduceat(x, starts), np.minimum.reduceat(y, starts)
        boxes[:, 2], boxes[:, 3] = np.maximum.reduceat(x, starts) + 1, np.maximum.reduceat(y, starts) + 1
    return region, Regions(boxes, sizes.astype(np.float64))
