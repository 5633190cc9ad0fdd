"""Several steps in one transaction cost the disk less, and one that fails or is slow costs the others nothing."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, Engine, select
from sqlalchemy import event as events
from sqlalchemy.exc import OperationalError

from backend.corrections import worker as working
from backend.corrections.crop_store import CropStore
from backend.corrections.journal import Entry, Journal
from backend.corrections.leases import LEASE_SECONDS, MOST_ATTEMPTS, give_back, in_hand, lease
from backend.corrections.reconciling import fold_event
from backend.corrections.tables import annotation, event
from backend.corrections.worker import Worker
from backend.errors import LabelStudioError
from backend.labelstudio.annotations import Annotation
from backend.pages.page import Page
from tests.corrections import annotating
from tests.corrections.annotating import deleted, drawn, samples, saved, send

A = (10.0, 10.0, 60.0, 60.0)


def send_some(journal: Journal, many: int) -> None:
    for number in range(1, many + 1):
        send(journal, saved(number, task=6 + number, at=950, result=[drawn(f"r{number}", "stamp", A)]))


def test_events_before_one_that_fails_are_taken_and_those_behind_it_stay_open(engine: Engine, journal: Journal) -> None:
    send_some(journal, 4)

    def act(connection: Connection, entry: Entry) -> str | None:
        reason = fold_event(connection, entry)
        if entry.body["annotation"]["id"] == 3:
            raise ConnectionError("gone")
        return reason

    with pytest.raises(ConnectionError):
        journal.take(act)
    with engine.connect() as connection:
        states = connection.execute(select(event.c.state).order_by(event.c.id)).scalars().all()
        folded = connection.execute(select(annotation.c.id).order_by(annotation.c.id)).scalars().all()
    assert states == ["done", "done", "open", "open"]
    assert folded == [1, 2]
    assert journal.take(fold_event) == 2


def test_eight_corrections_are_flushed_together_in_sqlite(
    engine: Engine, journal: Journal, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_IN_HAND_SECONDS", "_STORED_SECONDS"):
        monkeypatch.setattr(working, name, math.inf)  # on a busy machine they may be over
    send_some(journal, 8)
    commits: list[Connection] = []
    events.listen(engine, "commit", commits.append)
    worker.work()
    assert set(samples(engine)) == {f"r{number}" for number in range(1, 9)}
    # The events are taken, the annotations leased, the samples stored; PostgreSQL locks rows, and does each by itself.
    assert len(commits) == (3 if engine.dialect.name == "sqlite" else 24)


@pytest.mark.parametrize("words", ["a\0b", "half of \ud83d", "\x1b[31m" * 1000])
def test_a_failure_in_words_that_no_database_takes_costs_the_others_nothing(
    engine: Engine, journal: Journal, tmp_path: Path, words: str
) -> None:
    """Label Studio's own words, which its errors bear."""

    def page_of(one: Annotation, index: int) -> Page:
        if one.task == 7:
            raise LabelStudioError(f"Label Studio answered 400 ({words})", answered=400)
        return annotating.page_of(one, index)

    worker = Worker(engine=engine, journal=journal, crops=CropStore(str(tmp_path)), page_of=page_of)
    send_some(journal, 3)
    assert journal.take(lambda _, entry: words if entry.body["annotation"]["id"] == 3 else None) == 3
    journal.unpark()
    send_some(journal, 3)
    worker.work()
    assert set(samples(engine)) == {"r2", "r3"}
    with engine.connect() as connection:
        kept = select(annotation.c.reason).where(annotation.c.id == 1)
        [reason] = connection.execute(kept).scalars()
    assert reason.startswith("Label Studio answered 400 (")
    assert reason.isprintable()


def test_what_ends_each_worker_is_taken_alone_and_less_and_less_often(
    engine: Engine, journal: Journal, worker: Worker, clock: list[float]
) -> None:
    """As for want of memory: those beside it must not wait for ever, nor the server be ended every two minutes."""

    class Ended(BaseException):
        pass

    def page_of(one: Annotation, index: int) -> Page:
        if one.task == 8:
            raise Ended
        return annotating.page_of(one, index)

    send_some(journal, 6)
    ended: list[float] = []
    for _ in range(600):
        try:
            replace(worker, page_of=page_of).work()
        except Ended:
            ended.append(clock[0])
        clock[0] += 60.0
    assert set(samples(engine)) == {"r1", "r3", "r4", "r5", "r6"}
    pauses = [later - sooner for sooner, later in itertools.pairwise(ended)]
    assert pauses[:3] == [120.0] * 3
    assert pauses[-1] > 2000.0
    worker.work()
    assert "r2" not in samples(engine), "it is in hand"
    clock[0] += 3600.0
    worker.work()
    assert "r2" in samples(engine)


def test_thousands_of_deletions_in_one_event_are_some_statements(engine: Engine, journal: Journal) -> None:
    """One by one they held the ledger for minutes, and other writers with it."""
    send_some(journal, 1)
    send(journal, deleted(*range(1, 5001)))
    asked: list[object] = []
    events.listen(engine, "before_cursor_execute", lambda *_: asked.append(_))
    assert journal.take(fold_event) == 2
    with engine.connect() as connection:
        found = connection.execute(select(annotation.c.deleted, annotation.c.hearsay.is_not(None))).all()
    assert set(found) == {(True, True)}
    assert (len(found), len(asked) < 100) == (5000, True)


def test_what_a_worker_gives_back_another_has_at_once(engine: Engine, journal: Journal, worker: Worker) -> None:
    send_some(journal, 3)
    journal.take(fold_event)
    leased = lease(engine, most=3, now=1_000.0)
    assert [one.id for one in leased] == [1, 2, 3]
    send(journal, saved(3, task=9, at=960, result=[drawn("newer", "stamp", A)]))
    give_back(engine, leased[1:])
    assert [one.id for one in lease(engine, most=3, now=1_000.0)] == [2, 3]
    assert lease(engine, most=3, now=1_000.0) == []
    assert in_hand(engine, now=1_000.0)
    assert worker.work() == 2  # the newer state is taken, and its lease is no one's
    assert set(samples(engine)) == {"newer"}


def test_what_a_slow_worker_gives_back_too_late_stays_with_who_took_it_meanwhile(
    engine: Engine, journal: Journal
) -> None:
    send_some(journal, 2)
    journal.take(fold_event)
    slow = lease(engine, most=2, now=1_000.0)
    later = 1_000.0 + LEASE_SECONDS
    assert [[one.id for one in lease(engine, most=2, now=later)] for _ in range(2)] == [[1], [2]]
    give_back(engine, slow[1:])
    assert lease(engine, most=2, now=later) == []


def break_down(connection: Connection) -> None:
    """A disk that is full, for which SQLite by itself rolls back all that the transaction wrote; a connection cut."""
    raw: Any = connection.connection.dbapi_connection
    if connection.dialect.name == "sqlite":
        raw.execute(f"PRAGMA max_page_count = {raw.execute('PRAGMA page_count').fetchone()[0]}")
        return
    url = connection.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s)", (raw.info.backend_pid,))


class Trouble:
    """A database that breaks down at each statement about one annotation, and is well again right after that.

    Args:
        engine: The ledger's database.
        statement: How the statement begins.
        annotation: The annotation's id, the first of its values.
    """

    def __init__(self, engine: Engine, statement: str, *, annotation: int) -> None:
        self.over = False
        self._begins, self._about = statement, annotation
        events.listen(engine, "before_cursor_execute", self._look)
        events.listen(engine, "handle_error", self._mend)

    def _look(self, connection: Connection, _: Any, statement: str, values: Any, *_rest: Any) -> None:
        first = next(iter(values.values() if isinstance(values, dict) else values), None)
        if not self.over and statement.startswith(self._begins) and first == self._about:
            break_down(connection)

    def _mend(self, context: Any) -> None:
        if context.connection is not None and context.connection.dialect.name == "sqlite":
            context.connection.connection.dbapi_connection.execute("PRAGMA max_page_count = 1000000")


def send_a_large_one_among_others(journal: Journal) -> None:
    """Six events; what the third tells takes more room than a page of the database has."""
    for number in range(1, 7):
        many = 12 if number == 3 else 1
        result = [drawn(f"r{number}-{place}".ljust(64, "x"), "stamp", A) for place in range(many)]
        send(journal, saved(number, task=6 + number, at=950, result=result))


def test_what_a_database_rolled_back_by_itself_is_stored_at_once_and_one_in_trouble_is_never_parked(
    engine: Engine, journal: Journal, worker: Worker, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_IN_HAND_SECONDS", "_STORED_SECONDS"):
        monkeypatch.setattr(working, name, math.inf)
    send_a_large_one_among_others(journal)
    trouble = Trouble(engine, "DELETE FROM sample", annotation=3)
    worker.work()
    assert {region[:2] for region in samples(engine)} == {"r1", "r2", "r4", "r5", "r6"}
    for _ in range(MOST_ATTEMPTS + 1):
        clock[0] += 10_000
        worker.work()
    with engine.connect() as connection:
        row = connection.execute(select(annotation).where(annotation.c.id == 3)).one()
    assert not row.parked
    assert row.reason.startswith("OperationalError: ")
    clock[0] += 10_000
    trouble.over = True
    worker.work()
    assert len(samples(engine)) == 5 + 12


def test_events_before_one_at_which_the_database_breaks_down_are_taken(engine: Engine, journal: Journal) -> None:
    send_a_large_one_among_others(journal)
    trouble = Trouble(engine, "INSERT INTO annotation", annotation=3)
    with pytest.raises(OperationalError):
        journal.take(fold_event)
    with engine.connect() as connection:
        states = connection.execute(select(event.c.state).order_by(event.c.id)).scalars().all()
        folded = connection.execute(select(annotation.c.id).order_by(annotation.c.id)).scalars().all()
    assert states == ["done", "done", "open", "open", "open", "open"]
    assert folded == [1, 2]
    trouble.over = True
    assert journal.take(fold_event) == 4
