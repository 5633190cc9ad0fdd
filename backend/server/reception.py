"""All connections of a process: how many there are, whose, how much their bodies take, and which one is read next."""

from __future__ import annotations

import ctypes
import logging
import socket
import time
from collections import deque
from typing import TYPE_CHECKING, Protocol

from backend.server.lanes import Answer, Asked

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

__all__ = [
    "TURN_SECONDS",
    "URGENT",
    "Answers",
    "ClientLimits",
    "Connection",
    "Door",
    "Reception",
    "return_bodies_at_once",
]

_LOG = logging.getLogger(__name__)
URGENT = (b"GET / ", b"GET /health ", b"HEAD / ", b"HEAD /health ")
"""How whoever only wants to know whether this program is well begins; such a request is read before all others."""
# Connections that are looked at in one go: a look costs a fiftieth of what a connection costs that is let in.
_LOOKS = 128
_URGENT_BYTES = max(map(len, URGENT))
# After which a process without descriptors tries again.
_FULL_SECONDS = 1.0

TURN_SECONDS = 0.001
"""Seconds for which one connection, or several in turn, are read before the event loop does other things."""
# Read from one connection at a time; the rest waits in the system's own buffers.
_PIECE_BYTES = 32 * 1024
# glibc's number for the size from which a piece of memory is the system's own.
_M_MMAP_THRESHOLD, _LARGE_PIECE = -3, 256 * 1024
# A body up to this size always has room.
_ALWAYS_ROOM = 128 * 1024


def return_bodies_at_once() -> None:
    """From now on a large piece of memory goes back to the system when it is freed, where the C library is glibc.

    By itself, glibc keeps pieces of the size of those that were freed before, and what is small between them keeps
    them for ever.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:
        set_option(_M_MMAP_THRESHOLD, _LARGE_PIECE)


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
        all_bytes: int = 96 * 1024 * 1024,
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


class Door:
    """Lets connections of one listening socket in: first who asks whether this program is well, the others in turn.

    Thousands may come in one moment, and for each of them the event loop has to make things ready. Until it were done
    with all, nobody would be answered.

    Args:
        listener: The socket; closed with the door.
        make: Makes what speaks with a client.
        loop: The event loop.
    """

    def __init__(
        self, listener: socket.socket, make: Callable[[], asyncio.BaseProtocol], loop: asyncio.AbstractEventLoop
    ) -> None:
        self._listener, self._make, self._loop = listener, make, loop
        self._waiting: deque[socket.socket] = deque()
        self._coming: set[asyncio.Task[object]] = set()
        self._closed = False
        listener.setblocking(False)
        loop.add_reader(listener, self._look)

    def close(self) -> None:
        """Lets nobody in any more; who waits outside sees the connection end."""
        self._closed = True
        self._loop.remove_reader(self._listener)
        self._listener.close()
        while self._waiting:
            self._waiting.popleft().close()

    def _look(self) -> None:
        for _ in range(_LOOKS):
            try:
                one, _address = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:
                # No descriptor is left: those who wait outside are still there in a moment.
                _LOG.exception("no connection can be let in for %g s", _FULL_SECONDS)
                self._loop.remove_reader(self._listener)
                self._loop.call_later(_FULL_SECONDS, self._open_again)
                return
            one.setblocking(False)
            if _begins(one).startswith(URGENT):
                self._let_in(one)
            else:
                self._waiting.append(one)
                if len(self._waiting) == 1:
                    self._loop.call_soon(self._let_some_in)

    def _open_again(self) -> None:
        if not self._closed:
            self._loop.add_reader(self._listener, self._look)

    def _let_some_in(self) -> None:
        give_up = time.monotonic() + TURN_SECONDS
        while self._waiting:
            self._let_in(self._waiting.popleft())
            if self._waiting and time.monotonic() > give_up:
                self._loop.call_soon(self._let_some_in)
                return

    def _let_in(self, one: socket.socket) -> None:
        task = self._loop.create_task(self._connected(one))
        # The loop itself remembers no task that waits.
        self._coming.add(task)
        task.add_done_callback(self._coming.discard)

    async def _connected(self, one: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._make, one)
        except OSError:
            one.close()  # it is gone already


def _begins(one: socket.socket) -> bytes:
    """The first bytes that a client sent, as far as they are there; nothing of it is taken."""
    try:
        return one.recv(_URGENT_BYTES, socket.MSG_PEEK)
    except OSError:
        return b""
