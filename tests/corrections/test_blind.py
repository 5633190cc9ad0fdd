"""Blind pages in the ledger: what was found is remembered, and nobody is said to have seen it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from flask import Flask
from sqlalchemy import Engine, create_engine, select, text

from backend.commands.show_samples import story
from backend.corrections.counts import count, tables
from backend.corrections.crop_store import CropStore
from backend.corrections.database import MIGRATIONS, open_database
from backend.corrections.journal import Journal
from backend.corrections.remembering import Proposals, ShownPrediction
from backend.corrections.shown import shown_before
from backend.corrections.tables import prediction, sample
from backend.corrections.worker import Worker
from backend.labelstudio.protocol import without_secrets
from backend.server.status_pages import feedback_pages
from tests.corrections import annotating
from tests.corrections.annotating import drawn, saved, shown

A, B, C = (10.0, 10.0, 110.0, 110.0), (200.0, 300.0, 300.0, 360.0), (50.0, 450.0, 150.0, 550.0)
NEAR_A = (14.0, 12.0, 112.0, 114.0)  # IoU .89
ASIDE_A = (60.0, 10.0, 160.0, 110.0)  # IoU .33


def remember(engine: Engine, *, blind: bool, at: float = 900.0, version: str = "v1", task: int = 7) -> None:
    proposals = [shown("a", "stamp", A), shown("b", "signature", B)]
    ledger = Proposals(engine, clock=lambda: at)
    ledger.remember(ShownPrediction(task=task, project=1, version=version, proposals=proposals, blind=blind))


def learn(engine: Engine, folder: Path, *payloads: dict[str, Any]) -> None:
    journal = Journal(engine)
    for payload in payloads:
        journal.append(payload["action"], project=1, body=without_secrets(payload))
    Worker(engine=engine, journal=journal, crops=CropStore(str(folder)), page_of=annotating.page_of).work()


def samples(engine: Engine) -> dict[str, tuple[str, str, str | None, bool]]:
    with engine.connect() as connection:
        rows = connection.execute(select(sample)).all()
    assert all(row.blind for row in rows)
    return {row.region: (row.outcome, row.label, row.wrong, row.weak) for row in rows}


def test_the_ledger_remembers_what_was_found_and_that_it_was_blind(engine: Engine) -> None:
    remember(engine, blind=True)
    with engine.connect() as connection:
        found = shown_before(connection, task=7, regions=[], moment=950)
    assert found is not None
    assert (found.blind, [one.region.id for one in found.proposals]) == (True, ["a", "b"])


@pytest.mark.parametrize(
    ("moments", "regions", "blind"),
    [
        # Blind first, shown later by the same version: the later one counts, as always.
        ({True: 900.0, False: 910.0}, [], False),
        ({True: 910.0, False: 900.0}, [], True),
        # Whoever has a region of the prediction has seen it.
        ({True: 910.0, False: 900.0}, ["a"], False),
    ],
)
def test_the_same_boxes_blind_and_shown_are_two_predictions(
    engine: Engine, moments: dict[bool, float], regions: list[str], blind: bool
) -> None:
    for hidden, at in moments.items():
        remember(engine, blind=hidden, at=at)
    with engine.connect() as connection:
        found = shown_before(connection, task=7, regions=regions, moment=950)
    assert found is not None
    assert found.blind is blind


@pytest.mark.parametrize(
    ("mark", "becomes"),
    [
        # Drawn unaided where the model has it as well: nobody just left a box alone, so the evidence is not weak.
        (drawn("n", "stamp", NEAR_A), ("accepted", "stamp", None, False)),
        # The model has it somewhat aside.
        (drawn("n", "stamp", ASIDE_A), ("moved", "stamp", None, False)),
        # At the same place under another name: the model is wrong about this mark.
        (drawn("n", "signature", NEAR_A), ("relabelled", "signature", "stamp", False)),
        # Another name and hardly the same place: nobody renamed that box.
        (drawn("n", "signature", ASIDE_A), ("missed", "signature", None, False)),
        # Nothing was found there: this one the model has missed.
        (drawn("n", "thumb", C), ("missed", "thumb", None, False)),
    ],
)
def test_what_an_annotator_drew_unaided(
    engine: Engine, tmp_path: Path, mark: dict[str, Any], becomes: tuple[str, str, str | None, bool]
) -> None:
    remember(engine, blind=True)
    learn(engine, tmp_path, saved(1, task=7, at=950, result=[mark, drawn("m", "signature", B)]))
    assert samples(engine) == {"n": becomes, "m": ("accepted", "signature", None, False)}


@pytest.mark.parametrize("parent", [1, None])  # Label Studio makes annotations of empty predictions as well
def test_a_hidden_box_that_nobody_drew_is_rejected_by_nobody(
    engine: Engine, tmp_path: Path, parent: int | None
) -> None:
    remember(engine, blind=True)
    learn(engine, tmp_path, saved(1, task=7, at=950, result=[], parent_prediction=parent))
    assert samples(engine) == {}
    assert count(engine).annotations["done"] == 1


def test_the_counts_keep_hidden_boxes_apart_from_those_that_were_shown(engine: Engine) -> None:
    remember(engine, blind=False, task=1)
    for version in ("v1", "v2"):
        remember(engine, blind=True, task=2, version=version)
    facts = count(engine)
    assert (facts.predictions, facts.proposals, facts.blind) == (1, {"stamp": 1, "signature": 1}, 1)
    assert facts.as_json()["blind"] == 1
    assert "; 1 tasks were served without boxes" in tables(facts)
    app = Flask(__name__)
    app.register_blueprint(feedback_pages(engine, state=lambda: {"model_version": "v2", "model_state": "ready"}))
    client = app.test_client()
    assert "1 tasks were served without boxes" in client.get("/status", headers={"Accept": "text/html"}).text
    assert "contract_marks_blind_tasks 1.0" in client.get("/metrics").text


def test_the_story_of_a_sample_says_that_nothing_was_shown(engine: Engine, tmp_path: Path) -> None:
    remember(engine, blind=True)
    learn(engine, tmp_path, saved(1, task=7, at=950, result=[drawn("n", "signature", NEAR_A)]))
    with engine.connect() as connection:
        told = story(connection, "1-n")
    assert "hidden     1970-01-01 00:15:00 UTC as stamp by v1" in told
    assert "stamp → signature (blind)" in told


def test_a_ledger_from_before_there_were_blind_pages_keeps_its_rows(database_url: str) -> None:
    old = create_engine(database_url.replace("postgresql://", "postgresql+psycopg://"))
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with old.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.execute(
            text("INSERT INTO prediction (task, version, edition, shown, drawn) VALUES (7, 'v1', 'e', 900, false)")
        )
    old.dispose()
    engine = open_database(database_url)
    with engine.connect() as connection:
        assert connection.execute(select(prediction.c.task, prediction.c.blind)).all() == [(7, False)]
    engine.dispose()
