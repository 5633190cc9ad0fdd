"""The journal of events in the ledger: each is there once, however often it is told, and is taken out exactly once.

Up to when each project was reconciled with Label Studio, and which projects are waiting for it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, Row, and_, func, or_, select, update
from sqlalchemy.exc import SQLAlchemyError

from backend.corrections.database import insert_into, refuses_values, writing
from backend.corrections.tables import (
    ACTION_LENGTH,
    annotation,
    event,
    label_config,
    prediction,
    sample,
    watermark,
)
from backend.errors import LedgerError, RequestError
from backend.escaping import printable
from backend.labelstudio.protocol import only_ids

__all__ = [
    "Entry",
    "Journal",
    "advance",
    "ask",
    "finish",
    "is_known",
    "known_projects",
    "lease_asked",
    "reached",
    "steps_together",
    "store",
]

# A run that takes longer is thought dead; a second run beside it does no harm. Nothing waits longer than this.
LEASE_SECONDS = 600.0
_LONGEST_REASON = 2000
# "Start training on submission" asks on every save: runs of one project keep this distance.
DISTANCE_SECONDS = 30.0
_STEPS_TOGETHER = 8


def steps_together(engine: Engine) -> int:
    """How many steps of a worker go into one transaction.

    SQLite flushes the disk at each commit, and has one writer anyway. PostgreSQL locks rows: two transactions of many
    steps could wait for each other.
    """
    return _STEPS_TOGETHER if engine.dialect.name == "sqlite" else 1


def ask(connection: Connection, project: int, *, at: float) -> None:
    """Asks for a run over a project; asked twice before it begins, it is made once."""
    row = insert_into(watermark, connection).values(project=project, asked=at, lease=0.0)
    connection.execute(row.on_conflict_do_update(index_elements=["project"], set_={"asked": at}))


def known_projects(connection: Connection) -> list[int]:
    """Projects that anything in the ledger belongs to."""
    found: set[int] = set()
    for table in (annotation, prediction, event, watermark):
        found.update(connection.execute(select(table.c.project).distinct()).scalars())
    return sorted(project for project in found if project is not None)


def is_known(connection: Connection, project: int) -> bool:
    """Whether the ledger has anything of a project that is kept beyond events and wishes.

    When it was made does not count: the very event that is judged may have told that, a moment before or after.
    """
    columns = (one.c.project for one in (label_config, prediction, annotation, sample))
    return any(connection.execute(select(one).where(one == project).limit(1)).first() for one in columns)


def lease_asked(engine: Engine, *, now: float) -> tuple[int, float] | None:
    """Takes one project that waits for a run, and when it was asked for; None where none waits."""
    # A lease that ends later than any lease can is by a clock that was ahead.
    free = or_(watermark.c.lease <= now, watermark.c.lease > now + LEASE_SECONDS)
    waiting = and_(watermark.c.asked.is_not(None), free)
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
    row = insert_into(watermark, connection).values(project=project, updated=to, lease=0.0)
    connection.execute(row.on_conflict_do_update(index_elements=["project"], set_={"updated": to}))


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One event as the journal keeps it.

    Attributes:
        id: Position in the journal; 0 before it has one.
        key: Tells this event from every other, so that it is stored once; None where it is stored only once anyway.
        received: Seconds since the epoch.
        body: The webhook's payload without its secrets.
    """

    id: int = 0
    key: str | None = None
    received: float
    action: str
    project: int | None
    body: Mapping[str, Any]


def store(connection: Connection, entries: Sequence[Entry]) -> None:
    """Puts events into the journal, in their order; those whose keys are there already stay as they are."""
    rows = [
        {
            "key": one.key,
            "received": one.received,
            "action": one.action[:ACTION_LENGTH],
            "project": one.project,
            "body": dict(one.body),
            "state": "open",
        }
        for one in entries
    ]
    if rows:
        connection.execute(insert_into(event, connection).on_conflict_do_nothing(index_elements=["key"]), rows)


class Journal:
    """Hands out the events of the ledger, and counts them.

    Args:
        engine: The ledger's database.
        clock: Seconds since the epoch.
    """

    def __init__(self, engine: Engine, *, clock: Callable[[], float] = time.time) -> None:
        self._engine = engine
        self._clock = clock

    def append(self, action: str, *, project: int | None, body: Mapping[str, Any]) -> None:
        """Stores one event in the ledger itself; it waits for the ledger, which a sender of events need not.

        Raises:
            RequestError: It has a value that the database has no room for: no second try will store it.
            LedgerError: The database did not take it; the sender must not be told that it did.
        """
        try:
            with writing(self._engine) as connection:
                store(connection, [Entry(received=self._clock(), action=action, project=project, body=body)])
        except (SQLAlchemyError, OverflowError) as error:
            if refuses_values(error):
                raise RequestError(f"the event {action[:ACTION_LENGTH]} holds a value that cannot be stored") from error
            raise LedgerError(f"the event {action} could not be stored: {error}; is the disk full?") from error

    def open_entries(self, *, limit: int, without: Collection[int] = ()) -> list[Entry]:
        """Events that nobody has taken yet, oldest first; they stay open.

        Args:
            limit: How many at most.
            without: Ids that are left out.
        """
        # Left out here, and not in the statement: a database has a bound on how many values one may name.
        rows = select(event).where(event.c.state == "open").order_by(event.c.id).limit(limit + len(without))
        with self._engine.connect() as connection:
            found = [row for row in connection.execute(rows) if row.id not in without][:limit]
        return [
            Entry(id=row.id, received=row.received, action=row.action, project=row.project, body=row.body)
            for row in found
        ]

    def take(
        self,
        act: Callable[[Connection, Entry], str | None],
        *,
        limit: int = 100,
        only: Collection[int] | None = None,
    ) -> int:
        """Hands open events, oldest first, to `act`, each in one transaction with its mark of being done.

        What `act` writes through the connection and the mark are committed together, in SQLite those of several events.
        After a kill either both stand or neither. Two workers never take the same event.

        Args:
            act: Gets the open transaction and the event. It gives None when it is done, or the reason why it never will
                be: then the event is kept as parked, and after its second chance as ignored.
            limit: Most events to take before returning.
            only: Ids of those that may be taken, at most a few hundred; None for all.

        Returns:
            How many events were taken.
        """
        taken, together = 0, steps_together(self._engine)
        while taken < limit and self._has_open():
            try:
                done = self._take_some(act, most=min(together, limit - taken), only=only)
            except Exception:
                if together == 1:
                    raise
                together = 1  # those before the one that fails are taken all the same
                continue
            taken += done
            if not done:
                break
        return taken

    def _take_some(
        self, act: Callable[[Connection, Entry], str | None], *, most: int, only: Collection[int] | None
    ) -> int:
        """Takes events in one transaction: all of them, or none where one fails."""
        mine = select(event).where(event.c.state == "open", *([] if only is None else [event.c.id.in_(only)]))
        first = mine.order_by(event.c.id).limit(most)
        with writing(self._engine) as connection:
            rows = connection.execute(first.with_for_update(skip_locked=True)).all()
            for row in rows:
                _take_one(connection, row, act)
        return len(rows)

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


def _take_one(connection: Connection, row: Row[Any], act: Callable[[Connection, Entry], str | None]) -> None:
    entry = Entry(id=row.id, received=row.received, action=row.action, project=row.project, body=row.body)
    reason = act(connection, entry)
    # An open event bears a reason only when it was parked before.
    state = ("ignored" if row.reason else "parked") if reason else "done"
    # What a taken event said is in the annotations; one that waits for its second chance is kept whole.
    kept = only_ids(row.body) if state == "done" else row.body
    # A reason may be in others' words, with characters that no database takes.
    told = reason and printable(reason, most=_LONGEST_REASON)[:_LONGEST_REASON]
    connection.execute(update(event).where(event.c.id == row.id).values(state=state, reason=told, body=kept))
