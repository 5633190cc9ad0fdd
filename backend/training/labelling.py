"""What a box on a page with known marks teaches: a class, `none`, or nothing because it could be argued about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from backend.geometry import Boxes, as_boxes, coverage, iou
from backend.nets.config import CLASSES, NONE

__all__ = ["DONT_CARE", "HIT", "Truth", "label_boxes"]

HIT = 0.5
NEAR = 0.3
"""From this IoU a box is too good a guess to be called wrong."""
INSIDE = 0.7
"""A box with this share of itself within a mark shows nothing but that mark."""
FRAGMENT = 0.2
"""A box that shows less than this share of a mark is a fragment; a larger part might be taken for the whole."""
LOOSE = 0.15
"""A box around most of a mark and much else still teaches nothing from this IoU."""
TOUCHING = 0.5
DONT_CARE = 0.3


@dataclass(frozen=True, kw_only=True)
class Truth:
    """What is known about a page.

    Attributes:
        boxes: (N, 4) xyxy pixels of its marks.
        labels: N classes.
        ignored: (M, 4) places about which nothing is said, such as handwriting that is no signature.
        complete: Whether every mark of the page is among `boxes`; only then can a box be called `none`.
    """

    boxes: Boxes
    labels: tuple[str, ...]
    ignored: Boxes = field(default_factory=lambda: as_boxes([]))
    complete: bool = True


def label_boxes(boxes: Boxes, truth: Truth) -> list[str | None]:
    """Gives the class of each box (N, 4), `none` included; None where it should be left out of the training data.

    A fragment of a mark becomes `none`, so that a piece of a stamp's ring or a stroke of a name never outranks the
    whole; a box between a hit and a fragment is left out, since people would argue about it as well.
    """
    if not len(truth.boxes):
        empty = [CLASSES[NONE] if truth.complete else None] * len(boxes)
        return _without_ignored(boxes, empty, truth)
    overlap = iou(boxes, truth.boxes)
    own = coverage(boxes, truth.boxes)
    part = coverage(truth.boxes, boxes).T
    labels = [
        truth.labels[int(np.argmax(overlap[row]))]
        if overlap[row].max() >= HIT
        else _miss(overlap[row], own[row], part[row])
        if truth.complete
        else None
        for row in range(len(boxes))
    ]
    return _without_ignored(boxes, labels, truth)


def _miss(overlap: np.ndarray, own: np.ndarray, part: np.ndarray) -> str | None:
    """The label of a box that hits no mark, from its relation to each of them."""
    within = own >= INSIDE
    arguable = (
        overlap.max() >= NEAR
        or bool((within & (part >= FRAGMENT)).any())
        or bool(((part >= TOUCHING) & (overlap >= LOOSE)).any())
        or bool((~within & (own >= TOUCHING)).any())
    )
    return None if arguable else CLASSES[NONE]


def _without_ignored(boxes: Boxes, labels: Sequence[str | None], truth: Truth) -> list[str | None]:
    """Leaves out what would be `none` but lies on a place about which nothing is said."""
    if not len(truth.ignored):
        return list(labels)
    doubtful = coverage(boxes, truth.ignored).max(axis=1) >= DONT_CARE
    return [None if doubtful[row] and label == CLASSES[NONE] else label for row, label in enumerate(labels)]
