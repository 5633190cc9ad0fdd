"""Documents → folds: what belongs together stays together, and folds are of nearly one size."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["folds", "together"]


def together(documents: Sequence[str], copies: Iterable[tuple[str, str]]) -> dict[str, str]:
    """For each document the one that stands for it and all that share a page with it.

    Args:
        documents: Their keys.
        copies: (key, hash of a page's pixels) for the pages by which a copy is known.
    """
    parent = {key: key for key in documents}

    def root(key: str) -> str:
        while parent[key] != key:
            parent[key] = parent[parent[key]]
            key = parent[key]
        return key

    first: dict[str, str] = {}
    for key, page in copies:
        one, other = sorted((root(first.setdefault(page, key)), root(key)))
        parent[other] = one
    return {key: root(key) for key in documents}


def folds(groups: Iterable[str], *, most: int) -> dict[str, int]:
    """The fold of each group of documents: dealt out in the order of their hashes, to at most `most` folds."""
    ordered = sorted(set(groups), key=lambda key: hashlib.sha256(key.encode()).digest())
    dealt: NDArray[np.intp] = np.arange(len(ordered)) % most
    return dict(zip(ordered, dealt.tolist(), strict=True))
