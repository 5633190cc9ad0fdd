"""The server's front: slow and rude clients cost themselves their connection, and nobody else an answer."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from backend.server.lanes import Asked, Lanes
from backend.server.wire import ClientLimits, Reception, Wire

GET = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"


def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Says what it was asked; /wait answers when it is let."""
    if environ["PATH_INFO"] == "/wait":
        environ["wsgi.input"].read()
        LET.wait(30)
    body = environ["wsgi.input"].read()
    told = f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']} {environ['QUERY_STRING']} {len(body)}".encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(told)))])
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [told]


LET = threading.Event()


class Front:
    """The front over a free port, in a thread of its own."""

    def __init__(self, **limits: Any) -> None:
        self.loop = asyncio.new_event_loop()
        self.reception = Reception(Lanes(application, threads=4), ClientLimits(**limits))
        started: threading.Event = threading.Event()

        async def serve() -> None:
            make = partial(Wire, self.reception, self.loop)
            self.server = await self.loop.create_server(make, "127.0.0.1", 0)
            self.port = self.server.sockets[0].getsockname()[1]
            started.set()

        def run() -> None:
            self.loop.run_until_complete(serve())
            self.loop.run_forever()

        self.thread = threading.Thread(target=run, daemon=True)
        self.thread.start()
        started.wait(10)

    def open(self, data: bytes = b"") -> socket.socket:
        one = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        one.sendall(data)
        return one

    def close(self) -> None:
        LET.set()
        self.loop.call_soon_threadsafe(self.reception.close)
        self.loop.call_soon_threadsafe(self.server.close)
        for _ in range(200):
            if not len(self.reception):
                break
            time.sleep(0.05)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)
        self.loop.close()


@pytest.fixture
def front() -> Iterator[Front]:
    LET.clear()
    made = Front(header_seconds=0.5, body_seconds=0.5, idle_seconds=1.0, each=20, body_bytes=10_000, all_bytes=2 << 20)
    yield made
    made.close()


def all_of(one: socket.socket) -> bytes:
    """What comes until the other side ends; what came before a reset counts."""
    found = b""
    try:
        while data := one.recv(65536):
            found += data
    except ConnectionResetError:
        pass
    return found


def answer(one: socket.socket) -> bytes:
    """One answer of a connection that stays open."""
    found = b""
    while b"\r\n\r\n" not in found:
        data = one.recv(65536)
        assert data, found
        found += data
    head, _, body = found.partition(b"\r\n\r\n")
    length = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
    while len(body) < length:
        body += one.recv(65536)
    return body


def test_requests_one_after_the_other_on_one_connection(front: Front) -> None:
    with front.open(GET) as one:
        assert answer(one) == b"GET /health  0"
        one.sendall(b"POST /a%20b?c=%31 HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc")
        assert answer(one) == b"POST /a b c=%31 3"
        one.sendall(b"POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n")
        assert answer(one) == b"POST /c  2"


def test_requests_that_come_early_are_answered_in_order(front: Front) -> None:
    with front.open(b"".join(f"GET /{n} HTTP/1.1\r\nHost: x\r\n\r\n".encode() for n in range(5))) as one:
        one.shutdown(socket.SHUT_WR)
        assert [part for part in all_of(one).split() if part.startswith(b"/")] == [b"/0", b"/1", b"/2", b"/3", b"/4"]


@pytest.mark.parametrize(
    ("sent", "says"),
    [
        (b"HEAD /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", b"200 OK"),
        (b"GET /health HTTP/1.0\r\n\r\n", b"200 OK"),
        (b"GET http://x/health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", b"GET /health"),
        (b"nonsense\r\n\r\n", b" 400 "),
        (b"GET / HTTP/1.1\r\n\r\n", b" 400 "),  # without a Host
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"b" * 1_000_000 + b"\r\n\r\n", b" 431 "),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", b" 400 "),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n", b" 413 "),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\n" + b"a" * 50_000, b" 413 "),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b" 400 "),
    ],
)
def test_whatever_is_sent_gets_one_answer_and_an_end(front: Front, sent: bytes, says: bytes) -> None:
    with front.open(sent) as one:
        assert says in all_of(one)


@pytest.mark.parametrize(
    "start",
    [b"", b"GET / HT", b"POST /predict HTTP/1.1\r\nHost: x\r\nA: b\r\n"],
    ids=["nothing", "a line", "a header"],
)
def test_a_header_that_does_not_end_ends_the_connection(front: Front, start: bytes) -> None:
    with front.open(start) as one:
        for _ in range(60):
            try:
                one.sendall(b"x")  # a byte now and then does not make it last
                time.sleep(0.1)
            except OSError:
                break
        else:
            pytest.fail("the connection was kept")


def test_a_body_that_does_not_end_is_told_so(front: Front) -> None:
    with front.open(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nab") as one:
        assert b" 408 " in all_of(one)


def test_slow_senders_hold_up_nobody(front: Front) -> None:
    # As many as one client may have, and more: they push out each other, and not the one that asks.
    slow = [front.open(b"POST /predict HTTP/1.1\r\n") for _ in range(60)]
    for _ in range(5):
        with front.open(GET) as one:
            assert answer(one) == b"GET /health  0"
    for one in slow:
        one.close()


def test_health_is_answered_while_all_threads_are_taken(front: Front) -> None:
    waiting = [front.open(b"POST /wait HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n") for _ in range(16)]
    with front.open(GET) as one:
        assert answer(one) == b"GET /health  0"
    LET.set()
    for one in waiting:
        assert answer(one) == b"POST /wait  0"
        one.close()


def test_what_waits_too_long_a_queue_is_refused_at_once(front: Front) -> None:
    lanes = Lanes(application, threads=1)
    told: list[int] = []
    asked = Asked(method="GET", target=b"/wait", version="1.1", headers=(), body=b"", client="", server=("x", 1))
    for _ in range(20):
        lanes.submit(asked, lambda given: told.append(given.status))
    assert told.count(503) == 20 - 9
    LET.set()


def test_a_client_that_is_gone_costs_nothing_but_the_work(front: Front) -> None:
    one = front.open(b"POST /wait HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
    time.sleep(0.2)
    one.close()
    LET.set()
    with front.open(GET) as other:
        assert answer(other) == b"GET /health  0"
    for _ in range(100):
        if len(front.reception) == 0:
            return
        time.sleep(0.05)
    pytest.fail("a connection was left")


def test_an_answer_under_way_at_the_end_is_still_given(front: Front) -> None:
    one = front.open(b"POST /wait HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
    idle = front.open(GET)
    assert answer(idle) == b"GET /health  0"
    front.loop.call_soon_threadsafe(front.reception.close)
    assert all_of(idle) == b""
    LET.set()
    assert b"POST /wait" in all_of(one)
    one.close()
    idle.close()


def test_a_client_that_resets_before_its_answer_is_no_error(front: Front, caplog: pytest.LogCaptureFixture) -> None:
    for closing in (b"", b"Connection: close\r\n"):
        one = front.open(b"POST /wait HTTP/1.1\r\nHost: x\r\n" + closing + b"Content-Length: 0\r\n\r\n")
        time.sleep(0.2)
        # A reset, and not an end: what a client does that was killed, or gave up.
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        one.close()
    LET.set()
    with front.open(GET) as other:
        assert answer(other) == b"GET /health  0"
    assert [record.getMessage() for record in caplog.records] == []
