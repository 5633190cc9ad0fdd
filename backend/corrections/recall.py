"""Following the annotators: a box on the very thing that was corrected gets the verdict on that thing.

The ledger keeps the network's embedding and a picture of every corrected crop. The embedding finds what may be the
same. The picture decides: the same print, the same rubber, a copy of the page (`backend.corrections.likeness`). A thing
of the same sort, such as another thumb, has no say. Confirmed and missed marks vote, and outvote slips.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from backend.corrections.likeness import Look, likeness, look_at
from backend.geometry import Boxes, coverage
from backend.vision.classifier import Classification, Classifies
from backend.vision.engine import EMBEDDING
from backend.vision.network_config import CLASSES, MARKS, NONE

__all__ = [
    "MOST_COMPARED",
    "RecalledVerdict",
    "RecallingClassifier",
    "Recalls",
    "Remembered",
    "Voter",
    "follow",
    "unit",
]

# A hit is sure of itself, but leaves the network's own doubt visible among the other classes.
CERTAINTY = 0.95
AGREED = 0.5
PART = 0.75

MOST_COMPARED = 6
"""Samples of either kind that are heard on a crop, the nearest first: each picture takes some milliseconds."""
_WEAK = 0.5
"""What a mark counts that was seen and left untouched: two of them are as good as a correction."""
_DELETED_MARKS = 2
"""Annotations that have to delete what was pressed or written, and not printed, until it is no mark elsewhere."""


@dataclass(frozen=True, kw_only=True)
class RecalledVerdict:
    """What annotators said of this very thing.

    Attributes:
        sample: The sample whose verdict it is, the nearest of those that say so.
        label: signature, stamp, thumb or none.
        distance: 1 − cosine of the two embeddings: 0 for the same crop, at most 2.
    """

    sample: str
    label: str
    distance: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Voter:
    """What one sample says of its crop.

    Attributes:
        sample: Its name, `annotation-region`.
        label: What the annotator called it.
        acts: Whether it corrects the network, or confirms what it had right.
        weak: Whether it was merely left untouched.
    """

    sample: str
    label: str
    acts: bool
    weak: bool

    @property
    def annotation(self) -> str:
        return self.sample.partition("-")[0]


@dataclass(frozen=True, kw_only=True, eq=False)
class Remembered:
    """Corrected crops as parallel sequences of M.

    Attributes:
        crops: SHA-256 of their pixels.
        voters: What is said of each. Of those that correct the network the first `MOST_COMPARED` by name are enough,
            and as many of those that confirm it: no others of one crop are ever heard.
        embeddings: (M, 512), length 1 each.
        looks: Gives the picture of one, by its place.
    """

    crops: tuple[str, ...] = ()
    voters: tuple[tuple[Voter, ...], ...] = ()
    embeddings: NDArray[np.float32]
    looks: Callable[[int], Look]

    @classmethod
    def nothing(cls) -> Remembered:
        return cls(embeddings=np.zeros((0, EMBEDDING), np.float32), looks=_no_look)

    def recall(
        self, embeddings: NDArray[np.float32], looks: Callable[[int], Look], *, distance: float
    ) -> list[RecalledVerdict | None]:
        """The verdict on each of N crops, None where nobody corrected this very thing.

        Args:
            embeddings: (N, 512).
            looks: Gives the picture of a crop, by its place; asked only where an embedding is near.
            distance: Furthest at which a crop may be the same thing; 0 turns recall off.
        """
        if distance <= 0 or not any(voter.acts for voters in self.voters for voter in voters):
            return [None] * len(embeddings)
        distances = 1.0 - unit(embeddings) @ self.embeddings.T
        return [self._verdict(row, place, looks, distance=distance) for place, row in enumerate(distances)]

    def _verdict(
        self, distances: NDArray[np.float32], place: int, looks: Callable[[int], Look], *, distance: float
    ) -> RecalledVerdict | None:
        near = np.flatnonzero(distances <= distance).tolist()
        heard = [(float(distances[crop]), voter.sample, crop, voter) for crop in near for voter in self.voters[crop]]
        heard.sort(key=lambda one: one[:2])
        acting = [(crop, voter) for _, _, crop, voter in heard if voter.acts][:MOST_COMPARED]
        if not acting:
            return None
        look = looks(place)
        compared = {crop: likeness(self.looks(crop), look) for crop in dict.fromkeys(crop for crop, _ in acting)}
        alike = [(crop, voter) for crop, voter in acting if compared[crop].same]
        if not alike:
            return None
        others = [(crop, voter) for _, _, crop, voter in heard if not voter.acts][:MOST_COMPARED]
        for crop in dict.fromkeys(crop for crop, _ in others if crop not in compared):
            compared[crop] = likeness(self.looks(crop), look)
        confirming = [voter for crop, voter in others if compared[crop].same]
        label = _elected([*(voter for _, voter in alike), *confirming])
        saying = [(crop, voter) for crop, voter in alike if voter.label == label]
        if not saying:
            return None
        printed = any(compared[crop].print for crop, _ in saying)
        if label == CLASSES[NONE] and not printed and len({one.annotation for _, one in saying}) < _DELETED_MARKS:
            return None
        crop, first = saying[0]
        return RecalledVerdict(sample=first.sample, label=str(label), distance=max(float(distances[crop]), 0.0))


class Recalls(Protocol):
    """Gives the annotators' verdicts on crops like these."""

    def __len__(self) -> int: ...

    def recall(self, embeddings: NDArray[np.float32], looks: Callable[[int], Look]) -> list[RecalledVerdict | None]: ...


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
        verdicts = self._memory.recall(found.embeddings, lambda place: look_at(pixels, boxes[place]))
        followed = follow(found, boxes, verdicts)
        if hidden := _hidden(found, followed, boxes, self.thresholds):
            self._suppressed(hidden)
        return followed


def follow(found: Classification, boxes: Boxes, verdicts: Sequence[RecalledVerdict | None]) -> Classification:
    """The classification, with each verdict followed that the network contradicts.

    A rejected box has no parts that are marks, whether or not the network doubts it as well. It may have kept a smaller
    box of the same likeliest mark from being shown; that box does not take its place, however low the threshold is.
    """
    probabilities = found.probabilities.copy()
    recalled: list[str | None] = [None] * len(probabilities)
    for place, verdict in enumerate(verdicts):
        if verdict is not None and _decide(probabilities[place], CLASSES.index(verdict.label)):
            recalled[place] = verdict.sample
    inside = coverage(boxes, boxes)
    supposed = found.probabilities[:, : len(MARKS)].argmax(axis=1)
    for whole, verdict in enumerate(verdicts):
        if verdict is None or verdict.label != CLASSES[NONE]:
            continue
        for part in np.flatnonzero((inside[:, whole] > PART) & (supposed == supposed[whole])).tolist():
            if verdicts[part] is None and recalled[part] is None:
                _decide(probabilities[part], NONE)
                recalled[part] = verdict.sample
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


def _elected(voters: Sequence[Voter]) -> str | None:
    """The label that most annotations give; None where two are equal."""
    votes: dict[str, dict[str, float]] = defaultdict(dict)
    for one in voters:
        given = votes[one.label]
        given[one.annotation] = max(_WEAK if one.weak else 1.0, given.get(one.annotation, 0.0))
    ranked = sorted(((sum(given.values()), label) for label, given in votes.items()), reverse=True)
    return None if len(ranked) > 1 and ranked[0][0] == ranked[1][0] else ranked[0][1]


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


def _no_look(place: int) -> Look:
    raise IndexError(place)
