"""All connections of a process: how many there are, whose, how much their bodies take, and which one is read next."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Protocol

from backend.server.lanes import Answer, Asked

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

__all__ = ["TURN_SECONDS", "Answers", "ClientLimits", "Connection", "Reception"]

TURN_SECONDS = 0.001
"""Seconds for which one connection, or several in turn, are read before the event loop does other things."""
# Read from one connection at a time; the rest waits in the system's own buffers.
_PIECE_BYTES = 32 * 1024
# A body up to this size always has room.
_ALWAYS_ROOM = 128 * 1024


class Answers(Protocol):
    """Answers whole requests: by threads of this process (`Lanes`), or in another one (`Courier`)."""

    def submit(self, asked: Asked, done: Callable[[Answer], None]) -> None:
        """Has a request answered; `done` is called with the answer, in any thread."""
        ...


class ClientLimits:
    """How long a client may take, and how much it may take up.

    Args:
        header_seconds: From the connection, or the first byte of a further request, to the end of the request's header.
        body_seconds: From there to the end of the body.
        idle_seconds: Between an answer and the first byte of the next request.
        body_bytes: Largest body.
        all_bytes: All bodies together that are held at once. Beyond that, of the bodies that are not small, the one
            goes that has been owed for the longest.
        each: Connections of one address.
        all: Connections in all.
    """

    def __init__(
        self,
        *,
        header_seconds: float = 10.0,
        body_seconds: float = 60.0,
        idle_seconds: float = 75.0,
        body_bytes: int = 64 * 1024 * 1024,
        all_bytes: int = 128 * 1024 * 1024,
        each: int = 512,
        all: int = 2048,  # noqa: A002  the word for it
    ) -> None:
        self.header_seconds = header_seconds
        self.body_seconds = body_seconds
        self.idle_seconds = idle_seconds
        self.body_bytes = body_bytes
        self.all_bytes = all_bytes
        self.each = each
        self.all = all


class Connection(Protocol):
    """What the reception knows of a connection.

    Attributes:
        client: The sender's address.
        waiting_since: Since when the client owes a whole request; None while one is being answered.
        held: Bytes of the request's body.
    """

    client: str
    waiting_since: float | None
    held: int

    def advance(self) -> None:
        """Takes what has come in, as far as it goes in one turn."""
        ...

    def give_way(self) -> None:
        """Refuses the request that comes in: others need its room."""
        ...

    def abort(self) -> None:
        """Ends the connection without a word."""
        ...


class Reception:
    """Takes in connections, and has them read in turn; on the event loop only.

    If a client, or all together, have too many, the one that has been without a whole request for the longest goes. So
    slow senders push out each other, and never a request that is being answered.

    Args:
        answers: Answer requests.
        limits: What a client may take.
    """

    def __init__(self, answers: Answers, limits: ClientLimits) -> None:
        self.answers = answers
        self.limits = limits
        self.held = 0
        self.closing = False
        # One for all: what was read is taken out of it before anything else is read.
        self.piece = memoryview(bytearray(_PIECE_BYTES))
        self._all: set[Connection] = set()
        self._by_client: dict[str, set[Connection]] = {}
        self._unread: deque[Connection] = deque()

    def __len__(self) -> int:
        return len(self._all)

    def enter(self, connection: Connection) -> None:
        """Takes in a connection, which may cost another one its place."""
        theirs = self._by_client.setdefault(connection.client, set())
        self._all.add(connection)
        theirs.add(connection)
        for some, most in ((theirs, self.limits.each), (self._all, self.limits.all)):
            if len(some) > most:
                waiting = [one for one in some if one.waiting_since is not None]
                min(waiting, key=lambda one: one.waiting_since or 0.0).abort()

    def make_room(self) -> None:
        """Refuses a body where all together have become too many; small ones, and what is being answered, stay."""
        if self.held > self.limits.all_bytes:
            large = [one for one in self._all if one.waiting_since is not None and one.held > _ALWAYS_ROOM]
            if large:
                min(large, key=lambda one: one.waiting_since or 0.0).give_way()

    def put_off(self, connection: Connection, loop: asyncio.AbstractEventLoop) -> None:
        """Has what came in read in its turn: many requests of one moment are read little by little."""
        self._unread.append(connection)
        if len(self._unread) == 1:
            loop.call_soon(self._read_some, loop)

    def _read_some(self, loop: asyncio.AbstractEventLoop) -> None:
        give_up = time.monotonic() + TURN_SECONDS
        while self._unread:
            self._unread.popleft().advance()
            if self._unread and time.monotonic() > give_up:
                loop.call_soon(self._read_some, loop)
                return

    def leave(self, connection: Connection) -> None:
        """Forgets a connection that is over."""
        self._all.discard(connection)
        theirs = self._by_client.get(connection.client, set())
        theirs.discard(connection)
        if not theirs:
            self._by_client.pop(connection.client, None)

    def close(self) -> None:
        """Ends what waits; what is being answered ends with its answer."""
        self.closing = True
        for one in [one for one in self._all if one.waiting_since is not None]:
            one.abort()
