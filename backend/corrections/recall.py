"""Following the annotators: a crop that looks like a corrected one gets the verdict on that one.

Of every corrected crop the network's embedding and a small picture are kept. A new crop is the same thing again when
its embedding is near, which says that it is of the same sort, and its picture correlates, which says that it is not
just any of that sort: either alone takes marks for logos (`python -m benchmarks.recall`). The nearest such neighbour
decides. Only corrections of the network act; confirmed and missed marks are remembered to shield what looks like them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from backend.geometry import Boxes, coverage
from backend.vision.classifier import Classification, Classifies
from backend.vision.engine import EMBEDDING
from backend.vision.network_config import CLASSES, NONE

__all__ = [
    "THUMBNAIL",
    "RecalledVerdict",
    "RecallingClassifier",
    "Recalls",
    "Remembered",
    "follow",
    "thumbnails",
    "unit",
]

THUMBNAIL = 16 * 16 * 3
_LIKENESS = 0.6

# A hit is sure of itself, but leaves the network's own doubt visible among the other classes.
CERTAINTY = 0.95
AGREED = 0.5
PART = 0.75


@dataclass(frozen=True, kw_only=True)
class RecalledVerdict:
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
        acts: Whether each corrects the network, or shields what it had right.
        embeddings: (M, 512), length 1 each.
        thumbnails: (M, 768) small pictures.
    """

    samples: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    crops: tuple[str, ...] = ()
    acts: tuple[bool, ...] = ()
    embeddings: NDArray[np.float32]
    thumbnails: NDArray[np.uint8]

    @classmethod
    def nothing(cls) -> Remembered:
        return cls(embeddings=np.zeros((0, EMBEDDING), np.float32), thumbnails=np.zeros((0, THUMBNAIL), np.uint8))

    def recall(
        self, embeddings: NDArray[np.float32], pictures: NDArray[np.uint8], *, distance: float
    ) -> list[RecalledVerdict | None]:
        """The verdict on each of N crops, None where nothing like it was corrected.

        Args:
            embeddings: (N, 512).
            pictures: (N, 768), as `thumbnails` gives them.
            distance: Furthest at which a crop may be of the same sort.
        """
        if not self.samples or distance <= 0:
            return [None] * len(embeddings)
        distances = 1.0 - unit(embeddings) @ self.embeddings.T
        return [self._verdict(*row, distance=distance) for row in zip(distances, pictures, strict=True)]

    def _verdict(
        self, distances: NDArray[np.float32], picture: NDArray[np.uint8], *, distance: float
    ) -> RecalledVerdict | None:
        near = np.flatnonzero(distances <= distance)
        if not len(near):
            return None
        alike = near[_levelled(self.thumbnails[near]) @ _levelled(picture[None])[0] >= _LIKENESS]
        if not len(alike):
            return None
        nearest = int(alike[distances[alike].argmin()])
        if not self.acts[nearest]:
            return None
        return RecalledVerdict(
            sample=self.samples[nearest], label=self.labels[nearest], distance=max(float(distances[nearest]), 0.0)
        )


class Recalls(Protocol):
    """Gives the annotators' verdicts on crops like these."""

    def __len__(self) -> int: ...

    def recall(self, embeddings: NDArray[np.float32], pictures: NDArray[np.uint8]) -> list[RecalledVerdict | None]: ...


class RecallingClassifier:
    """A classifier that asks the memory before it answers.

    Args:
        inner: Gives probabilities and embeddings.
        memory: Gives the verdicts.
        suppressed: Told the sample of each box that a verdict keeps from being shown.
    """

    def __init__(
        self, inner: Classifies, memory: Recalls, *, suppressed: Callable[[Sequence[str]], None] = lambda _: None
    ) -> None:
        self._inner = inner
        self._memory = memory
        self._suppressed = suppressed
        self.version = inner.version
        self.thresholds = inner.thresholds

    def classify(self, pixels: NDArray[np.uint8], boxes: Boxes) -> Classification:
        """Classifies `boxes` (N, 4) of an (H, W, 3) RGB page; a remembered label with less than half gets .95."""
        found = self._inner.classify(pixels, boxes)
        if not len(self._memory) or not len(boxes):
            return found
        followed = follow(found, boxes, self._memory.recall(found.embeddings, thumbnails(pixels, boxes)))
        if hidden := _hidden(found, followed, boxes, self.thresholds):
            self._suppressed(hidden)
        return followed


def follow(found: Classification, boxes: Boxes, verdicts: Sequence[RecalledVerdict | None]) -> Classification:
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
    settled = tuple(one is not None or verdict is not None for one, verdict in zip(recalled, verdicts, strict=True))
    return replace(found, probabilities=probabilities, recalled=tuple(recalled), settled=settled)


def _hidden(found: Classification, followed: Classification, boxes: Boxes, thresholds: ArrayLike) -> list[str]:
    """The sample of each box that only a verdict keeps from being shown; candidates within each other make one box."""
    supposed, scores = found.probabilities.argmax(axis=1), found.probabilities.max(axis=1)
    bars = np.maximum(np.append(thresholds, np.inf), AGREED)  # what the network itself calls none was never to be shown
    none = followed.probabilities.argmax(axis=1) == NONE
    inside = coverage(boxes, boxes)
    kept: dict[int, str] = {}
    for place in np.argsort(-scores, kind="stable").tolist():
        sample = followed.recalled[place]
        if sample is None or not none[place] or scores[place] < bars[supposed[place]]:
            continue
        if all(max(inside[place, other], inside[other, place]) <= PART for other in kept):
            kept[place] = sample
    return list(kept.values())


def thumbnails(pixels: NDArray[np.uint8], boxes: Boxes) -> NDArray[np.uint8]:
    """Small pictures, (N, 768), of `boxes` (N, 4) on an (H, W, 3) page: 16 by 16, whatever the box's shape."""
    height, width = pixels.shape[:2]
    pictures = np.zeros((len(boxes), THUMBNAIL), np.uint8)
    for picture, box in zip(pictures, boxes, strict=True):
        left, top = np.floor(np.clip(box[:2], 0, [width - 1, height - 1])).astype(int)
        right, bottom = np.ceil(np.clip(box[2:], [left + 1, top + 1], [width, height])).astype(int)
        crop = pixels[top:bottom, left:right]
        picture[:] = np.asarray(cv2.resize(crop, (16, 16), interpolation=cv2.INTER_AREA), np.uint8).reshape(-1)
    return pictures


def _levelled(pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Rows without their mean, scaled to length 1: their product is the normalised correlation."""
    values = pictures.astype(np.float32)
    return unit(values - values.mean(axis=1, keepdims=True))


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
