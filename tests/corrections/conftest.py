"""A fresh ledger on SQLite, and on a real PostgreSQL where its server program is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine

from backend.corrections.crop_store import CropStore
from backend.corrections.database import open_database
from backend.corrections.journal import Journal
from backend.corrections.worker import Worker
from tests.corrections import annotating
from tests.patience import SECONDS
from tests.ports import port_for_later


def _server_programs() -> Path | None:
    """Debian keeps initdb and pg_ctl out of PATH, one folder a version."""
    found = shutil.which("pg_ctl")
    if found:
        return Path(found).parent
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"))
    return versions[-1].parent if versions else None


class Cluster:
    """A PostgreSQL server of its own, under a port that it keeps; as root it runs as another user, for it refuses to.

    Attributes:
        url: Where it is, without a database's name.
    """

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        self._home = Path(tempfile.mkdtemp(prefix="ledger-postgresql-"))
        self._as_server = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        if self._as_server:
            shutil.chown(self._home, "postgres")
        self._port = port_for_later()
        self.url = f"postgresql://ledger@127.0.0.1:{self._port}"
        self._run("initdb", "-D", str(self._home / "data"), "-U", "ledger", "-A", "trust", "--no-sync")

    def start(self) -> None:
        options = f"-p {self._port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self._home} -c fsync=off"
        self._control("-o", options, "-l", str(self._home / "log"), "-w", "start")

    def stop(self) -> None:
        """At once, whoever is connected: as when the machine goes down."""
        self._control("-m", "immediate", "stop")

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self._home)

    def _control(self, *arguments: str) -> None:
        self._run("pg_ctl", "-D", str(self._home / "data"), "-t", str(SECONDS), *arguments)

    def _run(self, program: str, *arguments: str) -> None:
        command = [*self._as_server, str(self._programs / program), *arguments]
        subprocess.run(command, check=True, cwd=self._home, stdout=subprocess.DEVNULL)


def _cluster() -> Cluster:
    programs = _server_programs()
    if programs is None:
        if os.environ.get("CI"):
            pytest.fail("PostgreSQL is not installed, and CI installs it (Debian's package postgresql)")
        pytest.skip("PostgreSQL is not installed (Debian's package postgresql)")
    return Cluster(programs)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """URL of a PostgreSQL server that lives as long as the test session."""
    cluster = _cluster()
    cluster.start()
    try:
        yield cluster.url
    finally:
        cluster.remove()


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A PostgreSQL server that a test may stop and start again."""
    own = _cluster()
    own.start()
    try:
        yield own
    finally:
        own.remove()


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file with all tables, to copy."""
    file = tmp_path_factory.mktemp("migrated") / "ledger.sqlite3"
    open_database(f"sqlite:///{file}").dispose()
    return file


@pytest.fixture(scope="session")
def migrated_database(postgresql: str) -> str:
    """Name of a database of PostgreSQL with all tables, to copy."""
    name = "migrated"
    with psycopg.connect(f"{postgresql}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    open_database(f"{postgresql}/{name}").dispose()
    return name


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """URL of a database: empty, or for `engine` migrated before, which takes a third of the time."""
    migrated = "engine" in request.fixturenames
    if request.param == "sqlite":
        file = tmp_path / "ledger.sqlite3"
        if migrated:
            shutil.copyfile(request.getfixturevalue("migrated_file"), file)
        yield f"sqlite:///{file}"
        return
    server = request.getfixturevalue("postgresql")
    name = f"ledger_{abs(hash(tmp_path))}"
    template = request.getfixturevalue("migrated_database") if migrated else "template1"
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    yield f"{server}/{name}"
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def opened_copy(migrated_file: Path, folder: Path) -> Iterator[Engine]:
    """A ledger on SQLite with nothing in it, for tests that hang on no database."""
    file = folder / "ledger.sqlite3"
    shutil.copyfile(migrated_file, file)
    opened = open_database(f"sqlite:///{file}")
    yield opened
    opened.dispose()


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """An opened ledger with nothing in it."""
    opened = open_database(database_url)
    yield opened
    opened.dispose()


@pytest.fixture
def clock() -> list[float]:
    return [1_000.0]


@pytest.fixture
def journal(engine: Engine) -> Journal:
    return Journal(engine)


@pytest.fixture
def worker(engine: Engine, journal: Journal, tmp_path: Path, clock: list[float]) -> Worker:
    return Worker(
        engine=engine,
        journal=journal,
        crops=CropStore(str(tmp_path)),
        page_of=annotating.page_of,
        clock=lambda: clock[0],
    )


@pytest.fixture(scope="module")
def in_order(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What the history gives when each event arrives once and in order."""
    return annotating.replay(tmp_path_factory.mktemp("in_order"), annotating.HISTORY, chunk=1)
