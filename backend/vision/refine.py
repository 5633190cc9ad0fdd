"""A rough box that an annotator drew, tightened to the mark inside.

Boxes around ink and the detector's candidates compete (`backend.vision.rough_ink`). What speaks for each of them is
weighed (`backend.vision.box_evidence`), and the best is the answer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backend.geometry import Boxes, areas, as_boxes, coverage, iou
from backend.vision.box_evidence import WEIGHTS, box_evidence
from backend.vision.rough_ink import RoughInk, possible_boxes

__all__ = ["Rivals", "rivals", "tighten"]

_PEN = 0.004
"""Of the page's height, about a millimetre: how far the answer may leave the rough box."""
_COPY, _SAME = 0.85, 0.5
"""IoU with a region that is there from which an answer is a copy of it, and a candidate is that region."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Rivals:
    """The boxes that a mark in a rough box could have.

    Attributes:
        boxes: (N, 4) xyxy, pixels of the page; within the rough box, but for a pen's width.
        evidence: (N, 19) what speaks for each, by `backend.vision.box_evidence.EVIDENCE`.
    """

    boxes: Boxes
    evidence: NDArray[np.float64]


def tighten(
    pixels: NDArray[np.uint8],
    rough: Boxes,
    *,
    candidates: Boxes,
    probabilities: NDArray[np.float64],
    taken: Boxes,
    inside: float,
) -> Boxes:
    """Tightens a rough box to the mark in it, which the annotator says is of one class.

    The answer lies within the rough box, or a pen's width outside. It is no copy of a region that is there already. If
    there is no better box, it is the rough box itself.

    Args:
        pixels: (H, W, 3) RGB page.
        rough: (1, 4) xyxy, pixels of the page.
        candidates: (N, 4) of the detector.
        probabilities: (N,) that each is a mark of the class that was meant.
        taken: (T, 4) regions that are there already.
        inside: Share of a candidate in the rough box above which it may be what was meant.

    Returns:
        (1, 4) xyxy, pixels of the page.
    """
    height, width = pixels.shape[:2]
    on_page = _within(rough[0], np.array([0, 0, width, height], np.float64))
    if areas(rough)[0] < 1 or areas(as_boxes([on_page]))[0] < 1:
        return rough
    free = iou(candidates, taken).max(axis=1, initial=0) <= _SAME
    found = rivals(pixels, rough[0], candidates=candidates[free], probabilities=probabilities[free], inside=inside)
    if found is None:
        return rough
    chosen = found.boxes[int((found.evidence @ np.array(WEIGHTS)).argmax())]
    best = as_boxes([_within(chosen, np.array([0, 0, width, height], np.float64))])
    copies = iou(best, taken).max(initial=0) > _COPY
    return rough if copies or areas(best)[0] < 1 else best


def rivals(
    pixels: NDArray[np.uint8],
    rough: NDArray[np.float64],
    *,
    candidates: Boxes,
    probabilities: NDArray[np.float64],
    inside: float,
) -> Rivals | None:
    """The boxes that the mark in a rough box (4,) could have, and what speaks for each; None where there is no ink."""
    held = coverage(candidates, as_boxes([rough]))[:, 0] > inside
    own = as_boxes([_within(one, rough) for one in candidates[held]])
    pen = _PEN * pixels.shape[0]
    ink = RoughInk.read(pixels, rough, pen=pen)
    if not ink.every.any() and not len(own):
        return None
    boxes = possible_boxes(ink, rough, own, pen=pen)
    evidence = box_evidence(boxes, rough, ink=ink, candidates=own, probabilities=probabilities[held])
    return Rivals(boxes=boxes, evidence=evidence)


def _within(box: NDArray[np.float64], outer: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate([np.maximum(box[:2], outer[:2]), np.minimum(box[2:], outer[2:])])
