"""Where a network's word is taken: bars with the wanted precision, and odds that lose no class its recall."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from backend.nets.config import MARKS

__all__ = ["raised", "shifts", "shown", "thresholds"]

_BAR = 0.5
"""Where CONFIDENCE is, if nobody sets it."""
_STEPS = np.linspace(0, 1.5, 16)
"""Log odds by which a class may be raised."""


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


def shown(probabilities: NDArray[np.float64], truth: NDArray[np.integer]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Of each of `MARKS` how many boxes would be right, and how many wrong, at a probability of at least .5: (3,) each.

    Args:
        probabilities: (N, 4) over `CLASSES`.
        truth: (N,) indices into `CLASSES`.
    """
    said = np.where(probabilities.max(axis=1, initial=0) >= _BAR, probabilities.argmax(axis=1), -1)
    called = said[:, None] == np.arange(len(MARKS))
    right = called & (np.asarray(truth)[:, None] == np.arange(len(MARKS)))
    return right.sum(axis=0), (called & ~right).sum(axis=0)


def raised(probabilities: NDArray[np.float64], shift: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities (N, 4) after the log odds of each of `MARKS` grew by `shift` (3,)."""
    weighed = probabilities * np.exp(np.append(shift, np.zeros(probabilities.shape[1] - len(shift))))
    return np.asarray(weighed / weighed.sum(axis=1, keepdims=True))


def shifts(
    probabilities: NDArray[np.float64],
    truth: NDArray[np.integer],
    *,
    wanted: NDArray[np.number],
    most_wrong: NDArray[np.integer],
    precision: float,
) -> NDArray[np.float64]:
    """The smallest growth of each class's log odds with which as many of its marks are found as are wanted: (3,).

    An annotator has more work with a mark that is not shown than with a box on nothing, so that a better network should
    not show fewer. Odds grow no further than the bounds on wrong boxes let them; what that does not reach is left.

    Args:
        probabilities: (N, 4) over `CLASSES`.
        truth: (N,) indices into `CLASSES`.
        wanted: (3,) marks that are to be found.
        most_wrong: (3,) wrong boxes that growth may come to: those of what serves, lest they become more each time.
        precision: Least share of right ones that it may come to.
    """
    chosen = np.zeros(len(MARKS))
    right, _ = shown(probabilities, truth)
    for place in range(len(MARKS)):
        best = right[place]
        for step in _STEPS[1:]:
            if best >= wanted[place]:
                break
            hits, wrong = (
                counts[place]
                for counts in shown(raised(probabilities, np.where(np.arange(len(MARKS)) == place, step, 0.0)), truth)
            )
            if wrong > most_wrong[place] or hits < precision * (hits + wrong):
                break
            if hits > best:
                chosen[place], best = step, hits
    return chosen
