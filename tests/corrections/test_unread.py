"""Tasks that could not be looked at are noted with the reason, asked for again, and forgotten once they are."""

from __future__ import annotations

import time

from flask import Flask
from sqlalchemy import Engine

from backend.corrections.counts import count
from backend.corrections.database import writing
from backend.corrections.reconciling import forget_tasks
from backend.corrections.remembering import Proposals, ShownPrediction
from backend.server.status_pages import feedback_pages


def ledger_at(engine: Engine, clock: list[float]) -> Proposals:
    return Proposals(engine, clock=lambda: clock[0])


def test_a_task_that_could_not_be_looked_at_is_told_of_until_it_is(engine: Engine) -> None:
    ledger = ledger_at(engine, [1000.0])
    ledger.note_unread(task=7, project=1, reason="no field 'image'")
    ledger.note_unread(task=7, project=1, reason="page.avif: cut short")
    ledger.note_unread(task=8, project=None, reason="cut short")
    facts = count(engine)
    assert facts.unread == 2
    assert {(one.task, one.project, one.reason) for one in facts.unread_such} == {
        (7, 1, "page.avif: cut short"),
        (8, None, "cut short"),
    }
    app = Flask(__name__)
    app.register_blueprint(feedback_pages(engine, state=lambda: {"model_version": "v2", "model_state": "ready"}))
    client = app.test_client()
    assert "project 1, task 7" in client.get("/status", headers={"Accept": "text/html"}).text
    assert "contract_marks_unread_tasks 2.0" in client.get("/metrics").text
    ledger.remember(ShownPrediction(task=7, project=1, version="v1", proposals=[]))
    with writing(engine) as connection:
        forget_tasks(connection, [8])
    assert count(engine).unread == 0


def test_what_is_answered_to_a_drawn_box_says_nothing_about_the_whole_task(engine: Engine) -> None:
    ledger = ledger_at(engine, [1000.0])
    ledger.note_unread(task=7, project=1, reason="page 2: cut short")
    ledger.remember(ShownPrediction(task=7, project=1, version="v1", proposals=[], drawn=True))
    assert count(engine).unread == 1


def test_it_is_tried_again_soon_then_less_and_less_often_whatever_the_clock_does(engine: Engine) -> None:
    clock = [1000.0]
    ledger = ledger_at(engine, clock)
    ledger.note_unread(task=7, project=1, reason="cut short")
    assert ledger.unread_again(1) == ()
    tried = []
    for second in range(0, 20_000, 20):
        clock[0] = 1000.0 + second
        if ledger.unread_again(1):
            tried.append(second)
    assert tried[:4] == [60, 120, 240, 480]
    assert tried[-1] - tried[-2] == 3600
    clock[0] = 500.0  # the clock is put back: nothing waits for a moment that it has to reach once more
    assert ledger.unread_again(1) == (7,)
    assert ledger.unread_again(2) == ()


def test_what_was_shown_by_a_clock_that_was_ahead_is_nothing_that_came_since(engine: Engine) -> None:
    clock = [time.time() + 365 * 86_400.0]
    ledger = ledger_at(engine, clock)
    ledger.remember(ShownPrediction(task=7, project=1, version="v1", proposals=[]))
    clock[0] = time.time()
    ledger.note_unread(task=7, project=1, reason="cut short")
    assert count(engine).unread == 1


def test_a_few_are_asked_for_at_a_time(engine: Engine) -> None:
    clock = [1000.0]
    ledger = ledger_at(engine, clock)
    for task in range(6):
        ledger.note_unread(task=task, project=1, reason="cut short")
    clock[0] += 100
    first, second = ledger.unread_again(1), ledger.unread_again(1)
    assert (len(first), len(second)) == (4, 2)
    assert sorted(first + second) == list(range(6))
