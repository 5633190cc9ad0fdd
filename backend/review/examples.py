"""Crops to learn names from: of each class a bounded number, drawn evenly from all that come by."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from backend.nets.config import CLASSES
from backend.nets.network import EMBEDDING

__all__ = ["Examples"]

_MOST = 2000
"""Of each class: 4 MB of embeddings."""
_SEED = 5


class Examples:
    """Embeddings with their class and the number of their document.

    Where more than `_MOST` of a class come by, a uniform sample of them stays (reservoir sampling, algorithm R, Vitter
    1985), the same for the same order.
    """

    def __init__(self) -> None:
        self._embeddings = np.zeros((len(CLASSES), _MOST, EMBEDDING), np.float32)
        self._documents = np.zeros((len(CLASSES), _MOST), np.intp)
        self._came = [0] * len(CLASSES)
        self._rng = np.random.default_rng(_SEED)

    def add(self, embeddings: NDArray[np.float32], labels: NDArray[np.intp], *, document: int) -> None:
        """Takes crops of a document: embeddings (N, 512), labels (N,) over `CLASSES`."""
        for embedding, label in zip(embeddings, labels.tolist(), strict=True):
            came = self._came[label]
            self._came[label] += 1
            place = came if came < _MOST else int(self._rng.integers(came + 1))
            if place < _MOST:
                self._embeddings[label, place] = embedding
                self._documents[label, place] = document

    def of(self, label: int) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
        """Embeddings (N, 512) of a class, and their documents (N,)."""
        kept = min(self._came[label], _MOST)
        return self._embeddings[label, :kept], self._documents[label, :kept]
