"""Precision, recall and F1 of each class with their intervals, out of confusions by document."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from backend.evaluation.bootstrap import Estimate, estimates
from backend.evaluation.figures import Rates
from backend.evaluation.rates import macro, rates
from backend.nets.config import MARKS

__all__ = ["by_class"]


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
