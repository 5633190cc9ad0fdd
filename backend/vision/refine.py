"""A rough box that an annotator drew, tightened to the mark inside."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from backend.geometry import Boxes, areas, as_boxes, coverage, iou, union

__all__ = ["tighten"]

_LEAST_SHARE = 0.12
"""Of the rough box; a candidate under it is a part, or something else."""
_UNSURE, _SURE = 0.3, 0.95
"""Probabilities: under the first a candidate is not followed, from the second on only its nearest edges move."""
_NEAR = 0.08
"""Of a side: how far an edge lies from the ink's when both mean the same edge."""
_AROUND, _REACH = 0.04, 0.06
"""Of a side: ink that far outside a candidate may be its, and how far its edges go for it."""
_PEN = 0.004
"""Of the page's height, about a millimetre: how far the answer may leave the rough box."""
_COPY, _SAME = 0.85, 0.5
"""IoU with a region that is there from which an answer is a copy of it, and a candidate is that region."""
_SPECK, _SPECK_PIXELS, _PIECE = 0.01, 6, 0.004
_FAINTEST, _OF_OTSU = 0.12, 0.6
_LOGIT = 6.0


def tighten(
    pixels: NDArray[np.uint8],
    rough: Boxes,
    *,
    candidates: Boxes,
    probabilities: NDArray[np.float64],
    taken: Boxes,
    inside: float,
) -> Boxes:
    """Tightens a rough box to the candidate that was meant, its edges moved to the ink; else to all ink inside.

    The answer lies within the rough box, or a pen's width outside. It is no copy of a region that is there already. If
    there is no better box, it is the rough box itself.

    Args:
        pixels: (H, W, 3) RGB page.
        rough: (1, 4) xyxy, pixels of the page.
        candidates: (N, 4) of the detector.
        probabilities: (N,) that each is a mark of the class that was meant.
        taken: (T, 4) regions that are there already.
        inside: Share of a candidate in the rough box above which it belongs to what was meant.

    Returns:
        (1, 4) xyxy, pixels of the page.
    """
    height, width = pixels.shape[:2]
    if areas(rough)[0] < 1:
        return rough
    free = iou(candidates, taken).max(axis=1, initial=0) <= _SAME
    found = _tightened(pixels, rough[0], candidates[free], probabilities[free], inside=inside)
    pen = np.array([-1.0, -1.0, 1.0, 1.0]) * _PEN * height
    found = _within(_within(found, rough[0] + pen), np.array([0, 0, width, height], np.float64))
    copies = iou(as_boxes([found]), taken).max(initial=0) > _COPY
    return rough if copies or areas(as_boxes([found]))[0] < 1 else as_boxes([found])


def _tightened(
    pixels: NDArray[np.uint8],
    rough: NDArray[np.float64],
    candidates: Boxes,
    probabilities: NDArray[np.float64],
    *,
    inside: float,
) -> NDArray[np.float64]:
    pieces, inked = _pieces(pixels, rough)
    hull = union(pieces)[0] if len(pieces) else rough
    best = _meant(rough, candidates, probabilities, inside=inside)
    if best is None:
        return hull
    meant = _within(candidates[best], rough)
    on_ink = _on_ink(meant, pieces, inked)
    if on_ink is None:
        return meant
    size = np.tile(meant[2:] - meant[:2], 2)
    moves = (np.abs(on_ink - meant) <= _NEAR * size) | (probabilities[best] < _SURE)
    return np.where(moves, (meant + on_ink) / 2, meant)


def _meant(
    rough: NDArray[np.float64], candidates: Boxes, probabilities: NDArray[np.float64], *, inside: float
) -> int | None:
    """The candidate that was meant: likely, inside, and large; None where there is none."""
    drawn = as_boxes([rough])
    fitting = (coverage(candidates, drawn)[:, 0] > inside) & (coverage(drawn, candidates)[0] > _LEAST_SHARE)
    fitting &= probabilities >= _UNSURE
    if not fitting.any():
        return None
    odds = np.clip(np.log(probabilities / np.maximum(1 - probabilities, 1e-6) + 1e-12), -_LOGIT, _LOGIT)
    return int(np.where(fitting, odds + np.log(np.maximum(areas(candidates), 1)), -np.inf).argmax())


def _on_ink(meant: NDArray[np.float64], pieces: Boxes, inked: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """The box around the pieces of ink that belong to a candidate; None where none does."""
    reach = _grown(meant, _AROUND)
    own = (coverage(pieces, as_boxes([reach]))[:, 0] >= _SAME) if len(pieces) else np.zeros(0, bool)
    if not own.any() or inked[own].sum() < _SAME * inked[coverage(pieces, as_boxes([meant]))[:, 0] > 0].sum():
        return None
    return _within(union(pieces[own])[0], _grown(meant, _REACH))


def _pieces(pixels: NDArray[np.uint8], rough: NDArray[np.float64]) -> tuple[Boxes, NDArray[np.float64]]:
    """The pieces of ink in a rough box, (P, 4) in pixels of the page, specks left out, and their areas."""
    left, top = np.floor(np.maximum(rough[:2], 0)).astype(int)
    right, bottom = np.ceil(rough[2:]).astype(int)
    light = pixels[top : max(bottom, top + 1), left : max(right, left + 1)].min(axis=2).astype(np.float32)
    if not light.size:
        return as_boxes([]), np.zeros(0)
    paper = max(float(np.percentile(light, 85)), 1.0)
    ink = np.clip((paper - light) / paper, 0, 1)
    limit, _ = cv2.threshold((255 * ink).astype(np.uint8), 0, 255, cv2.THRESH_OTSU)
    mask = (ink > max(_FAINTEST, _OF_OTSU * limit / 255)).astype(np.uint8)
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    stats = stats[1:].astype(np.float64)
    if not len(stats):
        return as_boxes([]), np.zeros(0)
    stats = stats[stats[:, cv2.CC_STAT_AREA] >= max(_SPECK_PIXELS, _SPECK * stats[:, cv2.CC_STAT_AREA].max())]
    corners = stats[:, :2] + [left, top]
    return np.concatenate([corners, corners + stats[:, 2:4]], axis=1), stats[:, cv2.CC_STAT_AREA]


def _grown(box: NDArray[np.float64], share: float) -> NDArray[np.float64]:
    size = np.tile(box[2:] - box[:2], 2)
    return np.asarray(box + np.array([-share, -share, share, share]) * size)


def _within(box: NDArray[np.float64], outer: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate([np.maximum(box[:2], outer[:2]), np.minimum(box[2:], outer[2:])])
