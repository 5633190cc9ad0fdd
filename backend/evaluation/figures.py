"""What an evaluation says, as one value that is plain JSON: every figure with its interval.

Precision, recall and F1 of each class with their intervals, out of confusions by document.

The figures as a table for a terminal.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.evaluation.bootstrap import Estimate, estimates
from backend.evaluation.rates import ORIGINAL_ACCURACY, ORIGINAL_MACRO_F1, Bin, macro, rates
from backend.vision.network_config import MARKS

__all__ = ["IOUS", "Calibration", "ClosedSet", "EndToEnd", "Figures", "Rates", "Slice", "by_class", "table"]

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
        forced_accuracy: As `accuracy`, had the network to choose among the three, as the original has.
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


def by_class(counts: NDArray[np.float64], drawn: NDArray[np.int64]) -> tuple[dict[str, Rates], Rates]:
    """Rates by class, and their means.

    Args:
        counts: (D, R, C) confusions by document; rows are the truth, `MARKS` first.
        drawn: (R, D) of `bootstrap.weights`.
    """
    marks = counts.sum(axis=(0, 2))[: len(MARKS)].astype(int)
    found = estimates(lambda summed: rates(summed, len(MARKS)).reshape(len(summed), -1), counts, drawn)
    classes = {name: _rates(found[3 * row : 3 * row + 3], int(marks[row])) for row, name in enumerate(MARKS)}
    means = estimates(lambda summed: macro(summed, len(MARKS)), counts, drawn)
    return classes, _rates(means, int(marks.sum()))


def _rates(found: Sequence[Estimate], marks: int) -> Rates:
    precision, recall, f1 = found
    return Rates(precision=precision, recall=recall, f1=f1, marks=marks)


def table(figures: Figures) -> str:
    """All figures with their 95 % intervals, as lines of text."""
    return "\n".join(_lines(figures))


def _lines(figures: Figures) -> Iterator[str]:
    marks = ", ".join(f"{count} {name}" for name, count in figures.marks.items())
    yield figures.version
    yield (
        f"{figures.documents} documents, {figures.pages} pages ({figures.pages_without_marks} without marks): {marks}; "
        f"[ ] are 95 % intervals, {figures.resamples} resamples of documents"
    )
    for part in figures.end_to_end.values():
        yield ""
        yield f"end to end, IoU {part.iou}"
        yield from _rates_rows([*part.classes.items(), ("macro", part.macro)])
        yield f"  {'false boxes a page':<34}{part.false_boxes}"
        yield f"  {'  on pages without marks':<34}{part.false_boxes_without_marks}"
    yield f"  {'mAP50':<34}{figures.map50}"
    yield f"  {'mAP50-95':<34}{figures.map50_95}"
    yield f"  {'corrections a page':<34}{figures.corrections['all']}"
    yield ""
    yield from _confusion("shown as (IoU .5)", [*MARKS, "background"], figures.end_to_end["0.5"].confusion, "missed")
    yield ""
    if figures.slices:
        yield f"  {'recall of':<22}{'marks':>6}  {'IoU 0.5':<24}{'IoU 0.3':<24}macro F1"
    for one in figures.slices:
        f1 = one.macro_f1 or ""
        row = f"  {one.name:<22}{one.marks:>6}  {one.recall['0.5']!s:<24}{one.recall['0.3']!s:<24}{f1}"
        yield row.rstrip()
    yield from _closed(figures)


def _closed(figures: Figures) -> Iterator[str]:
    closed = figures.closed_set
    yield ""
    yield "closed set: crops of the true boxes, `none` is wrong"
    yield from _rates_rows([*closed.classes.items(), ("macro", closed.macro)])
    yield f"  {'accuracy':<34}{closed.accuracy}"
    says = "the original model card"
    accuracy, macro_f1 = closed.forced_accuracy, closed.forced_macro_f1
    yield f"  {'accuracy, without `none`':<34}{accuracy}  {says}: {ORIGINAL_ACCURACY}, its documents"
    yield f"  {'macro F1, without `none`':<34}{macro_f1}  {says}: {ORIGINAL_MACRO_F1}, its documents"
    yield ""
    yield from _confusion("called", list(MARKS), closed.confusion, "none")
    yield ""
    yield "calibration (ECE: 15 bins of equal mass)"
    for name, one in (("shown boxes", figures.shown), ("crops of true boxes", figures.crops)):
        yield f"  {name:<22}{one.cases:>6}  ECE {one.error}   Brier {one.brier}"
    median, p95 = figures.milliseconds["median"], figures.milliseconds["p95"]
    yield ""
    yield f"a page takes {median:.0f} ms (median), {p95:.0f} ms (95 % of the pages)"


def _rates_rows(rows: Sequence[tuple[str, Rates]]) -> Iterator[str]:
    yield f"  {'':<12}{'marks':>6}  {'precision':<24}{'recall':<24}F1"
    for name, one in rows:
        yield f"  {name:<12}{one.marks:>6}  {one.precision!s:<24}{one.recall!s:<24}{one.f1}"


def _confusion(title: str, rows: Sequence[str], confusion: Sequence[Sequence[int]], last: str) -> Iterator[str]:
    yield f"  {title:<22}" + "".join(f"{name:>12}" for name in (*MARKS, last))
    for name, row in zip(rows, confusion, strict=True):
        yield f"  {name:<22}" + "".join(f"{count:>12}" for count in row)
