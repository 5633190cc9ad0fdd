"""Several steps in one transaction cost the disk less, and one that fails or is slow costs the others nothing."""

from __future__ import annotations

import math

import pytest
from sqlalchemy import Connection, Engine, select
from sqlalchemy import event as events

from backend.corrections import worker as working
from backend.corrections.journal import Entry, Journal
from backend.corrections.leases import give_back, in_hand, lease
from backend.corrections.reconciling import fold_event
from backend.corrections.tables import annotation, event
from backend.corrections.worker import Worker
from tests.corrections.annotating import drawn, samples, saved, send

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
