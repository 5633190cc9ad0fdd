"""The bars above which a network's word has the wanted precision."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from backend.nets.config import MARKS

__all__ = ["thresholds"]


def thresholds(
    probabilities: NDArray[np.float64], truth: NDArray[np.integer], *, precision: float, least: int
) -> tuple[float, ...]:
    """For each of `MARKS` the lowest probability from which on what is called so is right as often as wanted.

    Never above what the data can tell: at least `least` right ones have to lie at or above it, else it is 0, which
    leaves the operator's own bar alone.

    Args:
        probabilities: (N, 4) over `CLASSES`.
        truth: (N,) indices into `CLASSES`.
        precision: Wanted share of right ones.
        least: Fewest right ones at or above a threshold.
    """
    return tuple(
        _threshold(probabilities, np.asarray(truth), place, precision=precision, least=least)
        for place in range(len(MARKS))
    )


def _threshold(
    probabilities: NDArray[np.float64], truth: NDArray[np.integer], place: int, *, precision: float, least: int
) -> float:
    called = probabilities.argmax(axis=1) == place
    order = np.argsort(-probabilities[called, place], kind="stable")
    scores = probabilities[called, place][order]
    right = np.cumsum(truth[called][order] == place)
    if not len(scores):
        return 0.0
    precise = right / np.arange(1, len(scores) + 1) >= precision
    # A bar takes all crops of its score: only where the next one is lower does the count end.
    ends = np.append(scores[1:] < scores[:-1], True)
    good = np.flatnonzero(precise & ends & (right >= least))
    if not len(good) or good[-1] == len(scores) - 1:
        return 0.0
    return float(scores[good[-1]])
