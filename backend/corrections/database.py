"""The ledger's database, SQLite by default or any PostgreSQL URL: brought up to date, or described as it is."""

from __future__ import annotations

import logging
import math
import os
import re
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote
from weakref import WeakKeyDictionary

from sqlalchemy import URL, Connection, Engine, NullPool, Table, create_engine, event, inspect, make_url, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    DBAPIError,
    DisconnectionError,
    OperationalError,
    SQLAlchemyError,
    StatementError,
)

from backend.corrections.tables import metadata
from backend.errors import LedgerAway, LedgerError
from backend.escaping import without_credentials
from backend.files import hold

__all__ = [
    "Condition",
    "condition",
    "default_url",
    "in_words",
    "insert_into",
    "open_as_it_is",
    "open_database",
    "parse",
    "refuses_values",
    "revisions",
    "writing",
]

_LOG = logging.getLogger(__name__)
MIGRATIONS = Path(__file__).parent / "migrations"
_DOWN_REVISION = re.compile(r"^down_revision(?:: [^=]+)? = (?:\"([^\"]*)\"|None)$", re.MULTILINE)
_SECRET_OPTION = re.compile("pass|secret|token|key", re.IGNORECASE)
BUSY_SECONDS = 30
CONNECT_SECONDS = 5
# Of a connection to PostgreSQL whose other end is gone without a word, by libpq's own names: the system would find out
# after a quarter of an hour, or after two hours where nothing is being sent.
_ENDS = {"connect_timeout": CONNECT_SECONDS, "tcp_user_timeout": 30_000}
_ENDS |= {"keepalives_idle": 15, "keepalives_interval": 5, "keepalives_count": 3}
_turns_of: WeakKeyDictionary[Engine, threading.Lock] = WeakKeyDictionary()
_turns_lock = threading.Lock()
_INODE = "inode of the file"
MIGRATION_LOCK = 0x6D61726B  # any number, as long as every process of ours takes the same one
_LOOK_SECONDS = 10
"""For those who only look: a server that is writing holds the lock for milliseconds."""
# Between two tries to reach a database that did not answer at the start.
_AGAIN_SECONDS = 2.0


def default_url(data_dir: Path) -> str:
    """The SQLite file inside the data folder."""
    return f"sqlite:///{(data_dir / 'ledger.sqlite3').absolute()}"


def open_database(url: str, *, patient: bool = False) -> Engine:
    """Connects, creates what is missing and migrates; any number of processes may do so at once.

    Args:
        url: An SQLAlchemy URL; `postgresql://` is taken by psycopg 3.
        patient: Whether a database that does not answer now is good enough: whoever connects to it later then brings
            its tables up to date first. Until it answers, each try to connect fails.

    Raises:
        LedgerAway: The database does not answer, or is locked.
        LedgerError: The URL cannot be used, or a newer program made the database.
    """
    try:
        parsed = parse(url)
        if parsed.get_backend_name() == "sqlite" and parsed.database:
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        ends = _ENDS if parsed.get_backend_name() == "postgresql" else {}
        patience = {name: value for name, value in ends.items() if name not in parsed.query}
        pool = {"pool_pre_ping": bool(ends), "pool_size": 8, "max_overflow": 64}  # a file does not hang up
        engine = create_engine(parsed, connect_args=patience, **pool)
        gate = _Gate(url)
        # The first of all: the next one may give a connection, and then no other is called.
        event.listen(engine, "do_connect", gate.connect)
        if engine.dialect.name == "sqlite":
            event.listen(engine, "connect", _durable)
        if (file := _file_of(parsed)) is not None:
            _watch(engine, file)
        try:
            with _opening(parsed):
                _migrate(engine)
        except OperationalError as error:
            engine.dispose()
            if parsed.get_backend_name() == "sqlite" and "locked" not in str(error):
                raise
            reason = f"the database {in_words(url)} cannot be opened: {_words(error)}; check DATABASE_URL and DATA_DIR"
            if not patient:
                raise LedgerAway(reason) from error
            _LOG.warning("events and predictions wait for the ledger: %s", reason)
            gate.shut(_words(error))
        except BaseException:
            engine.dispose()
            raise
    except (SQLAlchemyError, ArgumentError, OSError, ModuleNotFoundError, ValueError) as error:
        raise LedgerError(
            f"the database {in_words(url)} cannot be opened: {_told_of(error)}; check DATABASE_URL and DATA_DIR"
        ) from (None if isinstance(error, ValueError) else error)
    return engine


class _Gate:
    """Keeps an engine from a database that did not answer, until its tables are up to date; one thread at a time tries.

    Args:
        url: The database's address.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._lock = threading.Lock()
        self._failure = ""
        self._again = 0.0

    def shut(self, failure: str) -> None:
        """From now on the database must answer to another try before anybody gets a connection."""
        self._failure, self._again = failure, time.monotonic() + _AGAIN_SECONDS

    def connect(self, _dialect: Any, _record: object, _arguments: object, _options: object) -> None:
        """Called before each new connection is made.

        Raises:
            OperationalError: The database still does not answer.
        """
        with self._lock:
            if self._failure and time.monotonic() >= self._again:
                try:
                    open_database(self._url).dispose()
                    self._failure = ""
                except LedgerAway as error:
                    self.shut(_words(error.__cause__ or error))
            failure = self._failure
        if failure:
            raise OperationalError("connect", None, ConnectionError(failure))


def parse(url: str) -> URL:
    """A database's address, with the driver that it is taken by.

    Raises:
        ArgumentError: It is none.
    """
    parsed = make_url(url)
    if parsed.drivername in {"postgres", "postgresql"}:
        return parsed.set(drivername="postgresql+psycopg")
    return parsed


def in_words(url: str) -> str:
    """A database's address as messages may show it: without its password, whatever else the address is."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        return without_credentials(url)
    # A driver takes a password among its options as well.
    hidden = {name: "***" if _SECRET_OPTION.search(name) else value for name, value in parsed.query.items()}
    return parsed.set(query=hidden).render_as_string(hide_password=True)


def revisions() -> list[str]:
    """The migrations that there are, oldest first: each names the one before it, whatever its own number is."""
    after: dict[str, str] = {}
    for file in (MIGRATIONS / "versions").glob("[0-9]*.py"):
        named = _DOWN_REVISION.search(file.read_text(encoding="utf-8"))
        after[named[1] if named and named[1] else ""] = file.name.partition("_")[0]
    found: list[str] = []
    while (following := after.get(found[-1] if found else "")) is not None:
        found.append(following)
    return found


def refuses_values(error: Exception) -> bool:
    """Whether a statement failed because the database has no room for its values: a second try changes nothing."""
    if isinstance(error, StatementError):
        return isinstance(error, DataError) or not isinstance(error, DBAPIError)
    return isinstance(error, OverflowError)  # sqlite3's own, for a number of more than 64 bits


def insert_into(table: Table, bind: Connection | Engine) -> postgresql.Insert | sqlite.Insert:
    """An insert that can pass over rows that are there already, which each database writes in its own way.

    Args:
        table: Where rows go.
        bind: The database, or a connection to it.
    """
    return postgresql.insert(table) if bind.dialect.name == "postgresql" else sqlite.insert(table)


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A transaction that takes the write lock at once, so that what it reads is still true when it writes.

    SQLite: BEGIN IMMEDIATE. PostgreSQL: an ordinary transaction, in which callers lock rows with FOR UPDATE.

    Raises:
        LedgerError: It was committed into an SQLite file that is no longer where it should be: it is not stored.
    """
    sqlite = engine.dialect.name == "sqlite"
    with _turns(engine) if sqlite else nullcontext(), engine.connect() as connection:
        if sqlite:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        yield connection  # an exception leaves the block without a commit, and closing rolls back
        connection.commit()
        if connection.info.get(_INODE) != (inode := _inode_of(engine.url)):
            state = "is gone" if inode is None else "was replaced"
            raise LedgerError(f"the ledger {engine.url.database} {state} while it was written: put it back")


@contextmanager
def _opening(url: URL) -> Iterator[None]:
    """One process at a time makes an SQLite file: the move to WAL answers "locked" at once, busy_timeout or not."""
    file = _file_of(url)
    if file is None:
        yield
        return
    with Path(f"{file}.opening").open("a") as lock:
        hold(lock.fileno(), seconds=math.inf)
        file.touch()
        yield


def _file_of(url: URL) -> Path | None:
    """The file of an SQLite database; None for any other."""
    name = url.database if url.get_backend_name() == "sqlite" else None
    return None if not name or name == ":memory:" or name.startswith("file:") else Path(name).absolute()


def _inode_of(url: URL) -> tuple[int, int] | None:
    """What tells the file that is there now from one that was there before; None where there is none, or no file."""
    file = _file_of(url)
    try:
        found = None if file is None else os.stat(file)
    except OSError:
        return None
    return None if found is None else (found.st_dev, found.st_ino)


def _watch(engine: Engine, file: Path) -> None:
    """Lets no connection work on a file that was deleted, moved or replaced, nor make an empty one in its place."""

    def connect(dialect: Any, _record: object, _arguments: object, options: dict[str, Any]) -> Any:
        return dialect.loaded_dbapi.connect(f"file:{quote(str(file))}?mode=rw", **{**options, "uri": True})

    def connected(_connection: object, record: Any) -> None:
        record.info[_INODE] = _inode_of(engine.url)

    def taken(_connection: object, record: Any, _proxy: object) -> None:
        if record.info[_INODE] != _inode_of(engine.url):
            raise DisconnectionError(f"{file} is another file now")

    event.listen(engine, "do_connect", connect)
    event.listen(engine, "connect", connected)
    event.listen(engine, "checkout", taken)


def _turns(engine: Engine) -> threading.Lock:
    """One writer of this process at a time: SQLite itself makes the others sleep, and for ever longer."""
    with _turns_lock:
        return _turns_of.setdefault(engine, threading.Lock())


def _durable(connection: object, _record: object) -> None:
    """WAL lets readers pass a writer; FULL makes an acknowledged commit survive a power cut."""
    connection.isolation_level = None  # type: ignore[attr-defined]
    cursor = connection.cursor()  # type: ignore[attr-defined]
    for pragma in (f"busy_timeout={BUSY_SECONDS * 1000}", "journal_mode=WAL", "synchronous=FULL"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _migrate(engine: Engine) -> None:
    """Brings the tables up to date; a start that finds them so does not load the migration library."""
    ours, theirs = revisions(), None
    with engine.connect() as connection:
        if inspect(connection).has_table("alembic_version"):
            theirs = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    if theirs == ours[-1]:
        return
    if theirs is not None and theirs not in ours:
        where = engine.url.render_as_string(hide_password=True)
        raise LedgerError(
            f"the database {where} is at migration {theirs}, this program's newest is {ours[-1]}: "
            "install the newer release that made it, or name another database with DATABASE_URL or DATA_DIR"
        )
    from alembic import command  # noqa: PLC0415  a third of a second that most starts do not need
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with writing(engine) as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


@dataclass(frozen=True, kw_only=True)
class Condition:
    """How a database is.

    Attributes:
        empty: Whether it has no tables at all.
        revision: The migration that it is at; None where it knows of none.
        missing: Tables, and columns as `table.column`, that the ledger has and this database has not.
        journal_mode: SQLite's; None for others.
    """

    empty: bool
    revision: str | None
    missing: tuple[str, ...]
    journal_mode: str | None


def open_as_it_is(url: str) -> Engine | None:
    """Connects to a ledger's database; None where it is a file that is not there. Nothing is kept open.

    Raises:
        LedgerError: The URL cannot be used.
    """
    try:
        parsed = parse(url)
        if parsed.get_backend_name() != "sqlite":
            return create_engine(parsed, poolclass=NullPool, connect_args={"connect_timeout": _LOOK_SECONDS})
        path = Path(parsed.database or "")
        # Not by the path alone: SQLite would make a file that is not there.
        address, options = f"file:{quote(str(path.absolute()))}?mode=rw", {"timeout": _LOOK_SECONDS, "uri": True}
        look = partial(sqlite3.connect, address, isolation_level=None, **options)
        return create_engine("sqlite://", creator=look, poolclass=NullPool) if path.exists() else None
    except (SQLAlchemyError, OSError, ModuleNotFoundError, ValueError) as error:
        raise LedgerError(
            f"the database {in_words(url)} cannot be opened: {_told_of(error)}; check DATABASE_URL"
        ) from (None if isinstance(error, ValueError) else error)


def condition(engine: Engine) -> Condition:
    """Describes a database, and makes sure that it can be written: in SQLite's case by writing, and taking it back.

    Raises:
        LedgerError: It does not answer, is no database, or cannot be written.
    """
    try:
        with engine.connect() as connection:
            mode = None
            if engine.dialect.name == "sqlite":
                mode = str(connection.exec_driver_sql("PRAGMA journal_mode").scalar())
                connection.exec_driver_sql("BEGIN IMMEDIATE")
                # The lock alone does not tell: of a file that can only be read, SQLite makes no more than a reader.
                same = connection.exec_driver_sql("PRAGMA user_version").scalar()
                connection.exec_driver_sql(f"PRAGMA user_version = {same}")
            return _described(connection, mode)
    except SQLAlchemyError as error:
        raise LedgerError(_words(error)) from error


def _told_of(error: Exception) -> str:
    """What an error says; of an address that is none, nothing of the address."""
    return f"it is no address of a database ({type(error).__name__})" if isinstance(error, ValueError) else str(error)


def _words(error: BaseException) -> str:
    """The driver's own words: SQLAlchemy adds the statement and a link."""
    return str(getattr(error, "orig", None) or error).strip().partition("\n")[0]


def _described(connection: Connection, mode: str | None) -> Condition:
    found = inspect(connection)
    there = set(found.get_table_names())
    known = text("SELECT version_num FROM alembic_version")
    revision = connection.execute(known).scalar() if "alembic_version" in there else None
    missing = [name for name in metadata.tables if name not in there]
    for name, table in metadata.tables.items():
        names = [column.name for column in table.columns]
        columns = {column["name"] for column in found.get_columns(name)} if name in there else set(names)
        missing += [f"{name}.{column}" for column in names if column not in columns]
    return Condition(empty=not there, revision=revision, missing=tuple(missing), journal_mode=mode)
