"""Which open tasks are predicted anew, and when: planned in the ledger, whatever clocks and persons do."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Engine, insert, select

from backend.corrections.crop_store import CropStore
from backend.corrections.database import writing
from backend.corrections.journal import Journal
from backend.corrections.remembering import Proposals, ShownPrediction
from backend.corrections.renewals import (
    LONGEST_WAIT,
    due_renewals,
    note_rulings,
    plan_renewals,
    plan_undoing,
    ruled_among,
)
from backend.corrections.shown import Proposal
from backend.corrections.sights import NearRows
from backend.corrections.tables import annotation, renewal
from backend.corrections.worker import Worker
from backend.labelstudio.annotations import Region
from tests.corrections.annotating import drawn, page_of, saved, send

NOW = 1_000_000.0


def shown(engine: Engine, task: int, *regions: str, recalled: str | None = None, drawn: bool = False) -> None:
    """A prediction of version v1 that shows some stamps, one beside the other."""
    proposals = [
        Proposal(
            region=Region(id=name, page=0, label="stamp", box=(10.0 * place, 10.0, 10.0 * place + 8, 18.0)),
            probabilities=(0.1, 0.7, 0.1, 0.1),
            score=0.7,
            page_size=(400, 600),
            recalled=recalled,
        )
        for place, name in enumerate(regions)
    ]
    ledger = Proposals(engine, clock=lambda: NOW)
    ledger.remember(ShownPrediction(task=task, project=1, version="v1", proposals=proposals, drawn=drawn))


def planned(engine: Engine) -> set[int]:
    with engine.connect() as connection:
        return set(connection.execute(select(renewal.c.task)).scalars())


def annotated(engine: Engine, task: int, *, deleted: bool = False, skipped: bool = False) -> None:
    blank = {
        "updated": NOW,
        "folded": NOW,
        "body": {"skipped": skipped},
        "attempts": 0,
        "due": 0.0,
        "lease": 0.0,
        "parked": False,
    }
    with writing(engine) as connection:
        connection.execute(insert(annotation).values(id=900 + task, task=task, project=1, deleted=deleted, **blank))


def test_the_end_of_a_verdict_reaches_the_tasks_that_it_may_have_changed(engine: Engine) -> None:
    shown(engine, 1, "renamed", recalled="12-a")
    shown(engine, 2, "logo", "seal")
    shown(engine, 2, "seal")  # the logo was taken away since
    shown(engine, 3, "seal")  # shown once
    shown(engine, 4, "renamed", recalled="13-b")  # by another correction
    shown(engine, 5, "renamed", recalled="12-a")
    annotated(engine, 5)
    shown(engine, 6, "renamed", recalled="12-a")
    annotated(engine, 6, deleted=True)
    shown(engine, 8, "renamed", recalled="12-a")
    annotated(engine, 8, skipped=True)
    shown(engine, 7, "seal")
    shown(engine, 7, "drawn by an annotator", drawn=True)
    assert plan_undoing(engine, "12-a", due=NOW) == 4
    assert planned(engine) == {1, 2, 6, 8}


def test_text_that_postgresql_cannot_read_keeps_no_task_from_being_planned(engine: Engine, tmp_path: Path) -> None:
    """A note beside the boxes, as a program may leave it through Label Studio's API."""
    note = {"id": "n", "type": "textarea", "from_name": "note", "to_name": "page", "value": {"text": ["a\0b\ud800"]}}
    journal = Journal(engine)
    worker = Worker(engine=engine, journal=journal, crops=CropStore(str(tmp_path)), page_of=page_of)
    send(journal, saved(1, task=5, at=NOW, result=[note, drawn("a", "stamp", (10.0, 10.0, 110.0, 110.0))]))
    worker.work()
    for task in (4, 5):
        shown(engine, task, "renamed", recalled="12-a")
    assert plan_undoing(engine, "12-a", due=NOW) == 1
    assert planned(engine) == {4}


def test_what_a_clock_that_was_ahead_planned_waits_no_longer_than_anything(engine: Engine) -> None:
    shown(engine, 1, "renamed", recalled="12-a")
    plan_undoing(engine, "12-a", due=NOW + 86_400)
    assert [one.task for one in due_renewals(engine, now=NOW, most=4)] == [1]


def test_what_is_due_soon_waits(engine: Engine) -> None:
    shown(engine, 1, "renamed", recalled="12-a")
    plan_undoing(engine, "12-a", due=NOW + LONGEST_WAIT)
    assert due_renewals(engine, now=NOW, most=4) == ()
    assert [one.task for one in due_renewals(engine, now=NOW + LONGEST_WAIT, most=4)] == [1]


def test_a_correction_that_was_retracted_before_it_was_planned_changes_nothing(engine: Engine, tmp_path: Path) -> None:
    rows = NearRows(engine, tmp_path / "lookalikes", network="net")
    assert plan_renewals(engine, rows, "12-gone", network="net", distance=0.1, due=NOW) == 0
    assert planned(engine) == set()


def test_a_persons_answer_is_known_by_task_and_version(engine: Engine) -> None:
    note_rulings(engine, {1: ["v1", "v2"], 2: ["v1"], 3: []}, "12-a", at=NOW)
    note_rulings(engine, {1: ["v1"]}, "13-b", at=NOW)
    assert ruled_among(engine, [1, 2, 3, 4], version="v1") == {1, 2}
    assert ruled_among(engine, [1, 2], version="v2") == {1}
    assert ruled_among(engine, [], version="v1") == set()
