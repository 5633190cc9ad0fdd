"""Precision, recall and F1 out of confusion matrices; leading axes pass through, so that resamples go in one call.

Whether probabilities mean what they say: expected calibration error, Brier score, reliability diagram.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "BINS",
    "Bin",
    "accuracy",
    "calibration_error",
    "error_of_bins",
    "macro",
    "macro_f1",
    "mass_bins",
    "rates",
    "reliability",
    "sums",
]

BINS = 15


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
