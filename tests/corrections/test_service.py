"""The threads of a process: woken by an event, undaunted by a failure, stopped when told; sync when it is asked for."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select

from backend.corrections import service as loops
from backend.corrections.crop_store import CropStore
from backend.corrections.database import writing
from backend.corrections.journal import DISTANCE_SECONDS, ask
from backend.corrections.service import Feedback, Loop, Store, page_opener, reconcile_asked
from backend.corrections.tables import sample, watermark
from backend.errors import LabelStudioError, PageError, RequestError
from backend.labelstudio.client import LabelStudio
from backend.labelstudio.protocol import read_event
from tests.corrections.annotating import A, drawn, saved, send
from tests.corrections.studio import Studio
from tests.patience import SECONDS, eventually
from tests.server.conftest import MemoryPages


class Told:
    """Ways into a Label Studio that was told what it has; an error among it is raised."""

    def __init__(self, *payloads: dict[str, Any]) -> None:
        self.source = MemoryPages()
        self.held: Studio | Exception = Studio(*payloads)
        self.asked: list[str] = []

    def pages(self, project: str) -> MemoryPages:
        return self.source

    def studio(self, project: str) -> LabelStudio:
        self.asked.append(project)
        if isinstance(self.held, Exception):
            raise self.held
        return self.held.client()


def regions(engine: Engine) -> set[str]:
    with engine.connect() as connection:
        return set(connection.execute(select(sample.c.region)).scalars())


def test_a_loop_runs_when_woken_survives_a_failure_and_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loops, "PAUSE_SECONDS", 3600.0)
    monkeypatch.setattr(loops, "FAILURE_SECONDS", 0.0)
    runs: queue.Queue[int] = queue.Queue()
    answers: Iterator[int | Exception] = iter([0, ConnectionError("gone"), 3, 0])

    def chore() -> int:
        runs.put(1)
        answer = next(answers, 0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    loop = Loop(chore, name="chore")
    loop.start()
    runs.get(timeout=SECONDS)
    for expected in (1, 2):  # the failure; then the one that did something, which is called again at once
        loop.wake()
        for _ in range(expected):
            runs.get(timeout=SECONDS)
    loop.stop(timeout=SECONDS)
    assert not any(thread.name == "chore" for thread in threading.enumerate())


def test_an_event_becomes_samples_by_itself_and_start_training_reconciles(engine: Engine, tmp_path: Path) -> None:
    lost = saved(2, task=8, at=960, result=[drawn("lost", "stamp", A)])
    heard = saved(1, task=7, at=950, result=[drawn("a", "stamp", A)])
    reach = Told(lost, heard)
    feedback = Feedback(
        Store(
            engine=engine, crops=CropStore(str(tmp_path)), spool=tmp_path / "spool", lookalikes=tmp_path / "lookalikes"
        ),
        reach,
        recall_distance=0,
    )
    feedback.start()
    send(feedback.journal, heard)
    eventually(lambda: regions(engine) == {"a"})
    send(feedback.journal, {"action": "START_TRAINING", "project": {"id": 1}})
    eventually(lambda: regions(engine) == {"a", "lost"})
    feedback.stop()
    eventually(lambda: not any(thread.name in {"samples", "sync"} for thread in threading.enumerate()))


def test_a_start_asks_for_what_was_missed_while_nobody_listened(engine: Engine, tmp_path: Path) -> None:
    store = Store(
        engine=engine, crops=CropStore(str(tmp_path)), spool=tmp_path / "spool", lookalikes=tmp_path / "lookalikes"
    )
    with writing(engine) as connection:
        ask(connection, 1, at=0.0)
    feedback = Feedback(store, Told(saved(2, task=8, at=960, result=[drawn("lost", "stamp", A)])), recall_distance=0)
    feedback.start()
    eventually(lambda: regions(engine) == {"lost"})
    feedback.stop()


@pytest.mark.parametrize(
    ("failure", "again"),
    [
        (LabelStudioError("no answer"), True),
        (LabelStudioError("busy", answered=503), True),
        (LabelStudioError("no token", answered=401), True),  # it comes with the project's first /setup
        (LabelStudioError("no such project", answered=404), False),  # asking again changes nothing
    ],
)
def test_a_reconciliation_that_failed_is_made_later_where_that_can_help(
    engine: Engine, failure: Exception, again: bool
) -> None:
    reach = Told()
    reach.held, now = failure, [1000.0]
    with writing(engine) as connection:
        ask(connection, 1, at=now[0])
    assert reconcile_asked(engine, reach, clock=lambda: now[0]) == 1
    assert reconcile_asked(engine, reach, clock=lambda: now[0]) == 0
    now[0] += 3600
    assert reconcile_asked(engine, reach, clock=lambda: now[0]) == again


def test_a_project_without_a_label_config_is_not_asked_for_again_and_again(engine: Engine) -> None:
    reach, now = Told(saved(1, task=7, at=950, result=[])), [1000.0]
    assert isinstance(reach.held, Studio)
    reach.held.label_config = ""
    with writing(engine) as connection:
        ask(connection, 1, at=now[0])
    assert reconcile_asked(engine, reach, clock=lambda: now[0]) == 1
    now[0] += 3600
    assert reconcile_asked(engine, reach, clock=lambda: now[0]) == 0


def test_many_asks_are_one_run_and_runs_keep_their_distance(engine: Engine) -> None:
    reach, now = Told(), [1000.0]

    def asked() -> None:
        with writing(engine) as connection:
            ask(connection, 1, at=now[0])

    for _ in range(5):
        asked()
    assert [reconcile_asked(engine, reach, clock=lambda: now[0]) for _ in range(3)] == [1, 0, 0]
    now[0] += 1
    asked()
    assert reconcile_asked(engine, reach, clock=lambda: now[0]) == 0
    now[0] += DISTANCE_SECONDS
    assert reconcile_asked(engine, reach, clock=lambda: now[0]) == 1
    assert reach.asked == ["1", "1"]


def test_an_ask_during_a_run_is_not_lost(engine: Engine) -> None:
    now = [1000.0]

    class Busy(Told):
        def studio(self, project: str) -> LabelStudio:
            with writing(engine) as connection:
                ask(connection, 1, at=now[0] + 1)
            return super().studio(project)

    with writing(engine) as connection:
        ask(connection, 1, at=now[0])
    reconcile_asked(engine, Busy(), clock=lambda: now[0])
    with engine.connect() as connection:
        assert connection.execute(select(watermark.c.asked)).scalar() == 1001.0


def test_a_page_is_found_by_its_place_in_the_task() -> None:
    reach = Told()
    [annotation] = read_event(saved(1, task=7, at=950, result=[])).saved
    page_opener(reach)(annotation, 1)
    assert reach.source.asked == [("/data/upload/1/t7p1", 7)]
    with pytest.raises(RequestError, match="page 2, task 7 has 2"):
        page_opener(reach)(annotation, 2)
    reach.source.kept["/data/upload/1/t7p0"] = PageError("page", "gone")
    with pytest.raises(PageError):
        page_opener(reach)(annotation, 0)
