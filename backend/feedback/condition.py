"""The ledger's database as it is: opened without being made, migrated or tuned, and described."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from sqlalchemy import Connection, Engine, NullPool, create_engine, inspect, text
from sqlalchemy.exc import SQLAlchemyError

from backend.errors import LedgerError
from backend.feedback.database import in_words, parse
from backend.feedback.tables import metadata

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Condition", "condition", "open_as_it_is"]

# A server that is writing holds the lock for milliseconds.
_BUSY_SECONDS = 10
_ANSWER_SECONDS = 10


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
            return create_engine(parsed, poolclass=NullPool, connect_args={"connect_timeout": _ANSWER_SECONDS})
        path = Path(parsed.database or "")
        return create_engine("sqlite://", creator=_opener(path), poolclass=NullPool) if path.exists() else None
    except (SQLAlchemyError, OSError, ModuleNotFoundError) as error:
        raise LedgerError(f"the database {in_words(url)} cannot be opened: {error}; check DATABASE_URL") from error


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
        # The driver's own words: SQLAlchemy adds the statement and a link.
        reason = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
        raise LedgerError(reason) from error


def _opener(path: Path) -> Callable[[], Any]:
    # Not by the path alone: SQLite would make a file that is not there.
    address = f"file:{quote(str(path.absolute()))}?mode=rw"
    return lambda: sqlite3.connect(address, uri=True, timeout=_BUSY_SECONDS, isolation_level=None)


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
