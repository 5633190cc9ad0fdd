"""Which shown box answers which true mark: one to one, the highest score first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backend.evaluation.truth import TruePage
from backend.geometry import Boxes, coverage, iou
from backend.vision.network_config import MARKS

__all__ = ["BACKGROUND", "NOBODY", "FoundMarks", "Match", "match", "take"]

BACKGROUND = len(MARKS)
"""Row of the confusion matrix for boxes on nothing, and column for marks without a box."""
NOBODY = -1
_IGNORED = 0.5
"""Share of a box inside regions that do not count, above which the box does not count either."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FoundMarks:
    """What a pipeline found on a page.

    Attributes:
        boxes: (N, 4) xyxy pixels.
        labels: (N,) index into `MARKS`.
        scores: (N,) probability of the label.
    """

    boxes: Boxes
    labels: NDArray[np.intp]
    scores: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.boxes)


@dataclass(frozen=True, kw_only=True, eq=False)
class Match:
    """The verdict on N boxes over T marks at one IoU.

    Attributes:
        mark: (N,) the true mark that each box rightly names, else `NOBODY`.
        misnamed: (N,) the true mark that each box reaches under a wrong name, else `NOBODY`.
        ignored: (N,) whether the box lies on something that does not count.
        called: (T,) what each mark was called, an index into `MARKS`, `BACKGROUND` where no box reaches it.
        confusion: (4, 4) counts; rows are the truth, columns what was shown; the last of each is background.
    """

    mark: NDArray[np.intp]
    misnamed: NDArray[np.intp]
    ignored: NDArray[np.bool_]
    called: NDArray[np.intp]
    confusion: NDArray[np.int64]

    @property
    def right(self) -> NDArray[np.bool_]:
        """(N,) whether each box is on a mark of its name."""
        return np.asarray(self.mark != NOBODY)


def match(page: TruePage, found: FoundMarks, threshold: float) -> Match:
    """Judges what was found on a page.

    By falling score each box takes the free mark of its own class that it overlaps most, at IoU `threshold` or more. Of
    the boxes left over, those on ignored regions do not count; the others take, in the same way, a mark left over of
    another class. What is then left is a box on background, or a missed mark.
    """
    overlap = iou(found.boxes, page.boxes)
    order = np.argsort(-found.scores, kind="stable")
    free = np.ones(len(page), bool)
    same = found.labels[:, None] == page.labels[None, :]
    mark = take(overlap, same, order, free, threshold)
    ignored = (mark == NOBODY) & (coverage(found.boxes, page.ignored).max(axis=1, initial=0) >= _IGNORED)
    rest = order[(mark[order] == NOBODY) & ~ignored[order]]
    misnamed = take(overlap, ~same, rest, free, threshold)
    called = np.full(len(page), BACKGROUND, np.intp)
    reached = np.where(mark != NOBODY, mark, misnamed)
    called[reached[reached != NOBODY]] = found.labels[reached != NOBODY]
    confusion = np.zeros((BACKGROUND + 1, BACKGROUND + 1), np.int64)
    np.add.at(confusion, (page.labels, called), 1)
    np.add.at(confusion, (BACKGROUND, found.labels[(reached == NOBODY) & ~ignored]), 1)
    return Match(mark=mark, misnamed=misnamed, ignored=ignored, called=called, confusion=confusion)


def take(
    overlap: NDArray[np.float64],
    allowed: NDArray[np.bool_],
    order: NDArray[np.intp],
    free: NDArray[np.bool_],
    threshold: float,
) -> NDArray[np.intp]:
    """The mark that each box gets, (N,): in `order`, the free and allowed one that it overlaps most.

    Args:
        overlap: (N, T) IoU of every pair.
        allowed: (N, T) which pairs may be.
        order: Boxes in the order of their turn; those not named get `NOBODY`.
        free: (T,) which marks are still to be had; those taken are crossed out in place.
        threshold: Least IoU.
    """
    taken = np.full(len(overlap), NOBODY, np.intp)
    if not free.size:
        return taken
    for index in order:
        open_to_it = np.where(allowed[index] & free, overlap[index], -1.0)
        best = int(open_to_it.argmax())
        if open_to_it[best] >= threshold:
            taken[index] = best
            free[best] = False
    return taken
