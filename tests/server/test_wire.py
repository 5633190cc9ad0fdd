"""The server's front: slow and rude clients cost themselves their connection, and nobody else an answer."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
import time
from collections.abc import Iterator

import pytest

from backend.server.lanes import Asked, Lanes
from backend.server.wire import Wire
from tests.patience import SECONDS, eventually
from tests.server.front import GET, LET, Front, all_of, answer, application


@pytest.fixture
def front() -> Iterator[Front]:
    LET.clear()
    patient = {"header_seconds": SECONDS, "body_seconds": SECONDS, "idle_seconds": SECONDS}
    made = Front(**patient, each=20, body_bytes=10_000, all_bytes=2 << 20)
    yield made
    made.close()


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
        # addresses that are none
        (b"GET http://[ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", b"GET http://["),
        (b"GET http://a]b/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", b"GET http://a]b/"),
        (b"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", b"OPTIONS *"),
        # of an answer to HEAD there is only the header, also of a refusal
        (b"HEAD / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n", b" 413 "),
        (b"HEAD / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nab", b" 408 "),
    ],
)
def test_whatever_is_sent_gets_one_answer_and_an_end(front: Front, sent: bytes, says: bytes) -> None:
    front.reception.limits.body_seconds = 0.5
    with front.open(sent) as one:
        assert says in all_of(one)


@pytest.mark.parametrize(
    ("header", "body"),
    [
        # two lengths, of which a proxy may believe the other one
        (b"Content-Length: 5\r\nTransfer-Encoding: chunked", b"0\r\n\r\n"),
        (b"Transfer-Encoding: chunked\r\nContent-Length: 0", b"0\r\n\r\n"),
        (b"Content-Length: 0\r\nContent-Length: 5", b"abcde"),
        (b"Content-Length: 0, 5", b"abcde"),
        # lengths that are none
        (b"Content-Length: +5", b"abcde"),
        (b"Content-Length: 0x5", b"abcde"),
        (b"Content-Length: -1", b""),
        (b"Content-Length: " + b"9" * 5000, b""),
        # other ways to send a body
        (b"Transfer-Encoding: xchunked", b"0\r\n\r\n"),
        (b"Transfer-Encoding: chunked, chunked", b"0\r\n\r\n"),
        (b"Transfer-Encoding: gzip, chunked", b"0\r\n\r\n"),
        # chunks of no size, or of all
        (b"Transfer-Encoding: chunked", b"-1\r\n\r\n"),
        (b"Transfer-Encoding: chunked", b"f" * 30 + b"\r\n"),
        # headers that only some would read as such
        (b"Content-Length : 5", b"abcde"),
        (b"A: b\r\n\x00: c", b""),
        (b"A: b\rContent-Length: 5", b"abcde"),
        (b"A: b\x00c", b""),
    ],
)
def test_a_body_of_doubtful_length_is_refused_and_what_follows_is_no_request(
    front: Front, header: bytes, body: bytes
) -> None:
    follows = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
    with front.open(b"POST / HTTP/1.1\r\nHost: x\r\n" + header + b"\r\n\r\n" + body + follows) as one:
        answer = all_of(one)
    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 501 ", b"HTTP/1.1 413 "))
    assert b"/smuggled" not in answer
    assert answer.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize(
    "start",
    [b"", b"GET / HT", b"POST /predict HTTP/1.1\r\nHost: x\r\nA: b\r\n"],
    ids=["nothing", "a line", "a header"],
)
def test_a_header_that_does_not_end_ends_the_connection(front: Front, start: bytes) -> None:
    front.reception.limits.header_seconds = 0.5
    with front.open(start) as one:
        for _ in range(10 * SECONDS):
            try:
                one.sendall(b"x")  # a byte now and then does not make it last
                time.sleep(0.1)
            except OSError:
                break
        else:
            pytest.fail("the connection was kept")


def test_a_body_that_does_not_end_is_told_so(front: Front) -> None:
    front.reception.limits.body_seconds = 0.5
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
    lanes.end()
    LET.set()


def test_a_client_that_is_gone_costs_nothing_but_the_work(front: Front) -> None:
    one = front.open(b"POST /wait HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
    time.sleep(0.2)
    one.close()
    LET.set()
    with front.open(GET) as other:
        assert answer(other) == b"GET /health  0"
    eventually(lambda: len(front.reception) == 0, "the end of the connection that was left")


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


def test_no_request_keeps_others_from_being_read(front: Front, caplog: pytest.LogCaptureFixture) -> None:
    """Many of one moment are read one after the other: what one holds must not end the row."""
    odd = b"GET http://[ HTTP/1.1\r\nHost: x\r\n\r\n"
    next_one = b"POST /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    many = [front.open(odd + next_one) for _ in range(15)]
    for one in many:
        found = all_of(one)
        assert b"GET http://[  0" in found
        assert b"POST /a  0" in found
        one.close()
    assert [record.getMessage() for record in caplog.records] == []


def test_a_connection_that_fails_costs_no_other_its_turn(front: Front, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Wire):
        def _take_turn(self) -> None:
            raise RuntimeError("a fault of this program")

    made: list[Broken] = []

    def connect() -> None:
        made.append(Broken(front.reception, front.loop))
        made[0].connection_made(_Nowhere())
        front.reception.put_off(made[0], front.loop)

    front.loop.call_soon_threadsafe(connect)
    with front.open(b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n") as one:
        assert answer(one) == b"POST /a  0"
    front.loop.call_soon_threadsafe(made[0].connection_lost, None)
    assert "a connection is ended" in caplog.text


class _Nowhere(asyncio.Transport):
    def abort(self) -> None:
        """As a transport does; the protocol is told by the test."""


def test_a_body_of_the_smallest_chunks_comes_in_turn_by_turn(front: Front) -> None:
    """A quarter of a megabyte of them is half a second of a processor: others are read in between."""
    front.reception.limits.body_bytes = 100_000
    head = b"POST /chunks HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert any(_answered_between(front, head) for _ in range(20)), "on a busy machine some may come too late for that"


def _answered_between(front: Front, head: bytes) -> bool:
    """Whether a small request is answered while the chunks of a large one are still coming in."""
    with front.open(head) as one, front.open() as other:
        sending = threading.Thread(target=one.sendall, args=(b"1\r\nX\r\n" * 50_000 + b"0\r\n\r\n",))
        sending.start()
        other.sendall(b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        assert answer(other) == b"POST /a  0"
        one.setblocking(False)
        try:
            early = one.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            early = b""
        one.settimeout(SECONDS)
        assert answer(one) == b"POST /chunks  50000"
        sending.join()
        return not early


def test_who_takes_no_answers_is_not_read_any_more(front: Front) -> None:
    """A thousand questions on one connection: their answers wait with the client, and not in this process."""
    with front.open(GET) as other:
        assert answer(other) == b"GET /health  0"
    one = front.open(GET)
    assert answer(one) == b"GET /health  0"
    one.settimeout(1.0)
    ask = b"GET /" + b"x" * 8000 + b" HTTP/1.1\r\nHost: x\r\n\r\n"
    sent, largest = 0, 0
    try:
        while sent < 4000:
            one.sendall(ask)
            sent += 1
            wires = [one for one in set(front.reception._all) if isinstance(one, Wire)]
            largest = max([largest, *(wire._transport.get_write_buffer_size() for wire in wires)])
    except TimeoutError:
        pass
    assert sent < 4000, "all were taken"
    assert largest < 1_000_000
    one.close()


def test_bodies_that_do_not_end_push_out_each_other_and_no_small_request(front: Front) -> None:
    front.reception.limits.body_bytes = 1 << 20
    # Five large ones fit beside the small one, whichever is read first, and six do not.
    front.reception.limits.all_bytes = 5 * 400_000 + 150_000
    begun = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + bytes(400_000)
    slow = [front.open(begun) for _ in range(15)]
    with front.open(b"POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + bytes(100_000)) as one:
        assert answer(one) == b"POST /b  100000"
    eventually(lambda: sum(wire.held for wire in list(front.reception._all)) == 5 * 400_000, "room for five of them")
    assert front.reception.held == 5 * 400_000
    for one in slow[:10]:
        assert b" 503 " in one.recv(100)
    for one in slow:
        one.close()


def test_a_client_that_ends_its_side_gets_its_answer_and_an_end(front: Front) -> None:
    for request in (GET, b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"):
        with front.open(request) as one:
            one.shutdown(socket.SHUT_WR)
            assert b" 200 " in all_of(one)
    with front.open(b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nab") as one:
        one.shutdown(socket.SHUT_WR)
        assert b" 400 " in all_of(one)
