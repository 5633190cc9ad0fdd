"""Whose redirects are trusted, and how far."""

from __future__ import annotations

import dataclasses
import socket
import threading
from typing import TYPE_CHECKING, Any

import httpcore2
import httpx2
import pytest

from backend.errors import FetchTimeout, LabelStudioError, PageUnavailable, ReferenceRefused, SettingsError
from backend.labelstudio.client import LabelStudio
from backend.outgoing import Connector, Names, Transport, certificates
from backend.pages import fetch
from backend.pages.fetch import Fetcher, FileRoom, is_public
from backend.pages.page import Limits
from backend.pages.references import AllowList
from backend.pages.source import PageSource
from backend.settings import Settings
from tests.pages.conftest import Access, Studio
from tests.patience import SECONDS, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator


class NameServer:
    """Stands for the system's look-up of names: it says nothing before it is let go, and counts who waits."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses
        self.asked: list[str] = []
        self.released = threading.Event()

    def __call__(self, host: str, *_: Any, **__: Any) -> list[tuple[Any, ...]]:
        self.asked.append(host)
        assert self.released.wait(SECONDS)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in self.addresses]


@pytest.fixture
def silent() -> Iterator[NameServer]:
    server = NameServer("127.0.0.1")
    yield server
    server.released.set()


def fetcher_of(studio: Studio, settings: Settings, names: Names, *, allowed: str = "") -> Fetcher:
    allow_list = AllowList(base_url=studio.url, allowed_hosts=allowed)
    return Fetcher(allow_list, Limits.of(settings), FileRoom(), names=names)


def test_a_name_that_nobody_answers_for_takes_no_longer_than_a_fetch_may(
    settings: Settings, studio: Studio, silent: NameServer
) -> None:
    """Ten pages of such a host cost ten times the time, and one thread that waits for the system to give up."""
    quick = dataclasses.replace(settings, fetch_timeout=0.05)
    fetcher = fetcher_of(studio, quick, Names(ask=silent), allowed="pages.example")
    for _ in range(10):
        with pytest.raises(FetchTimeout, match="FETCH_TIMEOUT"):
            fetcher.fetch(httpx2.URL("http://pages.example/1.png"), {}, shown="page")
    assert silent.asked == ["pages.example"]


def test_a_redirect_to_a_name_that_nobody_answers_for_takes_no_longer_either(
    settings: Settings, access: Access, studio: Studio, silent: NameServer
) -> None:
    studio.routes["/data/upload/away"] = lambda handler: handler.redirect("https://bucket.example/page.png")
    fetcher = fetcher_of(studio, settings, Names(most=0, ask=silent))
    with pytest.raises(FetchTimeout):
        fetcher.fetch(httpx2.URL(studio.url + "/data/upload/away"), access.headers(), shown="page")


def test_names_that_are_looked_up_are_a_bounded_number(silent: NameServer) -> None:
    names = Names(most=3, ask=silent)
    for number in range(10):
        with pytest.raises(TimeoutError):
            names.addresses(f"host-{number}.example", seconds=0.01)
    assert silent.asked == ["host-0.example", "host-1.example", "host-2.example"]
    assert names.addresses("127.0.0.1", seconds=0.0) == ("127.0.0.1",), "nobody is asked for an address"
    silent.released.set()
    eventually(lambda: not names._under_way)
    assert names.addresses("host-9.example", seconds=SECONDS) == ("127.0.0.1",)


def test_a_name_for_which_the_system_had_no_thread_is_looked_up_the_next_time(silent: NameServer) -> None:
    names = Names(most=1, ask=silent)
    silent.released.set()
    threading.stack_size(1 << 47)  # more than there is, so that no thread can be made
    try:
        with pytest.raises(OSError, match="cannot be looked up now"):
            names.addresses("pages.example", seconds=SECONDS)
    finally:
        threading.stack_size(0)
    assert names.addresses("pages.example", seconds=SECONDS) == ("127.0.0.1",)


def test_label_studios_own_name_is_waited_for_as_long_as_for_its_answer(silent: NameServer) -> None:
    studio = LabelStudio(
        "http://studio.example", "token", timeout=0.05, transport=Transport(Connector(Names(ask=silent)))
    )
    with studio, pytest.raises(LabelStudioError, match="ConnectTimeout"):
        studio.version()


def test_all_addresses_of_a_name_are_tried_within_the_time_of_one(settings: Settings, studio: Studio) -> None:
    """Of a host with many addresses where nobody listens, each would take the whole time; the last one is good."""
    server = NameServer("127.0.0.2", "127.0.0.3", "127.0.0.1")
    server.released.set()
    url = httpx2.URL(f"http://pages.example:{studio.port}/open/page.png")
    fetcher = fetcher_of(studio, settings, Names(ask=server), allowed=f"pages.example:{studio.port}")
    assert fetcher.fetch(url, {}, shown="page").startswith(b"\x89PNG")


class Nobody(httpcore2.NetworkBackend):
    """Nobody answers, anywhere; it remembers how long it was to wait."""

    def __init__(self) -> None:
        self.waited: list[float | None] = []

    def connect_tcp(self, host: str, port: int, timeout: float | None = None, *_: Any) -> httpcore2.NetworkStream:
        self.waited.append(timeout)
        raise httpcore2.ConnectTimeout(host)


def test_addresses_where_nobody_answers_share_the_time() -> None:
    server, nobody = NameServer(*(f"192.0.2.{number}" for number in range(1, 5))), Nobody()
    server.released.set()
    with pytest.raises(httpcore2.ConnectTimeout):
        Connector(Names(ask=server), system=nobody).connect_tcp("dead.example", 80, timeout=SECONDS)
    parts = [waited for waited in nobody.waited if waited is not None]
    assert len(parts) == 4
    assert all(part <= SECONDS / (4 - place) for place, part in enumerate(parts))


def test_certificates_that_cannot_be_read_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/ca.pem")
    with pytest.raises(SettingsError, match=r"SSL_CERT_FILE is /nowhere/ca\.pem: it cannot be read"):
        certificates.__wrapped__()


@pytest.mark.parametrize(
    ("host", "public"),
    [
        ("8.8.8.8", True),
        ("2001:4860:4860::8888", True),
        ("10.1.2.3", False),  # private
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("127.0.0.1", False),  # loopback
        ("::1", False),
        ("::ffff:10.1.2.3", False),  # private, dressed as IPv6
        ("169.254.169.254", False),  # link-local: a cloud machine's own secrets
        ("fe80::1", False),
        ("fd00::1", False),  # private IPv6
        ("100.64.0.1", False),  # a carrier's inside
        ("224.0.0.1", False),  # multicast
        ("0.0.0.0", False),  # noqa: S104 - nobody listens here
        ("localhost", False),  # a name
        ("a" * 64, False),  # a name that no lookup takes
    ],
)
def test_only_addresses_on_the_open_internet_are_public(host: str, public: bool) -> None:
    assert is_public(host) is public


def test_a_name_that_cannot_be_looked_up_may_be_found_another_time(
    settings: Settings, access: Access, studio: Studio
) -> None:
    studio.routes["/data/upload/nameless"] = lambda handler: handler.redirect("https://bucket.invalid/page.png")
    with pytest.raises(PageUnavailable, match=r"bucket\.invalid: its name cannot be looked up"):
        PageSource(settings, access).pages("/data/upload/nameless")


def test_a_signed_target_is_trusted_for_one_hop_from_label_studio_only(
    settings: Settings, access: Access, studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The target is taken for public here; it speaks no TLS, so that being asked shows as a failed handshake."""
    monkeypatch.setattr(fetch, "is_public", lambda host, **_: host == "localhost")
    monkeypatch.setattr(fetch, "_is_global", lambda _: True)
    source = PageSource(settings, access)
    with pytest.raises(PageUnavailable, match="localhost did not answer properly"):
        source.pages("/data/upload/signed")
    with pytest.raises(ReferenceRefused, match="ALLOWED_HOSTS"):
        source.pages(studio.url + "/open/signed")


def test_a_name_that_leads_elsewhere_at_the_second_lookup_is_sent_nothing(
    settings: Settings, access: Access, studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name server that says a public address first, and a private one a moment later (DNS rebinding)."""
    monkeypatch.setattr(fetch, "is_public", lambda host, **_: host == "localhost")
    before = len(studio.requests)
    with pytest.raises(ReferenceRefused, match="leads to a private address"):
        PageSource(settings, access).pages("/data/upload/signed")
    assert len(studio.requests) == before + 1, "Label Studio was asked, and the other name was not"


def test_large_files_find_room_while_there_is_some_and_small_ones_always() -> None:
    room = FileRoom(most=100, few=10)
    assert room.take(60)
    assert room.take(40)
    assert not room.take(11)
    assert room.take(10)
    assert not room.take(1, held=10)
    room.give_back(60)
    assert room.take(20, held=10)
    room.give_back(room.taken)
    assert room.take(1000), "one file alone is bounded by MAX_BYTES"


def test_files_that_come_in_slowly_take_room_and_give_it_back(
    access: Access, settings: Settings, studio: Studio
) -> None:
    """What comes in is counted as it comes, whatever was declared; one that has no room is refused at once."""
    room = FileRoom(most=1000, few=100)
    fetcher = Fetcher(AllowList(base_url=studio.url, allowed_hosts=""), Limits.of(settings), room)
    studio.routes["/data/upload/long"] = lambda handler: handler.reply(200, bytes(500_000))
    assert room.take(900)
    with pytest.raises(PageUnavailable, match="too many large files arrive at once"):
        fetcher.fetch(httpx2.URL(studio.url + "/data/upload/long"), access.headers(), shown="page")
    assert room.taken == 900
