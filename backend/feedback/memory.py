"""One correction teaches at once: a crop that looks like a corrected one gets the annotator's verdict.

The network's embedding of every corrected crop is kept. A new crop whose nearest remembered neighbour is close enough
follows that neighbour's label. Confirmed marks are remembered as well, so that a rejected logo does not drag down the
stamps that look somewhat like it: the nearer of the two decides.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Engine, and_, delete, insert, select

from backend.classification.classifier import Classification, Classifies
from backend.feedback.crops import CropStore
from backend.feedback.database import writing
from backend.feedback.matching import Outcome
from backend.feedback.tables import memory, sample
from backend.geometry import Boxes, as_boxes
from backend.nets.config import CLASSES

__all__ = ["Memory", "RecallingClassifier", "Verdict"]

# A hit is sure of itself, but leaves the network's own doubt visible among the other classes.
CERTAINTY = 0.95
BATCH = 64


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
class _Known:
    """Remembered crops as parallel arrays; replaced as a whole, so that a reader never sees half of it."""

    samples: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    embeddings: NDArray[np.float32]  # (M, 512), length 1 each


class Memory:
    """The verdicts of one network's embedding space; shared by threads.

    Args:
        engine: The ledger's database.
        crops: Where the corrected crops are.
        embed: Gives the embeddings (N, 512) of boxes (N, 4) on a page (H, W, 3).
        network: Name of the weights that `embed` uses: embeddings of other weights mean nothing to it.
        distance: Furthest at which a crop counts as the same; 0 turns recall off.
    """

    def __init__(
        self,
        engine: Engine,
        crops: CropStore,
        *,
        embed: Callable[[NDArray[np.uint8], Boxes], NDArray[np.float32]],
        network: str,
        distance: float,
    ) -> None:
        self._engine = engine
        self._crops = crops
        self._embed = embed
        self._network = network
        self._distance = distance
        self._known = _Known(embeddings=np.zeros((0, 512), np.float32))

    def __len__(self) -> int:
        return len(self._known.samples)

    def recall(self, embeddings: NDArray[np.float32]) -> list[Verdict | None]:
        """The verdict on each of N embeddings (N, 512), None where nothing like it is remembered."""
        known = self._known
        if not known.samples or not len(embeddings) or self._distance <= 0:
            return [None] * len(embeddings)
        distances = 1.0 - _unit(embeddings) @ known.embeddings.T
        nearest = distances.argmin(axis=1)
        return [
            Verdict(sample=known.samples[n], label=known.labels[n], distance=max(float(row[n]), 0.0))
            if row[n] <= self._distance
            else None
            for row, n in zip(distances, nearest, strict=True)
        ]

    def refresh(self) -> int:
        """Learns samples that are new to this network and forgets those that are gone; gives how many were new."""
        eligible = and_(sample.c.quarantine.is_(None), sample.c.outcome != Outcome.DUPLICATE)
        mine = and_(memory.c.sample == sample.c.id, memory.c.network == self._network)
        with self._engine.connect() as connection:
            new = connection.execute(
                select(sample)
                .outerjoin(memory, mine)
                .where(eligible, memory.c.sample.is_(None) | (memory.c.label != sample.c.label))
                .limit(BATCH)
            ).all()
        rows = [
            {"sample": row.id, "network": self._network, "label": row.label, "embedding": self._embedding(row)}
            for row in new
        ]
        with writing(self._engine) as connection:
            alive = select(sample.c.id).where(eligible)
            gone = and_(memory.c.network == self._network, memory.c.sample.not_in(alive))
            connection.execute(delete(memory).where(gone))
            if rows:
                names = [row["sample"] for row in rows]
                old = and_(memory.c.network == self._network, memory.c.sample.in_(names))
                connection.execute(delete(memory).where(old))
                connection.execute(insert(memory), rows)
        self._load()
        return len(rows)

    def _embedding(self, row: object) -> bytes:
        """The corrected mark's embedding, its margin left out, as 512 little-endian float16."""
        x1, y1, x2, y2 = row.x1, row.y1, row.x2, row.y2  # type: ignore[attr-defined]
        left, top = row.margin[:2]  # type: ignore[attr-defined]
        pixels = self._crops.get(row.crop)  # type: ignore[attr-defined]
        box = as_boxes([x1 - left, y1 - top, x2 - left, y2 - top])
        return bytes(self._embed(pixels, box)[0].astype("<f2").tobytes())

    def _load(self) -> None:
        with self._engine.connect() as connection:
            rows = connection.execute(
                select(memory).where(memory.c.network == self._network).order_by(memory.c.sample)
            ).all()
        vectors = [np.frombuffer(row.embedding, "<f2").astype(np.float32) for row in rows]
        self._known = _Known(
            samples=tuple(row.sample for row in rows),
            labels=tuple(row.label for row in rows),
            embeddings=_unit(np.array(vectors, np.float32).reshape(len(rows), -1))
            if rows
            else self._known.embeddings[:0],
        )


class RecallingClassifier:
    """A classifier that asks the memory before it answers.

    Args:
        inner: Gives probabilities and embeddings.
        memory: Gives the annotators' verdicts on crops like these.
    """

    def __init__(self, inner: Classifies, memory: Memory) -> None:
        self._inner = inner
        self._memory = memory
        self.version = inner.version
        self.thresholds = inner.thresholds

    def classify(self, pixels: NDArray[np.uint8], boxes: Boxes) -> Classification:
        """Classifies `boxes` (N, 4) of an (H, W, 3) RGB page; a remembered crop's label gets a probability of .95."""
        found = self._inner.classify(pixels, boxes)
        verdicts = self._memory.recall(found.embeddings)
        probabilities = found.probabilities.copy()
        for row, verdict in zip(probabilities, verdicts, strict=True):
            if verdict is not None:
                _follow(row, CLASSES.index(verdict.label))
        return replace(
            found,
            probabilities=probabilities,
            recalled=tuple(verdict.sample if verdict else None for verdict in verdicts),
        )


def _follow(row: NDArray[np.float64], label: int) -> None:
    """Gives `label` the certainty of a verdict; the others share the rest as they did before."""
    if row[label] >= CERTAINTY:
        return
    rest = 1.0 - row[label]
    row *= (1.0 - CERTAINTY) / rest
    row[label] = CERTAINTY


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows scaled to length 1."""
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12), np.float32)
