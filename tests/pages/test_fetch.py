"""Whose redirects are trusted, and how far."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx2
import pytest

from backend.errors import (
    PageUnavailable,
    ReferenceRefused,
)
from backend.pages import fetch
from backend.pages.fetch import Fetcher, FileRoom, is_public
from backend.pages.page import Limits
from backend.pages.references import AllowList
from backend.pages.source import PageSource
from backend.settings import Settings
from tests.pages.conftest import Access, Studio

if TYPE_CHECKING:
    from backend.settings import Settings
    from tests.pages.conftest import Access, Studio


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
    monkeypatch.setattr(fetch, "is_public", lambda host: host == "localhost")
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
    monkeypatch.setattr(fetch, "is_public", lambda host: host == "localhost")
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
