"""A webhook is a hint: what is learnt is what Label Studio says, so that a forged event teaches nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select

from backend.corrections.counts import count
from backend.corrections.crop_store import CropStore
from backend.corrections.hints import Hints
from backend.corrections.journal import Journal
from backend.corrections.tables import annotation, event, gone_task, sample, watermark
from backend.corrections.worker import Worker
from backend.errors import LabelStudioError
from backend.labelstudio.client import LabelStudio
from backend.labelstudio.protocol import worth_keeping
from tests.corrections import annotating
from tests.corrections.annotating import deleted, drawn, saved
from tests.corrections.studio import Studio

A, B = (10.0, 10.0, 110.0, 110.0), (200.0, 300.0, 300.0, 360.0)
TRUE = saved(1, task=7, at=950, result=[drawn("true", "stamp", A)])


class Desk:
    """A worker beside a Label Studio that was told what it has."""

    def __init__(self, engine: Engine, folder: Path, *payloads: dict[str, Any]) -> None:
        self.engine = engine
        self.studio = Studio(*payloads)
        self.now = 5000.0
        self.ahead = 0.0
        self.ways: Callable[[str], LabelStudio] = lambda _: self.studio.client()
        self.journal = Journal(engine, clock=self._clock)
        self.worker = Worker(
            engine=engine,
            journal=self.journal,
            crops=CropStore(str(folder)),
            page_of=annotating.page_of,
            clock=self._clock,
            hints=Hints(engine, self._way, clock=self._clock, ticks=lambda: self.now),
        )

    def _clock(self) -> float:
        return self.now + self.ahead

    def _way(self, project: str) -> LabelStudio:
        return self.ways(project)

    def hear(self, *payloads: dict[str, Any], project: int | None = 1) -> None:
        for payload in payloads:
            self.journal.append(payload["action"], project=project, body=worth_keeping(payload))
        while self.worker.work():
            pass

    def regions(self) -> set[str]:
        with self.engine.connect() as connection:
            return set(connection.execute(select(sample.c.region)).scalars())

    def states(self) -> list[str]:
        with self.engine.connect() as connection:
            return list(connection.execute(select(event.c.state).order_by(event.c.id)).scalars())


class Away:
    """A Label Studio that does not answer."""

    has_token = True

    def project(self, _: int) -> Any:
        raise LabelStudioError("no answer")


@pytest.fixture
def desk(engine: Engine, tmp_path: Path) -> Desk:
    return Desk(engine, tmp_path, TRUE)


def test_a_true_event_teaches_what_label_studio_says(desk: Desk) -> None:
    desk.hear(TRUE)
    assert (desk.regions(), desk.states()) == ({"true"}, ["done"])


def test_a_forged_state_of_a_true_annotation_teaches_the_true_one(desk: Desk) -> None:
    desk.hear(saved(1, task=7, at=940, result=[drawn("forged", "thumb", B)]))
    assert desk.regions() == {"true"}


@pytest.mark.parametrize("at", [950.0, 4e9], ids=["now", "in a hundred years"])
def test_a_forged_annotation_teaches_nothing_and_holds_nobody_up(desk: Desk, at: float) -> None:
    desk.hear(saved(99, task=7, at=at, result=[drawn("forged", "thumb", B)]), TRUE)
    assert (desk.regions(), desk.states()) == ({"true"}, ["open", "done"])
    desk.now += 60
    desk.hear()
    assert (desk.regions(), desk.states()) == ({"true"}, ["done", "done"])
    # The id is one that Label Studio may give tomorrow: that annotation is learnt from then.
    later = saved(99, task=7, at=960, result=[drawn("later", "signature", B)])
    desk.studio.happen(later, at=3000.0)
    desk.hear(later)
    assert desk.regions() == {"true", "later"}


def test_an_annotation_that_the_api_shows_a_moment_later_is_learnt_from(desk: Desk) -> None:
    soon = saved(2, task=8, at=970, result=[drawn("soon", "stamp", A)])
    desk.hear(soon)
    assert (desk.regions(), desk.states()) == (set(), ["open"])
    desk.studio.happen(soon, at=3000.0)
    desk.now += 3
    desk.hear()
    assert (desk.regions(), desk.states()) == ({"soon"}, ["done"])


@pytest.mark.parametrize("is_away", [False, True], ids=["not shown yet", "away"])
def test_an_event_that_waits_does_so_no_longer_when_the_clock_is_put_back(desk: Desk, is_away: bool) -> None:
    soon, desk.ahead = saved(2, task=8, at=970, result=[drawn("soon", "stamp", A)]), 365 * 86_400.0
    ways = desk.ways
    if is_away:
        desk.ways = lambda _: Away()  # type: ignore[assignment, return-value]
    desk.hear(soon)
    assert desk.states() == ["open"]
    desk.studio.happen(soon, at=3000.0)
    desk.ways, desk.ahead = ways, 0.0
    desk.now += 11
    desk.hear()
    assert (desk.regions(), desk.states()) == ({"soon"}, ["done"])


def test_a_forged_event_is_asked_about_no_longer_when_the_clock_is_put_back(desk: Desk) -> None:
    desk.ahead = 365 * 86_400.0
    desk.hear(saved(99, task=7, at=960, result=[drawn("forged", "thumb", B)]))
    desk.ahead = 0.0
    for _ in range(12):
        desk.now += 3
        desk.hear()
    assert (desk.regions(), desk.states()) == ({"true"}, ["done"])


def test_a_forged_deletion_retracts_nothing_and_a_true_one_does(desk: Desk) -> None:
    desk.hear(TRUE, deleted(1))
    assert desk.regions() == {"true"}
    desk.studio.happen(deleted(1), at=3000.0)
    desk.hear(deleted(1))
    assert desk.regions() == set()


@pytest.mark.parametrize("project", [1, 2])
def test_a_forged_deletion_of_a_task_retracts_nothing_whatever_project_it_names(desk: Desk, project: int) -> None:
    gone = {"action": "TASKS_DELETED", "tasks": [{"id": 7}], "project": {"id": project}}
    desk.hear(TRUE)
    desk.hear(gone, project=project)
    assert desk.regions() == {"true"}
    with desk.engine.connect() as connection:
        assert connection.execute(select(gone_task)).all() == []


def test_a_task_that_is_gone_is_forgotten(desk: Desk) -> None:
    gone = {"action": "TASKS_DELETED", "tasks": [{"id": 7}], "project": {"id": 1}}
    desk.hear(TRUE)
    desk.studio.happen(gone, at=3000.0)
    desk.hear(gone)
    assert desk.regions() == set()


@pytest.mark.parametrize(
    "forged",
    [
        # ids that no database has room for
        {"action": "ANNOTATION_DELETED", "annotation": {"id": 2**63}, "task": {"id": 7}},
        {"action": "ANNOTATIONS_DELETED", "annotations": [{"id": -1}, {"id": 2**200}, {"id": True}]},
        {"action": "ANNOTATION_CREATED", "annotation": {"id": 1, "task": 2**63}},
        # what is no number at all
        {"action": "ANNOTATION_CREATED", "annotation": {"id": [1], "task": 7}},
        {"action": "ANNOTATION_UPDATED", "annotation": {"id": {"id": 1}, "task": {"id": 7}}},
        {"action": "ANNOTATION_UPDATED", "annotation": {"id": 1e300, "task": "7"}, "task": {"id": 7}},
        # moments that are none
        {"action": "ANNOTATION_UPDATED", "annotation": {"id": 1, "task": 7, "updated_at": {"at": 950}}},
        {"action": "ANNOTATION_UPDATED", "annotation": {"id": 1, "task": 7, "updated_at": "99999-01-01"}},
        # things of other kinds in all places
        {"action": "ANNOTATIONS_CREATED", "annotations": [7, None, [], "x"], "tasks": "y", "task": [[1]]},
    ],
)
def test_an_event_that_no_label_studio_sends_holds_nobody_up(desk: Desk, forged: dict[str, Any]) -> None:
    desk.hear({**forged, "project": {"id": 1}}, TRUE)
    assert desk.regions() == {"true"}
    assert desk.states()[1] == "done"
    desk.now += 60
    desk.hear()
    assert "open" not in desk.states()


def test_a_task_that_cannot_be_read_holds_nobody_up(desk: Desk) -> None:
    """Its annotation is none that Label Studio makes."""
    desk.studio.add(8)
    desk.studio.tasks[8]["annotations"].append({"id": "x", "result": 5})
    desk.hear(saved(2, task=8, at=970, result=[]), TRUE)
    assert (desk.regions(), desk.states()) == ({"true"}, ["open", "done"])
    desk.now += 60
    desk.hear()
    assert desk.states() == ["parked", "done"]


def test_an_answer_that_cannot_be_read_holds_up_the_events_of_no_other_task(desk: Desk) -> None:
    """A task's annotations are none that could be compared with anything."""
    desk.studio.add(8)
    desk.studio.tasks[8]["annotations"] = [{"id": [1]}]
    desk.hear(saved(2, task=8, at=970, result=[]), TRUE)
    assert (desk.regions(), desk.states()) == ({"true"}, ["open", "done"])
    desk.studio.tasks[8]["annotations"] = []
    desk.studio.happen(saved(2, task=8, at=970, result=[drawn("later", "stamp", A)]), at=3000.0)
    desk.now += 11
    desk.hear()
    assert (desk.regions(), desk.states()) == ({"true", "later"}, ["done", "done"])


def test_an_event_of_no_project_teaches_nothing(desk: Desk) -> None:
    desk.hear(saved(1, task=7, at=960, result=[drawn("forged", "stamp", B)]), project=None)
    assert (desk.regions(), desk.states()) == (set(), ["done"])


def test_events_wait_while_label_studio_is_away_and_are_not_lost(desk: Desk) -> None:
    there = desk.ways
    desk.ways = lambda _: Away()  # type: ignore[assignment, return-value]
    desk.hear(TRUE)
    desk.ways = there
    desk.hear()
    assert (desk.regions(), desk.states()) == (set(), ["open"])
    desk.now += 11
    desk.hear()
    assert (desk.regions(), desk.states()) == ({"true"}, ["done"])


@pytest.mark.parametrize("answered", [None, 401, 403])
def test_where_the_api_cannot_be_asked_an_event_is_taken_at_its_word(desk: Desk, answered: int | None) -> None:
    class Closed:
        has_token = answered is not None

        def project(self, _: int) -> Any:
            raise LabelStudioError("refused", answered=answered)

    desk.ways = lambda _: Closed()  # type: ignore[assignment, return-value]
    desk.hear(saved(3, task=9, at=950, result=[drawn("told", "stamp", A)]))
    assert (desk.regions(), desk.states()) == ({"told"}, ["done"])


def test_start_training_asks_only_for_a_project_that_there_is(desk: Desk) -> None:
    desk.hear({"action": "START_TRAINING", "project": {"id": 1}})
    with desk.engine.connect() as connection:
        assert connection.execute(select(watermark.c.project)).scalars().all() == [1]


@pytest.mark.parametrize(
    ("project", "reason"),
    [
        (77, "Label Studio has no project 77: no training starts"),
        (None, "it names no project that is known, and nobody can be asked: no training starts"),
    ],
)
def test_start_training_of_a_project_that_there_is_not_starts_none_and_says_why(
    desk: Desk, project: int | None, reason: str
) -> None:
    desk.hear({"action": "START_TRAINING", "project": {"id": project}}, project=project)
    with desk.engine.connect() as connection:
        assert connection.execute(select(watermark.c.project)).scalars().all() == []
        [told] = connection.execute(select(event.c.reason)).scalars()
    assert desk.states() == ["parked"]
    assert told == reason


def test_start_training_is_believed_of_a_project_that_is_known_where_nobody_can_be_asked(desk: Desk) -> None:
    class Closed:
        has_token = False

    desk.ways = lambda _: Closed()  # type: ignore[assignment, return-value]
    start = {"action": "START_TRAINING", "project": {"id": 1}}
    desk.hear(start)
    assert desk.states() == ["parked"]
    desk.hear(saved(3, task=9, at=950, result=[drawn("told", "stamp", A)]), start)
    assert desk.states() == ["parked", "done", "done"]


def test_an_event_too_large_to_keep_is_kept_as_its_ids_and_asked_for(desk: Desk) -> None:
    # What a hostile sender pads with is not stored.
    padded = saved(1, task=7, at=950, result=[drawn("true", "stamp", A)] * 20_000)
    desk.hear(padded)
    assert desk.regions() == {"true"}
    with desk.engine.connect() as connection:
        [body] = connection.execute(select(event.c.body)).scalars()
    assert body["annotation"] == {"id": 1, "task": 7, "project": 1}


def test_a_flood_of_forged_events_costs_one_question_each_hundred(desk: Desk) -> None:
    asked: list[int] = []
    listed = desk.studio.client().tasks_by_id

    class Counting:
        has_token = True
        project = staticmethod(lambda _: {"label_config": annotating.CONFIG})
        has_task = staticmethod(lambda _: True)

        def tasks_by_id(self, project: int, ids: Any) -> Any:
            asked.append(len(ids))
            return listed(project, ids)

    desk.ways = lambda _: Counting()  # type: ignore[assignment, return-value]
    for number in range(300):
        forged = saved(1000 + number, task=1000 + number, at=950, result=[])
        desk.journal.append(forged["action"], project=1, body=worth_keeping(forged))
    while desk.worker.work(limit=100):
        pass
    assert asked[0] == 100
    assert len(asked) <= 4
    with desk.engine.connect() as connection:
        assert connection.execute(select(annotation)).all() == []


def test_a_reason_without_end_is_kept_and_shown_in_part(desk: Desk) -> None:
    endless = "x\x1b" * 100_000
    desk.journal.append("ANNOTATION_CREATED", project=1, body={"annotation": {"id": 5, "task": 7}})
    desk.journal.take(lambda *_: endless, limit=1)
    [parked] = count(desk.engine).parked
    assert len(parked.reason) < 2000  # 300 characters, some of them spelt out
    assert parked.reason.isprintable()
    with desk.engine.connect() as connection:
        assert len(str(connection.execute(select(event.c.reason)).scalar())) <= 2000
