"""What the detector saw and what the classifier says, weighed into one probability."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from backend.nets.config import MARKS
from backend.nets.detector import Fusion

__all__ = ["evidence", "fuse"]

_LEAST_HEAT = 0.03
"""Stands for the heat of a class about which the detector said nothing."""
_LEAST = 1e-6


def evidence(
    probabilities: NDArray[np.float64], heat: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What `Fusion` weighs: log probabilities (N, 4), and log odds of the heat (N, 3)."""
    bounded = np.clip(heat, _LEAST_HEAT, 1 - _LEAST_HEAT)
    return np.log(np.maximum(probabilities, _LEAST)), np.log(bounded / (1 - bounded))


def fuse(probabilities: NDArray[np.float64], heat: NDArray[np.float64], fusion: Fusion) -> NDArray[np.float64]:
    """Probabilities (N, 4) over `CLASSES`; rows sum to 1.

    Args:
        probabilities: (N, 4) of the classifier.
        heat: (N, 3) of the detector, 0 where it said nothing.
        fusion: The weights of both.
    """
    said, seen = evidence(probabilities, heat)
    scores = fusion.classified * said
    scores[:, : len(MARKS)] += fusion.seen * seen + np.array(fusion.biases)
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))
