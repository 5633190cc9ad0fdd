"""Sides of documents: one document is on one side, and so is each page, whatever order annotations come in."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest
from sqlalchemy import Engine, Row, select

from backend.corrections.crop_store import CropStore
from backend.corrections.journal import Journal
from backend.corrections.splits import document_key, split_of
from backend.corrections.tables import document, sample
from backend.corrections.worker import Worker
from backend.labelstudio.annotations import without_secrets
from tests.corrections import annotating
from tests.corrections.annotating import drawn, saved

A, B = (10.0, 10.0, 110.0, 110.0), (200.0, 300.0, 300.0, 360.0)


def named(side: str) -> str:
    """A document whose name alone puts it there."""
    names = (f"lease {number}" for number in count())
    return next(name for name in names if split_of(document_key(name, ())) == side)


TRAIN, GOLD = named("train"), named("gold")


class Ledger:
    """Tasks of two pages each, annotated one after another; `learn` gives the samples after each."""

    def __init__(self, engine: Engine, folder: str) -> None:
        self._engine = engine
        self._worker = Worker(
            engine=engine, journal=Journal(engine), crops=CropStore(folder), page_of=annotating.page_of
        )

    def learn(
        self,
        annotation: int,
        *marks: tuple[int, str],
        task: int,
        pages: tuple[str, str],
        name: str | None = None,
        **more: Any,
    ) -> dict[str, Row[Any]]:
        """An annotation of a task whose pages are these, with marks given as (page, label)."""
        result = [drawn(f"{annotation}-{n}", label, (A, B)[n % 2], page=page) for n, (page, label) in enumerate(marks)]
        body = saved(annotation, task=task, result=result, **{"at": 1000.0 + annotation, **more})
        body["task"]["data"] = {"pages": list(pages)} | ({"document": name} if name else {})
        self._worker.journal.append(body["action"], project=1, body=without_secrets(body))
        while self._worker.work():
            pass
        with self._engine.connect() as connection:
            return {row.region: row for row in connection.execute(select(sample).order_by(sample.c.id))}


@pytest.fixture
def ledger(engine: Engine) -> Ledger:
    return Ledger(engine, "memory://splits")


def test_annotations_of_one_task_are_of_one_document_whichever_pages_they_mark(ledger: Ledger) -> None:
    pages = {number: (f"/p/{number}-front", f"/p/{number}-back") for number in range(8)}
    for number, two in pages.items():
        ledger.learn(2 * number + 1, (1, "stamp"), task=number, pages=two)
        found = ledger.learn(2 * number + 2, (0, "stamp"), task=number, pages=two)
    by_task = [{(row.document, row.split) for row in found.values() if row.task == number} for number in pages]
    assert {len(one) for one in by_task} == {1}
    assert len(set.union(*by_task)) == len(pages)


def test_a_new_document_takes_the_side_of_any_page_that_is_known(ledger: Ledger) -> None:
    ledger.learn(1, (0, "stamp"), task=1, pages=("/p/known", "/p/other"), name=GOLD)
    found = ledger.learn(2, (0, "stamp"), (1, "stamp"), task=2, pages=("/p/new", "/p/known"), name=TRAIN)
    assert {row.split for row in found.values()} == {"gold"}
    assert {row.quarantine for row in found.values()} == {None}


def test_a_page_that_two_decided_documents_share_teaches_on_the_side_that_had_it_first(
    ledger: Ledger, engine: Engine
) -> None:
    shared = ("/p/shared", "/p/gold")
    ledger.learn(1, (0, "stamp"), task=1, pages=shared, name=GOLD)
    ledger.learn(2, (0, "stamp"), task=2, pages=("/p/train", "/p/shared"), name=TRAIN)
    found = ledger.learn(3, (0, "thumb"), (1, "stamp"), task=3, pages=("/p/train2", "/p/shared"), name=TRAIN)
    assert {region: row.split for region, row in found.items()} == {
        "1-0": "gold",
        "2-0": "train",
        "3-0": "train",
        "3-1": "train",
    }
    elsewhere = "another document has its page on the gold side"
    reasons = {"1-0": None, "2-0": None, "3-0": None, "3-1": elsewhere}
    assert {region: row.quarantine for region, row in found.items()} == reasons
    with engine.connect() as connection:
        assert connection.execute(
            select(document.c.split).where(document.c.page_sha256 == found["1-0"].page_sha256)
        ).all() == [("gold",)]
    # neither a look at the task's contradictions nor a new state of the first document changes that
    ledger.learn(4, (0, "thumb"), task=3, pages=("/p/train2", "/p/shared"), name=TRAIN)
    again = ledger.learn(
        1, (0, "stamp"), task=1, pages=shared, name=GOLD, at=2000.0, created=1001.0, action="ANNOTATION_UPDATED"
    )
    assert {region: row.quarantine for region, row in again.items()} == {**reasons, "4-0": None}


def test_contradictions_of_annotators_are_seen_beside_a_page_on_another_side(ledger: Ledger) -> None:
    pages = ("/p/train", "/p/shared")
    ledger.learn(1, (0, "stamp"), task=1, pages=("/p/shared", "/p/gold"), name=GOLD)
    ledger.learn(2, (0, "stamp"), task=2, pages=pages, name=TRAIN)
    found = ledger.learn(3, (0, "thumb"), (1, "stamp"), task=2, pages=pages, name=TRAIN)
    assert {region: row.quarantine for region, row in found.items()} == {
        "1-0": None,
        "2-0": "annotation 3 calls it thumb",
        "3-0": "annotation 2 calls it stamp",
        "3-1": "another document has its page on the gold side",
    }
