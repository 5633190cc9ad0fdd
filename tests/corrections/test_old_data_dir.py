"""A DATA_DIR that an earlier program made goes on working: what was learnt is there, and what waits is learnt."""

from __future__ import annotations

import base64
import json
import sqlite3
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import select

from backend.cli import main
from backend.corrections.journal import Journal
from backend.corrections.service import Store
from backend.corrections.shown import shown_before
from backend.corrections.tables import metadata, sample
from backend.corrections.worker import Worker
from backend.settings import Settings
from tests.corrections import annotating

MADE = json.loads((Path(__file__).parent / "data_dir_of_29e60cd.json").read_text(encoding="utf-8"))
"""What commit 29e60cd left: the statements of its ledger, its files, and the script that it ran (`made_by`)."""


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data folder as that program left it, for the commands as well."""
    for name in ("DATABASE_URL", "STORAGE_URL", "LABEL_STUDIO_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    for name, content in MADE["files"].items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(base64.b64decode(content))
    connection = sqlite3.connect(tmp_path / MADE["ledger"])
    connection.executescript("\n".join(MADE["sql"]))
    connection.close()
    return tmp_path


def test_its_ledger_becomes_one_of_today_and_keeps_what_was_learnt(old: Path) -> None:
    store = Store.open(Settings(data_dir=old))
    with store.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        rows = connection.execute(select(sample).order_by(sample.c.outcome, sample.c.label)).all()
        prediction = shown_before(connection, task=7, regions=("a", "b"), moment=950.0)
    assert [(row.outcome, row.label, row.wrong) for row in rows] == [
        ("missed", "thumb", None),
        ("moved", "signature", None),
        ("rejected", "none", "thumb"),
        ("relabelled", "signature", "stamp"),
    ]
    assert all(store.crops.get(row.crop).size for row in rows)
    assert prediction is not None
    assert {one.region.id: one.region.label for one in prediction.proposals} == {
        "a": "stamp",
        "b": "signature",
        "c": "thumb",
    }
    store.engine.dispose()


def test_an_event_that_waited_there_is_learnt_from(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = Store.open(Settings(data_dir=old))
    journal = Journal(store.engine)
    assert journal.counts()["ANNOTATION_CREATED", "open"] == 1
    Worker(engine=store.engine, journal=journal, crops=store.crops, page_of=annotating.page_of).work()
    with store.engine.connect() as connection:
        [row] = connection.execute(select(sample).where(sample.c.task == 8)).all()
    assert (row.outcome, row.label, row.wrong) == ("relabelled", "signature", "stamp")
    store.engine.dispose()
    assert main(["samples"]) == 0
    last = capsys.readouterr().out.splitlines()[5].split()
    assert last[:8] == ["all", "0", "1", "2", "1", "0", "1", "5"]
