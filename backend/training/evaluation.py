"""The temperature that makes a network's probabilities honest."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from backend.evaluation.closed_set import softmax

__all__ = ["fit_temperature", "likelihood"]

_LOWEST, _HIGHEST = 0.05, 20.0
_GOLDEN = (np.sqrt(5) - 1) / 2


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
