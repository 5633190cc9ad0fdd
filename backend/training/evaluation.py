"""How good a classifier is on crops of known class: rates by class, confusion, calibration; and its temperature."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "ClassScore",
    "Evaluation",
    "calibration_error",
    "evaluate",
    "fit_temperature",
    "likelihood",
    "softmax",
]

_BINS = 15
_LOWEST, _HIGHEST = 0.05, 20.0
_GOLDEN = (np.sqrt(5) - 1) / 2


@dataclass(frozen=True, kw_only=True)
class ClassScore:
    """Rates of one class; `support` is the number of its crops, a rate without a case is 0."""

    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """A classifier on a set of crops.

    Attributes:
        classes: By name, in the order of the outputs.
        accuracy: Share of crops whose most probable class is the true one.
        macro_f1: Mean F1 of the classes that occur in the truth.
        calibration_error: Expected calibration error, 0 to 1 (Guo et al., 2017, arXiv:1706.04599; 15 bins).
        confusion: Rows are the truth, columns what was said, counts.
    """

    classes: dict[str, ClassScore]
    accuracy: float
    macro_f1: float
    calibration_error: float
    confusion: list[list[int]]

    @property
    def count(self) -> int:
        """How many crops there were."""
        return sum(score.support for score in self.classes.values())

    def as_json(self) -> dict[str, Any]:
        """The figures as plain JSON."""
        return dataclasses.asdict(self)


def softmax(logits: NDArray[np.floating], temperature: float = 1.0) -> NDArray[np.float64]:
    """Probabilities (N, C) of `logits` (N, C) divided by `temperature`."""
    scaled = np.asarray(logits, np.float64) / temperature
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def evaluate(probabilities: NDArray[np.float64], truth: NDArray[np.integer], classes: Sequence[str]) -> Evaluation:
    """Compares `probabilities` (N, C) with the true class indices `truth` (N,).

    Raises:
        ValueError: There is not one crop.
    """
    if not len(truth):
        raise ValueError("there are no crops to evaluate on")
    said = probabilities.argmax(axis=1)
    confusion = np.zeros((len(classes), len(classes)), np.int64)
    np.add.at(confusion, (truth, said), 1)
    hits, predicted, actual = confusion.diagonal(), confusion.sum(axis=0), confusion.sum(axis=1)
    precision, recall = hits / np.maximum(predicted, 1), hits / np.maximum(actual, 1)
    f1 = 2 * hits / np.maximum(predicted + actual, 1)
    return Evaluation(
        classes={
            name: ClassScore(
                precision=float(precision[row]), recall=float(recall[row]), f1=float(f1[row]), support=int(actual[row])
            )
            for row, name in enumerate(classes)
        },
        accuracy=float(hits.sum() / len(truth)),
        macro_f1=float(f1[actual > 0].mean()),
        calibration_error=calibration_error(probabilities, truth),
        confusion=confusion.tolist(),
    )


def calibration_error(probabilities: NDArray[np.float64], truth: NDArray[np.integer], bins: int = _BINS) -> float:
    """Mean distance between confidence and accuracy over `bins` equal steps of confidence, weighted by their crops."""
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == truth
    step = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = np.bincount(step, weights=confidence - right, minlength=bins)
    return float(np.abs(gaps).sum() / max(1, len(truth)))


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
