"""How good a classifier is on crops of known class: rates by class, confusion and calibration.

The original model card measures in this way.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from backend.evaluation.bootstrap import Estimate, by_document, estimates, weights
from backend.evaluation.rates import accuracy, calibration_error, macro_f1, rates

__all__ = ["ORIGINAL_ACCURACY", "ORIGINAL_MACRO_F1", "ClassScore", "Evaluation", "evaluate", "softmax"]

ORIGINAL_ACCURACY, ORIGINAL_MACRO_F1 = 0.894, 0.884
"""What the original model card says of its own documents."""


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
        calibration_error: Expected calibration error of the highest probability, 0 to 1, 15 bins of equal mass.
        confusion: Rows are the truth, columns what was said, counts.
        accuracy_interval: 95 %, documents resampled; None where the crops' documents are not told, or only one.
        macro_f1_interval: Likewise.
    """

    classes: dict[str, ClassScore]
    accuracy: float
    macro_f1: float
    calibration_error: float
    confusion: list[list[int]]
    accuracy_interval: tuple[float, float] | None = None
    macro_f1_interval: tuple[float, float] | None = None

    @property
    def count(self) -> int:
        """How many crops there were."""
        return sum(score.support for score in self.classes.values())

    def as_json(self) -> dict[str, Any]:
        """The figures as plain JSON."""
        return dataclasses.asdict(self)


def softmax(logits: NDArray[np.floating], temperature: float = 1.0) -> NDArray[np.float64]:
    """Probabilities (N, C) of `logits` (N, C) divided by `temperature`, in float64."""
    return np.asarray(special.softmax(np.asarray(logits, np.float64) / temperature, axis=1))


def evaluate(
    probabilities: NDArray[np.float64],
    truth: NDArray[np.integer],
    classes: Sequence[str],
    *,
    documents: Sequence[str] | None = None,
) -> Evaluation:
    """Compares `probabilities` (N, C) with the true class indices `truth` (N,).

    Args:
        probabilities: Of each crop, by class.
        truth: The crops' classes.
        classes: Names of the columns.
        documents: Of each crop; with them, accuracy and macro F1 have intervals.

    Raises:
        ValueError: There is not one crop.
    """
    if not len(truth):
        raise ValueError("there are no crops to evaluate on")
    said = probabilities.argmax(axis=1)
    confusion = np.zeros((len(classes), len(classes)), np.int64)
    np.add.at(confusion, (truth, said), 1)
    table = np.nan_to_num(rates(confusion, len(classes)))
    actual = confusion.sum(axis=1)
    spread = _spread(said, truth, len(classes), documents) if documents is not None else (None, None)
    return Evaluation(
        classes={
            name: ClassScore(
                precision=float(table[row, 0]),
                recall=float(table[row, 1]),
                f1=float(table[row, 2]),
                support=int(actual[row]),
            )
            for row, name in enumerate(classes)
        },
        accuracy=float(accuracy(confusion)),
        macro_f1=float(macro_f1(confusion, len(classes))),
        calibration_error=calibration_error(probabilities.max(axis=1), said == truth),
        confusion=confusion.tolist(),
        accuracy_interval=spread[0],
        macro_f1_interval=spread[1],
    )


def _spread(
    said: NDArray[np.integer], truth: NDArray[np.integer], classes: int, documents: Sequence[str]
) -> tuple[tuple[float, float] | None, tuple[float, float] | None]:
    """Intervals of accuracy and macro F1."""
    cases = np.zeros((len(truth), classes, classes))
    cases[np.arange(len(truth)), truth, said] = 1
    counts = by_document(cases, documents)
    found = estimates(
        lambda sums: np.stack([accuracy(sums), macro_f1(sums, classes)], axis=1), counts, weights(len(counts))
    )
    return _bounds(found[0]), _bounds(found[1])


def _bounds(figure: Estimate) -> tuple[float, float] | None:
    return None if figure.low is None or figure.high is None else (figure.low, figure.high)
