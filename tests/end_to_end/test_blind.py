"""A blind page in a real Label Studio: stored as empty, asked for once, and drawn by somebody who saw no box."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select

from backend.commands.demo.demo_projects import connect
from backend.commands.demo.services import LOOPBACK, backend_service, wait_for_model
from backend.corrections.database import default_url, open_database
from backend.corrections.shown import is_blind, origin_of
from backend.corrections.tables import prediction, proposal, sample
from backend.evaluation.blind import compare, readings
from backend.labelstudio.client import LabelStudio
from tests.end_to_end.conftest import CONFIG, PATIENT_BACKEND, DrawnFile, Server, retrieved, submit
from tests.patience import SECONDS, eventually
from tests.ports import port_for_later

pytestmark = pytest.mark.label_studio

SHARE = 0.5


@dataclass(frozen=True, kw_only=True)
class Backend:
    """A running backend that serves half of the documents without boxes, and its ledger."""

    url: str
    ledger: Engine


@pytest.fixture
def backend(server: Server) -> Iterator[Backend]:
    folder, port = server.folder / "blind", port_for_later()
    url = f"http://{LOOPBACK}:{port}"
    service = backend_service(
        port=port,
        studio_url=server.url,
        token=server.login.token,
        data_dir=folder,
        log=Path(server.folder / "blind.log"),
        MODEL="bundled",
        BLIND_SHARE=str(SHARE),
        RETRAIN_AFTER="0",
        **PATIENT_BACKEND,
    )
    with service:
        service.wait_until_answers(f"{url}/health", seconds=SECONDS)
        engine = open_database(default_url(folder))
        yield Backend(url=url, ledger=engine)
        engine.dispose()


def document(*, blind: bool) -> str:
    names = (f"contract {number}.pdf" for number in itertools.count())
    return next(name for name in names if is_blind(origin_of({"document": name}, []), share=SHARE) is blind)


def rows(backend: Backend, query: Any) -> list[Any]:
    with backend.ledger.connect() as connection:
        return list(connection.execute(query))


def test_a_blind_page_is_stored_empty_and_its_hidden_boxes_judge_the_model(
    studio: LabelStudio, backend: Backend, drawn: list[DrawnFile]
) -> None:
    version = wait_for_model(backend.url, seconds=SECONDS)
    project = studio.create_project("blind", CONFIG, show_collab_predictions=True)
    studio.create_tab(project, "Default")
    connect(studio, project, backend.url, version=version)
    page = studio.upload(project, drawn[0].name, drawn[0].data)
    data = [{"image": page, "document": document(blind=blind)} for blind in (True, False)]
    blind, shown = studio.import_tasks(project, data)
    retrieved(studio, project, [blind, shown])
    # The second time, nothing is asked: both have a prediction of this version.
    [empty, full] = retrieved(studio, project, [blind, shown])
    assert (empty["result"], empty["model_version"], empty["score"]) == ([], version, full["score"])
    assert len(full["result"]) >= 3
    known = select(prediction.c.task, prediction.c.blind).order_by(prediction.c.task)
    eventually(lambda: len(rows(backend, known)) >= 2, "what was shown, in the ledger")
    assert rows(backend, known) == [
        (blind, True),
        (shown, False),
    ]
    hidden = rows(backend, select(proposal.c.label).where(proposal.c.task == blind))
    assert len(hidden) == len(full["result"])

    # What is drawn unaided lies where the other page's boxes are; the last one is overlooked.
    drawn_by_hand = [
        region | {"id": f"by-hand-{number}", "origin": "manual"} for number, region in enumerate(full["result"][:-1])
    ]
    submit(studio, blind, drawn_by_hand, parent_prediction=empty["id"])
    wanted = select(sample.c.outcome, sample.c.weak, sample.c.blind).where(sample.c.task == blind)
    eventually(lambda: len(rows(backend, wanted)) >= len(drawn_by_hand), "a sample of each region")
    assert set(rows(backend, wanted)) == {("accepted", False, True)}
    figures = compare(readings(backend.ledger))
    confusion = figures.blind.end_to_end["0.5"].confusion
    assert (figures.versions, figures.shown.tasks) == ({version: 1}, 0)
    assert (sum(confusion[mark][mark] for mark in range(3)), sum(confusion[3])) == (len(drawn_by_hand), 1)
