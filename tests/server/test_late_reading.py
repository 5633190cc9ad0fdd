"""A busy machine reads late what came in time; what will never be read keeps no connection."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.patience import SECONDS, eventually
from tests.server.front import GET, LET, Front, all_of, answer


def test_a_request_that_came_in_time_is_answered_however_late_it_is_read() -> None:
    """A machine with much to do may give this program no processor for longer than a client has."""
    LET.clear()
    front = Front(header_seconds=0.5, body_seconds=0.5)
    with _let_in_before_nothing_runs(front) as (one, let):
        one.sendall(b"POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody")
        time.sleep(1.0)  # the client's time is over now
        let.set()
        assert answer(one) == b"POST /webhook  4"
    front.close()


@contextmanager
def _let_in_before_nothing_runs(front: Front) -> Iterator[tuple[socket.socket, threading.Event]]:
    """A client that is let in, with some of its time left, when nothing more of the program runs until it is let."""
    there = 0
    while not there:  # a machine with much to do may have let nobody in yet, or the client's time be over
        held, let = threading.Event(), threading.Event()

        def nothing_runs(held: threading.Event = held, let: threading.Event = let) -> None:
            nonlocal there
            there = len(front.reception)
            held.set()
            let.wait(SECONDS)

        with front.open() as one:
            front.loop.call_soon_threadsafe(nothing_runs)
            assert held.wait(SECONDS)
            if there:
                yield one, let
            let.set()


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/3.0\r\nHost: x\r\n\r\n" + b"x" * 9000,
        GET + b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9000\r\n\r\n" + b"x" * 8999,
    ],
    ids=["after a refusal", "in a body that lacks a byte"],
)
def test_bytes_that_nobody_will_read_keep_no_connection(sent: bytes) -> None:
    LET.clear()
    front = Front(header_seconds=0.3, body_seconds=0.3)
    with front.open(sent) as one:
        all_of(one)
        eventually(lambda: not len(front.reception), "the end of the connection")
    front.close()


def test_who_takes_no_answers_is_ended_with_what_it_still_asks() -> None:
    LET.clear()
    front = Front(header_seconds=0.3, body_seconds=0.3)
    ask = b"GET /" + b"x" * 8000 + b" HTTP/1.1\r\nHost: x\r\n\r\n"
    with front.open() as one:
        one.settimeout(0.2)
        with pytest.raises((TimeoutError, ConnectionError)):
            one.sendall(ask * 4000)
        eventually(lambda: not len(front.reception), "the end of the connection")
    front.close()
