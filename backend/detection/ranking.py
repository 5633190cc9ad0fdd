"""How likely a region is to be a mark, judged from its size, its ink and what surrounds it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from backend.detection.grouping import halve
from backend.detection.ink import OD_STEPS, Ink
from backend.geometry import Boxes, iou

__all__ = ["KINDS", "WEIGHTS", "Proposals", "features_of", "likelihood", "spread_out"]

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
class Proposals:
    """Regions of all layers, as parallel arrays.

    Attributes:
        boxes: (N, 4), cells of the grid on which regions are grouped.
        ink: (N,) inked area in the region's own layer, square cells.
        kind: (N,) index into `KINDS`.
        votes: (N,) how many layers and distances gave nearly this box; a region that keeps its shape over many is a
            thing of its own (as in MSER, Matas et al. 2002).
    """

    boxes: Boxes
    ink: NDArray[np.float64]
    kind: NDArray[np.intp]
    votes: NDArray[np.float64]

    def __getitem__(self, index: NDArray[np.intp]) -> Proposals:
        return Proposals(self.boxes[index], self.ink[index], self.kind[index], self.votes[index])


def features_of(proposals: Proposals, ink: Ink, *, cell_mm: float) -> dict[str, NDArray[np.float64]]:
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
