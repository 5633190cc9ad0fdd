"""Servers that pages come from, made to harm whoever asks: packed answers, lengths, headers, redirects and cookies."""

from __future__ import annotations

import dataclasses
import gzip
import zlib
from typing import TYPE_CHECKING

import pytest

from backend.errors import CutShort, FetchTimeout, LimitExceeded, PageError, PageUnavailable, ReferenceRefused
from backend.outgoing import refused_packing
from backend.pages.source import PageSource

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from backend.settings import Settings
    from tests.pages.conftest import Access, Handler, Studio

GZIP_HEAD = b"\x1f\x8b\x08\0\0\0\0\0\0\x03"
NOTHING = b"\0\0\0\xff\xff"
"""A block of deflate that holds no byte."""
PAGE = "/data/upload/page"


@pytest.fixture
def source(settings: Settings, access: Access) -> PageSource:
    return PageSource(settings, access)


def packed_again(beginning: bytes, piece: bytes, times: int) -> tuple[bytes, bytes]:
    """A stream of deflate that holds `beginning` and then `piece` again and again: its own beginning, and its piece."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    first = packer.compress(beginning) + packer.flush(zlib.Z_FULL_FLUSH)
    return GZIP_HEAD + first, packer.compress(piece * times) + packer.flush(zlib.Z_FULL_FLUSH)


def nothing(packings: int) -> bytes:
    """A few kilobytes that are a thousand times as much with each packing, and hold no byte in the end."""
    beginning, piece = GZIP_HEAD, NOTHING
    for _ in range(packings - 1):
        beginning, piece = packed_again(beginning, piece, 500_000 // len(piece))
    return beginning + piece * 10


def test_what_unpacks_to_nothing_for_days_is_refused_unseen(source: PageSource, studio: Studio) -> None:
    body = nothing(5)
    assert len(body) < 50_000
    studio.routes[PAGE] = lambda handler: handler.reply(200, body, Content_Encoding="gzip, gzip, gzip, gzip, gzip")
    with pytest.raises(PageUnavailable, match=r"127\.0\.0\.1: its answer is packed as gzip, gzip, gzip, gzip, gzip"):
        source.pages(PAGE)


def test_one_packing_of_nothing_is_an_empty_answer(source: PageSource, studio: Studio) -> None:
    studio.routes[PAGE] = lambda handler: handler.reply(200, nothing(1), Content_Encoding="gzip")
    with pytest.raises(PageUnavailable, match="the answer is empty"):
        source.pages(PAGE)


@pytest.mark.parametrize("named", ["", "identity", "gzip", "GZIP", "deflate", "identity, gzip", " , ,gzip"])
def test_what_is_packed_once_is_read(named: str) -> None:
    assert refused_packing(named) == ""


@pytest.mark.parametrize("named", ["gzip, gzip", "gzip,deflate", "gzip, identity, gzip", "br", "zstd", "x" * 1000])
def test_what_is_packed_again_or_otherwise_is_refused(named: str) -> None:
    assert "have it send files as they are" in refused_packing(named)
    assert len(refused_packing(named)) < 150


def test_a_page_that_is_packed_once_is_a_page(source: PageSource, studio: Studio, png: bytes) -> None:
    studio.routes[PAGE] = lambda handler: handler.reply(200, gzip.compress(png), Content_Encoding="gzip")
    assert next(source.pages(PAGE)).width == 60


def without_length(body: bytes) -> Callable[[Handler], None]:
    def answer(handler: Handler) -> None:
        handler.wfile.write(b"HTTP/1.0 200 OK\r\nConnection: close\r\n\r\n" + body)

    return answer


def test_an_answer_without_a_length_ends_with_its_connection(source: PageSource, studio: Studio, png: bytes) -> None:
    """As HTTP/1.0 has it; nobody can tell then whether it is all there, but the file itself does."""
    studio.routes |= {PAGE: without_length(png), PAGE + "-cut": without_length(png[: len(png) // 2])}
    assert next(source.pages(PAGE)).width == 60
    with pytest.raises(CutShort):
        next(source.pages(PAGE + "-cut"))


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 5\r\nContent-Length: 6",  # two lengths
        b"Content-Length: -1",
        b"Content-Length: 1e3",
        b"Content-Length: " + b"9" * 500,
        b"Transfer-Encoding: gzip, chunked",  # packed on the way
        b"Transfer-Encoding: chunked",  # and no chunks in it
        b"A: " + b"b" * 1_000_000,  # a header without end
        b"A: b\r\n" * 200_000 + b"C: d",
        b"A: b\r\n c\x00",
    ],
    ids=lambda head: head[:40].decode(),
)
def test_an_answer_that_is_none_is_one_typed_error(head: bytes, source: PageSource, studio: Studio) -> None:
    def answer(handler: Handler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\nabcdef")

    studio.routes[PAGE] = answer
    with pytest.raises((PageUnavailable, LimitExceeded)) as caught:
        list(source.pages(PAGE))
    assert len(str(caught.value)) < 300


def test_promises_of_an_answer_without_end_have_an_end(settings: Settings, access: Access, studio: Studio) -> None:
    """`100 Continue` may come before an answer, as often as a server likes."""

    def answer(handler: Handler) -> None:
        while not studio.release.wait(0.01):
            handler.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)

    studio.routes[PAGE] = answer
    with pytest.raises(FetchTimeout):
        PageSource(dataclasses.replace(settings, fetch_timeout=0.3), access).pages(PAGE)


ANSWER = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("beginning", "again"),
    [
        (b"", b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (ANSWER, b"1\r\nx\r\n"),
        (ANSWER, b"1;" + b"a=b;" * 1000 + b"\r\nx\r\n"),
        (ANSWER, b"0" * 18 + b"1\r\nx\r\n"),
        (ANSWER + b"5\r\nhello\r\n0\r\n", b"A: b\r\n"),
        (ANSWER + b"5\r\nhello\r\n", b"0" * 1000),
        (b"HTTP/1.1 200 OK\r\n", b"A: b\r\n"),
    ],
    ids=["early hints", "continue", "chunks of a byte", "extensions", "long sizes", "trailers", "a size", "headers"],
)
def test_what_comes_beside_the_file_is_bounded_by_bytes_and_not_by_time_alone(
    beginning: bytes, again: bytes, source: PageSource, studio: Studio
) -> None:
    """It costs the processor of this program, so that waiting for its end would be a way to hold up others."""
    sent = 0

    def answer(handler: Handler) -> None:
        nonlocal sent
        handler.wfile.write(beginning)
        while sent < 50_000_000 and not studio.release.is_set():
            sent += handler.wfile.write(again * (65_536 // len(again) + 1))

    studio.routes[PAGE] = answer
    with pytest.raises(PageUnavailable, match=r"127\.0\.0\.1 did not answer properly"):
        source.pages(PAGE)
    # Beside what was read, what the system's own buffers hold.
    assert sent < 20_000_000


@pytest.mark.parametrize(
    "target",
    [
        *(
            "file:///etc/passwd",
            "data:image/gif;base64,R0lGODdh",
            "javascript:alert(1)",
            "ftp://127.0.0.1/",
            "gopher://x",
        ),
        *("http://", "http:///etc/passwd", "//", "///", "http://[", "http://[::1", "http://a b/", "http://a:99999/"),
        *("http://127.0.0.1:x/", "https://xn--/", "https://xn--a\xe4.example/", "https://" + "a" * 300 + "/", "\x7f"),
        # loopback and a cloud machine's own secrets, in other spellings
        *("https://2130706433/", "https://0x7f000001/", "https://127.1/", "https://0177.0.0.1/", "https://0/"),
        *("https://[::ffff:a9fe:a9fe]/latest/", "https://169.254.169.254/latest/", "https://[fe80::1%25eth0]/"),
        *("https://[64:ff9b::7f00:1]/", "https://localhost./", "https://user:word@8.8.8.8/", "https://8.8.8.8@127.1/"),
        "/" + "x" * 60_000,
        "?" + "a=b&" * 10_000,
    ],
    ids=lambda target: ascii(target[:40]),
)
def test_a_redirect_to_nowhere_good_is_one_typed_error(target: str, source: PageSource, studio: Studio) -> None:
    studio.routes[PAGE] = lambda handler: handler.redirect(target)
    with pytest.raises(PageError) as caught:
        list(source.pages(PAGE))
    assert isinstance(caught.value, (PageUnavailable, ReferenceRefused, LimitExceeded))
    assert len(str(caught.value)) < 600
    assert "word" not in str(caught.value)
    assert {seen.path.partition("?")[0] for seen in studio.requests if seen.authorization} == {PAGE}


def test_a_cookie_of_one_page_is_sent_with_no_other(
    settings: Settings, access: Access, studio: Studio, png: bytes
) -> None:
    brought: list[str | None] = []

    def answer(handler: Handler) -> None:
        brought.append(handler.headers.get("Cookie"))
        handler.reply(200, png, Set_Cookie="session=s3cret; Path=/; Max-Age=9999")

    def send_on(handler: Handler) -> None:
        handler.reply(302, b"", Location=studio.elsewhere + "/open/other.png", Set_Cookie="session=s3cret; Path=/")

    studio.routes |= {PAGE: answer, "/open/other.png": answer, "/data/upload/on": send_on}
    source = PageSource(dataclasses.replace(settings, cache_bytes=0, allowed_hosts=f"localhost:{studio.port}"), access)
    for reference in (PAGE, PAGE, "/data/upload/on", studio.elsewhere + "/open/other.png"):
        assert next(source.pages(reference)).width == 60
    assert brought == [None] * 4


def test_a_password_file_of_the_account_is_for_other_programs(
    settings: Settings, studio: Studio, png: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that trusts its environment would send what `.netrc` has for a host to whoever a task names there."""
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login anna password word\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    studio.routes[PAGE] = lambda handler: handler.reply(200, png)
    assert next(PageSource(dataclasses.replace(settings, label_studio_url=studio.url), None).pages(PAGE)).width == 60
    assert [seen.authorization for seen in studio.requests] == [None]
