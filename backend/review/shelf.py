"""Embeddings of a whole archive on disk, in a file without a name: memory need not grow with what was looked at."""

from __future__ import annotations

import tempfile
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from backend.nets.network import EMBEDDING

__all__ = ["Shelf"]

_KIND = np.dtype(np.float32)


class Shelf:
    """Puts embeddings away, and gives them back by their ticket; gone when it is closed."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  open as long as the shelf is

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def put(self, embeddings: NDArray[np.float32]) -> tuple[int, int]:
        """Puts (N, 512) away; gives the ticket."""
        place = self._file.seek(0, 2)
        self._file.write(np.ascontiguousarray(embeddings, _KIND).tobytes())
        return place, len(embeddings)

    def get(self, ticket: tuple[int, int]) -> NDArray[np.float32]:
        """Gives (N, 512) back."""
        place, count = ticket
        self._file.seek(place)
        data = self._file.read(count * EMBEDDING * _KIND.itemsize)
        return np.frombuffer(data, _KIND).reshape(count, EMBEDDING)
