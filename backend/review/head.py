"""A small head on the classifier's embeddings: multinomial logistic regression with a ridge, classes counting alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

__all__ = ["Head", "evenly", "fit"]

_ROUNDS = 300


@dataclass(frozen=True, eq=False)
class Head:
    """What names crops by their embeddings.

    Attributes:
        mean: (512,) of the embeddings that it learnt from.
        scale: (512,) their standard deviations.
        weights: (C, 512).
        bias: (C,).
    """

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    weights: NDArray[np.float64]
    bias: NDArray[np.float64]

    def probabilities(self, embeddings: NDArray[np.float32]) -> NDArray[np.float64]:
        """Probabilities of the classes, (N, C), of embeddings (N, 512)."""
        features = (embeddings - self.mean) / self.scale
        return np.exp(_log_softmax(features @ self.weights.T + self.bias))


def fit(embeddings: NDArray[np.float32], labels: NDArray[np.intp], *, classes: int, ridge: float) -> Head:
    """Learns to tell classes apart.

    Minimises the mean negative log likelihood plus `ridge` / 2 times the squared weights of the standardised features,
    by L-BFGS (Liu and Nocedal 1989). The bias is not held back. The mean is over classes, not over crops: a name is not
    to be doubted because it is rare.

    Args:
        embeddings: (N, 512).
        labels: (N,) from 0 to `classes` - 1, each of them once at least.
        classes: How many classes there are.
        ridge: How much small weights are preferred.
    """
    mean = embeddings.mean(axis=0, dtype=np.float64)
    spread = embeddings.std(axis=0, dtype=np.float64)
    scale = np.where(spread > 0, spread, 1.0)
    features = (embeddings - mean) / scale
    truth, share = np.eye(classes)[labels], evenly(labels)

    def loss(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        table = flat.reshape(classes, -1)
        weights, bias = table[:, :-1], table[:, -1]
        logs = _log_softmax(features @ weights.T + bias)
        wrong = (np.exp(logs) - truth) * share[:, None]
        slope = np.column_stack([wrong.T @ features + ridge * weights, wrong.sum(axis=0)])
        value = -(logs * truth).sum(axis=1) @ share + ridge / 2 * (weights**2).sum()
        return float(value), slope.ravel()

    start = np.zeros(classes * (features.shape[1] + 1))
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": _ROUNDS})
    table = np.asarray(found.x, np.float64).reshape(classes, -1)
    return Head(mean=mean, scale=scale, weights=table[:, :-1], bias=table[:, -1])


def evenly(labels: NDArray[np.intp]) -> NDArray[np.float64]:
    """Shares, (N,), that sum to 1, to the same for each class that occurs."""
    counts = np.bincount(labels)
    return np.asarray(1.0 / (counts[labels] * np.count_nonzero(counts)))


def _log_softmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    shifted = scores - scores.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))
