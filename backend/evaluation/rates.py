"""Precision, recall and F1 out of confusion matrices; leading axes pass through, so that resamples go in one call."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["accuracy", "macro", "macro_f1", "rates"]


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
