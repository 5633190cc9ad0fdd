"""Following the annotators: a crop that looks like a corrected one gets the verdict on that one.

The network's embedding of every corrected crop is kept. A new crop whose nearest remembered neighbour is close enough
follows that neighbour's label. Confirmed marks are remembered as well, so that a rejected logo does not drag down the
stamps that look somewhat like it: the nearer of the two decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from backend.classification.classifier import Classification, Classifies
from backend.geometry import Boxes, coverage
from backend.nets.config import CLASSES, NONE
from backend.nets.network import EMBEDDING

__all__ = ["RecallingClassifier", "Recalls", "Remembered", "Verdict", "follow", "unit"]

# A hit is sure of itself, but leaves the network's own doubt visible among the other classes.
CERTAINTY = 0.95
AGREED = 0.5
PART = 0.75


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What annotators said of a crop like this one.

    Attributes:
        sample: The sample whose verdict it is.
        label: signature, stamp, thumb or none.
        distance: 1 − cosine of the two embeddings: 0 for the same crop, at most 2.
    """

    sample: str
    label: str
    distance: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Remembered:
    """Corrected crops as parallel arrays of M.

    Attributes:
        samples: Their names.
        labels: What annotators called them.
        crops: SHA-256 of their pixels.
        embeddings: (M, 512), length 1 each.
    """

    samples: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    crops: tuple[str, ...] = ()
    embeddings: NDArray[np.float32]

    @classmethod
    def nothing(cls) -> Remembered:
        return cls(embeddings=np.zeros((0, EMBEDDING), np.float32))

    def recall(self, embeddings: NDArray[np.float32], *, distance: float) -> list[Verdict | None]:
        """The verdict on each of N embeddings (N, 512), None where nothing within `distance` is remembered."""
        if not self.samples or not len(embeddings) or distance <= 0:
            return [None] * len(embeddings)
        distances = 1.0 - unit(embeddings) @ self.embeddings.T
        nearest = distances.argmin(axis=1)
        return [
            Verdict(sample=self.samples[n], label=self.labels[n], distance=max(float(row[n]), 0.0))
            if row[n] <= distance
            else None
            for row, n in zip(distances, nearest, strict=True)
        ]


class Recalls(Protocol):
    """Gives the annotators' verdicts on crops like these."""

    def recall(self, embeddings: NDArray[np.float32]) -> list[Verdict | None]: ...


class RecallingClassifier:
    """A classifier that asks the memory before it answers.

    Args:
        inner: Gives probabilities and embeddings.
        memory: Gives the verdicts.
    """

    def __init__(self, inner: Classifies, memory: Recalls) -> None:
        self._inner = inner
        self._memory = memory
        self.version = inner.version
        self.thresholds = inner.thresholds

    def classify(self, pixels: NDArray[np.uint8], boxes: Boxes) -> Classification:
        """Classifies `boxes` (N, 4) of an (H, W, 3) RGB page; a remembered label with less than half gets .95."""
        found = self._inner.classify(pixels, boxes)
        return follow(found, boxes, self._memory.recall(found.embeddings))


def follow(found: Classification, boxes: Boxes, verdicts: Sequence[Verdict | None]) -> Classification:
    """The classification, with each verdict followed that the network contradicts.

    What is no mark has no parts that are marks: a box of the same supposed class inside a rejected one, which that one
    kept from being shown, does not take its place.
    """
    probabilities = found.probabilities.copy()
    recalled: list[str | None] = [None] * len(probabilities)
    for place, verdict in enumerate(verdicts):
        if verdict is not None and _decide(probabilities[place], CLASSES.index(verdict.label)):
            recalled[place] = verdict.sample
    inside = coverage(boxes, boxes)
    supposed = found.probabilities.argmax(axis=1)
    rejected = [n for n, verdict in enumerate(verdicts) if recalled[n] and verdict and verdict.label == CLASSES[NONE]]
    for whole in rejected:
        for part in np.flatnonzero((inside[:, whole] > PART) & (supposed == supposed[whole])).tolist():
            if verdicts[part] is None and recalled[part] is None and _decide(probabilities[part], NONE):
                recalled[part] = recalled[whole]
    return replace(found, probabilities=probabilities, recalled=tuple(recalled))


def unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows scaled to length 1."""
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12), np.float32)


def _decide(row: NDArray[np.float64], label: int) -> bool:
    """Gives `label` the certainty of a verdict; the others share the rest as they did before. Tells if that was news.

    A network that gives the label more than all others together is left alone.
    """
    if row[label] > AGREED:
        return False
    row *= (1.0 - CERTAINTY) / (1.0 - row[label])
    row[label] = CERTAINTY
    return True
