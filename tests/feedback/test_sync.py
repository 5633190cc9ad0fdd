"""Reconciling with Label Studio: whatever was lost, the same samples in the end."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, select

from backend.feedback.crops import CropStore
from backend.feedback.database import open_database
from backend.feedback.journal import Journal
from backend.feedback.sync import Reconciled, sync
from backend.feedback.tables import annotation
from backend.feedback.worker import Worker
from backend.labelstudio.annotations import moment

from . import annotating
from .annotating import CONFIG, drawn, iso, saved
from .test_worker import HISTORY, A, everything, in_order, samples, send, show

__all__ = ["in_order"]


class Studio:
    """Label Studio's tasks after a history of payloads, listed as its API lists them."""

    def __init__(self, *payloads: Mapping[str, Any]) -> None:
        self.listed: list[int] = []
        self._tasks: dict[int, dict[str, Any]] = {}
        for at, payload in enumerate(payloads):
            self._apply(payload, at=2000.0 + at)

    def project(self, project: int) -> Mapping[str, Any]:
        return {"id": project, "label_config": CONFIG}

    def tasks(self, project: int, *, since: float | None = None) -> Iterator[Mapping[str, Any]]:
        assert project == 1
        for task in self._tasks.values():
            if since is None or moment(task["updated_at"]) > since:
                self.listed.append(task["id"])
                yield task

    def _apply(self, payload: Mapping[str, Any], *, at: float) -> None:
        if payload["action"] == "TASKS_DELETED":
            self._tasks = {k: v for k, v in self._tasks.items() if k not in {t["id"] for t in payload["tasks"]}}
        elif payload["action"].endswith("DELETED"):
            for task in self._tasks.values():
                kept = [a for a in task["annotations"] if a["id"] not in {d["id"] for d in payload["annotations"]}]
                if kept != task["annotations"]:
                    task.update(annotations=kept, updated_at=iso(at))
        elif "annotation" in payload:
            one = payload["annotation"]
            task = self._tasks.setdefault(one["task"], {**payload["task"], "annotations": []})
            others = [a for a in task["annotations"] if a["id"] != one["id"]]
            task.update(annotations=[*others, one], updated_at=iso(at))


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), lost=st.integers(0, len(HISTORY)))
def test_whatever_was_lost_sync_gives_one_and_the_same_set(
    tmp_path_factory: pytest.TempPathFactory, in_order: list[dict[str, Any]], seed: int, lost: int
) -> None:
    mixed = random.Random(seed)  # noqa: S311
    arrived = mixed.sample(HISTORY, len(HISTORY) - lost)
    folder = tmp_path_factory.mktemp("lossy")
    engine = open_database(f"sqlite:///{folder / 'ledger.sqlite3'}")
    show(engine)
    journal = Journal(engine)
    worker = Worker(engine=engine, journal=journal, crops=CropStore(str(folder)), page_of=annotating.page_of)
    send(journal, *arrived)
    worker.work()
    sync(engine, Studio(*HISTORY), 1, everything=True)
    worker.work()
    assert everything(engine) == in_order
    engine.dispose()


def test_a_second_run_looks_only_at_what_changed(engine: Engine) -> None:
    old = saved(1, task=7, at=950, result=[])
    studio = Studio(old)
    assert sync(engine, studio, 1) == Reconciled(tasks=1, saved=1)
    for _ in range(200):  # time passes: other saves, far beyond the overlap
        studio._apply(old | {"action": "ANNOTATION_UPDATED"}, at=2000.0)
    studio._apply(saved(2, task=8, at=5000, result=[]), at=5000.0)
    sync(engine, studio, 1)
    studio.listed.clear()
    assert sync(engine, studio, 1) == Reconciled(tasks=1)
    assert studio.listed == [8]


def test_a_deletion_that_no_webhook_told_is_found(engine: Engine, tmp_path: Path) -> None:
    made = saved(1, task=7, at=950, result=[drawn("z", "stamp", A)])
    studio = Studio(made)
    worker = Worker(engine=engine, journal=Journal(engine), crops=CropStore(str(tmp_path)), page_of=annotating.page_of)
    sync(engine, studio, 1)
    worker.work()
    assert set(samples(engine)) == {"z"}
    studio._apply(annotating.deleted(1), at=6000.0)
    assert sync(engine, studio, 1).deleted == 1
    worker.work()
    assert samples(engine) == {}


def test_an_annotation_saved_while_the_list_was_made_is_not_taken_for_deleted(engine: Engine) -> None:
    journal = Journal(engine)
    listed_before = Studio(saved(1, task=7, at=950, result=[]))
    send(journal, saved(2, task=7, at=9000, result=[drawn("z", "stamp", A)]))
    Worker(engine=engine, journal=journal, crops=CropStore("memory://sync"), page_of=annotating.page_of).work()
    sync(engine, listed_before, 1)
    with engine.connect() as connection:
        assert connection.execute(select(annotation.c.deleted).where(annotation.c.id == 2)).scalar() is False


def test_an_unreadable_annotation_does_not_stop_the_others(engine: Engine) -> None:
    studio = Studio(saved(1, task=7, at=950, result=[]), saved(2, task=8, at=950, result=[], created_at="yesterday"))
    found = sync(engine, studio, 1)
    assert (found.saved, found.unreadable) == (1, 1)
