"""Clocks that jump, ours or Label Studio's: nothing waits longer than its longest delay, and what is held now wins."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select

from backend.corrections.crop_store import CropStore
from backend.corrections.database import writing
from backend.corrections.journal import LEASE_SECONDS as RUN_SECONDS
from backend.corrections.journal import Journal, advance, ask, lease_asked
from backend.corrections.leases import FIRST_DELAY, LEASE_SECONDS, lease, unpark
from backend.corrections.reconciling import fold_event, sync
from backend.corrections.remembering import Proposals, ShownPrediction
from backend.corrections.service import held_state, reconcile_asked
from backend.corrections.tables import annotation, sample
from backend.corrections.worker import Worker
from backend.errors import LabelStudioError, PageUnavailable
from backend.labelstudio.annotations import Annotation
from backend.labelstudio.protocol import without_secrets
from backend.pages.page import Page
from tests.corrections import annotating
from tests.corrections.annotating import deleted, drawn, saved, shown
from tests.corrections.studio import Studio
from tests.corrections.test_service import Told

A = (10.0, 10.0, 110.0, 110.0)
DAY = 86400.0


class Ledger:
    """A ledger with its worker, whose clock can be set, and a Label Studio that it may ask."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self.engine = engine
        self.now = 1_000_000.0
        self.reach = Told()
        self.unreachable: set[int] = set()
        self.worker = Worker(
            engine=engine,
            journal=Journal(engine),
            crops=CropStore(str(folder)),
            page_of=self._page_of,
            clock=lambda: self.now,
            held=held_state(self.reach),
        )

    def _page_of(self, one: Annotation, index: int) -> Page:
        if one.task in self.unreachable:
            raise PageUnavailable("page", "Label Studio does not answer")
        return annotating.page_of(one, index)

    def told(self, *payloads: dict[str, Any]) -> None:
        for payload in payloads:
            self.worker.journal.append(payload["action"], project=1, body=without_secrets(payload))

    def work(self) -> None:
        while self.worker.work():
            pass

    def marks(self) -> dict[str, str]:
        with self.engine.connect() as connection:
            return {row.region: row.label for row in connection.execute(select(sample).order_by(sample.c.id))}


@pytest.fixture
def ledger(engine: Engine, tmp_path: Path) -> Ledger:
    return Ledger(engine, tmp_path)


def first(label: str = "stamp", *, at: float = 950.0) -> dict[str, Any]:
    return saved(1, task=7, at=at, result=[drawn("a", label, A)])


def again(label: str, *, at: float) -> dict[str, Any]:
    return saved(1, task=7, at=at, created=950.0, result=[drawn("a", label, A)], action="ANNOTATION_UPDATED")


@pytest.mark.parametrize("ahead", [DAY, 40.0, 0.0, -DAY])
def test_a_retry_comes_after_its_own_delay_at_the_latest_when_the_clock_is_set_right(
    ledger: Ledger, ahead: float
) -> None:
    right = ledger.now
    ledger.unreachable.add(7)
    ledger.now += ahead
    ledger.told(first())
    ledger.work()
    ledger.unreachable.clear()
    ledger.now = right + FIRST_DELAY
    ledger.work()
    assert ledger.marks() == {"a": "stamp"}


@pytest.mark.parametrize("ahead", [DAY, LEASE_SECONDS / 2, -DAY])
def test_what_a_dead_worker_had_is_given_back_after_a_lease_at_the_latest(ledger: Ledger, ahead: float) -> None:
    right = ledger.now
    ledger.told(first())
    ledger.worker.journal.take(fold_event)
    ledger.now += ahead
    lease(ledger.worker.engine, most=1, now=ledger.worker.clock())
    ledger.now = right + LEASE_SECONDS + max(0.0, min(ahead, LEASE_SECONDS))
    assert not ledger.worker.others_at_work()
    ledger.work()
    assert ledger.marks() == {"a": "stamp"}


def test_a_run_that_died_while_the_clock_was_ahead_is_made_again(engine: Engine) -> None:
    with writing(engine) as connection:
        ask(connection, 1, at=1000.0)
    assert lease_asked(engine, now=1000.0 + DAY) is not None
    assert lease_asked(engine, now=1000.0 + DAY) is None
    assert lease_asked(engine, now=1000.0 + RUN_SECONDS) is not None


@pytest.mark.parametrize(
    ("events", "order"),
    [
        # Label Studio's clock was put back by ten minutes between the two saves
        ([first("stamp"), again("thumb", at=350.0)], 1),
        # two saves of one moment, told in either order
        ([first("stamp"), again("thumb", at=950.0)], 1),
        ([first("stamp"), again("thumb", at=950.0)], -1),
    ],
)
def test_of_two_states_that_stamps_cannot_order_the_one_that_label_studio_holds_wins(
    ledger: Ledger, events: list[dict[str, Any]], order: int
) -> None:
    ledger.reach.held = Studio(*events)
    for event in events[::order]:
        ledger.told(event)
        ledger.work()
    assert ledger.marks() == {"a": "thumb"}
    # What is told again changes nothing, and is not asked about again and again.
    ledger.told(*events)
    ledger.work()
    assert ledger.marks() == {"a": "thumb"}


def test_an_event_that_only_comes_late_does_not_undo_the_newer_one(ledger: Ledger) -> None:
    events = [first("stamp"), again("thumb", at=960.0)]
    ledger.reach.held = Studio(*events)
    for event in reversed(events):
        ledger.told(event)
        ledger.work()
    assert ledger.marks() == {"a": "thumb"}


def test_an_annotation_in_doubt_that_was_deleted_is_gone(ledger: Ledger) -> None:
    events = [first("stamp"), again("thumb", at=950.0)]
    ledger.reach.held = Studio(*events, deleted(1))
    ledger.told(*events)
    ledger.work()
    assert ledger.marks() == {}


@pytest.mark.parametrize(
    ("failure", "at_once"),
    [
        (LabelStudioError("no answer"), {}),
        (LabelStudioError("busy", answered=503), {}),
        (LabelStudioError("no token", answered=401), {"a": "stamp"}),  # nobody may ask: the stamps decide
    ],
)
def test_a_doubt_waits_for_label_studio(ledger: Ledger, failure: Exception, at_once: dict[str, str]) -> None:
    events = [first("stamp"), again("thumb", at=950.0)]
    ledger.reach.held = failure
    ledger.told(*events)
    ledger.work()
    assert ledger.marks() == at_once
    ledger.reach.held = Studio(*events)
    ledger.now += FIRST_DELAY
    ledger.work()
    assert ledger.marks() == (at_once or {"a": "thumb"})


def test_sync_finds_what_was_saved_after_label_studios_clock_was_put_back(ledger: Ledger, engine: Engine) -> None:
    """And no webhook told of it."""
    studio = Studio()
    studio.happen(first("stamp", at=5000.0), at=5000.0)
    ledger.reach.held = studio
    sync(engine, studio.client(), 1)
    ledger.work()
    studio.happen(again("thumb", at=4400.0), at=4400.0)
    sync(engine, studio.client(), 1)
    ledger.work()
    assert ledger.marks() == {"a": "thumb"}


@pytest.mark.parametrize("ahead", [2 * 3600.0, 0.0, -2 * 3600.0])
def test_a_box_that_was_shown_by_a_wrong_clock_and_deleted_is_rejected(ledger: Ledger, ahead: float) -> None:
    now = time.time()
    Proposals(ledger.engine, clock=lambda: now - 60 + ahead).remember(
        ShownPrediction(task=7, project=1, version="v1", proposals=[shown("a", "stamp", A)])
    )
    ledger.told(saved(1, task=7, at=now - 30, result=[]))
    ledger.work()
    assert ledger.marks() == {"a": "none"}


def test_a_second_chance_is_given_whatever_the_clock_was(ledger: Ledger, engine: Engine) -> None:
    ledger.unreachable.add(7)
    ledger.now += DAY
    ledger.told(first())
    for _ in range(15):
        ledger.work()
        ledger.now += 2 * 3600.0
    with engine.connect() as connection:
        assert connection.execute(select(annotation.c.parked)).scalar()
    ledger.unreachable.clear()
    ledger.now -= 10 * DAY
    assert unpark(engine) == 1
    ledger.work()
    assert ledger.marks() == {"a": "stamp"}
    assert reconcile_asked(engine, ledger.reach, clock=lambda: ledger.now) == 0


def test_what_is_saved_after_a_clock_that_was_a_day_ahead_was_set_right_is_found_by_the_next_run(
    ledger: Ledger, engine: Engine
) -> None:
    now, studio = 1_000_000.0, Studio()
    studio.happen(first("stamp", at=now + DAY), at=now + DAY)
    ledger.reach.held = studio
    sync(engine, studio.client(), 1, clock=lambda: now)
    studio.happen(again("thumb", at=now + 3600), at=now + 3600)
    sync(engine, studio.client(), 1, clock=lambda: now + 3700)
    ledger.work()
    assert ledger.marks() == {"a": "thumb"}


def test_a_run_of_an_older_program_that_went_by_a_clock_ahead_does_not_hide_what_came_since(
    ledger: Ledger, engine: Engine
) -> None:
    now, studio = 1_000_000.0, Studio(first("stamp", at=950.0))
    with writing(engine) as connection:
        advance(connection, 1, to=now + DAY)
    sync(engine, studio.client(), 1, clock=lambda: now)
    ledger.work()
    assert ledger.marks() == {"a": "stamp"}


def test_an_annotation_that_was_saved_by_a_clock_ahead_and_deleted_since_is_gone(
    ledger: Ledger, engine: Engine
) -> None:
    """And no webhook told of the deletion, which Label Studio dates earlier than the save."""
    studio = Studio()
    studio.happen(first("stamp", at=5000.0 + DAY), at=5000.0 + DAY)
    studio.happen(saved(2, task=7, at=5000.0, result=[drawn("z", "thumb", A)]), at=5000.0)
    ledger.reach.held = studio
    sync(engine, studio.client(), 1, everything=True)
    ledger.work()
    assert ledger.marks() == {"a": "stamp", "z": "thumb"}
    studio.happen(deleted(1), at=5010.0)
    sync(engine, studio.client(), 1, everything=True)
    ledger.work()
    assert ledger.marks() == {"z": "thumb"}
