"""A backup made as docs/operations.md says, while the ledger is in use, is the same ledger when it is restored."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import threading
from pathlib import Path

import psycopg
from sqlalchemy import Engine

from backend.corrections.counts import count
from backend.corrections.crop_store import CropStore
from backend.corrections.database import open_database
from backend.corrections.journal import Journal
from backend.corrections.worker import Worker

from . import annotating
from .annotating import A, drawn, saved, send
from .conftest import _server_programs


def fill(engine: Engine, folder: Path) -> Journal:
    """Three corrections, turned into samples, and an event that is still open."""
    journal = Journal(engine)
    worker = Worker(engine=engine, journal=journal, crops=CropStore(str(folder)), page_of=annotating.page_of)
    for number in range(3):
        send(journal, saved(1 + number, task=7 + number, at=950, result=[drawn(f"r{number}", "stamp", A)]))
    while worker.work():
        pass
    send(journal, saved(9, task=19, at=950, result=[drawn("open", "stamp", A)]))
    return journal


def restored(engine: Engine, folder: Path) -> tuple[int, int]:
    """Samples, after what was open was worked on, and crops that can be read."""
    crops = CropStore(str(folder))
    worker = Worker(engine=engine, journal=Journal(engine), crops=crops, page_of=annotating.page_of)
    while worker.work():
        pass
    return count(engine).count(), sum(1 for _ in (folder / "crops").glob("*/*.png"))


def test_sqlite_and_the_crops_while_events_come_in(tmp_path: Path) -> None:
    data, backup = tmp_path / "data", tmp_path / "backup"
    data.mkdir()
    backup.mkdir()
    engine = open_database(f"sqlite:///{data}/ledger.sqlite3")
    journal = fill(engine, data)
    over = threading.Event()

    def busy() -> None:
        while not over.is_set():
            journal.append("PROJECT_UPDATED", project=1, body={})

    sender = threading.Thread(target=busy)
    sender.start()
    there, here = sqlite3.connect(data / "ledger.sqlite3"), sqlite3.connect(backup / "ledger.sqlite3")
    there.backup(here)
    there.close()
    here.close()
    shutil.copytree(data / "crops", backup / "crops")
    over.set()
    sender.join()
    engine.dispose()
    shutil.rmtree(data)
    shutil.copytree(backup, data)
    again = open_database(f"sqlite:///{data}/ledger.sqlite3")
    assert restored(again, data) == (4, 4)
    again.dispose()


def test_postgresql_by_its_own_programs(postgresql: str, tmp_path: Path) -> None:
    found = _server_programs()
    assert found is not None
    programs = (found / "pg_ctl").resolve().parent  # a link to it may stand alone
    name = f"backup_{os.getpid()}"
    with psycopg.connect(f"{postgresql}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        connection.execute(f"CREATE DATABASE {name}_again")
    engine = open_database(f"{postgresql}/{name}")
    fill(engine, tmp_path)
    engine.dispose()
    dump = tmp_path / "ledger.dump"
    subprocess.run([programs / "pg_dump", "-Fc", f"{postgresql}/{name}", "-f", dump], check=True)
    subprocess.run([programs / "pg_restore", "--no-owner", "-d", f"{postgresql}/{name}_again", dump], check=True)
    again = open_database(f"{postgresql}/{name}_again")
    assert restored(again, tmp_path) == (4, 4)
    again.dispose()
