"""What recall follows is listed, and a person takes it back: by a word, or by a click on /status."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Engine

from backend.corrections.crop_store import CropStore
from backend.corrections.journal import Journal
from backend.corrections.memory import ActingVerdict, acting_verdicts, forget_verdict, restore_verdict
from backend.corrections.recall import RecallingClassifier
from backend.corrections.worker import Worker
from backend.errors import LedgerError
from backend.labelstudio.annotations import Annotation
from backend.pages.page import Page
from backend.server.status_pages import feedback_pages
from tests.corrections.annotating import drawn, saved, send
from tests.corrections.test_memory import SEAL, ColourClassifier, judged, memory_of, page, show


@pytest.fixture
def worker(engine: Engine, tmp_path: Path) -> Worker:
    def page_of(_: Annotation, index: int) -> Page:
        return Page(pixels=page(), reference="drawn", index=index)

    return Worker(engine=engine, journal=Journal(engine), crops=CropStore(str(tmp_path)), page_of=page_of)


@pytest.fixture
def client(engine: Engine) -> Iterator[FlaskClient]:
    app = Flask(__name__)
    app.register_blueprint(feedback_pages(engine, state=lambda: {"model_version": "v1", "model_state": "ready"}))
    with app.test_client() as client:
        yield client


@pytest.fixture
def deleted_logo(engine: Engine, worker: Worker) -> str:
    show(engine)
    send(worker.journal, saved(1, task=7, at=950, result=[drawn("seal", "stamp", SEAL)]))
    worker.work()
    return "1-logo"


def test_a_verdict_that_is_taken_back_is_not_followed_until_it_is_restored(
    engine: Engine, worker: Worker, deleted_logo: str
) -> None:
    memory = memory_of(worker, ColourClassifier())
    recalling = RecallingClassifier(ColourClassifier(), memory)
    memory.refresh()
    assert judged(recalling)[0] == ("none", deleted_logo)
    forget_verdict(engine, deleted_logo, at=1000.0)
    memory.refresh()
    assert judged(recalling)[0] == ("stamp", None)
    restore_verdict(engine, deleted_logo)
    memory.refresh()
    assert judged(recalling)[0] == ("none", deleted_logo)


def test_the_page_counts_verdicts_and_takes_one_back_by_a_click(
    engine: Engine, worker: Worker, client: FlaskClient, deleted_logo: str
) -> None:
    memory = memory_of(worker, ColourClassifier())
    memory.refresh()
    memory.count_suppressed([deleted_logo, deleted_logo])
    memory.refresh()
    json = {"Accept": "application/json"}
    [verdict] = client.get("/status", headers=json).json["verdicts"]
    assert (verdict["sample"], verdict["suppressed"], verdict["forgotten"]) == (deleted_logo, 2, False)
    assert f'action="/status/verdicts/{deleted_logo}"' in client.get("/status").text
    assert client.post(f"/status/verdicts/{deleted_logo}", data={"do": "forget"}).status_code == 303
    assert [one.forgotten for one in _verdicts(engine)] == [True]
    assert "follow again" in client.get("/status").text
    assert client.post(f"/status/verdicts/{deleted_logo}", data={"do": "restore"}).status_code == 303
    assert [one.forgotten for one in _verdicts(engine)] == [False]


def test_a_page_elsewhere_cannot_press_the_button(engine: Engine, client: FlaskClient, deleted_logo: str) -> None:
    answer = client.post(f"/status/verdicts/{deleted_logo}", headers={"Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 403
    assert [one.forgotten for one in _verdicts(engine)] == [False]


def test_what_is_no_sample_cannot_be_taken_back(engine: Engine) -> None:
    with pytest.raises(LedgerError, match="there is no sample '9-z'"):
        forget_verdict(engine, "9-z", at=1000.0)


def _verdicts(engine: Engine) -> tuple[ActingVerdict, ...]:
    with engine.connect() as connection:
        return acting_verdicts(connection, most=10)
