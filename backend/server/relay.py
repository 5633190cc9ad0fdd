"""Whole requests and their answers, between the process that receives them and the one that works on them.

The receiving one does nothing else. So whoever computes, or holds Python's lock, does not hold it up: it reads every
client within deadlines, and answers `/` and `/health` by itself, from what the working one last told of its state.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import struct
import threading
import time
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

from backend.server.lanes import Answer, Asked, answered

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping
    from wsgiref.types import WSGIApplication

    from backend.server.lanes import Lanes

__all__ = ["QUICK", "SILENT_SECONDS", "Courier", "Errands", "State", "pair"]

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


def pair() -> tuple[socket.socket, socket.socket]:
    """The two ends: packets arrive whole, and the end of one process is noticed by the other."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


class State:
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
            done(answered(self._quick, asked))
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
        self._queue.append(_packed(self._number, head, asked.body))
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
        while (found := _receive(self._socket)) is not None:
            number, head, body = found
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
        self.over.set()

    def _answer(self, number: int, answer: Answer) -> None:
        head = {"status": answer.status, "reason": answer.reason, "headers": answer.headers}
        self._put(number, head, answer.body)

    def _put(self, number: int, head: Mapping[str, Any], body: bytes) -> None:
        packet, large = _packed(number, head, body)
        try:
            with self._sending:
                _send(self._socket, packet, large)
        except OSError:
            self.over.set()  # nobody is there to answer
        finally:
            if large is not None:
                os.close(large)


def _packed(number: int, head: Mapping[str, Any], body: bytes) -> tuple[bytes, int | None]:
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
    """Number, head and body of the next packet; None where the other end is closed."""
    try:
        packet, places, _, _ = socket.recv_fds(through, _PACKET_BYTES, 1)
    except ConnectionError:
        return None
    if not packet:
        return None
    number, length = _PREFIX.unpack_from(packet)
    if not places:
        end = _PREFIX.size + length
        return number, json.loads(packet[_PREFIX.size : end]), packet[end:]
    with open(places[0], "rb", buffering=0) as file:
        size = os.fstat(places[0]).st_size
        body = os.pread(places[0], size - length, length)
        return number, json.loads(os.pread(file.fileno(), length, 0)), body
