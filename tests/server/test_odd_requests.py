"""Requests that no Label Studio sends: other methods and versions, floods of headers, changes of protocol, promises."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import pytest

from backend.server.lanes import Asked
from tests.patience import SECONDS
from tests.server.front import GET, LET, Front, all_of, answer

CLOSE = b"Host: x\r\nConnection: close\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
def front() -> Iterator[Front]:
    LET.clear()
    made = Front(header_seconds=SECONDS, body_seconds=SECONDS, idle_seconds=SECONDS, body_bytes=10_000)
    yield made
    made.close()


@pytest.mark.parametrize(
    "lines",
    [
        b"a: b\r\n" * 300,
        b"a:\r\n" * 6000,
        b"a: b\r\n" + b" c\r\n" * 300,  # one header, folded
        b"a: b\n" * 300,  # lines that end otherwise
        b"a: b\r\n" * 300 + b"Content-Length : 5\r\n",  # and one that is none
    ],
    ids=["headers", "empty ones", "folded", "line feeds", "with a bad one"],
)
def test_a_header_of_many_lines_is_refused_before_it_is_read(front: Front, lines: bytes) -> None:
    with front.open(b"GET / HTTP/1.1\r\nHost: x\r\n" + lines + b"\r\n" + SMUGGLED) as one:
        found = all_of(one)
    assert found.startswith(b"HTTP/1.1 431 ")
    assert b"/smuggled" not in found


def test_a_header_of_many_lines_is_refused_as_it_comes_in(front: Front) -> None:
    """It never ends, and no more of it is waited for than its lines."""
    with front.open(b"GET / HTTP/1.1\r\nHost: x\r\n") as one:
        for _ in range(3):
            one.sendall(b"a: b\r\n" * 100)
        assert all_of(one).startswith(b"HTTP/1.1 431 ")


def test_as_many_lines_as_proxies_add_are_read_and_lines_of_a_body_do_not_count(front: Front) -> None:
    head = b"POST /a HTTP/1.1\r\n" + CLOSE + b"a: b\r\n" * 150 + b"Content-Length: 9000\r\n\r\n"
    with front.open(head + b"\n" * 9000) as one:
        assert b"POST /a  9000" in all_of(one)


def test_a_flood_behind_a_request_costs_that_request_nothing(front: Front) -> None:
    with front.open(GET + b"GET / HTTP/1.1\r\nHost: x\r\n" + b"a: b\r\n" * 300 + b"\r\n") as one:
        found = all_of(one)
    assert b"GET /health  0" in found
    assert found.count(b"HTTP/1.1 ") == 2
    assert b"HTTP/1.1 431 " in found


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        # to be a tunnel, or to speak otherwise from here on
        (b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n", b"405"),
        (
            b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close, Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n\r\n",
            b"200",
        ),
        (b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close, Upgrade\r\nUpgrade: websocket\r\n\r\n", b"200"),
        # other versions
        (b"GET / HTTP/1.9\r\n" + CLOSE + b"\r\n", b"200"),
        (b"GET / HTTP/2.0\r\n" + CLOSE + b"\r\n", b"400"),
        (b"GET / HTTP/0.9\r\n" + CLOSE + b"\r\n", b"400"),
        (b"GET / HTTP/11\r\n" + CLOSE + b"\r\n", b"400"),
        (b"GET / http/1.1\r\n" + CLOSE + b"\r\n", b"400"),
        (b"GET /\r\n\r\n", b"400"),
        # other methods
        (b"!#$% / HTTP/1.1\r\n" + CLOSE + b"\r\n", b"200"),
        (b"head / HTTP/1.1\r\n" + CLOSE + b"\r\n", b"200"),
        (b"G(T / HTTP/1.1\r\n" + CLOSE + b"\r\n", b"400"),
        (b"G" * 100_000 + b" / HTTP/1.1\r\n" + CLOSE + b"\r\n", b"431"),
        # two hosts, or none
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + CLOSE + b"\r\n", b"400"),
        (b"GET /?" + b"a" * 1_000_000 + b" HTTP/1.1\r\n" + CLOSE + b"\r\n", b"431"),
        # chunks that say more than their length
        (b"POST / HTTP/1.1\r\n" + CLOSE + b"Transfer-Encoding: chunked\r\n\r\n1;a=b\r\nx\r\n0\r\n\r\n", b"200"),
        (b"POST / HTTP/1.1\r\n" + CLOSE + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"a" * 100_000, b"431"),
        (b"POST / HTTP/1.1\r\n" + CLOSE + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"a: b\r\n" * 20_000, b"431"),
        (b"POST / HTTP/1.1\r\n" + CLOSE + b"Transfer-Encoding: chunked\r\n\r\n1\nx\n0\n\n", b"400"),
    ],
)
def test_every_request_has_one_answer_and_no_other_protocol_follows(front: Front, sent: bytes, status: bytes) -> None:
    with front.open(sent + SMUGGLED) as one:
        found = all_of(one)
    assert found.startswith(b"HTTP/1.1 " + status)
    assert found.count(b"HTTP/1.1 ") == 1
    assert b"/smuggled" not in found


CHUNKED = b"POST / HTTP/1.1\r\n" + CLOSE + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("piece", "times"),
    [
        (b"1;" + b"a" * 3_000 + b"\r\nx\r\n", 200),
        (b"0" * 18 + b"1\r\nx\r\n", 20_000),
        (b"1\r\nx\r\n", 80_000),
    ],
    ids=["extensions", "long sizes", "chunks of a byte"],
)
def test_a_body_with_more_beside_it_than_within_it_has_an_end(front: Front, piece: bytes, times: int) -> None:
    """Small enough as a body; its chunks are what would cost a processor."""
    front.reception.limits.body_bytes = 1_000_000
    with front.open(CHUNKED) as one:
        with suppress(ConnectionError):
            one.sendall(piece * times)
            one.sendall(b"0\r\n\r\n")
        assert b" 431 the body has more beside itself" in all_of(one)


@pytest.mark.parametrize(("lines", "status"), [(100, b"200"), (900, b"431")])
def test_few_lines_may_follow_a_body(front: Front, lines: int, status: bytes) -> None:
    """All of them are read in one go, and nobody else meanwhile; they come in one piece here."""
    with front.open(CHUNKED + b"1\r\nx\r\n0\r\n" + b"abcdef: ghij\r\n" * lines + b"\r\n") as one:
        assert all_of(one).startswith(b"HTTP/1.1 " + status)


def test_a_body_in_pieces_of_any_size_is_the_same_body(front: Front) -> None:
    body = bytes(range(256)) * 30
    for size in (1, 7, 2_047, 2_048, 5_000):
        chunks = (body[place : place + size] for place in range(0, len(body), size))
        framed = b"".join(b"%x;a=b\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
        with front.open(CHUNKED + framed + b"0\r\nA: b\r\n\r\n") as one:
            assert all_of(one).endswith(b"POST /  7680"), size


def test_trailers_change_nothing_of_what_was_said_before(front: Front) -> None:
    trailers = b"Host: evil.example\r\nContent-Length: 5\r\n\r\n"
    with front.open(b"POST /a HTTP/1.1\r\n" + CLOSE + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + trailers) as one:
        assert b"POST /a  0" in all_of(one)


@pytest.mark.parametrize(
    ("head", "promised"),
    [
        (b"Expect: 100-continue\r\nContent-Length: 3\r\n", 1),
        (b"Expect: 100-continue\r\nExpect: 100-continue\r\nContent-Length: 3\r\n", 1),
        (b"Expect: something else\r\nContent-Length: 3\r\n", 0),
        # one that is refused is not asked for its body
        (b"Expect: 100-continue\r\nContent-Length: 99999999\r\n", 0),
        (b"Expect: 100-continue\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n", 0),
    ],
)
def test_who_waits_for_a_word_before_a_body_is_told_once(front: Front, head: bytes, promised: int) -> None:
    with front.open(b"POST /a HTTP/1.1\r\n" + CLOSE + head + b"\r\n") as one:
        one.sendall(b"abc")
        found = all_of(one)
    # A body that came before the word was said needs none.
    assert found.count(b" 100 Continue") <= promised
    assert found.count(b"HTTP/1.1 ") - found.count(b" 100 Continue") == 1


def test_a_connection_that_waits_for_a_word_is_told_it(front: Front) -> None:
    with front.open(b"POST /a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n") as one:
        assert one.recv(100).startswith(b"HTTP/1.1 100 ")
        one.sendall(b"abc")
        assert answer(one) == b"POST /a  3"


def test_a_target_that_is_a_whole_address_says_whom_it_is_for() -> None:
    """Who looks at `Host` alone would take it for a request to this machine (RFC 9112, 3.2.2)."""
    headers = ((b"host", b"localhost:9090"),)
    more = {"method": "GET", "version": "1.1", "headers": headers, "body": b"", "client": "", "server": ("", 0)}

    def host(target: bytes) -> str:
        return str(Asked(target=target, **more).environ()["HTTP_HOST"])

    assert host(b"/status") == "localhost:9090"
    assert host(b"http://evil.example/status") == "evil.example"
    assert host(b"http://evil.example@localhost/status") == "evil.example@localhost"
    assert host(b"http://[/status") == "localhost:9090"
