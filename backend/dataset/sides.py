"""Which side of the split each document is on: the ledger's, decided once and shared with every copy of a page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, create_engine, select

from backend.feedback.database import writing
from backend.feedback.splits import assign_split
from backend.feedback.tables import document as table
from backend.feedback.tables import sample

__all__ = ["Look", "known_documents", "sides", "sides_without_ledger"]

_PORTION = 500


@dataclass(frozen=True, kw_only=True)
class Look:
    """How a page of a document is known again.

    Attributes:
        document: The document's key.
        page_sha256: Of the page's upright pixels.
        page_phash: Perceptual hash of the page.
    """

    document: str
    page_sha256: str
    page_phash: str


def sides(engine: Engine, looks: Sequence[Look]) -> dict[str, str]:
    """The side of each document by its key; those that the ledger did not know are on theirs from now on.

    Args:
        engine: The ledger's database.
        looks: The pages that tell a document, in an order that does not depend on chance.
    """
    with writing(engine) as connection:
        return _assigned(connection, looks)


def sides_without_ledger(looks: Sequence[Look]) -> dict[str, str]:
    """As `sides`, by the same rules, for documents that no ledger knows."""
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        table.create(connection)
        found = _assigned(connection, looks)
    engine.dispose()
    return found


def known_documents(engine: Engine, tasks: Iterable[int]) -> dict[int, str]:
    """The key that the ledger has for the document of each task that it has samples of."""
    wanted = sorted(set(tasks))
    found: dict[int, str] = {}
    with engine.connect() as connection:
        for start in range(0, len(wanted), _PORTION):
            here = sample.c.task.in_(wanted[start : start + _PORTION])
            rows = connection.execute(select(sample.c.task, sample.c.document).where(here).order_by(sample.c.id))
            for row in rows:
                found.setdefault(row.task, row.document)
    return found


def _assigned(connection: Connection, looks: Iterable[Look]) -> dict[str, str]:
    found: dict[str, str] = {}
    for look in looks:
        # One page at a time: blank ones are copies of each other, and must not draw all documents to one side.
        side = assign_split(connection, [look])
        found.setdefault(look.document, side.split)
    return found
