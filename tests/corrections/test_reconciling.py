"""Reconciling with Label Studio: whatever was lost, the same samples in the end."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, select, update

from backend.corrections.crop_store import CropStore
from backend.corrections.database import open_database, writing
from backend.corrections.journal import Journal
from backend.corrections.reconciling import Reconciled, fold_event, sync
from backend.corrections.tables import annotation, gone_task
from backend.corrections.worker import Worker
from backend.errors import UndecodablePage
from backend.labelstudio.annotations import Annotation
from backend.pages.page import Page
from tests.corrections import annotating
from tests.corrections.annotating import HISTORY, A, drawn, everything, samples, saved, send, show
from tests.corrections.studio import Studio


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    seed=st.integers(0, 2**32),
    lost=st.integers(0, len(HISTORY)),
    portion=st.integers(1, 3),
    bystanders=st.integers(0, 6),
)
def test_whatever_was_lost_sync_gives_one_and_the_same_set(
    tmp_path_factory: pytest.TempPathFactory,
    in_order: list[dict[str, Any]],
    *,
    seed: int,
    lost: int,
    portion: int,
    bystanders: int,
) -> None:
    """While sync reads the tasks, portion by portion, others are deleted before them and made behind them."""
    mixed = random.Random(seed)  # noqa: S311
    arrived = mixed.sample(HISTORY, len(HISTORY) - lost)
    folder = tmp_path_factory.mktemp("lossy")
    engine = open_database(f"sqlite:///{folder / 'ledger.sqlite3'}")
    show(engine)
    journal = Journal(engine)
    worker = Worker(engine=engine, journal=journal, crops=CropStore(str(folder)), page_of=annotating.page_of)
    send(journal, *arrived)
    worker.work()
    studio = Studio(*HISTORY, portion=portion)
    studio.add(*range(1, bystanders + 1))
    for other in range(1, bystanders + 1):
        studio.meanwhile += [lambda: None, lambda other=other: (studio.tasks.pop(other), studio.add(100 + other))]
    mixed.shuffle(studio.meanwhile)
    sync(engine, studio.client(), 1, everything=True)
    worker.work()
    assert everything(engine) == in_order
    engine.dispose()


def test_a_second_run_looks_only_at_what_changed(engine: Engine) -> None:
    old = saved(1, task=7, at=950, result=[])
    studio = Studio(old)
    assert sync(engine, studio.client(), 1) == Reconciled(tasks=1, saved=1)
    for _ in range(200):  # time passes: other saves, far beyond the overlap
        studio.happen(old | {"action": "ANNOTATION_UPDATED"}, at=2000.0)
    studio.happen(saved(2, task=8, at=5000, result=[]), at=5000.0)
    sync(engine, studio.client(), 1)
    studio.listed.clear()
    assert sync(engine, studio.client(), 1) == Reconciled(tasks=1)
    assert studio.listed == [8]


def test_a_deletion_that_no_webhook_told_is_found(engine: Engine, tmp_path: Path) -> None:
    made = saved(1, task=7, at=950, result=[drawn("z", "stamp", A)])
    studio = Studio(made)
    worker = Worker(engine=engine, journal=Journal(engine), crops=CropStore(str(tmp_path)), page_of=annotating.page_of)
    sync(engine, studio.client(), 1)
    worker.work()
    assert set(samples(engine)) == {"z"}
    studio.happen(annotating.deleted(1), at=6000.0)
    assert sync(engine, studio.client(), 1).deleted == 1
    worker.work()
    assert samples(engine) == {}


def test_an_annotation_saved_while_the_list_was_made_is_not_taken_for_deleted(engine: Engine) -> None:
    journal = Journal(engine)
    listed_before = Studio(saved(1, task=7, at=950, result=[]))
    send(journal, saved(2, task=7, at=9000, result=[drawn("z", "stamp", A)]))
    Worker(engine=engine, journal=journal, crops=CropStore("memory://sync"), page_of=annotating.page_of).work()
    sync(engine, listed_before.client(), 1)
    with engine.connect() as connection:
        assert connection.execute(select(annotation.c.deleted).where(annotation.c.id == 2)).scalar() is False


def test_an_unreadable_annotation_does_not_stop_the_others(engine: Engine) -> None:
    studio = Studio(saved(1, task=7, at=950, result=[]), saved(2, task=8, at=950, result=[], created_at="yesterday"))
    found = sync(engine, studio.client(), 1)
    assert (found.saved, found.unreadable) == (1, 1)


@pytest.mark.parametrize(
    "odd",
    [
        {"annotations": [{"id": 2**70}]},
        {"annotations": [7]},
        {"annotations": 7},
        {"data": 7},
        {"id": 2**70},
    ],
    ids=repr,
)
def test_a_task_that_no_label_studio_has_does_not_stop_the_others(engine: Engine, odd: dict[str, Any]) -> None:
    studio = Studio(saved(1, task=7, at=950, result=[drawn("a", "stamp", A)]), saved(2, task=8, at=950, result=[]))
    listed = studio.tasks[7] | odd

    class Odd:
        has_token = True

        def __getattr__(self, name: str) -> Any:
            return getattr(studio.client(), name)

        def tasks(self, *_: Any, **__: Any) -> list[dict[str, Any]]:
            return [listed, studio.tasks[8]]

    found = sync(engine, Odd(), 1)
    assert (found.tasks, found.unreadable) == (2, 1)
    with engine.connect() as connection:
        assert 2 in connection.execute(select(annotation.c.id)).scalars().all()


@pytest.mark.parametrize("was", ["parked", "on other pages"])
def test_pages_that_a_task_names_anew_are_those_that_a_waiting_annotation_is_read_on(
    engine: Engine, tmp_path: Path, was: str
) -> None:
    """Its pages were gone, and somebody mended the task: nobody saves the annotation again for that."""
    wrong = saved(1, task=7, at=950, result=[drawn("z", "stamp", A)])
    wrong["task"]["data"] = {"pages": ["/data/upload/1/gone"]}
    studio = Studio(wrong)

    def page_of(left: Annotation, index: int) -> Page:
        if left.references[index].endswith("gone"):
            raise UndecodablePage("page", "not an image")
        return annotating.page_of(left, index)

    worker = Worker(engine=engine, journal=Journal(engine), crops=CropStore(str(tmp_path)), page_of=page_of)
    sync(engine, studio.client(), 1)
    worker.work()
    with writing(engine) as connection:
        assert connection.execute(select(annotation.c.parked)).scalar()
        if was != "parked":
            connection.execute(update(annotation).values(parked=False, turned=950.0, exchanged=[1]))
    sync(engine, studio.client(), 1, everything=True)
    worker.work()
    assert samples(engine) == {}, "nothing was mended yet"
    studio.tasks[7].update(data={"pages": ["/data/upload/1/t7p0"]}, updated_at=annotating.iso(9000))
    assert sync(engine, studio.client(), 1).saved == 0
    worker.work()
    assert set(samples(engine)) == {"z"}


def deleted_tasks(engine: Engine) -> set[int]:
    with engine.connect() as connection:
        return set(connection.execute(select(gone_task.c.id)).scalars())


@pytest.mark.parametrize("all_of_them", [True, False])
def test_a_task_deleted_while_the_tasks_are_read_hides_no_other(engine: Engine, all_of_them: bool) -> None:
    journal = Journal(engine)
    marks = [saved(number, task=number, at=950, result=[]) for number in range(1, 8)]
    send(journal, *(marks if all_of_them else []))
    journal.take(fold_event)
    studio = Studio(*marks, portion=3)
    studio.meanwhile = [lambda: None, lambda: studio.tasks.pop(2)]  # between the first portion and the second
    sync(engine, studio.client(), 1, everything=all_of_them)
    assert studio.listed == [1, 2, 3, 4, 5, 6, 7]
    assert deleted_tasks(engine) == set()
    with engine.connect() as connection:
        assert set(connection.execute(select(annotation.c.id)).scalars()) == set(range(1, 8))


def test_a_task_that_is_made_after_the_list_is_not_taken_for_deleted(engine: Engine) -> None:
    made = saved(8, task=8, at=9000, result=[])

    def arrives() -> None:
        studio.happen(made, at=9000.0)
        send(Journal(engine), made)
        Journal(engine).take(fold_event)

    studio = Studio(saved(1, task=1, at=950, result=[]))
    found = sync(engine, studio.client(), 1, everything=True, progress=lambda _: arrives())
    assert (found.tasks, found.deleted, deleted_tasks(engine)) == (1, 0, set())
    del studio.tasks[1]
    assert sync(engine, studio.client(), 1, everything=True).deleted == 1
    assert deleted_tasks(engine) == {1}


def test_what_changes_behind_the_list_is_found_by_the_next_run(engine: Engine) -> None:
    """Task 1 is corrected when it was listed already, long before task 2, which is listed later, changes again."""

    def both_change() -> None:
        studio.happen(saved(11, task=1, at=5000, result=[]), at=5000.0)
        studio.happen(saved(12, task=2, at=9000, result=[]), at=9000.0)

    studio = Studio(saved(1, task=1, at=950, result=[]), saved(2, task=2, at=950, result=[]), portion=1)
    studio.meanwhile = [lambda: None, both_change]
    sync(engine, studio.client(), 1)
    sync(engine, studio.client(), 1)
    with engine.connect() as connection:
        assert set(connection.execute(select(annotation.c.id)).scalars()) == {1, 2, 11, 12}


@pytest.mark.parametrize("order", [1, -1])
def test_an_annotation_that_was_moved_to_another_task_is_not_lost_whichever_task_is_listed_first(
    engine: Engine, tmp_path: Path, order: int
) -> None:
    """It is missing from the task that it was on, as if it had been deleted."""
    here, there = (7, 8)[::order]
    studio = Studio(
        saved(1, task=here, at=950, result=[drawn("z", "stamp", A)]), saved(2, task=there, at=951, result=[])
    )
    worker = Worker(engine=engine, journal=Journal(engine), crops=CropStore(str(tmp_path)), page_of=annotating.page_of)
    sync(engine, studio.client(), 1)
    worker.work()
    studio.happen(annotating.deleted(1), at=6000.0)
    studio.happen(saved(1, task=there, at=960, created=950, result=[drawn("z", "thumb", A)]), at=6001.0)
    for _ in range(2):
        sync(engine, studio.client(), 1, everything=True)
        worker.work()
    assert {name: row[1] for name, row in samples(engine).items()} == {"z": "thumb"}
    # One that is gone from its task for good does not come back by an event that is late.
    studio.happen(annotating.deleted(1), at=6002.0)
    sync(engine, studio.client(), 1)
    send(Journal(engine), saved(1, task=there, at=960, created=950, result=[drawn("z", "thumb", A)]))
    worker.work()
    assert samples(engine) == {}
