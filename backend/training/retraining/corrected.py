"""Annotators' pages as a store that a detector can learn from: what they left, and whether they had to correct it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Engine, select

from backend.feedback.matching import Outcome
from backend.feedback.tables import document, prediction, sample
from backend.training.pagestore import LabelledPage, PageStore
from backend.training.retraining.annotated import annotated_pages

if TYPE_CHECKING:
    from backend.training.retraining.annotated import KnownPage, PageOf

__all__ = ["ACCEPTED", "CORRECTED", "collect_pages"]

CORRECTED, ACCEPTED = "corrected", "accepted"
"""Sources of pages: something was changed on them, or nothing was."""
_MOST_PAGES = 1000
"""Of the newest tasks; as many are some 2 GB of memory."""
_MOST_BARE = 2
"""Pages of a document without a mark that teach though nothing was corrected on them: a lease has many of these."""


def collect_pages(
    folder: Path, engine: Engine, page_of: PageOf, *, insist: bool = False
) -> tuple[PageStore, tuple[str, ...]]:
    """Fetches the pages that annotators submitted, but those of gold documents, to a folder that holds nothing else.

    Only its owner may read it, and the caller removes it after the training. A page teaches where it tells its document
    in the ledger: where marks are on it or were shown on it, or if the document has none. So a gold document that has
    the same page is known to have it. Of a blind task the pages do not teach: people overlook marks, and nobody had
    shown them any.

    Args:
        folder: Made for it.
        engine: The ledger's database.
        page_of: Fetches a page.
        insist: Whether it is an error that nothing can be had for now.

    Returns:
        The pages, and a sentence for each task that could not be had.

    Raises:
        PagesAway: That is so.
        OSError: The disk is full.
    """
    folder.mkdir(parents=True, mode=0o700)
    store, missing, there = PageStore(folder), list[str](), 0
    hard, blind, bare = _corrected(engine), _blind(engine), Counter[str]()
    sides = {"train", "validation"}
    found = annotated_pages(
        engine, page_of, sides=sides, most=_MOST_PAGES, spool=folder, missing=missing, without=blind, insist=insist
    )
    for known in found:
        if there == _MOST_PAGES:
            break
        if known.sha256 not in _telling(engine, known.document):
            continue
        corrected = known.sha256 in hard
        if not (known.marks or known.disputed or corrected):
            bare[known.document] += 1
            if bare[known.document] > _MOST_BARE:
                continue
        store.add(_facts(known, CORRECTED if corrected else ACCEPTED), known.pixels)
        there += 1
    return store, tuple(missing)


def _facts(known: KnownPage, source: str) -> LabelledPage:
    return LabelledPage(
        name=known.name,
        document=known.document,
        split=known.side,
        domain="real",
        source=source,
        licence="not to be passed on",
        dpi=known.dpi,
        boxes=tuple((box[0], box[1], box[2], box[3]) for _, box in known.marks),
        labels=tuple(label for label, _ in known.marks),
        ignored=tuple((box[0], box[1], box[2], box[3]) for box in known.disputed),
        complete=known.complete,
        sha256=known.sha256,
    )


def _telling(engine: Engine, key: str) -> set[str]:
    """The pages by which a document is known, by the SHA-256 of their pixels; none that another document had first."""
    with engine.connect() as connection:
        return set(connection.execute(select(document.c.page_sha256).where(document.c.key == key)).scalars())


def _blind(engine: Engine) -> set[int]:
    """Tasks that were served without the boxes found for them."""
    with engine.connect() as connection:
        return set(connection.execute(select(prediction.c.task).where(prediction.c.blind).distinct()).scalars())


def _corrected(engine: Engine) -> set[str]:
    """Pages, by the SHA-256 of their pixels, on which an annotator changed something."""
    changed = (Outcome.MOVED, Outcome.RELABELLED, Outcome.REJECTED, Outcome.DUPLICATE, Outcome.MISSED)
    wanted = select(sample.c.page_sha256).where(sample.c.outcome.in_(changed), sample.c.weak.is_(False)).distinct()
    with engine.connect() as connection:
        return set(connection.execute(wanted).scalars())
