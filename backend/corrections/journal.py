"""The durable inbox: an event is on disk before it is acknowledged, and each is taken out exactly once.

Up to when each project was reconciled with Label Studio, and which projects are waiting for it.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, and_, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import OperationalError

from backend.corrections.database import refuses_values, writing
from backend.corrections.tables import ACTION_LENGTH, annotation, event, prediction, watermark
from backend.errors import LedgerError, RequestError

__all__ = ["Entry", "Journal", "advance", "ask", "finish", "known_projects", "lease_asked", "reached"]

# A run that takes longer is thought dead; a second run beside it does no harm.
LEASE_SECONDS = 600.0
# "Start training on submission" asks on every save: runs of one project keep this distance.
DISTANCE_SECONDS = 30.0
ACKNOWLEDGE_SECONDS = 20.0
LARGEST_GROUP = 256


def ask(connection: Connection, project: int, *, at: float) -> None:
    """Asks for a run over a project; asked twice before it begins, it is made once."""
    make = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    row = make(watermark).values(project=project, asked=at, lease=0.0)
    connection.execute(row.on_conflict_do_update(index_elements=["project"], set_={"asked": at}))


def known_projects(connection: Connection) -> list[int]:
    """Projects that anything in the ledger belongs to."""
    found: set[int] = set()
    for table in (annotation, prediction, event, watermark):
        found.update(connection.execute(select(table.c.project).distinct()).scalars())
    return sorted(project for project in found if project is not None)


def lease_asked(engine: Engine, *, now: float) -> tuple[int, float] | None:
    """Takes one project that waits for a run, and when it was asked for; None where none waits."""
    waiting = and_(watermark.c.asked.is_not(None), watermark.c.lease <= now)
    look = select(watermark).where(waiting).order_by(watermark.c.asked, watermark.c.project).limit(1)
    with engine.connect() as connection:
        if connection.execute(look).first() is None:
            return None
    with writing(engine) as connection:
        row = connection.execute(look.with_for_update(skip_locked=True)).first()
        if row is None:
            return None
        mine = update(watermark).where(watermark.c.project == row.project)
        connection.execute(mine.values(lease=now + LEASE_SECONDS))
    return row.project, row.asked


def finish(engine: Engine, project: int, *, asked: float | None, now: float, wait: float = DISTANCE_SECONDS) -> None:
    """Ends a lease.

    Args:
        engine: The ledger's database.
        project: The leased project.
        asked: What the lease gave, when the run was made: asked again meanwhile, the project goes on waiting. None when
            the run failed and is still wanted.
        now: Seconds since the epoch.
        wait: Seconds before the next run over it.
    """
    mine = update(watermark).where(watermark.c.project == project)
    with writing(engine) as connection:
        connection.execute(mine.values(lease=now + wait))
        if asked is not None:
            connection.execute(mine.where(watermark.c.asked == asked).values(asked=None))


def reached(engine: Engine, project: int) -> float | None:
    """Up to when a project was reconciled; None where it never was."""
    with engine.connect() as connection:
        return connection.execute(select(watermark.c.updated).where(watermark.c.project == project)).scalar()


def advance(connection: Connection, project: int, *, to: float) -> None:
    """Notes up to when a project was reconciled."""
    make = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    row = make(watermark).values(project=project, updated=to, lease=0.0)
    connection.execute(row.on_conflict_do_update(index_elements=["project"], set_={"updated": to}))


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One event as the journal keeps it.

    Attributes:
        id: Position in the journal; 0 before it has one.
        received: Seconds since the epoch.
        body: The webhook's payload without its secrets.
    """

    id: int = 0
    received: float
    action: str
    project: int | None
    body: Mapping[str, Any]


class Journal:
    """Appends events and hands them out.

    Appends of many threads share one commit (group commit): under load the disk is flushed once for all who wait,
    so that an acknowledgement costs one flush and not a place in a queue of flushes.

    Args:
        engine: The ledger's database.
        clock: Seconds since the epoch.
        appended: Called after each commit, so that a worker need not wait for its next look.

    Example:
        >>> journal = Journal(open_database("sqlite:///ledger.sqlite3"))  # doctest: +SKIP
        >>> journal.append("START_TRAINING", project=2, body={})  # doctest: +SKIP
    """

    def __init__(
        self, engine: Engine, *, clock: Callable[[], float] = time.time, appended: Callable[[], None] = lambda: None
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._appended = appended
        self._waiting: queue.SimpleQueue[tuple[Entry, Future[int]]] = queue.SimpleQueue()
        self._writer: threading.Thread | None = None
        self._starting = threading.Lock()

    def append(self, action: str, *, project: int | None, body: Mapping[str, Any]) -> int:
        """Stores one event; when this returns, a power cut cannot take it back.

        Returns:
            The event's position in the journal.

        Raises:
            RequestError: It has a value that the database has no room for: no second try will store it.
            LedgerError: The database did not take it; the sender must not be told that it did.
        """
        self._start_writer()
        stored: Future[int] = Future()
        entry = Entry(received=self._clock(), action=action[:ACTION_LENGTH], project=project, body=body)
        self._waiting.put((entry, stored))
        try:
            return stored.result(timeout=ACKNOWLEDGE_SECONDS)
        except Exception as error:
            if refuses_values(error):
                raise RequestError(f"the event {action[:ACTION_LENGTH]} holds a value that cannot be stored") from error
            raise LedgerError(f"the event {action} could not be stored: {error}; is the disk full?") from error

    def take(self, act: Callable[[Connection, Entry], str | None], *, limit: int = 100) -> int:
        """Hands open events, oldest first, to `act`, each in a transaction with its mark of being done.

        What `act` writes through the connection and the mark are committed together: after a kill either both stand
        or neither, and two workers never take the same event.

        Args:
            act: Gets the open transaction and the event; gives None when it is done, or the reason why it never will be
                (the event is kept as parked; after its second chance, as ignored).
            limit: Most events to take before returning.

        Returns:
            How many events were taken.
        """
        for taken in range(limit):
            if not self._has_open():
                return taken
            with writing(self._engine) as connection:
                row = connection.execute(
                    select(event)
                    .where(event.c.state == "open")
                    .order_by(event.c.id)
                    .limit(1)
                    .with_for_update(skip_locked=True)
                ).first()
                if row is None:
                    return taken
                entry = Entry(id=row.id, received=row.received, action=row.action, project=row.project, body=row.body)
                reason = act(connection, entry)
                # An open event bears a reason only when it was parked before.
                state = ("ignored" if row.reason else "parked") if reason else "done"
                connection.execute(update(event).where(event.c.id == row.id).values(state=state, reason=reason))
        return limit

    def unpark(self) -> int:
        """Gives every parked event a second chance, for after the cause was mended; gives their number.

        One that fails again is ignored from then on: it stays here, but waits for nobody.
        """
        with writing(self._engine) as connection:
            parked = update(event).where(event.c.state == "parked")
            return int(connection.execute(parked.values(state="open")).rowcount)

    def counts(self) -> dict[tuple[str, str], int]:
        """Number of events by (action, state)."""
        with self._engine.connect() as connection:
            rows = connection.execute(
                select(event.c.action, event.c.state, func.count()).group_by(event.c.action, event.c.state)
            )
            return {(action, state): count for action, state, count in rows}

    def oldest_open(self) -> float | None:
        """Age in seconds of the oldest event that nobody has taken yet; None when all are taken."""
        with self._engine.connect() as connection:
            received = connection.execute(select(func.min(event.c.received)).where(event.c.state == "open")).scalar()
        return None if received is None else self._clock() - received

    def newest(self, project: int, actions: Collection[str]) -> tuple[str, float] | None:
        """The newest event of a project among those of some actions: its action, and when it came, since the epoch."""
        these = select(event.c.action, event.c.received).where(event.c.project == project, event.c.action.in_(actions))
        with self._engine.connect() as connection:
            row = connection.execute(these.order_by(event.c.id.desc()).limit(1)).first()
        return None if row is None else (row.action, row.received)

    def _has_open(self) -> bool:
        """A look that takes no lock: idle workers must not stand in the way of senders."""
        with self._engine.connect() as connection:
            return connection.execute(select(event.c.id).where(event.c.state == "open").limit(1)).first() is not None

    def _start_writer(self) -> None:
        """Starts on the first append: a thread made before gunicorn forks would not live in the worker."""
        with self._starting:
            if self._writer is None or not self._writer.is_alive():
                self._writer = threading.Thread(target=self._write, name="journal", daemon=True)
                self._writer.start()

    def _write(self) -> None:
        while True:
            group = [self._waiting.get()]
            while len(group) < LARGEST_GROUP and not self._waiting.empty():
                group.append(self._waiting.get())
            if len(group) == 1 or not self._settle(group):
                # One event that the database refuses must not cost the others of its group their place.
                for one in group:
                    self._settle([one], last=True)
            self._appended()

    def _settle(self, group: Sequence[tuple[Entry, Future[int]]], *, last: bool = False) -> bool:
        """Stores a group and tells its senders; False where it should be tried one by one."""
        try:
            positions = self._store([entry for entry, _ in group])
        except Exception as error:
            if not last and not isinstance(error, OperationalError):
                return False
            for _, stored in group:
                stored.set_exception(error)
            return True
        for (_, stored), position in zip(group, positions, strict=True):
            stored.set_result(position)
        return True

    def _store(self, entries: Sequence[Entry]) -> list[int]:
        statement = insert(event).returning(event.c.id, sort_by_parameter_order=True)
        rows = [
            {"received": e.received, "action": e.action, "project": e.project, "body": dict(e.body), "state": "open"}
            for e in entries
        ]
        with writing(self._engine) as connection:
            return [int(position) for position in connection.execute(statement, rows).scalars()]
