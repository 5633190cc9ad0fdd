"""Sides of documents: one document is on one side, and so is each page, whatever order annotations come in."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, Row, event, select, update

from backend.corrections.crop_store import CropStore, fingerprint, perceptual
from backend.corrections.database import writing
from backend.corrections.journal import Journal
from backend.corrections.splits import MOST_SHARING, _copies, _owner, assign_split, document_key, split_of
from backend.corrections.tables import document, sample
from backend.corrections.worker import Worker
from backend.dataset.gathering import PageLook
from backend.labelstudio.protocol import without_secrets
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


class _Undo(Exception):
    """Ends a transaction of which nothing is to stay."""


@contextmanager
def undone(engine: Engine) -> Iterator[Connection]:
    """A transaction as the worker begins it, of which nothing stays: a plain one of SQLite's would keep everything."""
    with suppress(_Undo), writing(engine) as connection:
        yield connection
        raise _Undo


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


def decide_for_ever(engine: Engine) -> None:
    """What the ledger holds so far was decided by a program of before: such documents never move."""
    with writing(engine) as connection:
        connection.execute(update(document).values(fixed=True))


def test_a_new_document_takes_the_side_of_any_page_that_is_known(ledger: Ledger, engine: Engine) -> None:
    ledger.learn(1, (0, "stamp"), task=1, pages=("/p/known", "/p/other"), name=GOLD)
    decide_for_ever(engine)
    found = ledger.learn(2, (0, "stamp"), (1, "stamp"), task=2, pages=("/p/new", "/p/known"), name=TRAIN)
    assert {row.split for row in found.values()} == {"gold"}
    assert {row.quarantine for row in found.values()} == {None}


FAMILY = {
    # Number of the document: its pages. 1 and 2 share one, 2 and 3 another; 4 is alone, 5 and 6 are a pair.
    1: ("/p/1", "/p/1-2"),
    2: ("/p/1-2", "/p/2-3"),
    3: ("/p/2-3", "/p/3"),
    4: ("/p/4", "/p/4b"),
    5: ("/p/5-6", "/p/5"),
    6: ("/p/6", "/p/5-6"),
}


@pytest.fixture(scope="module")
def page_facts() -> dict[str, PageLook]:
    """How the pages of the family are known again."""
    facts = {}
    for reference in {one for pages in FAMILY.values() for one in pages}:
        pixels = np.random.default_rng(annotating.hash_of(reference)).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        facts[reference] = PageLook(document="", page_sha256=fingerprint(pixels), page_phash=perceptual(pixels))
    return facts


def in_order(engine: Engine, order: Sequence[tuple[int, str]], facts: Mapping[str, PageLook]) -> dict[int, str]:
    """The side of each document of the family after its pages became known in an order."""
    keys = {number: document_key(f"lease {number}", ()) for number in FAMILY}
    with undone(engine) as connection:
        for number, reference in order:
            assign_split(connection, [dataclasses.replace(facts[reference], document=keys[number])])
        rows = dict(connection.execute(select(document.c.key, document.c.split)).all())
    return {number: rows[key] for number, key in keys.items()}


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32), repeats=st.integers(0, 6))
def test_documents_that_share_pages_go_together_whichever_page_is_known_first(
    engine: Engine, page_facts: dict[str, PageLook], seed: int, repeats: int
) -> None:
    """A worker that is killed does its work later, or twice: that is another order, and repetition."""
    known = [(number, page) for number, pages in FAMILY.items() for page in pages]
    mixed = random.Random(seed)  # noqa: S311
    order = known + mixed.choices(known, k=repeats)
    mixed.shuffle(order)
    sides = in_order(engine, order, page_facts)
    assert sides == in_order(engine, known, page_facts)
    assert len({sides[1], sides[2], sides[3]}) == 1
    assert sides[5] == sides[6]
    assert sides[4] == split_of(document_key("lease 4", ()))


def test_samples_move_with_their_document(ledger: Ledger) -> None:
    """The side is that of the lowest key, also where that document comes last."""
    names = sorted((TRAIN, GOLD), key=lambda name: document_key(name, ()))
    first, last = names
    alone = ledger.learn(1, (0, "stamp"), task=1, pages=("/p/a", "/p/shared"), name=last)
    assert alone["1-0"].split == split_of(document_key(last, ()))
    ledger.learn(2, (1, "stamp"), task=1, pages=("/p/a", "/p/shared"), name=last)
    found = ledger.learn(3, (0, "stamp"), task=2, pages=("/p/shared", "/p/b"), name=first)
    assert {row.split for row in found.values()} == {split_of(document_key(first, ()))}
    assert {row.quarantine for row in found.values()} == {None}


def test_a_form_that_many_documents_have_binds_none_and_teaches_on_one_side(
    engine: Engine, page_facts: dict[str, PageLook]
) -> None:
    keys = [document_key(f"contract {number}", ()) for number in range(MOST_SHARING + 4)]
    natural = {key: split_of(key) for key in keys}
    assert len(set(natural.values())) > 1
    form = page_facts["/p/1"]
    for order in (keys, keys[::-1]):
        with undone(engine) as connection:
            for key in order:
                assign_split(connection, [dataclasses.replace(form, document=key)])
            found = dict(connection.execute(select(document.c.key, document.c.split)).all())
            assert found == natural
            owner = natural[min(keys)]
            for key in keys:
                side = assign_split(connection, [dataclasses.replace(form, document=key)])
                away = {} if natural[key] == owner else {form.page_sha256: owner}
                assert (side.split, side.elsewhere) == (natural[key], away)


@dataclass(frozen=True)
class Scanned:
    """A page of a document; scans of one form have hashes that differ in some bits."""

    document: str
    page_sha256: str
    page_phash: str


def scans(bits: Sequence[Sequence[int]], *, form: int) -> list[Scanned]:
    """A document for each row of bits in which its scan differs from the form."""
    hashes = (form ^ sum(1 << bit for bit in set(changed)) for changed in bits)
    return [
        Scanned(document_key(f"contract {number}", ()), f"{number:064x}", f"{one:016x}")
        for number, one in enumerate(hashes)
    ]


def sides_of(connection: Connection, pages: Sequence[Scanned]) -> dict[str, str]:
    for page in pages:
        assign_split(connection, [page])
    return {str(key): str(side) for key, side in connection.execute(select(document.c.key, document.c.split))}


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    bits=st.lists(st.lists(st.integers(0, 7), max_size=3), min_size=MOST_SHARING, max_size=3 * MOST_SHARING),
    seed=st.integers(0, 2**32),
)
def test_scans_of_one_form_are_on_the_same_sides_whichever_came_first(
    engine: Engine, bits: Sequence[Sequence[int]], seed: int
) -> None:
    """Some are copies of few others, and some of many: each new one may be the one too many for any of them."""
    pages = scans(bits, form=0x1234_5678_9ABC_DEF0)
    mixed = random.Random(seed).sample(pages, len(pages))  # noqa: S311
    found = []
    for order in (pages, mixed):
        with undone(engine) as connection:
            found.append(sides_of(connection, order))
    assert found[0] == found[1]


def test_a_document_asks_as_little_of_the_database_however_many_have_its_form(engine: Engine) -> None:
    asked: list[str] = []

    def ask(_: Any, __: Any, statement: str, *___: Any) -> None:
        asked.append(statement)

    costs = []
    with undone(engine) as connection:
        event.listen(connection, "before_cursor_execute", ask)
        for page in scans([[number % 3] for number in range(10 * MOST_SHARING)], form=0x0F0F_0F0F_0F0F_0F0F):
            asked.clear()
            assign_split(connection, [page])
            costs.append(len(asked))
    assert max(costs[2 * MOST_SHARING :]) <= 30, costs


def test_a_page_that_many_documents_have_to_the_pixel_is_read_of_few_of_them(engine: Engine) -> None:
    costs = []
    with undone(engine) as connection:
        for number in range(10 * MOST_SHARING):
            page = Scanned(document_key(f"contract {number}", ()), "a" * 64, f"{0x0F0F:016x}")
            assign_split(connection, [page])
            copies = _copies(connection, page.page_sha256, page.page_phash)
            assert _owner(copies).key == min(key for key in connection.execute(select(document.c.key)).scalars())
            costs.append(len(copies))
    assert max(costs) == MOST_SHARING + 2


def test_a_page_that_two_documents_decided_before_share_teaches_on_one_side(ledger: Ledger, engine: Engine) -> None:
    shared = ("/p/shared", "/p/gold")
    first, other = sorted((GOLD, TRAIN), key=lambda name: document_key(name, ()))
    ledger.learn(1, (0, "stamp"), task=1, pages=shared, name=first)
    ledger.learn(2, (0, "stamp"), task=2, pages=("/p/train", "/p/shared"), name=other)
    decide_for_ever(engine)
    found = ledger.learn(3, (0, "thumb"), (1, "stamp"), task=3, pages=("/p/train2", "/p/shared"), name=other)
    here, there = split_of(document_key(first, ())), split_of(document_key(other, ()))
    assert {region: row.split for region, row in found.items()} == {
        "1-0": here,
        "2-0": there,
        "3-0": there,
        "3-1": there,
    }
    elsewhere = f"another document has its page on the {here} side"
    reasons = {"1-0": None, "2-0": None, "3-0": None, "3-1": elsewhere}
    assert {region: row.quarantine for region, row in found.items()} == reasons
    # neither a look at the task's contradictions nor a new state of the first document changes that
    ledger.learn(4, (0, "thumb"), task=3, pages=("/p/train2", "/p/shared"), name=other)
    again = ledger.learn(
        1, (0, "stamp"), task=1, pages=shared, name=first, at=2000.0, created=1001.0, action="ANNOTATION_UPDATED"
    )
    assert {region: row.quarantine for region, row in again.items()} == {**reasons, "4-0": None}


def test_contradictions_of_annotators_are_seen_beside_a_page_on_another_side(ledger: Ledger, engine: Engine) -> None:
    first, other = sorted((GOLD, TRAIN), key=lambda name: document_key(name, ()))
    pages = ("/p/train", "/p/shared")
    ledger.learn(1, (0, "stamp"), task=1, pages=("/p/shared", "/p/gold"), name=first)
    ledger.learn(2, (0, "stamp"), task=2, pages=pages, name=other)
    decide_for_ever(engine)
    found = ledger.learn(3, (0, "thumb"), (1, "stamp"), task=2, pages=pages, name=other)
    assert {region: row.quarantine for region, row in found.items()} == {
        "1-0": None,
        "2-0": "annotation 3 calls it thumb",
        "3-0": "annotation 2 calls it stamp",
        "3-1": f"another document has its page on the {split_of(document_key(first, ()))} side",
    }
