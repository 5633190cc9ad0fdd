"""Precision, recall, F1 and calibration out of confusion matrices, and what a classifier scores on crops by them.

Leading axes pass through, so that resamples go in one call.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.evaluation.bootstrap import Estimate, by_document, estimates, weights

__all__ = [
    "BINS",
    "ORIGINAL_ACCURACY",
    "ORIGINAL_MACRO_F1",
    "Bin",
    "Evaluation",
    "accuracy",
    "calibration_error",
    "error_of_bins",
    "evaluate",
    "fit_temperature",
    "likelihood",
    "macro",
    "macro_f1",
    "mass_bins",
    "rates",
    "reliability",
    "softmax",
    "sums",
]

BINS = 15
_LOWEST, _HIGHEST = 0.05, 20.0
"""Temperatures that are tried."""
_GOLDEN = (np.sqrt(5) - 1) / 2


@dataclass(frozen=True, kw_only=True)
class Bin:
    """One point of a reliability diagram: mean confidence, share right, and how many."""

    confidence: float
    right: float
    count: int


def mass_bins(confidence: NDArray[np.float64], bins: int = BINS) -> NDArray[np.intp]:
    """The bin of each confidence, (N,): at most `bins` of them, as equal in number as ties allow.

    Steps of equal mass rather than of equal width, since confidences crowd near 1 and leave wide steps empty (Nixon et
    al., 2019, arXiv:1904.01685). Equal confidences share a bin, so that the order of the cases does not matter.
    """
    if not len(confidence):
        return np.zeros(0, np.intp)
    edges = np.quantile(confidence, np.arange(1, bins) / bins, method="inverted_cdf")
    return np.asarray(np.searchsorted(np.unique(edges), confidence, side="left"), np.intp)


def sums(confidence: NDArray[np.float64], right: NDArray[np.bool_], bins: NDArray[np.intp]) -> NDArray[np.float64]:
    """Cases, confidence and rightness summed by bin, (BINS, 3)."""
    table = np.zeros((BINS, 3))
    np.add.at(table, bins, np.column_stack([np.ones(len(bins)), confidence, right]))
    return table


def error_of_bins(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Expected calibration error of summed bins (..., BINS, 3): the mean gap, weighted by cases; NaN without cases."""
    gaps = np.abs(table[..., 1] - table[..., 2]).sum(axis=-1)
    cases = table[..., 0].sum(axis=-1)
    return np.asarray(np.divide(gaps, cases, out=np.full(np.shape(cases), np.nan), where=cases > 0))


def calibration_error(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> float:
    """Mean distance of confidence and accuracy over 15 bins of equal mass (Guo et al., 2017, arXiv:1706.04599), 0 to 1.

    NaN where there is no case.
    """
    return float(error_of_bins(sums(confidence, right, mass_bins(confidence))))


def reliability(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> list[Bin]:
    """The bins that hold a case, by rising confidence."""
    table = sums(confidence, right, mass_bins(confidence))
    return [
        Bin(confidence=float(stated / cases), right=float(hits / cases), count=int(cases))
        for cases, stated, hits in table
        if cases
    ]


def rates(confusion: NDArray[np.number], classes: int) -> NDArray[np.float64]:
    """Precision, recall and F1 of the first `classes` classes, (..., classes, 3).

    Args:
        confusion: (..., R, C) counts; rows are the truth, columns the answer; rows and columns beyond `classes` are
            other answers, such as background.
        classes: How many classes are judged.

    Returns:
        NaN for a class that does not occur in the truth; precision 0 where it was never the answer.
    """
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)[..., :classes].astype(np.float64)
    answered = confusion.sum(axis=-2)[..., :classes]
    actual = confusion.sum(axis=-1)[..., :classes]
    precision, recall = hits / np.maximum(answered, 1), hits / np.maximum(actual, 1)
    f1 = 2 * hits / np.maximum(answered + actual, 1)
    found = np.stack([precision, recall, f1], axis=-1)
    return np.where((actual > 0)[..., None], found, np.nan)


def macro(confusion: NDArray[np.number], classes: int) -> NDArray[np.float64]:
    """Mean precision, recall and F1 of the classes that occur in the truth, (..., 3); NaN where none does."""
    table = rates(confusion, classes)
    known = ~np.isnan(table)
    count = known.sum(axis=-2)
    total = np.where(known, table, 0.0).sum(axis=-2)
    return np.asarray(np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0))


def macro_f1(confusion: NDArray[np.number], classes: int) -> NDArray[np.float64]:
    """Mean F1 of the classes that occur in the truth, (...); NaN where none does."""
    return macro(confusion, classes)[..., 2]


def accuracy(confusion: NDArray[np.number]) -> NDArray[np.float64]:
    """Share on the diagonal, (...); NaN where nothing was counted."""
    hits = np.diagonal(confusion, axis1=-2, axis2=-1).sum(axis=-1).astype(np.float64)
    total = confusion.sum(axis=(-2, -1))
    return np.asarray(np.divide(hits, total, out=np.full(np.shape(total), np.nan), where=total > 0))


ORIGINAL_ACCURACY, ORIGINAL_MACRO_F1 = 0.894, 0.884
"""What the original model card says of its own documents."""


@dataclass(frozen=True, kw_only=True)
class ClassScore:
    """Rates of one class; `support` is the number of its crops, a rate without a case is 0."""

    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """A classifier on a set of crops.

    Attributes:
        classes: By name, in the order of the outputs.
        accuracy: Share of crops whose most probable class is the true one.
        macro_f1: Mean F1 of the classes that occur in the truth.
        calibration_error: Expected calibration error of the highest probability, 0 to 1, 15 bins of equal mass.
        confusion: Rows are the truth, columns what was said, counts.
        accuracy_interval: 95 % interval, by resampling documents; None where the documents are not known, or are one.
        macro_f1_interval: Likewise.
    """

    classes: dict[str, ClassScore]
    accuracy: float
    macro_f1: float
    calibration_error: float
    confusion: list[list[int]]
    accuracy_interval: tuple[float, float] | None = None
    macro_f1_interval: tuple[float, float] | None = None

    @property
    def count(self) -> int:
        """How many crops there were."""
        return sum(score.support for score in self.classes.values())

    def as_json(self) -> dict[str, Any]:
        """The figures as plain JSON."""
        return dataclasses.asdict(self)


def softmax(logits: NDArray[np.floating], temperature: float = 1.0) -> NDArray[np.float64]:
    """Probabilities (N, C) of `logits` (N, C) divided by `temperature`, in float64."""
    from scipy import special  # noqa: PLC0415  a third of a second to load, and most commands ask no classifier

    return np.asarray(special.softmax(np.asarray(logits, np.float64) / temperature, axis=1))


def likelihood(logits: NDArray[np.floating], truth: NDArray[np.integer], temperature: float = 1.0) -> float:
    """Mean negative log-likelihood of the truth (nats); lower is better."""
    chosen = softmax(logits, temperature)[np.arange(len(truth)), truth]
    return float(-np.log(np.maximum(chosen, np.finfo(np.float64).tiny)).mean())


def fit_temperature(logits: NDArray[np.floating], truth: NDArray[np.integer], steps: int = 60) -> float:
    """The temperature in [0.05, 20] with the lowest negative log-likelihood, by golden-section search on a log scale.

    The likelihood has one minimum, since it is convex in 1 / temperature.
    """
    low, high = np.log(_LOWEST), np.log(_HIGHEST)
    for _ in range(steps):
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        if likelihood(logits, truth, float(np.exp(left))) <= likelihood(logits, truth, float(np.exp(right))):
            high = right
        else:
            low = left
    return float(np.exp((low + high) / 2))


def evaluate(
    probabilities: NDArray[np.float64],
    truth: NDArray[np.integer],
    classes: Sequence[str],
    *,
    documents: Sequence[str] | None = None,
) -> Evaluation:
    """Compares `probabilities` (N, C) with the true class indices `truth` (N,).

    Args:
        probabilities: Of each crop, by class.
        truth: The crops' classes.
        classes: Names of the columns.
        documents: Of each crop; with them, accuracy and macro F1 have intervals.

    Raises:
        ValueError: There are no crops.
    """
    if not len(truth):
        raise ValueError("there are no crops to evaluate on")
    said = probabilities.argmax(axis=1)
    confusion = np.zeros((len(classes), len(classes)), np.int64)
    np.add.at(confusion, (truth, said), 1)
    table = np.nan_to_num(rates(confusion, len(classes)))
    actual = confusion.sum(axis=1)
    spread = _spread(said, truth, len(classes), documents) if documents is not None else (None, None)
    return Evaluation(
        classes={
            name: ClassScore(
                precision=float(table[row, 0]),
                recall=float(table[row, 1]),
                f1=float(table[row, 2]),
                support=int(actual[row]),
            )
            for row, name in enumerate(classes)
        },
        accuracy=float(accuracy(confusion)),
        macro_f1=float(macro_f1(confusion, len(classes))),
        calibration_error=calibration_error(probabilities.max(axis=1), said == truth),
        confusion=confusion.tolist(),
        accuracy_interval=spread[0],
        macro_f1_interval=spread[1],
    )


def _spread(
    said: NDArray[np.integer], truth: NDArray[np.integer], classes: int, documents: Sequence[str]
) -> tuple[tuple[float, float] | None, tuple[float, float] | None]:
    """Intervals of accuracy and macro F1."""
    cases = np.zeros((len(truth), classes, classes))
    cases[np.arange(len(truth)), truth, said] = 1
    counts = by_document(cases, documents)
    found = estimates(
        lambda sums: np.stack([accuracy(sums), macro_f1(sums, classes)], axis=1), counts, weights(len(counts))
    )
    return _bounds(found[0]), _bounds(found[1])


def _bounds(figure: Estimate) -> tuple[float, float] | None:
    return None if figure.low is None or figure.high is None else (figure.low, figure.high)
