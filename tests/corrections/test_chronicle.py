"""What the dashboard's lines are drawn from is written once, by whichever process, and stays."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import Engine, select

from backend.corrections.chronicle import Chronicle, Milestone
from backend.corrections.crop_store import CropStore
from backend.corrections.history_tables import milestone, work
from backend.corrections.journal import Journal
from backend.corrections.progress import Counts, progress
from backend.corrections.remembering import Proposals, ShownPrediction
from backend.corrections.worker import Worker
from tests.corrections.annotating import deleted, drawn, page_of, saved, shown

BOX = (20.0, 20.0, 120.0, 100.0)
OTHER = (200.0, 300.0, 300.0, 400.0)


@pytest.fixture
def correct(engine: Engine, tmp_path) -> Callable[..., None]:
    """Sends payloads, and has samples made of them."""
    journal = Journal(engine)
    worker = Worker(engine=engine, journal=journal, crops=CropStore(str(tmp_path)), page_of=page_of)

    def send(*payloads: dict) -> None:
        for body in payloads:
            journal.append(body["action"], project=1, body=body)
        worker.work()

    return send


def chronicle(engine: Engine, version: str | None = "v1", **fields) -> Chronicle:
    return Chronicle(engine, version=lambda: version, **fields)


def works(engine: Engine) -> dict[int, tuple]:
    with engine.connect() as connection:
        rows = connection.execute(select(work)).all()
    return {row.annotation: (row.task, row.annotator, row.pages, row.seconds, row.saw) for row in rows}


def milestones(engine: Engine) -> list[tuple[str, str]]:
    with engine.connect() as connection:
        rows = connection.execute(select(milestone).order_by(milestone.c.at, milestone.c.key)).all()
    return [(row.what, row.model) for row in rows]


def test_work_is_noted_with_what_the_annotator_saw(engine: Engine, correct: Callable[..., None]) -> None:
    ledger = Proposals(engine, clock=lambda: 900.0)
    for task, blind in ((1, False), (2, True)):
        ledger.remember(
            ShownPrediction(
                task=task, project=1, version="v1", proposals=[shown(f"a{task}", "stamp", BOX)], blind=blind
            )
        )
    correct(
        saved(1, task=1, at=950, result=[drawn("a1", "stamp", BOX)], lead_time=12, completed_by=4),
        saved(2, task=2, at=950, result=[drawn("n", "stamp", BOX)], lead_time=50, parent_prediction=None),
        saved(3, task=3, at=950, result=[drawn("n", "stamp", BOX)], lead_time=40, parent_prediction=None, pages=3),
        saved(4, task=4, at=950, result=[], was_cancelled=True),
    )
    assert chronicle(engine).catch_up() == 4
    assert works(engine) == {
        1: (1, 4, 2, 12.0, "boxes"),
        2: (2, 1, 2, 50.0, "blind"),
        3: (3, 1, 3, 40.0, "scratch"),
        4: (4, 1, 0, 3.5, "boxes"),  # skipped: of no page
    }
    assert chronicle(engine).catch_up() == 0


def test_work_follows_updates_and_deletions(engine: Engine, correct: Callable[..., None]) -> None:
    correct(saved(1, task=1, at=950, result=[], lead_time=10), saved(2, task=1, at=950, result=[], lead_time=10))
    chronicle(engine).catch_up()
    correct(saved(1, task=1, at=960, result=[], lead_time=25, action="ANNOTATION_UPDATED"), deleted(2))
    assert chronicle(engine).catch_up() == 2
    assert {key: row[3] for key, row in works(engine).items()} == {1: 25.0}


def test_an_older_ledger_is_caught_up_with_in_portions(engine: Engine, correct: Callable[..., None]) -> None:
    correct(*(saved(number, task=number, at=950, result=[]) for number in range(1, 8)))
    assert [chronicle(engine).catch_up(limit=3) for _ in range(4)] == [3, 3, 1, 0]


def test_what_serves_is_noted_once_however_many_processes_serve_it(engine: Engine) -> None:
    now = [100.0]
    first, second = (chronicle(engine, clock=lambda: now[0]) for _ in range(2))
    for one in (first, second, first):
        one.look()
    now[0] = 200.0
    chronicle(engine, "v2", clock=lambda: now[0]).look()
    assert first.look() == 0, "it goes on serving v1 for a moment, and that is no news"
    chronicle(engine, None, clock=lambda: now[0]).look()  # nothing serves yet
    assert milestones(engine) == [("serves", "v1"), ("serves", "v2")]


def test_what_the_registry_tells_stays_when_the_registry_is_gone(engine: Engine) -> None:
    told = [Milestone(at=5.0, what="promoted", model="m1", f1=0.9, low=0.85, high=0.95, documents=40, reason="better")]
    chronicle(engine, None, told=lambda: told).look()
    chronicle(engine, None, told=lambda: told).look()  # after a restart it tells the same again
    chronicle(engine, None, told=tuple).look()
    assert progress(engine).milestones == tuple(told)


def test_the_journal_is_not_asked_again_at_every_turn(engine: Engine) -> None:
    asked = []
    one = chronicle(engine, None, told=lambda: asked.append(1) or (), clock=lambda: 1000.0)
    for _ in range(5):
        one.look()
    assert len(asked) == 1


def test_days_classes_and_annotators_are_counted_blind_pages_left_out(
    engine: Engine, correct: Callable[..., None]
) -> None:
    ledger = Proposals(engine, clock=lambda: 900.0)
    boxes = [shown("a", "stamp", BOX), shown("b", "signature", OTHER)]
    for task, blind in ((1, False), (2, True)):
        ledger.remember(ShownPrediction(task=task, project=1, version="v1", proposals=boxes, blind=blind))
    result = [drawn("a", "stamp", BOX), drawn("b", "thumb", OTHER)]
    correct(
        saved(1, task=1, at=86_400 * 3 - 1, created=950, result=result, completed_by=4),
        saved(2, task=2, at=86_400 * 3, created=950, result=result, parent_prediction=None),
    )
    chronicle(engine).catch_up()
    found = progress(engine)
    assert {day: dict(counts.by) for day, counts in found.days.items()} == {2: {"accepted": 1, "relabelled": 1}}
    assert found.classes["signature"].by == {"relabelled": 1}, "by the class that it was shown as"
    assert found.annotators[4].acceptance == 0.5
    assert [(one.annotator, one.saw, one.pages, one.seconds) for one in found.paces] == [
        (None, "boxes", 2, 1.75),
        (None, "blind", 2, 1.75),
        (1, "blind", 2, 1.75),
        (4, "boxes", 2, 1.75),
    ]


@pytest.mark.parametrize(
    ("by", "acceptance", "f1"),
    [
        ({}, None, None),
        ({"accepted": 4}, 1.0, 1.0),
        ({"missed": 4}, None, 0.0),
        ({"accepted": 2, "rejected": 2}, 0.5, 4 / 6),  # two false boxes
        ({"accepted": 2, "relabelled": 2}, 0.5, 0.5),  # two false ones, and two true ones without
        ({"accepted": 2, "missed": 2}, 1.0, 4 / 6),
    ],
)
def test_rates_of_what_was_shown(by: dict[str, int], acceptance: float | None, f1: float | None) -> None:
    assert (Counts(by).acceptance, Counts(by).f1) == (pytest.approx(acceptance), pytest.approx(f1))


def test_agreement_is_told_of_tasks_that_several_annotators_did(engine: Engine, correct: Callable[..., None]) -> None:
    stamp, thumb = drawn("a", "stamp", BOX), drawn("b", "thumb", OTHER)
    correct(
        saved(1, task=1, at=950, result=[stamp, thumb], completed_by=1),
        saved(2, task=1, at=951, result=[stamp], completed_by=2),
        saved(3, task=2, at=950, result=[stamp], completed_by=1),
        saved(4, task=2, at=951, result=[], completed_by=2),  # found nothing
        saved(5, task=3, at=950, result=[stamp], completed_by=1),
        saved(6, task=3, at=951, result=[], completed_by=1),  # the same person twice is no second opinion
        saved(7, task=4, at=951, result=[stamp], completed_by=1),
    )
    chronicle(engine).catch_up()
    found = progress(engine).agreement
    assert (found["stamp"].same, found["stamp"].boxes) == (1, 3)
    assert found["thumb"].share == 0.0
    assert found["signature"].share is None


def test_work_is_noted_whatever_becomes_of_the_clock(engine: Engine, correct: Callable[..., None]) -> None:
    now, ticks = [86_400.0 * 365], [0.0]
    book = chronicle(engine, clock=lambda: now[0], ticks=lambda: ticks[0])
    while book.look():
        pass
    now[0] = 0.0
    ticks[0] += 60.0
    correct(saved(1, task=1, at=950, result=[drawn("a", "stamp", BOX)]))
    assert book.look() == 1


def test_a_skipped_task_of_too_many_pages_keeps_no_other_work_from_being_noted(
    engine: Engine, correct: Callable[..., None]
) -> None:
    correct(
        saved(1, task=1, at=950, result=[], was_cancelled=True, pages=1001),
        saved(2, task=2, at=951, result=[drawn("a", "stamp", BOX)]),
    )
    chronicle(engine).catch_up()
    assert set(works(engine)) == {1, 2}
