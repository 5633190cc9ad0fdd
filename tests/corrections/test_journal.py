"""The inbox: what was acknowledged is there after a kill, and is taken out once."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Connection, Engine, select, text

from backend.corrections.database import open_database
from backend.corrections.journal import Entry, Journal
from backend.corrections.tables import event
from backend.errors import LedgerError, RequestError


def test_sixty_four_senders_lose_and_double_nothing(engine: Engine) -> None:
    journal = Journal(engine)
    with ThreadPoolExecutor(64) as pool:
        list(pool.map(lambda n: journal.append("ANNOTATION_CREATED", project=1, body={"n": n}), range(640)))
    with engine.connect() as connection:
        stored = connection.execute(select(event.c.id, event.c.body)).all()
    assert len({one.id for one in stored}) == 640
    assert sorted(one.body["n"] for one in stored) == list(range(640))


def test_several_workers_take_each_event_once(engine: Engine) -> None:
    journal = Journal(engine)
    for n in range(40):
        journal.append("ANNOTATION_CREATED", project=1, body={"n": n})
    taken: list[int] = []
    lock = threading.Lock()

    def act(_: Connection, entry: Entry) -> None:
        with lock:
            taken.append(entry.body["n"])

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(lambda _: journal.take(act), range(4))) == 40
    assert sorted(taken) == list(range(40))
    assert journal.counts() == {("ANNOTATION_CREATED", "done"): 40}
    assert journal.oldest_open() is None


def test_a_worker_that_fails_leaves_the_event_open(engine: Engine) -> None:
    journal = Journal(engine)
    journal.append("ANNOTATION_CREATED", project=1, body={})

    def fail(connection: Connection, _: Entry) -> None:
        connection.execute(text("UPDATE event SET reason = 'half done'"))
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError):
        journal.take(fail)
    with engine.connect() as connection:
        assert connection.execute(select(event.c.state, event.c.reason)).all() == [("open", None)]


def test_an_event_that_can_never_be_done_is_parked_with_its_reason(engine: Engine) -> None:
    journal = Journal(engine)
    journal.append("ANNOTATION_CREATED", project=1, body={})
    journal.take(lambda *_: "no annotation in it")
    with engine.connect() as connection:
        assert connection.execute(select(event.c.state, event.c.reason)).all() == [("parked", "no annotation in it")]


def test_a_parked_event_has_a_second_chance_and_is_ignored_after_it(engine: Engine) -> None:
    journal = Journal(engine)
    for number in (1, 2):
        journal.append("ANNOTATION_CREATED", project=1, body={"number": number})
    journal.take(lambda *_: "not read by this release")
    assert journal.unpark() == 2
    journal.take(lambda _, entry: None if entry.body["number"] == 1 else "not read by this one either")
    with engine.connect() as connection:
        rows = connection.execute(select(event.c.state, event.c.reason).order_by(event.c.id)).all()
    assert rows == [("done", None), ("ignored", "not read by this one either")]
    assert journal.unpark() == 0


def test_an_event_that_was_taken_is_kept_as_its_ids_and_a_parked_one_whole(engine: Engine) -> None:
    journal = Journal(engine)
    whole = {
        "action": "ANNOTATION_CREATED",
        "annotation": {"id": 5, "task": 7, "project": 1, "result": [{"id": "a"}]},
        "project": {"id": 1, "label_config": "<View/>"},
    }
    for _ in range(2):
        journal.append("ANNOTATION_CREATED", project=1, body=whole)
    journal.take(lambda _, entry: "not read by this release" if entry.id == 2 else None)
    with engine.connect() as connection:
        taken, parked = connection.execute(select(event.c.body).order_by(event.c.id)).scalars()
    ids = {"annotation": {"id": 5, "task": 7, "project": 1}, "project": {"id": 1}}
    assert taken == {"action": "ANNOTATION_CREATED", **ids}
    assert parked == whole


def test_the_oldest_open_event_tells_its_age(engine: Engine) -> None:
    now = [1000.0]
    journal = Journal(engine, clock=lambda: now[0])
    journal.append("START_TRAINING", project=1, body={})
    now[0] = 1060.0
    assert journal.oldest_open() == 60.0


def test_a_sender_is_not_told_stored_when_it_was_not(engine: Engine) -> None:
    journal = Journal(engine)
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE event"))
    with pytest.raises(LedgerError, match="could not be stored"):
        journal.append("ANNOTATION_CREATED", project=1, body={})


def test_a_value_that_no_database_holds_is_the_senders_fault_and_costs_no_other_event(engine: Engine) -> None:
    journal = Journal(engine)

    def send(number: int) -> str:
        try:
            journal.append("START_TRAINING", project=2**70 if number % 2 else 1, body={})
        except RequestError:
            return "refused"
        return "stored"

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(send, range(32)))
    assert answers == ["stored", "refused"] * 16
    assert journal.counts() == {("START_TRAINING", "open"): 16}


SENDER = """
import sys
from concurrent.futures import ThreadPoolExecutor
from backend.corrections.database import open_database
from backend.corrections.journal import Journal
journal = Journal(open_database(sys.argv[1]))
def send(n):
    journal.append("ANNOTATION_CREATED", project=1, body={"n": n})
    sys.stdout.write(f"{n}\\n"); sys.stdout.flush()
with ThreadPoolExecutor(16) as pool:
    list(pool.map(send, range(100000)))
"""


def test_what_was_acknowledged_survives_kill_nine(database_url: str) -> None:
    with subprocess.Popen([sys.executable, "-c", SENDER, database_url], stdout=subprocess.PIPE, text=True) as sender:
        assert sender.stdout is not None
        acknowledged = {int(sender.stdout.readline()) for _ in range(200)}
        sender.kill()
        acknowledged |= {int(line) for line in sender.stdout.read().split("\n")[:-1] if line}
    engine = open_database(database_url)
    with engine.connect() as connection:
        stored = [body["n"] for body in connection.execute(select(event.c.body)).scalars()]
    engine.dispose()
    assert acknowledged <= set(stored)
    assert len(stored) == len(set(stored))
