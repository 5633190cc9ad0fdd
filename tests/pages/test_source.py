"""References come in as pages, or as one typed error that says why not."""

from __future__ import annotations

import base64
import dataclasses
import gc
import logging
import threading
from typing import TYPE_CHECKING

import pytest

from backend.errors import (
    CutShort,
    FetchTimeout,
    LimitExceeded,
    PageError,
    PageUnavailable,
    ReferenceRefused,
    UndecodablePage,
)
from backend.pages.fetch import FileRoom
from backend.pages.source import Cache, PageSource, from_path
from backend.settings import Settings
from tests.pages.conftest import TOKEN, Access, Studio, wait_until
from tests.pages.files import packed, picture

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def source(settings: Settings, access: Access) -> PageSource:
    return PageSource(settings, access)


def test_an_upload_becomes_its_page(source: PageSource, studio: Studio) -> None:
    [page] = source.pages("/data/upload/1/page.png")
    assert (page.width, page.height, page.index) == (60, 40, 0)
    assert page.reference == "/data/upload/1/page.png"
    assert page.pixels[0, 0].tolist() == [220, 30, 30]
    assert [seen.authorization for seen in studio.requests] == [TOKEN]


@pytest.mark.parametrize(
    "reference",
    [
        "/data/upload/1/page.png",  # as Label Studio writes it at the root of its host
        "/label-studio/data/upload/1/page.png",  # as it writes it when it knows its prefix
        "{url}/label-studio/data/upload/1/page.png",  # the whole address
    ],
)
def test_a_label_studio_under_a_path_prefix_works(reference: str, settings: Settings, studio: Studio) -> None:
    source = PageSource(settings, Access(studio.url + "/label-studio"))
    [page] = source.pages(reference.format(url=studio.url))
    assert page.width == 60
    assert studio.requests[-1].path == "/label-studio/data/upload/1/page.png"


@pytest.mark.parametrize(
    ("reference", "kind", "reason"),
    [
        ("/data/upload/forbidden", PageUnavailable, "403.*LABEL_STUDIO_API_KEY"),  # a user without the project
        ("/data/upload/nowhere", PageUnavailable, "404.*no such file"),  # a deleted upload
        ("/data/upload/gone", PageUnavailable, "410"),
        ("/data/upload/broken", PageUnavailable, "500"),
        ("/data/upload/empty", PageUnavailable, "empty"),
        ("/data/upload/html", PageUnavailable, "web page.*log-in"),  # a proxy's log-in page with status 200
        ("/data/upload/login", PageUnavailable, "log-in.*LABEL_STUDIO_API_KEY"),  # Label Studio's own
        ("/data/upload/lies", PageUnavailable, "did not answer properly"),  # fewer bytes than declared
        ("/data/upload/not-gzip", PageUnavailable, "did not answer properly"),
        ("/data/upload/large", LimitExceeded, "MAX_BYTES"),  # told by its header
        ("/data/upload/endless", LimitExceeded, "MAX_BYTES"),  # no header tells
        ("/data/upload/bomb", LimitExceeded, "MAX_BYTES"),  # 30 kB that unpack to 30 MB
        ("/data/upload/loop", LimitExceeded, "redirected more than 5"),
        ("/data/upload/hop6", LimitExceeded, "redirected more than 5"),  # one hop too many
        ("/data/upload/to-file", ReferenceRefused, "http"),  # another scheme
        ("/data/upload/to-user", ReferenceRefused, "plain"),  # credentials in the target
        ("/data/upload/elsewhere", ReferenceRefused, "localhost.*ALLOWED_HOSTS"),  # loopback, not listed
        ("/data/upload/private", ReferenceRefused, "10.0.0.7.*ALLOWED_HOSTS"),  # https, but inside somebody's network
        ("/data/upload/loopback", ReferenceRefused, "ALLOWED_HOSTS"),  # loopback dressed as IPv6
        ("/data/upload/public-http", ReferenceRefused, "8.8.8.8.*ALLOWED_HOSTS"),  # trusted hops are https
        ("{url}/open/away", ReferenceRefused, "8.8.8.8.*ALLOWED_HOSTS"),  # not one of Label Studio's page routes
    ],
)
def test_a_bad_answer_is_one_typed_error(
    reference: str, kind: type[PageError], reason: str, source: PageSource, studio: Studio
) -> None:
    with pytest.raises(kind, match=reason) as caught:
        source.pages(reference.format(url=studio.url))
    assert type(caught.value) is kind
    assert "s3cret" not in str(caught.value)
    assert "word@" not in str(caught.value)
    assert "Traceback" not in str(caught.value)


@pytest.mark.parametrize("route", ["drip", "drip-head"], ids=["a body", "a header"])
def test_a_byte_now_and_then_does_not_hold_a_thread(route: str, settings: Settings, access: Access) -> None:
    """The server never ends by itself: only a limit on the total time lets this test come back."""
    source = PageSource(dataclasses.replace(settings, fetch_timeout=0.3), access)
    with pytest.raises(FetchTimeout, match="FETCH_TIMEOUT"):
        source.pages(f"/data/upload/{route}")


def test_no_answer_at_all_is_a_time_limit(settings: Settings, access: Access) -> None:
    source = PageSource(dataclasses.replace(settings, fetch_timeout=0.3), access)
    with pytest.raises(FetchTimeout, match="FETCH_TIMEOUT"):
        source.pages("/data/upload/held")


def test_a_closed_port_is_unavailable(settings: Settings) -> None:
    source = PageSource(settings, Access("http://127.0.0.1:1"))
    with pytest.raises(PageUnavailable, match="did not answer"):
        source.pages("/data/upload/1/page.png")


def test_five_redirects_are_followed(source: PageSource, studio: Studio) -> None:
    assert next(source.pages("/data/upload/hop5")).width == 60
    assert len(studio.requests) == 6


def test_authorisation_stays_with_label_studio(settings: Settings, access: Access, studio: Studio) -> None:
    source = PageSource(dataclasses.replace(settings, allowed_hosts=f"localhost:{studio.port}"), access)
    assert next(source.pages("/data/upload/elsewhere")).width == 60  # a redirect to another host
    assert next(source.pages(studio.elsewhere + "/open/page.png")).width == 60  # another host at once
    assert next(source.pages(studio.url + "/open/page.png")).width == 60  # its host, but none of its page routes
    sent = {seen.path.partition("?")[0]: seen.authorization for seen in studio.requests}
    assert sent == {"/data/upload/elsewhere": TOKEN, "/open/page.png": None}


def test_another_program_on_the_same_host_gets_no_token(settings: Settings, studio: Studio) -> None:
    source = PageSource(settings, Access(studio.url + "/label-studio"))
    with pytest.raises(PageUnavailable, match="401"):
        source.pages(studio.url + "/data/upload/1/page.png")
    assert studio.requests[-1].authorization is None


@pytest.mark.parametrize("scheme", ["s3", "gs", "azure-blob", "azure"])
def test_cloud_references_go_through_the_presign_route(
    scheme: str, settings: Settings, access: Access, studio: Studio
) -> None:
    source = PageSource(dataclasses.replace(settings, allowed_hosts=f"localhost:{studio.port}"), access)
    [page] = source.pages(f"{scheme}://bucket/a page.png", task_id=7)
    assert page.width == 60
    assert [seen.authorization for seen in studio.requests] == [TOKEN, None]
    [proxied] = source.pages(f"{scheme}://bucket/a page.png", task_id=8)  # a storage that Label Studio hands on itself
    assert proxied.width == 60


def test_a_signed_target_in_a_private_network_needs_the_allow_list(source: PageSource) -> None:
    with pytest.raises(ReferenceRefused, match="ALLOWED_HOSTS") as caught:
        source.pages("s3://bucket/page.png", task_id=7)
    assert "s3cret" not in str(caught.value)


def test_signatures_do_not_reach_the_log(
    settings: Settings, access: Access, studio: Studio, caplog: pytest.LogCaptureFixture
) -> None:
    source = PageSource(dataclasses.replace(settings, allowed_hosts=f"localhost:{studio.port}"), access)
    with caplog.at_level(logging.INFO):
        source.pages("s3://bucket/page.png", task_id=7)
    assert len(studio.requests) == 2
    assert "s3cret" not in caplog.text


def test_without_access_label_studio_is_asked_openly(settings: Settings, studio: Studio) -> None:
    source = PageSource(dataclasses.replace(settings, label_studio_url=studio.url), None)
    assert next(source.pages(studio.url + "/open/page.png")).width == 60
    with pytest.raises(PageUnavailable, match="401"):
        source.pages("/data/upload/1/page.png")


def test_a_second_request_is_answered_from_memory(source: PageSource, studio: Studio) -> None:
    for _ in range(3):
        assert next(source.pages("/data/upload/1/page.png")).width == 60
    assert len(studio.requests) == 1


@pytest.mark.parametrize("spoiled", ["cut", "damaged"])
def test_a_page_that_was_cut_short_is_read_as_soon_as_it_is_whole(
    spoiled: str, source: PageSource, studio: Studio, png: bytes
) -> None:
    """What came first is not kept in memory: nobody waits until the cache has forgotten it."""
    bad = png[: len(png) // 2] if spoiled == "cut" else png.replace(b"IDAT", b"IDAT\xff\xff")
    studio.routes["/open/late.png"] = lambda handler: handler.reply(200, bad)
    reference = studio.url + "/open/late.png"
    with pytest.raises(CutShort if spoiled == "cut" else PageError):
        list(source.pages(reference))
    studio.routes["/open/late.png"] = lambda handler: handler.reply(200, png)
    assert next(source.pages(reference)).width == 60


def test_another_authorisation_is_not_answered_from_memory(source: PageSource, access: Access, studio: Studio) -> None:
    assert next(source.pages("/data/upload/1/page.png")).width == 60
    access.token = "Bearer stolen"
    with pytest.raises(PageUnavailable, match="401"):
        source.pages("/data/upload/1/page.png")
    assert len(studio.requests) == 2


def test_threads_that_want_one_file_share_one_fetch(source: PageSource, studio: Studio) -> None:
    widths: list[int] = []
    threads = [
        threading.Thread(target=lambda: widths.append(next(source.pages("/data/upload/held")).width)) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(studio.requests) == 1)
    studio.release.set()
    for thread in threads:
        thread.join()
    assert widths == [60] * 8
    assert len(studio.requests) == 1


def test_without_a_root_label_studio_is_asked_for_local_files(source: PageSource, studio: Studio) -> None:
    assert next(source.pages("/data/local-files/?d=scans/page.png")).width == 60
    assert [(seen.path, seen.authorization) for seen in studio.requests] == [
        ("/data/local-files/?d=scans/page.png", TOKEN)
    ]


@pytest.mark.parametrize(
    "shape",
    [
        "data:image/png;base64,{plain}",
        "DATA:image/png;charset=utf-8;BASE64,{plain}",  # any case, with parameters
        "data:;base64,{quoted}",  # base64, percent-encoded
        "data:image/png;base64,{unpadded}",
        "data:image/png;base64,{plain}\n",  # a line break at the end
        "data:image/png,{percent}",  # no base64
    ],
)
def test_data_references_carry_their_page(shape: str, source: PageSource, png: bytes) -> None:
    plain = base64.b64encode(png).decode()
    reference = shape.format(
        plain=plain,
        quoted=plain.replace("+", "%2B").replace("=", "%3D"),
        unpadded=plain.rstrip("="),
        percent="".join(f"%{byte:02x}" for byte in png),
    )
    [page] = source.pages(reference)
    assert page.width == 60
    assert len(page.reference) <= 33


@pytest.mark.parametrize(
    ("reference", "kind"),
    [
        ("data:image/png;base64,@@@@", UndecodablePage),  # no base64
        ("data:image/png;base64", UndecodablePage),  # no data
        ("data:text/html,<html>", UndecodablePage),  # no image
        ("data:image/png;base64," + "A" * 2_800_000, LimitExceeded),  # 2.1 MB
        ("data:image/png," + "A" * 2_000_001, LimitExceeded),  # one byte too many
        ("data:image/png;base64," + "A" * 8_100_000, LimitExceeded),  # not even unpacked
    ],
)
def test_bad_data_references_are_refused_in_few_words(
    reference: str, kind: type[PageError], source: PageSource
) -> None:
    with pytest.raises(kind) as caught:
        source.pages(reference)
    assert len(str(caught.value)) < 200


def test_the_command_line_reads_any_plain_file(tmp_path: Path, settings: Settings, png: bytes) -> None:
    path = tmp_path / "scan #1?.png"
    path.write_bytes(png)
    [page] = from_path(path, settings)
    assert (page.width, page.reference) == (60, str(path))


def test_the_command_line_says_what_it_cannot_read(tmp_path: Path, settings: Settings) -> None:
    (tmp_path / "large.png").write_bytes(bytes(2_000_001))
    with pytest.raises(PageUnavailable, match=r"none\.png: the file cannot be read"):
        from_path(tmp_path / "none.png", settings)
    with pytest.raises(PageUnavailable, match="not a plain file"):
        from_path(tmp_path, settings)
    with pytest.raises(LimitExceeded, match="MAX_BYTES"):
        from_path(tmp_path / "large.png", settings)


def test_the_last_pages_of_a_file_can_be_asked_for(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "scan.tiff"
    sheets = [picture(10 + index, 10) for index in range(6)]
    path.write_bytes(packed(sheets[0], "TIFF", save_all=True, append_images=sheets[1:]))
    assert [(page.index, page.width) for page in from_path(path, settings, pages=slice(-2, None))] == [(4, 14), (5, 15)]


def test_sources_that_share_a_cache_share_its_bound_and_no_file(settings: Settings, studio: Studio) -> None:
    cache = Cache.of(settings)
    good, bad = (PageSource(settings, Access(studio.url, token), cache=cache) for token in (TOKEN, "Bearer bad"))
    assert next(good.pages("/data/upload/1/page.png")).width == 60
    size = cache.size
    assert size > 0
    with pytest.raises(PageUnavailable, match="401"):
        bad.pages("/data/upload/1/page.png")
    next(good.pages("/data/upload/1/page.png"))
    assert cache.size == size
    assert len(studio.requests) == 2


def test_files_that_wait_to_be_decoded_take_room_until_nobody_wants_them(
    source: PageSource, studio: Studio, png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = FileRoom(most=2 * len(png), few=0)
    monkeypatch.setattr("backend.pages.source._ROOM", room)
    first, second = source.pages("/data/upload/1/page.png"), source.pages("/data/upload/1/page.png")
    assert room.taken == 2 * len(png)
    with pytest.raises(PageUnavailable, match="ask again"):
        source.pages("/data/upload/1/page.png")
    assert next(first).width == 60
    del first, second
    gc.collect()
    assert room.taken == 0
    assert next(source.pages("/data/upload/1/page.png")).width == 60
    assert len(studio.requests) == 1
