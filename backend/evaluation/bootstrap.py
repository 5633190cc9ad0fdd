"""Intervals by resampling whole documents, because marks of one contract share its paper, inks and hands.

Counts are summed by document once. A resample is a weighted sum of them, so all resamples are one matrix product
(percentile bootstrap over clusters; Davison and Hinkley, 1997, chapters 2.4 and 3.8).

Exact binomial tests: does chance explain so many cases? And McNemar's: of the objects on which two models differ, do
they split as a fair coin would?
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "LEAST_DOCUMENTS",
    "RESAMPLES",
    "SEED",
    "Estimate",
    "by_document",
    "chance_of",
    "estimate",
    "estimates",
    "interval",
    "mcnemar",
    "weights",
]

RESAMPLES = 1000
SEED = 20260101
_LEVEL = 0.95
LEAST_DOCUMENTS = 20
"""With fewer, intervals over documents are too narrow (see docs/evaluation.md)."""

Statistic = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def mcnemar(only_first: int, only_second: int) -> float:
    """Two-sided p-value of `only_first` objects right by the first model alone, and `only_second` by the second alone.

    Exact, by the binomial distribution (McNemar, 1947); 1 where the models never differ.

    Example:
        >>> mcnemar(0, 5)
        0.0625
    """
    if not (differing := only_first + only_second):
        return 1.0
    from scipy.stats import binomtest  # noqa: PLC0415  half a second to load, which the gate alone needs

    return float(binomtest(only_first, differing).pvalue)


def chance_of(cases: int, of: int, share: float, *, alternative: Literal["less", "greater"]) -> float:
    """How often so few cases, or so many, come about where `share` is true: the exact binomial test, one-sided."""
    from scipy.stats import binomtest  # noqa: PLC0415  half a second to load, which the gate alone needs

    return float(binomtest(cases, of, share, alternative=alternative).pvalue)


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval; None where there is no case to tell it by.

    Example:
        >>> str(Estimate(0.9312, 0.9, 0.955))
        '0.931 [0.900, 0.955]'
    """

    value: float | None
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        if self.value is None:
            return "–"
        if self.low is None or self.high is None:
            return f"{self.value:.3f}"
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def weights(documents: int, *, resamples: int = RESAMPLES, seed: int = SEED) -> NDArray[np.int64]:
    """How often each document is drawn in each resample, (R, D): D draws with replacement."""
    drawn = np.random.default_rng(seed).multinomial(documents, np.full(documents, 1 / documents), size=resamples)
    return np.asarray(drawn, np.int64)


def by_document(rows: ArrayLike, documents: Sequence[str]) -> NDArray[np.float64]:
    """Sums rows (P, ...) over the pages of each document, (D, ...), documents in order of appearance."""
    values = np.asarray(rows, np.float64)
    places = {name: place for place, name in enumerate(dict.fromkeys(documents))}
    summed = np.zeros((len(places), *values.shape[1:]))
    np.add.at(summed, [places[name] for name in documents], values)
    return summed


def estimates(statistic: Statistic, counts: NDArray[np.float64], drawn: NDArray[np.int64]) -> list[Estimate]:
    """K figures with their intervals.

    Args:
        statistic: Turns summed counts (B, ...) into figures (B, K); NaN where there is no case.
        counts: (D, ...) by document.
        drawn: (R, D) of `weights`.
    """
    value = statistic(counts.sum(axis=0)[None])[0]
    if drawn.shape[1] < 2:
        # One document says nothing about how others would differ.
        return [Estimate(_number(one)) for one in value]
    resampled = statistic(np.tensordot(drawn.astype(np.float64), counts, axes=1))
    return [Estimate(_number(one), *interval(resampled[:, column])) for column, one in enumerate(value)]


def estimate(statistic: Statistic, counts: NDArray[np.float64], drawn: NDArray[np.int64]) -> Estimate:
    """One figure with its interval; `statistic` gives (B,)."""
    (found,) = estimates(lambda summed: statistic(summed)[:, None], counts, drawn)
    return found


def interval(resampled: NDArray[np.float64]) -> tuple[float, float] | tuple[None, None]:
    """The middle 95 % of the resamples that have a value; none where none has."""
    known = resampled[~np.isnan(resampled)]
    if not len(known):
        return None, None
    low, high = np.quantile(known, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return float(low), float(high)


def _number(value: np.float64) -> float | None:
    return None if np.isnan(value) else float(value)
