"""A ledger's database is described as it is, on SQLite and on PostgreSQL, and left so."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import text

from backend.corrections.database import condition, open_as_it_is, open_database, revisions
from backend.corrections.journal import Journal
from backend.corrections.tables import metadata
from backend.errors import LedgerError
from tests.commands.doctor.conftest import unprivileged


def opened(url: str) -> None:
    open_database(url).dispose()


def change(url: str, statement: str) -> None:
    engine = open_database(url)
    with engine.begin() as connection:
        connection.execute(text(statement))
    engine.dispose()


def test_one_that_is_in_order(database_url: str) -> None:
    opened(database_url)
    engine = open_as_it_is(database_url)
    assert engine is not None
    found = condition(engine)
    assert (found.empty, found.revision, found.missing) == (False, revisions()[-1], ())
    assert found.journal_mode == ("wal" if engine.dialect.name == "sqlite" else None)


def test_one_without_tables_gets_none(database_url: str, tmp_path: Path) -> None:
    (tmp_path / "ledger.sqlite3").touch()
    for _ in range(2):
        engine = open_as_it_is(database_url)
        assert engine is not None
        found = condition(engine)
        assert (found.empty, found.revision, set(found.missing)) == (True, None, set(metadata.tables))


def test_one_that_lacks_a_table_and_a_column(database_url: str) -> None:
    opened(database_url)
    change(database_url, "DROP TABLE memory")
    change(database_url, "ALTER TABLE sample DROP COLUMN lead_time")
    engine = open_as_it_is(database_url)
    assert engine is not None
    assert condition(engine).missing == ("memory", "sample.lead_time")


def test_a_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    assert open_as_it_is(f"sqlite:///{tmp_path / 'ledger.sqlite3'}") is None
    assert list(tmp_path.iterdir()) == []


def test_a_writer_may_be_at_it(tmp_path: Path) -> None:
    """What is in the log of the write-ahead journal counts, and is there afterwards."""
    url = f"sqlite:///{tmp_path / 'ledger.sqlite3'}"
    writer = open_database(url)
    Journal(writer).append("ANNOTATION_CREATED", project=4, body={})
    engine = open_as_it_is(url)
    assert engine is not None
    condition(engine)
    newest = Journal(engine).newest(4, ["ANNOTATION_CREATED"])
    assert newest is not None
    assert newest[0] == "ANNOTATION_CREATED"
    assert Journal(writer).counts() == {("ANNOTATION_CREATED", "open"): 1}
    writer.dispose()


@pytest.mark.parametrize("at_work", [True, False])
def test_one_that_can_only_be_read_is_found_out(tmp_path: Path, at_work: bool) -> None:
    """Also where a writer has left its log, with which SQLite can open it."""
    writer = open_database(f"sqlite:///{tmp_path / 'ledger.sqlite3'}")
    if not at_work:
        writer.dispose()
    with unprivileged(holding=tmp_path) as folder:
        engine = open_as_it_is(f"sqlite:///{folder / 'ledger.sqlite3'}")
        assert engine is not None
        with pytest.raises(LedgerError, match="readonly database"):
            condition(engine)
    writer.dispose()


def test_one_that_is_locked_is_said_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backend.corrections.database._LOOK_SECONDS", 0.1)
    url = f"sqlite:///{tmp_path / 'ledger.sqlite3'}"
    writer = open_database(url)
    engine = open_as_it_is(url)
    assert engine is not None
    with writer.connect() as connection:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        with pytest.raises(LedgerError, match="database is locked"):
            condition(engine)
    condition(engine)
    writer.dispose()


@pytest.mark.parametrize("url", ["no url at all", "oracle://marks:secret@somewhere/else"])
def test_what_is_no_address_of_a_database(url: str) -> None:
    with pytest.raises(LedgerError, match="DATABASE_URL") as caught:
        open_as_it_is(url)
    assert "secret" not in str(caught.value)


def test_the_newest_event_is_of_the_project_and_of_the_actions(database_url: str) -> None:
    engine = open_database(database_url)
    moments = iter([10.0, 20.0, 30.0, 40.0])
    journal = Journal(engine, clock=lambda: next(moments))
    for action, project in (("A", 1), ("B", 1), ("A", 2), ("C", 1)):
        journal.append(action, project=project, body={})
    assert journal.newest(1, ["A", "B"]) == ("B", 20.0)
    assert journal.newest(2, ["A", "B"]) == ("A", 30.0)
    assert journal.newest(3, ["A", "B"]) is None
    engine.dispose()
