"""What an evaluation says, as one value that is plain JSON: every figure with its interval."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from backend.evaluation.bootstrap import Estimate
from backend.evaluation.calibration import Bin

__all__ = ["IOUS", "Calibration", "ClosedSet", "EndToEnd", "Figures", "Rates", "Slice"]

IOUS = (0.5, 0.3)


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Rates of one class, or their means over the classes; `marks` is how many there are."""

    precision: Estimate
    recall: Estimate
    f1: Estimate
    marks: int


@dataclass(frozen=True, kw_only=True)
class EndToEnd:
    """What is shown on pages, judged at one IoU.

    Attributes:
        iou: Least IoU of a right box.
        classes: By name.
        macro: Means over the classes that occur.
        confusion: 4 x 4; rows are the truth, columns what was shown, the last of each background.
        false_boxes: Boxes a page that are not right.
        false_boxes_without_marks: The same on pages that have no mark.
    """

    iou: float
    classes: dict[str, Rates]
    macro: Rates
    confusion: list[list[int]]
    false_boxes: Estimate
    false_boxes_without_marks: Estimate


@dataclass(frozen=True, kw_only=True)
class Slice:
    """Marks of one sort: how many, and recall by IoU; macro F1 only where a slice is of whole pages."""

    name: str
    marks: int
    recall: dict[str, Estimate]
    macro_f1: Estimate | None = None


@dataclass(frozen=True, kw_only=True)
class ClosedSet:
    """Crops of the true boxes, classified.

    Attributes:
        classes: By name.
        accuracy: Share named rightly; `none` is a wrong answer.
        macro: Means over the classes.
        confusion: 3 x 4; rows are the truth, columns the answer, the last `none`.
        forced_accuracy: As `accuracy`, had the network to choose among the three, as the seed's has.
        forced_macro_f1: Mean F1 of the same.
    """

    classes: dict[str, Rates]
    accuracy: Estimate
    macro: Rates
    confusion: list[list[int]]
    forced_accuracy: Estimate
    forced_macro_f1: Estimate


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Whether scores mean what they say.

    Attributes:
        error: Expected calibration error, 15 bins of equal mass; its interval keeps the bins.
        brier: Mean squared distance of the probabilities from the truth.
        cases: How many scores.
        bins: The reliability diagram.
    """

    error: Estimate
    brier: Estimate
    cases: int
    bins: list[Bin]


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Everything that is measured.

    Attributes:
        version: The pipeline's.
        truth: SHA-256 of the pages and their marks.
        end_to_end: By IoU, such as "0.5".
        map50: Mean average precision at IoU .5.
        map50_95: Mean over IoU .5 to .95.
        slices: Sorts of marks and of pages.
        shown: Calibration of the shown boxes: how often a box of that score is right at IoU .5.
        crops: Calibration of the crops of the true boxes.
        corrections: By kind, a page, and `all`.
        milliseconds: `median` and `p95` of a page, pixels to marks.
    """

    version: str
    truth: str
    documents: int
    pages: int
    pages_without_marks: int
    marks: dict[str, int]
    resamples: int
    seed: int
    end_to_end: dict[str, EndToEnd]
    map50: Estimate
    map50_95: Estimate
    slices: list[Slice]
    closed_set: ClosedSet
    shown: Calibration
    crops: Calibration
    corrections: dict[str, Estimate]
    milliseconds: dict[str, float]

    def as_json(self) -> dict[str, Any]:
        """The figures as plain JSON."""
        return dataclasses.asdict(self)
