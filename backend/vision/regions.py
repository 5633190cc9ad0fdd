"""Pieces of ink that lie close together become regions.

How likely a region is to be a mark, judged from its size, its ink and what surrounds it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from backend.geometry import Boxes, iou
from backend.vision.ink import OD_STEPS, PageInk

__all__ = [
    "KINDS",
    "WEIGHTS",
    "Pieces",
    "RegionProposals",
    "Regions",
    "features_of",
    "halve",
    "likelihood",
    "pieces_of",
    "regions_of",
    "spread_out",
]

_SMALLEST_PIECE = 3
"""Cells below which a connected piece of ink is a speck."""
_COARSE = 2
"""Cells that one coarse cell spans on either axis; bridging wide gaps there costs a quarter."""
_WIDE_GAP = 3.0
"""Gap, in cells, from which the coarse grid is fine enough."""
KINDS = ("colour", "stroke", "patch", "pale")
"""The sorts of layers that propose regions."""

WEIGHTS = {
    "votes": 0.991,
    "ink": 0.727,
    "fill": -0.539,
    "longer": 1.097,
    "longer²": -0.096,
    "aspect": -0.890,
    "width/height": -0.163,
    "strength": -0.358,
    "colour inside": 1.223,
    "colour around": -0.159,
    "own of colour": -0.116,
    "grey inside": -0.846,
    "grey around": -1.881,
    "own of grey": -0.502,
    "print inside": -1.157,
    "print around": 1.849,
    "own of print": 0.045,
    "is colour": -0.353,
    "is stroke": 0.471,
    "is patch": -0.044,
    "is pale": 0.051,
    "constant": -8.201,
}
"""Logistic regression on drawn pages and on real ones that are not held out; `python -m benchmarks.fit_ranking`
prints this table."""

_MARGIN_MM = 2.0
"""Width of the frame around a region that is empty where the region is a whole mark."""
_PALE_OD, _PRINT_OD = 0.05, 0.25
"""Grey densities from which a pixel is inked at all, and as dark as print."""
_SPREAD = 0.5
"""Squared IoU at which a chosen region lowers the score of another to 1/e."""


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


@dataclass(frozen=True)
class RegionProposals:
    """Regions of all layers, as parallel arrays.

    Attributes:
        boxes: (N, 4), cells of the grid on which regions are grouped.
        ink: (N,) inked area in the region's own layer, square cells.
        kind: (N,) index into `KINDS`.
        votes: (N,) how many layers and distances gave nearly this box. A region that keeps its shape over many is a
            thing of its own (as in MSER, Matas et al. 2002).
    """

    boxes: Boxes
    ink: NDArray[np.float64]
    kind: NDArray[np.intp]
    votes: NDArray[np.float64]

    def __getitem__(self, index: NDArray[np.intp]) -> RegionProposals:
        return RegionProposals(self.boxes[index], self.ink[index], self.kind[index], self.votes[index])


def features_of(proposals: RegionProposals, ink: PageInk, *, cell_mm: float) -> dict[str, NDArray[np.float64]]:
    """Describes each proposal by numbers, (N,) each, that do not depend on the page's resolution.

    Args:
        proposals: The regions.
        ink: The page's ink at twice the resolution of the regions' grid.
        cell_mm: Side of a cell of that grid, mm.
    """
    boxes = proposals.boxes
    sides = (boxes[:, 2:] - boxes[:, :2]) * cell_mm
    longer, shorter, area = sides.max(axis=1), sides.min(axis=1), sides.prod(axis=1)
    frame = (sides + 2 * _MARGIN_MM).prod(axis=1) - area
    own = proposals.ink * cell_mm**2
    found = {
        "votes": np.log(proposals.votes),
        "ink": np.log(own),
        "fill": np.log(own / area),
        "longer": np.log(longer),
        "longer²": np.log(longer) ** 2,
        "aspect": np.log(longer / shorter),
        "width/height": np.log(sides[:, 0] / sides[:, 1]),
        "strength": np.log1p(_sums(_table(ink.colour), boxes) * cell_mm**2 / area),
    }
    margin = _MARGIN_MM / cell_mm * np.array([-1, -1, 1, 1])
    inked = {
        "colour": (ink.colour, ink.weakest),
        "grey": (ink.neutral, _PALE_OD * OD_STEPS),
        "print": (ink.neutral, _PRINT_OD * OD_STEPS),
    }
    for name, (density, least) in inked.items():
        table = _table(np.asarray(cv2.inRange(density, math.ceil(least), 255), np.uint8))
        inside = _sums(table, boxes) * cell_mm**2 / 255
        around = _sums(table, boxes + margin) * cell_mm**2 / 255 - inside
        found[f"{name} inside"] = np.sqrt(inside / area)
        found[f"{name} around"] = np.sqrt(np.clip(around, 0, None) / frame)
        found[f"own of {name}"] = np.log((own + 1) / (inside + 1))
    for index, kind in enumerate(KINDS):
        found[f"is {kind}"] = (proposals.kind == index).astype(np.float64)
    return found


def _table(values: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Summed-area table (h/2 + 1, w/2 + 1) of the values, averaged to cells."""
    return np.asarray(cv2.integral(halve(values)), np.int32)


def _sums(table: NDArray[np.int32], boxes: Boxes) -> NDArray[np.float64]:
    """Sum of a table's values in each box, (N,)."""
    x1, y1, x2, y2 = np.round(boxes).astype(int).T
    x1, x2 = (np.clip(x, 0, table.shape[1] - 1) for x in (x1, x2))
    y1, y2 = (np.clip(y, 0, table.shape[0] - 1) for y in (y1, y2))
    return np.asarray(table[y2, x2] - table[y1, x2] - table[y2, x1] + table[y1, x1], np.float64)


def likelihood(features: dict[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    """Probability of each proposal, (N,), that it is the box of a mark, by logistic regression."""
    total = sum(WEIGHTS[name] * values for name, values in features.items()) + WEIGHTS["constant"]
    return np.asarray(1 / (1 + np.exp(-total)))


def spread_out(boxes: Boxes, scores: NDArray[np.float64]) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Orders boxes so that the first few cover many places rather than one place many times.

    Each choice lowers the scores of what overlaps it (Soft-NMS, Bodla et al. 2017); nothing is dropped, since a
    signature may well lie on a stamp.

    Returns:
        Indices in order, (N,), and the lowered scores in that order, (N,).
    """
    overlaps = np.exp(-(iou(boxes, boxes) ** 2) / _SPREAD)
    left = scores.copy()
    order = np.empty(len(boxes), np.intp)
    final = np.empty(len(boxes))
    for place in range(len(boxes)):
        best = int(np.argmax(left))
        order[place], final[place] = best, left[best]
        left = left * overlaps[best]
        left[best] = -1.0
    return order, final
