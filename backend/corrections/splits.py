"""Which side of the split a document is on: decided once, for all its pages and their copies."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from sqlalchemy import Connection, insert, or_, select

from backend.corrections.crop_store import difference
from backend.corrections.tables import document

__all__ = ["COPY_BITS", "OfDocument", "Side", "assign_split", "document_key", "split_of"]

# Shares of documents, in percent; what is left is the gold set, on which nothing is ever tuned.
TRAIN, VALIDATION = 70, 15
COPY_BITS = 3


def document_key(name: str | None, references: Iterable[str]) -> str:
    """A document is its name where the import kept one, else the pages of its task, whichever of them bear marks."""
    source = name if name is not None else json.dumps(list(references))
    return hashlib.sha256(source.encode()).hexdigest()


def split_of(key: str) -> str:
    """The side that a document's key alone decides: train, validation or gold."""
    place = int(key[:8], 16) % 100
    return "train" if place < TRAIN else "validation" if place < TRAIN + VALIDATION else "gold"


class OfDocument(Protocol):
    """What tells which document something is of: a sample, or a page of a data set."""

    @property
    def document(self) -> str: ...

    @property
    def page_sha256(self) -> str: ...

    @property
    def page_phash(self) -> str: ...


@dataclass(frozen=True, kw_only=True)
class Side:
    """Where a document is.

    Attributes:
        split: train, validation or gold.
        elsewhere: SHA-256 of those of its pages that another document has on another side, with that other side.
    """

    split: str
    elsewhere: Mapping[str, str]


def assign_split(connection: Connection, pages: Sequence[OfDocument]) -> Side:
    """The side of a document: decided once, and shared with every document that has a copy of one of its pages.

    A copy is a page with the same pixels, or a perceptual hash within 3 bits. Where both documents were decided before
    they came to share a page, the page stays with the one that had it first: it is elsewhere for the other.

    Args:
        connection: An open transaction.
        pages: Pages of one document, those that are known of it.
    """
    key = pages[0].document
    known = connection.execute(select(document.c.split).where(document.c.key == key)).scalar()
    copies = {page.page_sha256: _copies(connection, page) for page in pages}
    first = min((copy for found in copies.values() for copy in found), default=None)
    split = str(known or (first[1] if first else split_of(key)))
    elsewhere = {sha: side for sha, found in copies.items() for _, side in reversed(found) if side != split}
    here = select(document.c.page_sha256).where(document.c.key == key)
    noted = {*connection.execute(here).scalars(), *elsewhere}
    for page in pages:
        if page.page_sha256 not in noted:
            noted.add(page.page_sha256)
            row = {f"band{n}": band for n, band in enumerate(_bands(page))}
            connection.execute(
                insert(document).values(
                    key=key, page_sha256=page.page_sha256, phash=page.page_phash, split=split, **row
                )
            )
    return Side(split=split, elsewhere=elsewhere)


def _copies(connection: Connection, page: OfDocument) -> list[tuple[str, str]]:
    """Other documents with a copy of a page, and their sides, in the order of their keys."""
    alike = (document.c[f"band{n}"] == band for n, band in enumerate(_bands(page)))
    near = select(document.c.key, document.c.split, document.c.phash).where(
        document.c.key != page.document, or_(document.c.page_sha256 == page.page_sha256, *alike)
    )
    rows = connection.execute(near).all()
    return sorted((row.key, row.split) for row in rows if difference(row.phash, page.page_phash) <= COPY_BITS)


def _bands(page: OfDocument) -> list[str]:
    return [page.page_phash[start : start + 4] for start in range(0, 16, 4)]
