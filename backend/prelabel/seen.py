"""A set of names of which a million take eight megabytes."""

from __future__ import annotations

import hashlib

import numpy as np

__all__ = ["Seen"]

_KEY_BYTES = 8
# Keys that wait, in a common set, until it pays to sort them in.
_LATE = 10_000


class Seen:
    """Names that can be asked for and no longer be told: of each, 64 bits of its hash are kept.

    With a million names, the chance that one of them is taken for another is one in thirty million.
    """

    def __init__(self) -> None:
        self._sorted = np.empty(0, np.uint64)
        self._late: set[int] = set()

    def __len__(self) -> int:
        return len(self._sorted) + len(self._late)

    def __contains__(self, name: str) -> bool:
        return self._has(_key(name))

    def add(self, name: str) -> None:
        """Adds a name; a second time it changes nothing."""
        key = _key(name)
        if self._has(key):
            return
        self._late.add(key)
        if len(self._late) >= _LATE:
            self._sorted = np.union1d(self._sorted, np.fromiter(self._late, np.uint64, len(self._late)))
            self._late.clear()

    def _has(self, key: int) -> bool:
        if key in self._late:
            return True
        place = int(np.searchsorted(self._sorted, np.uint64(key)))
        return place < len(self._sorted) and int(self._sorted[place]) == key


def _key(name: str) -> int:
    digest = hashlib.blake2b(name.encode(errors="surrogateescape"), digest_size=_KEY_BYTES).digest()
    return int.from_bytes(digest, "big")
