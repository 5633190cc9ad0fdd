"""From events to samples: each correction becomes what the table says, exactly once, whatever befalls the worker."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, select

from backend.errors import PageUnavailable, UndecodablePage
from backend.feedback.crops import CropStore
from backend.feedback.database import open_database
from backend.feedback.journal import Journal
from backend.feedback.proposals import Proposals
from backend.feedback.tables import annotation, sample
from backend.feedback.worker import LEASE_SECONDS, MOST_ATTEMPTS, Worker, unpark
from backend.labelstudio.annotations import Annotation, without_secrets
from backend.pages.page import Page

from . import annotating
from .annotating import deleted, drawn, saved, shown

A, B, C = (10.0, 10.0, 110.0, 110.0), (200.0, 300.0, 300.0, 360.0), (50.0, 450.0, 150.0, 550.0)
SHIFTED_B = (260.0, 300.0, 360.0, 360.0)


@pytest.fixture
def clock() -> list[float]:
    return [1_000.0]


@pytest.fixture
def journal(engine: Engine) -> Journal:
    return Journal(engine)


@pytest.fixture
def worker(engine: Engine, journal: Journal, tmp_path: Path, clock: list[float]) -> Worker:
    return Worker(
        engine=engine,
        journal=journal,
        crops=CropStore(str(tmp_path)),
        page_of=annotating.page_of,
        clock=lambda: clock[0],
    )


def send(journal: Journal, *payloads: dict[str, Any]) -> None:
    for payload in payloads:
        journal.append(payload["action"], project=1, body=without_secrets(payload))


def samples(engine: Engine) -> dict[str, tuple[str, str, str | None]]:
    with engine.connect() as connection:
        return {
            row.region: (row.outcome, row.label, row.wrong)
            for row in connection.execute(select(sample).order_by(sample.c.id))
        }


def show(engine: Engine, task: int = 7, version: str = "v1", at: float = 900.0) -> None:
    Proposals(engine, clock=lambda: at).remember(
        task=task,
        project=1,
        version=version,
        proposals=[shown("a", "stamp", A), shown("b", "signature", B), shown("c", "thumb", C, page=1)],
    )


def test_each_correction_becomes_the_sample_that_the_table_says(
    engine: Engine, journal: Journal, worker: Worker
) -> None:
    show(engine)
    new = drawn("n", "thumb", (300.0, 10.0, 380.0, 90.0))
    send(
        journal, saved(1, task=7, at=950, result=[drawn("a", "signature", A), drawn("b", "signature", SHIFTED_B), new])
    )
    worker.work()
    assert samples(engine) == {
        "a": ("relabelled", "signature", "stamp"),
        "b": ("moved", "signature", None),
        "c": ("rejected", "none", "thumb"),
        "n": ("missed", "thumb", None),
    }


def test_a_sample_carries_its_history(engine: Engine, journal: Journal, worker: Worker) -> None:
    show(engine)
    send(journal, saved(1, task=7, at=950, result=[drawn("a", "stamp", A)], lead_time=12.5, completed_by=4))
    worker.work()
    with engine.connect() as connection:
        row = connection.execute(select(sample).where(sample.c.region == "a")).one()
    assert (row.id, row.annotation, row.task, row.project, row.page) == ("1-a", 1, 7, 1, 0)
    assert (row.version, row.annotator, row.lead_time, row.shown, row.annotated) == ("v1", 4, 12.5, 900.0, 950.0)
    assert (row.x1, row.y1, row.x2, row.y2) == pytest.approx(A)
    assert row.margin == [0, 0, 135, 135]
    assert worker.crops.get(row.crop).shape == (135, 135, 3)
    assert row.split in {"train", "validation", "gold"}


def test_an_update_replaces_and_a_deletion_retracts(engine: Engine, journal: Journal, worker: Worker) -> None:
    show(engine)
    send(journal, saved(1, task=7, at=950, result=[drawn("a", "stamp", A)]))
    worker.work()
    again = saved(1, task=7, at=960, created=950, result=[drawn("a", "thumb", A)], action="ANNOTATION_UPDATED")
    send(journal, again)
    worker.work()
    assert samples(engine)["a"] == ("relabelled", "thumb", "stamp")
    send(journal, deleted(1))
    worker.work()
    assert samples(engine) == {}


@pytest.mark.parametrize(
    ("fields", "regions"),
    [
        ({"was_cancelled": True}, set()),  # a skipped task says nothing
        ({"parent_prediction": None}, {"a", "b", "c"}),  # drawn from scratch: what it lacks is weak evidence
    ],
)
def test_what_an_annotation_says_depends_on_how_it_was_made(
    engine: Engine, journal: Journal, worker: Worker, fields: dict[str, Any], regions: set[str]
) -> None:
    show(engine)
    send(journal, saved(1, task=7, at=950, result=[], **fields))
    worker.work()
    assert set(samples(engine)) == regions
    with engine.connect() as connection:
        assert all(connection.execute(select(sample.c.weak)).scalars())


def test_a_rotated_box_counts_with_the_upright_box_around_it(engine: Engine, journal: Journal, worker: Worker) -> None:
    quarter = drawn("n", "stamp", (200.0, 100.0, 300.0, 140.0), rotation=90)
    send(journal, saved(1, task=7, at=950, result=[quarter]))
    worker.work()
    with engine.connect() as connection:
        row = connection.execute(select(sample)).one()
    assert (row.x1, row.y1, row.x2, row.y2) == pytest.approx((160.0, 100.0, 200.0, 200.0))


def test_a_label_outside_the_three_is_no_mark(engine: Engine, journal: Journal, worker: Worker) -> None:
    show(engine)
    kept = [drawn("b", "signature", B), drawn("c", "thumb", C, page=1)]
    send(journal, saved(1, task=7, at=950, result=[drawn("a", "logo", A), *kept]))
    worker.work()
    assert samples(engine)["a"] == ("rejected", "none", "stamp")


def test_annotators_who_contradict_each_other_are_both_quarantined(
    engine: Engine, journal: Journal, worker: Worker
) -> None:
    show(engine)
    send(
        journal,
        saved(1, task=7, at=950, result=[drawn("a", "stamp", A)], completed_by=1),
        saved(2, task=7, at=960, result=[drawn("a", "thumb", A)], completed_by=2),
    )
    worker.work()
    with engine.connect() as connection:
        reasons = dict(connection.execute(select(sample.c.id, sample.c.quarantine).where(sample.c.region == "a")).all())
    assert reasons == {"1-a": "annotation 2 calls it thumb", "2-a": "annotation 1 calls it stamp"}
    send(journal, deleted(2))
    worker.work()
    with engine.connect() as connection:
        assert set(connection.execute(select(sample.c.quarantine)).scalars()) == {None}


def test_an_empty_prediction_is_what_was_shown_too(engine: Engine, journal: Journal, worker: Worker) -> None:
    show(engine, version="v1", at=800)
    Proposals(engine, clock=lambda: 900.0).remember(task=7, project=1, version="v2", proposals=[])
    send(journal, saved(1, task=7, at=950, result=[drawn("z", "stamp", A)]))
    worker.work()
    assert samples(engine) == {"z": ("missed", "stamp", None)}


def test_secrets_do_not_reach_the_journal(engine: Engine, journal: Journal) -> None:
    send(journal, saved(1, task=7, at=950, result=[]))
    with engine.connect() as connection:
        stored = str(connection.exec_driver_sql("SELECT body FROM event").all())
    assert "secret-token" not in stored


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
        (PageUnavailable("page", "gone"), MOST_ATTEMPTS),  # might have come back
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


def everything(engine: Engine) -> list[dict[str, Any]]:
    with engine.connect() as connection:
        return [dict(row._mapping) for row in connection.execute(select(sample).order_by(sample.c.id))]


HISTORY = [
    saved(1, task=7, at=1000, result=[drawn("a", "stamp", A), drawn("b", "signature", B)]),
    saved(1, task=7, at=1010, created=1000, result=[drawn("a", "thumb", A)], action="ANNOTATION_UPDATED"),
    saved(2, task=7, at=1020, result=[drawn("a", "stamp", A)], completed_by=2),
    saved(3, task=8, at=1000, result=[drawn("n", "stamp", C)]),
    saved(3, task=8, at=1005, created=1000, result=[], action="ANNOTATION_UPDATED"),
    saved(4, task=8, at=1001, result=[drawn("m", "thumb", B)]),
    deleted(4),
    saved(5, task=9, at=1002, result=[drawn("q", "stamp", A)]),
    {"action": "TASKS_DELETED", "tasks": [{"id": 9}], "project": {"id": 1}},
    {"action": "START_TRAINING", "project": {"id": 1}},
]


def replay(folder: Path, payloads: list[dict[str, Any]], *, chunk: int) -> list[dict[str, Any]]:
    """The samples that a new ledger has after these events, worked on after every few."""
    engine = open_database(f"sqlite:///{folder / 'ledger.sqlite3'}")
    show(engine)
    journal = Journal(engine)
    worker = Worker(engine=engine, journal=journal, crops=CropStore(str(folder)), page_of=annotating.page_of)
    for start in range(0, len(payloads), chunk):
        send(journal, *payloads[start : start + chunk])
        worker.work()
    rows = everything(engine)
    engine.dispose()
    return rows


@pytest.fixture(scope="module")
def in_order(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What the history gives when each event arrives once and in order."""
    return replay(tmp_path_factory.mktemp("in_order"), HISTORY, chunk=1)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), repeats=st.integers(0, 8), chunk=st.integers(1, 9))
def test_any_order_and_any_repetition_give_one_and_the_same_set(
    tmp_path_factory: pytest.TempPathFactory, in_order: list[dict[str, Any]], seed: int, repeats: int, chunk: int
) -> None:
    mixed = random.Random(seed)  # noqa: S311
    payloads = HISTORY + mixed.choices(HISTORY, k=repeats)
    mixed.shuffle(payloads)
    assert replay(tmp_path_factory.mktemp("replay"), payloads, chunk=chunk) == in_order
