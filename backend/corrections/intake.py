"""What came in and what was shown, on disk before anybody is answered; a thread brings it into the ledger.

A ledger that is locked, full, lost or restarted delays and refuses nothing. In the ledger each event has its key and
each prediction its name, so that what is brought twice, after a kill, is there once.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine, or_, update
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from backend.corrections.database import refuses_values, writing
from backend.corrections.journal import Entry, store
from backend.corrections.remembering import Noted, ShownPrediction, keep, keep_unread, noted
from backend.corrections.shown import CLOCKS_APART_SECONDS
from backend.corrections.spool import Spool
from backend.corrections.tables import ACTION_LENGTH, annotation
from backend.errors import LedgerError, RequestError
from backend.files import append_line

if TYPE_CHECKING:
    pass

__all__ = ["Intake"]

log = logging.getLogger(__name__)

# What a database has room for as the id of a project.
_IDS = range(-(2**63), 2**63)
# Predictions that wait: beyond these a task is "not done yet", and asked again.
MOST_SHOWN_BYTES = 256 << 20
MOST_UNSPOOLED = 1000
# One transaction takes this many: other writers come in between.
MOST_AT_ONCE = 256
# Under load something always waits; longer than this without any progress is said.
PATIENCE_SECONDS = 2.0
REFUSED = "refused.lines"

# What reading a line that is none, or storing what it says, raises; a number of more than 64 bits the last of them.
_NO_LINES = (ValueError, LookupError, TypeError, AttributeError, RecursionError, OverflowError)


class Intake:
    """Takes events and predictions, and brings them into the ledger; shared by threads.

    Args:
        engine: The ledger's database.
        folder: Where they wait, on a disk of this machine; its own folder within DATA_DIR.
        clock: Seconds since the epoch.
        ticks: Seconds that never go back.
        appended: Called when something waits.
    """

    def __init__(
        self,
        engine: Engine,
        folder: Path,
        *,
        clock: Callable[[], float] = time.time,
        ticks: Callable[[], float] = time.monotonic,
        appended: Callable[[], None] = lambda: None,
    ) -> None:
        self._engine = engine
        self._folder = folder
        self._spool = Spool(folder)
        self._clock = clock
        self._ticks = ticks
        self._appended = appended
        self._moving = threading.Lock()
        self._unspooled: deque[Noted] = deque()
        self._progress = ticks()
        self._failure = ""

    def append(self, action: str, *, project: int | None, body: Mapping[str, Any]) -> None:
        """Stores one event; when this returns, a power cut cannot take it back.

        Raises:
            RequestError: It has a value that no database has room for.
            LedgerError: It was not stored; the sender must not be told that it was.
        """
        if (project is not None and project not in _IDS) or "\0" in action:
            raise RequestError(f"the event {action[:ACTION_LENGTH]!r} holds a value that cannot be stored")
        entry = {"received": self._clock(), "action": action[:ACTION_LENGTH], "project": project, "body": body}
        try:
            line = json.dumps({"key": uuid.uuid4().hex, "event": entry}, allow_nan=False).encode()
        except (ValueError, RecursionError) as error:
            raise RequestError(f"the event {action[:ACTION_LENGTH]!r} holds a value that cannot be stored") from error
        self._put(line)

    def remember(self, shown: ShownPrediction) -> None:
        """Stores a prediction, as `Proposals.remember` does, without waiting for the ledger.

        Raises:
            LedgerError: So much waits already that this one would be forgotten: it must not be shown.
        """
        made = noted(shown, at=self._clock())
        if self._spool.waiting_bytes > MOST_SHOWN_BYTES:
            raise LedgerError(f"{MOST_SHOWN_BYTES >> 20} MB wait for the ledger: {self._reason()}")
        try:
            self._put(json.dumps({"shown": dataclasses.asdict(made)}).encode())
        except LedgerError:
            # Without the disk it waits in memory alone: a person's boxes are worth that risk, an event is not.
            if len(self._unspooled) >= MOST_UNSPOOLED:
                raise
            self._unspooled.append(made)
            self._appended()

    def note_unread(self, *, task: int, project: int | None, reason: str) -> None:
        """Notes that a task could not be looked at, as `Proposals.note_unread` does, without waiting for the ledger.

        Raises:
            LedgerError: It was not stored.
        """
        told = {"task": task, "project": project, "reason": reason, "asked": self._clock()}
        self._put(json.dumps({"unread": told}).encode())

    def move(self) -> int:
        """Brings what waits into the ledger, also what dead processes left; gives how much that was.

        A ledger that does not take it is no error here: it waits on, and `troubles` says so.
        """
        if not self._moving.acquire(blocking=False):
            return 0
        try:
            moved = self._move()
        except (SQLAlchemyError, LedgerError, OSError) as error:
            self._fail(error)
            return 0
        else:
            if self._failure:
                log.warning("the ledger takes events again")
            self._failure, self._progress = "", self._ticks()
            return moved
        finally:
            self._moving.release()

    @property
    def waiting_bytes(self) -> int:
        """Size of what waits on disk for the ledger, of this process."""
        return self._spool.waiting_bytes

    def troubles(self) -> list[str]:
        """Why events may be refused, or only wait, in words; empty when all is well. Asks no database."""
        found = []
        try:
            self._spool.check()
        except LedgerError as error:
            found.append(f"events are refused: {error}")
        silent = self._ticks() - self._progress
        waits = self._spool.waiting_bytes or self._unspooled
        if self._failure or (waits and silent > PATIENCE_SECONDS):
            found.append(f"events and predictions wait for the ledger: {self._reason()}")
        return found

    def close(self) -> None:
        """Lets go of the files; what waits in them is for the next process."""
        with self._moving:
            self._spool.close()

    def _reason(self) -> str:
        return self._failure or f"it takes nothing for {self._ticks() - self._progress:.0f} s"

    def _put(self, line: bytes) -> None:
        if not self._spool.waiting_bytes:
            self._progress = self._ticks()
        self._spool.append(line)
        self._appended()

    def _move(self) -> int:
        moved = 0
        while self._unspooled:
            with writing(self._engine) as connection:
                self._keep(connection, self._unspooled[0])
            self._unspooled.popleft()
            moved += 1
        for lines in self._spool.portions():
            for start in range(0, len(lines), MOST_AT_ONCE):
                self._store(lines[start : start + MOST_AT_ONCE])
                self._progress = self._ticks()
            moved += len(lines)
        return moved

    def _store(self, lines: Sequence[bytes]) -> None:
        """Puts lines into the ledger together, or one by one where one of them is not to be had."""
        try:
            with writing(self._engine) as connection:
                self._put_in(connection, lines)
        except (SQLAlchemyError, *_NO_LINES) as error:
            if isinstance(error, SQLAlchemyError) and not (refuses_values(error) or isinstance(error, IntegrityError)):
                raise
            if len(lines) > 1:
                for line in lines:
                    self._store([line])
            else:
                self._put_aside(lines[0], why=type(error).__name__)

    def _put_aside(self, line: bytes, *, why: str) -> None:
        """Keeps what no try will bring into the ledger where it holds up no other, and a person can look at it."""
        with (self._folder / REFUSED).open("ab", buffering=0) as file:
            append_line(file, line.decode("utf-8", "replace"))
        log.error("a line that the ledger has no room for (%s) is in %s", why, file.name)

    def _put_in(self, connection: Connection, lines: Iterable[bytes]) -> None:
        events = []
        for found in map(json.loads, lines):
            if "event" in found:
                events.append(Entry(key=found["key"], **found["event"]))
            elif "unread" in found:
                keep_unread(connection, **found["unread"])
            else:
                self._keep(connection, Noted(**found["shown"]))
        store(connection, events)

    def _keep(self, connection: Connection, made: Noted) -> None:
        """A prediction that comes late may change what an annotation meant that came before it: that is made anew."""
        shown = min(made.prediction["shown"], self._clock())  # by a clock that was ahead
        if not keep(connection, dataclasses.replace(made, prediction={**made.prediction, "shown": shown})):
            return
        annotated = (
            annotation.c.task == made.prediction["task"],
            or_(annotation.c.turned.is_not(None), annotation.c.lease > 0),
            annotation.c.deleted.is_(False),
            annotation.c.folded >= shown - CLOCKS_APART_SECONDS,
        )
        connection.execute(update(annotation).where(*annotated).values(turned=None, attempts=0, due=0.0, lease=0.0))

    def _fail(self, error: Exception) -> None:
        """Says once what keeps the ledger from taking anything; a driver's own words, without statement and values."""
        words = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
        if words != self._failure:
            log.warning("events and predictions wait for the ledger: %s", words)
        self._failure = words
