"""Which tasks are served without boxes, so that what people find unaided tells what the model misses."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["is_blind", "origin_of"]

_NAMES = ("document_sha256", "document")


def origin_of(data: Mapping[str, Any], references: Sequence[str]) -> str:
    """The document that a task is of: as the import names it, by content or else by name; else the task's own pages.

    Args:
        data: The task's data.
        references: Where its pages are, in order.
    """
    for name in _NAMES:
        value = data.get(name)
        if isinstance(value, str) and value:
            return f"{name} {value}"
    return f"pages {json.dumps(list(references))}"


def is_blind(origin: str, *, share: float) -> bool:
    """Whether the tasks of a document are served without boxes: the same in every process, for every model.

    The documents of a smaller share are among those of a larger one. Nothing else goes by this hash, least of all the
    split into training, validation and gold.

    Args:
        origin: As `origin_of` gives it.
        share: Of all documents, from 0 to 1.
    """
    digest = hashlib.sha256(f"blind\0{origin}".encode()).digest()
    return int.from_bytes(digest[:8]) < share * 2**64
