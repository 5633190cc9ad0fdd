"""The ledger's database: opened once or many times at once, on SQLite and on PostgreSQL, always with today's tables."""

from __future__ import annotations

import multiprocessing
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, insert, select, text
from sqlalchemy.exc import IntegrityError, OperationalError

from backend.corrections import database
from backend.corrections.database import open_database, writing
from backend.corrections.tables import metadata, watermark
from backend.errors import LedgerAway, LedgerError
from tests.patience import SECONDS


def test_migrations_make_exactly_the_declared_tables(engine: Engine) -> None:
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_one_that_is_locked_at_the_start_is_opened_and_migrated_when_it_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_SECONDS", 0)
    monkeypatch.setattr(database, "_AGAIN_SECONDS", 0.0)
    url = f"sqlite:///{tmp_path / 'ledger.sqlite3'}"
    other = sqlite3.connect(tmp_path / "ledger.sqlite3", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(LedgerAway, match="locked"):
        open_database(url)
    engine = open_database(url, patient=True)
    with pytest.raises(OperationalError, match="locked"):
        engine.connect()
    other.execute("ROLLBACK")
    other.close()
    with writing(engine) as connection:
        connection.execute(insert(watermark).values(project=1, lease=0.0))
    engine.dispose()


def test_many_processes_may_open_a_new_database_at_once(database_url: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        for engine in pool.map(open_database, [database_url] * 8):
            engine.dispose()


def test_a_new_sqlite_file_is_never_found_locked_by_another_process(tmp_path: Path) -> None:
    """The move to WAL answers "locked" at once where another process is at it: a race, so it is run often."""
    urls = [f"sqlite:///{tmp_path / str(number)}.sqlite3" for number in range(40)]
    spawn = multiprocessing.get_context("spawn")
    together = spawn.Barrier(6, timeout=SECONDS)
    processes = [spawn.Process(target=_open_all, args=(urls, together)) for _ in range(6)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 6


def _open_all(urls: list[str], together: Barrier) -> None:
    for url in urls:
        together.wait()
        open_database(url).dispose()


def test_a_failed_transaction_leaves_nothing(engine: Engine) -> None:
    rows = [{"project": ord(key), "updated": 0.0, "lease": 0.0} for key in "abb"]
    with writing(engine) as connection:
        connection.execute(insert(watermark), rows[:1])
    with pytest.raises(IntegrityError), writing(engine) as connection:
        connection.execute(insert(watermark), rows[1:])
    with engine.connect() as connection:
        assert connection.execute(select(watermark.c.project)).scalars().all() == [ord("a")]


def test_sqlite_survives_a_power_cut_by_its_settings(tmp_path: Path) -> None:
    engine = open_database(f"sqlite:///{tmp_path / 'ledger.sqlite3'}")
    with engine.connect() as connection:
        assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"
        assert connection.execute(text("PRAGMA synchronous")).scalar() == 2
    engine.dispose()


def test_a_ledger_of_a_newer_program_is_named_with_the_way_out(engine: Engine, database_url: str) -> None:
    with writing(engine) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(LedgerError, match=r"at migration 9999.*install the newer release"):
        open_database(database_url)


@pytest.mark.parametrize(
    "url",
    [
        "no url at all",  # not of the form
        "sqlite:////proc/nowhere/ledger.sqlite3",  # a folder that cannot be made
        "postgresql://nobody:secret@127.0.0.1:1/none",  # nobody listens
        "oracle://somewhere/else",  # a driver that is not installed
    ],
)
def test_a_database_that_cannot_be_opened_is_named_without_its_password(url: str) -> None:
    with pytest.raises(LedgerError, match="DATABASE_URL") as caught:
        open_database(url)
    assert "secret" not in str(caught.value)
