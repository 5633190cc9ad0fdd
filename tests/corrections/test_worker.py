"""From events to samples: each correction becomes what the table says, exactly once, whatever befalls the worker."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, select, text

from backend.corrections.crop_store import CropStore
from backend.corrections.database import open_database, writing
from backend.corrections.journal import Journal
from backend.corrections.reconciling import fold, fold_event
from backend.corrections.remembering import Proposals, ShownPrediction
from backend.corrections.tables import annotation, event, sample
from backend.corrections.worker import LEASE_SECONDS, MOST_ATTEMPTS, Worker, unpark
from backend.errors import FetchTimeout, LimitExceeded, PageUnavailable, UndecodablePage
from backend.labelstudio.annotations import Annotation
from backend.labelstudio.protocol import read_event, without_secrets
from backend.pages.page import Page
from tests.corrections import annotating
from tests.corrections.annotating import deleted, drawn, saved, shown

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
        ShownPrediction(
            task=task,
            project=1,
            version=version,
            proposals=[shown("a", "stamp", A), shown("b", "signature", B), shown("c", "thumb", C, page=1)],
        )
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


@pytest.mark.parametrize("view", [90, 180, 270])
def test_a_page_that_was_turned_on_the_screen_is_still_the_upright_page(
    engine: Engine, journal: Journal, worker: Worker, view: int
) -> None:
    """The editor turns the view (`image_rotation`), and keeps percents and size of the page that it did not turn."""
    send(journal, saved(1, task=7, at=950, result=[drawn("n", "stamp", B, image_rotation=view)]))
    worker.work()
    with engine.connect() as connection:
        row = connection.execute(select(sample)).one()
    assert (row.x1, row.y1, row.x2, row.y2) == pytest.approx(B)
    assert (row.page_width, row.page_height) == (annotating.WIDTH, annotating.HEIGHT)


def test_an_annotation_that_says_nothing_needs_no_pages(engine: Engine, journal: Journal, worker: Worker) -> None:
    payload = saved(1, task=7, at=950, result=[])
    payload["task"]["data"] = {}
    send(journal, payload)
    worker.work()
    with engine.connect() as connection:
        row = connection.execute(select(annotation)).one()
    assert (row.parked, row.turned) == (False, 950.0)


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
    Proposals(engine, clock=lambda: 900.0).remember(ShownPrediction(task=7, project=1, version="v2", proposals=[]))
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


def test_a_region_of_an_id_that_is_no_editors_is_a_mark_like_others(
    engine: Engine, journal: Journal, worker: Worker
) -> None:
    long = drawn("x" * 65, "stamp", A)
    send(journal, saved(1, task=7, at=950, result=[long, drawn("y" * 64, "stamp", B)]))
    worker.work()
    assert set(samples(engine)) == {"#0", "y" * 64}


@pytest.mark.parametrize(
    ("created", "fields", "regions"),
    [
        (880.0, {}, {"a", "b", "c"}),  # shown at 900 by a clock that is ahead of Label Studio's
        (880.0, {"parent_prediction": None}, set()),  # drawn from scratch: it may well have been before
        (900.0 - 4000.0, {}, set()),  # made of what another backend had predicted, an hour and more before
    ],
)
def test_clocks_that_differ_lose_no_rejection(
    engine: Engine, journal: Journal, worker: Worker, *, created: float, fields: dict[str, Any], regions: set[str]
) -> None:
    show(engine, version="v1", at=900)
    show(engine, version="v2", at=940)
    send(journal, saved(1, task=7, at=950, created=created, result=[], **fields))
    worker.work()
    assert set(samples(engine)) == regions
    with engine.connect() as connection:
        assert set(connection.execute(select(sample.c.version)).scalars()) == ({"v1"} if regions else set())


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
