"""Whatever befalls the worker, each correction becomes its sample in the end, or is parked with the reason."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select, text

from backend.corrections.database import writing
from backend.corrections.journal import Journal
from backend.corrections.leases import LEASE_SECONDS, MOST_ATTEMPTS, unpark
from backend.corrections.reconciling import fold, fold_event
from backend.corrections.tables import annotation, event
from backend.corrections.worker import Worker
from backend.errors import FetchTimeout, LimitExceeded, PageUnavailable, UndecodablePage
from backend.labelstudio.annotations import Annotation
from backend.labelstudio.protocol import read_event
from backend.pages.page import Page
from tests.corrections import annotating
from tests.corrections.annotating import A, drawn, samples, saved, send


def test_what_a_worker_has_in_hand_others_know_of(engine: Engine, journal: Journal, worker: Worker) -> None:
    seen: list[bool] = []

    def slow(annotation: Annotation, index: int) -> Page:
        seen.append(worker.others_at_work())
        return annotating.page_of(annotation, index)

    send(journal, saved(1, task=7, at=950, result=[drawn("a", "stamp", A)]))
    assert not worker.others_at_work()
    other = Worker(engine=engine, journal=journal, crops=worker.crops, page_of=slow, clock=worker.clock)
    other.work()
    assert seen == [True]
    assert not worker.others_at_work()


def test_a_passing_failure_is_retried_later_each_time_and_does_not_block_others(
    engine: Engine, journal: Journal, worker: Worker, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    down = {"t7": True}

    def page_of(one: Annotation, index: int) -> Page:
        if one.task == 7 and down["t7"]:
            raise PageUnavailable("page", "Label Studio does not answer")
        return annotating.page_of(one, index)

    flaky = Worker(engine=engine, journal=journal, crops=worker.crops, page_of=page_of, clock=lambda: clock[0])
    send(journal, saved(1, task=7, at=950, result=[drawn("a", "stamp", A)]))
    send(journal, saved(2, task=8, at=950, result=[drawn("b", "stamp", A)]))
    flaky.work()
    assert set(samples(engine)) == {"b"}
    assert flaky.work() == 0  # nothing is due yet
    down["t7"] = False
    clock[0] += 3
    flaky.work()
    assert set(samples(engine)) == {"a", "b"}


@pytest.mark.parametrize(
    ("error", "attempts"),
    [
        (UndecodablePage("page", "not an image"), 1),  # a second look changes nothing
        (LimitExceeded("page", "larger than MAX_BYTES"), 1),
        (PageUnavailable("page", "gone"), MOST_ATTEMPTS),  # might have come back
        (FetchTimeout("page", "took longer than FETCH_TIMEOUT"), MOST_ATTEMPTS),  # the server may have been busy
    ],
)
def test_what_cannot_be_done_is_parked_with_its_reason_and_can_be_taken_up_again(
    engine: Engine, worker: Worker, clock: list[float], error: Exception, attempts: int
) -> None:
    def page_of(_: Annotation, __: int) -> Page:
        raise error

    journal = worker.journal

    broken = Worker(engine=engine, journal=journal, crops=worker.crops, page_of=page_of, clock=lambda: clock[0])
    send(journal, saved(1, task=7, at=950, result=[drawn("a", "stamp", A)]))
    for _ in range(attempts + 3):
        broken.work()
        clock[0] += 10_000
    with engine.connect() as connection:
        row = connection.execute(select(annotation)).one()
    assert (row.parked, row.attempts, row.reason) == (True, attempts, str(error))
    assert unpark(engine) == 1
    worker.work()
    assert set(samples(engine)) == {"a"}


def test_what_waits_for_the_disk_of_its_crops_is_never_parked(
    engine: Engine, worker: Worker, clock: list[float], tmp_path: Path
) -> None:
    in_the_way = tmp_path / "crops"
    in_the_way.write_bytes(b"")  # no folder can be made here
    send(worker.journal, saved(1, task=7, at=950, result=[drawn("a", "stamp", A)]))
    for _ in range(MOST_ATTEMPTS + 3):
        assert worker.work() > 0
        assert worker.work() == 0  # and it is not tried without a pause
        clock[0] += 10_000
    with engine.connect() as connection:
        row = connection.execute(select(annotation)).one()
    assert not row.parked
    assert "a crop could not be stored" in row.reason
    in_the_way.unlink()
    worker.work()
    assert set(samples(engine)) == {"a"}


HUGE = 100000000000000000000


@pytest.mark.parametrize(
    "payload",
    [
        {"action": "TASKS_DELETED", "tasks": [{"id": HUGE}]},
        {"action": "TASKS_DELETED", "tasks": [{"id": "7"}]},
        {"action": "ANNOTATIONS_DELETED", "annotations": [{"id": HUGE}]},
        saved(HUGE, task=7, at=950, result=[]),
        saved(1, task=HUGE, at=950, result=[]),
        saved(1, task=7, at=950, result=[], project=HUGE),
        saved(1, task=7, at=950, result=[], completed_by=HUGE),
        saved(1, task=7, at=950, result=[], completed_by=[1]),
        saved(1, task=7, at=950, result=[], completed_by={"id": HUGE}),
        saved(1, task=7, at=950, result=[], lead_time="an hour"),
        saved(1, task=7, at=950, result=[], lead_time={"seconds": 3}),
        saved(1, task=7, at=950, result=[], created_at=[]),
    ],
    ids=lambda payload: str(payload)[:60],
)
def test_an_event_that_no_label_studio_sends_is_parked_and_holds_up_no_other(
    engine: Engine, journal: Journal, worker: Worker, payload: dict[str, Any]
) -> None:
    send(journal, payload, saved(2, task=8, at=950, result=[drawn("b", "stamp", A)]))
    while worker.work():
        pass
    assert set(samples(engine)) == {"b"}
    states = {state for (action, state), _ in journal.counts().items() if action == payload["action"]}
    assert "parked" in states
    with engine.connect() as connection:
        assert connection.execute(select(event.c.reason).where(event.c.state == "parked")).scalar()


def test_thousands_of_tasks_are_deleted_by_one_event(engine: Engine, journal: Journal, worker: Worker) -> None:
    send(journal, saved(1, task=69_000, at=950, result=[drawn("a", "stamp", A)]))
    many = {"action": "TASKS_DELETED", "tasks": [{"id": number} for number in range(70_000)]}
    send(journal, many)
    worker.work()
    assert samples(engine) == {}
    assert journal.counts() == {("ANNOTATION_CREATED", "done"): 1, ("TASKS_DELETED", "done"): 1}


def test_samples_that_the_database_has_no_room_for_are_parked_at_once(
    engine: Engine, journal: Journal, worker: Worker
) -> None:
    """Such a state is not folded any more, but an older ledger may have it."""
    body = saved(1, task=7, at=950, result=[drawn("a", "stamp", A)])
    [state] = read_event(body).saved
    with writing(engine) as connection:
        fold(connection, dataclasses.replace(state, annotator=HUGE))
    send(journal, saved(2, task=8, at=950, result=[drawn("b", "stamp", A)]))
    worker.work()
    assert set(samples(engine)) == {"b"}
    with engine.connect() as connection:
        row = connection.execute(select(annotation).where(annotation.c.id == 1)).one()
    assert (row.parked, row.attempts, row.turned) == (True, 1, None)
    assert "INSERT" not in row.reason
    assert str(HUGE) not in row.reason


def test_samples_that_cannot_be_stored_for_a_while_are_tried_again_later(
    engine: Engine, journal: Journal, worker: Worker, clock: list[float]
) -> None:
    send(journal, saved(1, task=7, at=950, result=[drawn("a", "stamp", A)]))
    journal.take(fold_event)
    with writing(engine) as connection:
        connection.execute(text("ALTER TABLE sample RENAME TO away"))
    worker.work()
    with engine.connect() as connection:
        row = connection.execute(select(annotation)).one()
    assert (row.parked, row.attempts, row.lease) == (False, 1, 0.0)
    assert worker.work() == 0  # nothing is due yet
    with writing(engine) as connection:
        connection.execute(text("ALTER TABLE away RENAME TO sample"))
    clock[0] += 3
    worker.work()
    assert set(samples(engine)) == {"a"}


def test_a_worker_that_dies_gives_its_work_back(
    engine: Engine, journal: Journal, worker: Worker, clock: list[float]
) -> None:
    class Killed(BaseException):
        """Stands for a process that is gone: nothing of ours catches it."""

    def page_of(_: Annotation, __: int) -> Page:
        raise Killed

    dying = Worker(engine=engine, journal=journal, crops=worker.crops, page_of=page_of, clock=lambda: clock[0])
    send(journal, saved(1, task=7, at=950, result=[drawn("a", "stamp", A)]))
    with pytest.raises(Killed):
        dying.work()
    assert worker.work() == 0
    clock[0] += LEASE_SECONDS
    worker.work()
    assert set(samples(engine)) == {"a"}
