"""Which annotations are in whose hand: leased, given back, put off for longer each time, and in the end parked.

And how a change opens one again, or a deletion closes it for good.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, and_, case, not_, or_, select, update

from backend.corrections.database import insert_into, writing
from backend.corrections.tables import annotation as table
from backend.escaping import printable

__all__ = [
    "FIRST_DELAY",
    "LEASE_SECONDS",
    "MOST_ATTEMPTS",
    "Leased",
    "forget",
    "forget_all",
    "give_back",
    "in_hand",
    "lease",
    "locked",
    "open_again",
    "put_off",
    "unpark",
]

_LOG = logging.getLogger(__name__)

LEASE_SECONDS = 120.0
FIRST_DELAY, LONGEST_DELAY = 2.0, 3600.0
MOST_ATTEMPTS = 12
_LONGEST_REASON = 2000
_MOST_VARIABLES = 500


@dataclass(frozen=True, kw_only=True)
class Leased:
    """An annotation in hand.

    Attributes:
        updated: When its newest state was saved.
        body: That state; None where it was deleted.
        doubtful: Whether Label Studio must be asked what it holds.
        until: When others may take it; tells this lease from a later one of theirs.
    """

    id: int
    updated: float
    body: Mapping[str, Any] | None
    doubtful: bool
    until: float


def lease(engine: Engine, *, most: int, now: float) -> list[Leased]:
    """Takes the longest due annotations for a while; a worker that dies gives them back by the lease's end.

    One that a worker had when it died is taken alone, for it may be what ended that worker; each time it waits longer.
    """
    due = and_(table.c.turned.is_(None), table.c.parked.is_(False), *_ready(now))
    with engine.connect() as connection:
        if connection.execute(select(table.c.id).where(due).limit(1)).first() is None:
            return []  # without a lock: idle workers must not stand in the way of senders
    until = now + LEASE_SECONDS
    first = select(table).where(due).order_by(table.c.due, table.c.id).limit(most)
    with writing(engine) as connection:
        rows = connection.execute(first.with_for_update(skip_locked=True)).all()
        values: dict[str, Any] = {"lease": until}
        if orphans := [row for row in rows if row.lease]:
            rows = orphans[:1]
            attempts = min(rows[0].attempts + 1, MOST_ATTEMPTS - 1)
            values |= {"attempts": attempts, "due": now + _delay(attempts)}
            _LOG.warning("annotation %d is taken alone: whoever had it last was ended, or is slow", rows[0].id)
        connection.execute(update(table).where(table.c.id.in_([row.id for row in rows])).values(values))
    return [
        Leased(
            id=row.id,
            updated=row.updated,
            body=None if row.deleted else row.body,
            doubtful=row.doubtful,
            until=until,
        )
        for row in rows
    ]


def give_back(engine: Engine, some: Sequence[Leased]) -> None:
    """Lets other workers have what this one does not come to, unless it took so long that one of them has it."""
    if not some:
        return
    with writing(engine) as connection:
        for one in some:
            mine = and_(table.c.id == one.id, table.c.lease == one.until, table.c.turned.is_(None))
            connection.execute(update(table).where(mine).values(lease=0.0))


def in_hand(engine: Engine, *, now: float) -> bool:
    """Whether a worker has an annotation in hand; for one that died, until its lease ends."""
    at_work = and_(table.c.turned.is_(None), table.c.parked.is_(False), not_(_free(now)))
    with engine.connect() as connection:
        return connection.execute(select(table.c.id).where(at_work).limit(1)).first() is not None


def put_off(engine: Engine, one: Leased, reason: str, *, now: float, final: bool, is_ours: bool = False) -> None:
    """Has an annotation tried again later, longer each time, or parks it with the reason.

    Args:
        engine: The ledger's database.
        one: The annotation; nothing becomes of it where a newer state has arrived meanwhile.
        reason: In words.
        now: Seconds since the epoch.
        final: Whether a second try changes nothing.
        is_ours: Whether it waits for the ledger or the crop store: then as long as it takes, for nothing is wrong
            with it.
    """
    with writing(engine) as connection:
        row = connection.execute(select(table).where(table.c.id == one.id).with_for_update()).one()
        if row.updated != one.updated or not row.lease or row.deleted:
            return
        attempts = min(row.attempts + 1, MOST_ATTEMPTS - 1) if is_ours else row.attempts + 1
        parked = final or attempts >= MOST_ATTEMPTS
        delay = _delay(attempts)
        values = {"attempts": attempts, "due": now + delay, "lease": 0.0, "parked": parked}
        # Text of others', such as of Label Studio's own errors, may have characters that no database takes.
        told = printable(reason, most=_LONGEST_REASON)[:_LONGEST_REASON]
        values["reason"] = told
        connection.execute(update(table).where(table.c.id == one.id).values(values))
    _LOG.warning("annotation %d %s: %s", one.id, "parked" if parked else f"again in {delay:.0f} s", told)


def _delay(attempts: int) -> float:
    """Seconds until the next try after so many."""
    return min(FIRST_DELAY * 2.0 ** (attempts - 1), LONGEST_DELAY)


def _ready(now: float) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """Due, and in nobody's hand. One that waits longer than it ever should was put off by a clock ahead."""
    latest = case(
        *((table.c.attempts == number, now + _delay(number)) for number in range(1, MOST_ATTEMPTS)), else_=now
    )
    due = or_(table.c.due <= now, table.c.due > latest)
    return due, _free(now)


def _free(now: float) -> ColumnElement[bool]:
    """Leased by nobody, by the same measure."""
    return or_(table.c.lease <= now, table.c.lease > now + LEASE_SECONDS)


def unpark(engine: Engine) -> int:
    """Gives every parked annotation another chance; for after the cause was mended. Gives their number.

    So it does those whose pages were exchanged: they may be back in their places.
    """
    waits = or_(table.c.parked, and_(table.c.exchanged.is_not(None), table.c.deleted.is_(False)))
    with writing(engine) as connection:
        values = {"turned": None, "parked": False, "attempts": 0, "due": 0.0, "lease": 0.0}
        return int(connection.execute(update(table).where(waits).values(values)).rowcount)


def locked(connection: Connection, identity: int, *, task: int | None, project: int | None) -> Any:
    """The annotation's row, made if it is not there, and held until the transaction ends."""
    row = {"id": identity, "task": task, "project": project, **_blank()}
    connection.execute(insert_into(table, connection).values(row).on_conflict_do_nothing())
    return connection.execute(select(table).where(table.c.id == identity).with_for_update()).one()


def open_again(connection: Connection, identity: int, **values: Any) -> None:
    """Sets values, and lets the samples be made anew, however earlier attempts ended."""
    connection.execute(update(table).where(table.c.id == identity).values(**values, **_fresh()))


def _fresh() -> dict[str, Any]:
    """What is set where samples are to be made anew."""
    again = {"turned": None, "attempts": 0, "due": 0.0, "lease": 0.0, "reason": None, "parked": False}
    return {**again, "folded": time.time()}


def _blank() -> dict[str, Any]:
    """An annotation of which only the id is known."""
    unknown = {"deleted": False, "updated": 0.0, "body": {}, "attempts": 0, "due": 0.0, "lease": 0.0, "parked": False}
    return {**unknown, "folded": time.time()}


def forget(connection: Connection, identity: int, *, hearsay: float | None = None) -> bool:
    """Marks an annotation as deleted, for good: Label Studio never gives its id again. Tells whether that is news.

    Args:
        connection: A transaction.
        identity: The annotation's id.
        hearsay: When an event told so, where Label Studio could not be asked: then it may prove untrue.
    """
    return bool(forget_all(connection, [identity], hearsay=hearsay))


def forget_all(connection: Connection, identities: Collection[int], *, hearsay: float | None) -> int:
    """Does `forget` for many, some hundred at a time; gives how many that is news for."""
    news, ids = 0, sorted(set(identities))
    for start in range(0, len(ids), _MOST_VARIABLES):
        some = ids[start : start + _MOST_VARIABLES]
        blank = [{"id": identity, "task": None, "project": None, **_blank()} for identity in some]
        connection.execute(insert_into(table, connection).on_conflict_do_nothing(), blank)
        rows = connection.execute(
            select(table.c.id, table.c.deleted).where(table.c.id.in_(some)).order_by(table.c.id).with_for_update()
        ).all()
        there = [row.id for row in rows if not row.deleted]
        connection.execute(update(table).where(table.c.id.in_(there)).values(deleted=True, hearsay=hearsay, **_fresh()))
        if hearsay is None:
            rumoured = (table.c.id.in_(some), table.c.hearsay.is_not(None))
            connection.execute(update(table).where(*rumoured).values(hearsay=None))
        news += len(there)
    return news
