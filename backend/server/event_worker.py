"""The kind of worker that gunicorn runs here: one process that receives, one that works, and the way between them.

gunicorn's own kinds give a thread to each connection while it sends (gthread), so that a hundred slow senders hold up
everybody. Here an event loop reads, within deadlines, and no thread knows of a request that is not whole. The loop has
a small process to itself. So clients are read in time while the other process computes or holds Python's lock. `/` and
`/health` are answered from what that process last told of its state. gunicorn starts, watches and stops the working
process. When one of the two ends, the other one ends, too.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import resource
import signal
import socket
import struct
import sys
import threading
import time
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

from gunicorn.workers.base import Worker

from backend.server.lanes import Answer, Asked, Lanes, answered
from backend.server.reception import ClientLimits, Door, Reception
from backend.server.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from wsgiref.types import WSGIApplication

__all__ = ["SILENT_SECONDS", "Courier", "Errands", "EventWorker", "HealthState", "pair"]

_LOG = logging.getLogger(__name__)
QUICK = ("/", "/health")
"""What the receiving process answers by itself; the page that browsers get at `/` is the working one's."""
SILENT_SECONDS = 5.0
"""After which what the working process told last is no longer believed without a word."""
# Longer ones travel as a descriptor of memory: a packet cannot hold them.
_INLINE_BYTES = 64 * 1024
_PACKET_BYTES = 128 * 1024
# Answers that are handed out before clients are listened to again.
_AT_ONCE = 4
# What a packet is about; a request and its answer bear the same number, from 1.
_STATE = 0
_PREFIX = struct.Struct("!QI")
_NO_ROOM = Answer.plain(503, "there is no room for this request at the moment: ask again later")


def pair() -> tuple[socket.socket, socket.socket]:
    """The two ends: packets arrive whole, and the end of one process is noticed by the other."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


class HealthState:
    """What `/health` says, as the working process told it.

    Args:
        clock: Seconds that never go back.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._facts: Mapping[str, Any] = {}
        self._told = clock()

    def tell(self, facts: Mapping[str, Any]) -> None:
        self._facts, self._told = facts, self._clock()

    def __call__(self) -> dict[str, Any]:
        """The facts; and since when nobody confirmed them, where that is long."""
        silent = self._clock() - self._told
        return {**self._facts, **({"silent_seconds": round(silent)} if silent > SILENT_SECONDS else {})}


class Courier:
    """In the receiving process, on its event loop: brings requests over, and answers back.

    Args:
        ours: This process's end.
        loop: The event loop.
        quick: Answers `QUICK`; must never wait.
        told: Called with what the working process tells: its state, or that this process is to begin or to close.
        ended: Called when the working process is no more.
    """

    def __init__(
        self,
        ours: socket.socket,
        loop: asyncio.AbstractEventLoop,
        *,
        quick: WSGIApplication,
        told: Callable[[Mapping[str, Any]], None],
        ended: Callable[[], None],
    ) -> None:
        self._socket, self._loop = ours, loop
        self._quick, self._told, self._ended = quick, told, ended
        self._number = _STATE
        self._waiting: dict[int, Callable[[Answer], None]] = {}
        self._queue: deque[tuple[bytes, int | None]] = deque()
        ours.setblocking(False)
        loop.add_reader(ours, self._read)

    def submit(self, asked: Asked, done: Callable[[Answer], None]) -> None:
        """Has a request answered; `done` is called with the answer, on the event loop."""
        if asked.path in QUICK and not asked.wants_page:
            done(answered(self._quick, asked.environ()))
            return
        self._number += 1
        self._waiting[self._number] = done
        head = {
            "method": asked.method,
            "target": asked.target.decode("latin-1"),
            "version": asked.version,
            "headers": [(name.decode("latin-1"), value.decode("latin-1")) for name, value in asked.headers],
            "client": asked.client,
            "server": asked.server,
        }
        try:
            self._queue.append(_packed(self._number, head, asked.body))
        except OSError:
            self._waiting.pop(self._number)(_NO_ROOM)
            return
        self._write()

    def _write(self) -> None:
        while self._queue:
            packet, large = self._queue[0]
            try:
                _send(self._socket, packet, large)
            except BlockingIOError:
                self._loop.add_writer(self._socket, self._write)
                return
            except OSError:
                self._end()
                return
            self._queue.popleft()
            if large is not None:
                os.close(large)
        self._loop.remove_writer(self._socket)

    def _read(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                found = _receive(self._socket)
            except BlockingIOError:
                return
            if found is None:
                self._end()
                return
            number, head, body = found
            if number == _STATE:
                self._told(head)
            elif not head:
                self._waiting.pop(number)(_NO_ROOM)
            else:
                headers = tuple((name, value) for name, value in head["headers"])
                answer = Answer(status=head["status"], reason=head["reason"], headers=headers, body=body)
                self._waiting.pop(number)(answer)

    def _end(self) -> None:
        self._loop.remove_reader(self._socket)
        self._loop.remove_writer(self._socket)
        self._ended()


class Errands:
    """In the working process: takes requests in, and sends their answers and its own state back.

    Args:
        ours: This process's end.
        lanes: Answer the requests.

    Attributes:
        over: Set when the receiving process is no more.
    """

    def __init__(self, ours: socket.socket, lanes: Lanes) -> None:
        self._socket, self._lanes = ours, lanes
        self._sending = threading.Lock()
        self.over = threading.Event()
        threading.Thread(target=self._work, name="errands", daemon=True).start()

    def tell(self, facts: Mapping[str, Any]) -> None:
        """Tells the receiving process something."""
        self._put(_STATE, facts, b"")

    def _work(self) -> None:
        try:
            self._take_in()
        finally:
            # Also where it failed: a process that takes nothing in is replaced.
            self.over.set()
            self._lanes.end()

    def _take_in(self) -> None:
        while (found := _receive(self._socket)) is not None:
            number, head, body = found
            if not head:
                self._answer(number, _NO_ROOM)
                continue
            asked = Asked(
                method=head["method"],
                target=head["target"].encode("latin-1"),
                version=head["version"],
                headers=tuple((name.encode("latin-1"), value.encode("latin-1")) for name, value in head["headers"]),
                body=body,
                client=head["client"],
                server=(head["server"][0], head["server"][1]),
            )
            # Not kept until the next one comes: it may be large.
            del found, body
            self._lanes.submit(asked, partial(self._answer, number))
            del asked

    def _answer(self, number: int, answer: Answer) -> None:
        head = {"status": answer.status, "reason": answer.reason, "headers": answer.headers}
        self._put(number, head, answer.body)

    def _put(self, number: int, head: Mapping[str, Any], body: bytes) -> None:
        try:
            packet, large = _packed(number, head, body)
        except OSError:
            packet, large = _packed(number, {}, b"")
        try:
            with self._sending:
                _send(self._socket, packet, large)
        except OSError:
            self.over.set()  # nobody is there to answer
        finally:
            if large is not None:
                os.close(large)


def _packed(number: int, head: Mapping[str, Any], body: bytes | bytearray) -> tuple[bytes, int | None]:
    """A packet, and a descriptor of memory that it is in where it is long."""
    told = json.dumps(head).encode()
    prefix = _PREFIX.pack(number, len(told))
    if len(told) + len(body) <= _INLINE_BYTES:
        return prefix + told + body, None
    large = os.memfd_create("request", os.MFD_CLOEXEC)
    try:
        for part in (told, body):
            left = memoryview(part)
            while left:
                left = left[os.write(large, left) :]
    except BaseException:
        os.close(large)
        raise
    return prefix, large


def _send(through: socket.socket, packet: bytes, large: int | None) -> None:
    socket.send_fds(through, [packet], [] if large is None else [large])


def _receive(through: socket.socket) -> tuple[int, dict[str, Any], bytes] | None:
    """Number, head and body of the next packet, None where the other end is closed.

    The head is empty where what was sent is lost: one of the two processes had no memory or no descriptor left for it.
    """
    try:
        packet, places, flags, _ = socket.recv_fds(through, _PACKET_BYTES, 1)
    except ConnectionError:
        return None
    if not packet:
        return None
    number, length = _PREFIX.unpack_from(packet)
    if not places and flags & socket.MSG_CTRUNC:
        return number, {}, b""
    if not places:
        end = _PREFIX.size + length
        return number, json.loads(packet[_PREFIX.size : end]), packet[end:]
    with open(places[0], "rb", buffering=0) as file:
        size = os.fstat(places[0]).st_size
        body = os.pread(places[0], size - length, length)
        return number, json.loads(os.pread(file.fileno(), length, 0)), body


_LOOK_SECONDS = 0.2
_TURN_SECONDS = 0.0005
_NICE = 5  # of the working process, its threads and decoders: else they would be served too often before the other one
_MOST_CONNECTIONS, _OTHER_DESCRIPTORS = 2048, 64
_DESCRIPTORS = 2 * _MOST_CONNECTIONS + _OTHER_DESCRIPTORS
# Sent to the whole group, these are for the working process, which tells the receiving one what to do.
_OF_OTHERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGWINCH)
_OF_GUNICORN = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTTIN, signal.SIGTTOU)
_BEGIN, _CLOSE = {"do": "begin"}, {"do": "close"}


class EventWorker(Worker):  # type: ignore[misc]
    """Serves a WSGI application to any number of slow clients; gunicorn makes one in each process.

    The application tells its state by `extensions["health"]`. gunicorn's own application makes by `front` the one that
    answers `/` and `/health` in the receiving process.
    """

    def init_process(self) -> None:
        """Makes the receiving process, before this one has any threads; then loads the application, and works."""
        theirs, self._ours = pair()
        if os.fork() == 0:
            self._ours.close()
            self._receive(theirs)
        theirs.close()
        os.nice(_NICE)
        super().init_process()

    def run(self) -> None:
        """Works until a signal, or the end of the parent process or of the receiving one, says stop."""
        # Who takes requests in waits for a turn among the threads that compute: their turns are a tenth of the usual.
        sys.setswitchinterval(_TURN_SECONDS)
        errands = Errands(self._ours, Lanes(self.wsgi, threads=self.cfg.threads))
        health = self.wsgi.extensions["health"]
        errands.tell({"health": health()})
        errands.tell(_BEGIN)

        def tell() -> None:
            while not errands.over.wait(_LOOK_SECONDS):
                errands.tell({"health": health()})

        # In a thread of its own: a disk that does not answer must be seen as silence, not stop everything.
        threading.Thread(target=tell, name="health", daemon=True).start()
        while self.alive and self.ppid == os.getppid() and not errands.over.wait(_LOOK_SECONDS):
            self.notify()
        errands.tell(_CLOSE)
        give_up = time.monotonic() + self.cfg.graceful_timeout
        while time.monotonic() < give_up and not errands.over.wait(_LOOK_SECONDS):
            self.notify()

    def _receive(self, theirs: socket.socket) -> None:
        """The receiving process, from its beginning to its end."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in (*_OF_OTHERS, *_OF_GUNICORN):
                signal.signal(number, signal.SIG_IGN)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            # What was loaded before is shared with the other processes, as long as nobody writes to it.
            gc.freeze()
            state = HealthState()
            limits = ClientLimits(idle_seconds=self.cfg.keepalive, all=_most_connections())
            quick = self.app.front(state)
            sockets = [one.sock for one in self.sockets]
            asyncio.run(_Receiving(theirs, sockets, backlog=self.cfg.backlog, limits=limits).run(quick, state))
            code = 0
        except BaseException:
            self.log.exception("the process that receives requests failed")
        finally:
            # Nothing that was made ready for the working process is to be done here, too.
            os._exit(code)


def _most_connections() -> int:
    """As many as this process may have descriptors for, each with a large request beside it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _DESCRIPTORS)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return max(1, min(_MOST_CONNECTIONS, (most - _OTHER_DESCRIPTORS) // 2))


class _Receiving:
    """The receiving process: its sockets, and what the working one told it to do."""

    def __init__(
        self, theirs: socket.socket, sockets: list[socket.socket], *, backlog: int, limits: ClientLimits
    ) -> None:
        self._socket, self._sockets, self._backlog, self._limits = theirs, sockets, backlog, limits
        self._begun, self._closing = asyncio.Event(), asyncio.Event()

    async def run(self, quick: Any, state: HealthState) -> None:
        """Receives, from when the working process is ready until it says stop or is no more."""
        loop = asyncio.get_running_loop()

        def told(facts: Mapping[str, Any]) -> None:
            if "health" in facts:
                state.tell(facts["health"])
            elif facts == _BEGIN:
                self._begun.set()
            elif facts == _CLOSE:
                self._closing.set()

        # Clients see their connections end, and ask again.
        courier = Courier(self._socket, loop, quick=quick, told=told, ended=partial(os._exit, 0))
        reception = Reception(courier, self._limits)
        await self._begun.wait()
        for one in self._sockets:
            one.listen(self._backlog)
        doors = [Door(one, partial(Wire, reception, loop), loop) for one in self._sockets]
        await self._closing.wait()
        for door in doors:
            door.close()
        reception.close()
        while len(reception):
            await asyncio.sleep(_LOOK_SECONDS)
