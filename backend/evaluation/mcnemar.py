"""The exact McNemar test: of the objects on which two models differ, do they split as a fair coin would?"""

from __future__ import annotations

from math import comb

__all__ = ["mcnemar"]


def mcnemar(only_first: int, only_second: int) -> float:
    """Two-sided p-value of `only_first` objects right by the first model alone, and `only_second` by the second alone.

    Exact, by the binomial distribution in whole numbers (McNemar, 1947); 1 where the models never differ.

    Example:
        >>> mcnemar(0, 5)
        0.0625
    """
    differing = only_first + only_second
    tail = sum(comb(differing, fewer) for fewer in range(min(only_first, only_second) + 1))
    return min(1.0, 2 * tail / (1 << differing))
