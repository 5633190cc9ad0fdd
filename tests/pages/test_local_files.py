"""Local files are read under LOCAL_FILES_ROOT, by any spelling of their names, and never outside it."""

from __future__ import annotations

import dataclasses
import os
import threading
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest

from backend.errors import (
    LimitExceeded,
    PageError,
    PageUnavailable,
    ReferenceRefused,
)
from backend.pages.source import PageSource, read_plain
from backend.settings import Settings
from tests.pages.conftest import Access, Studio


@pytest.fixture
def local_source(tmp_path: Path, settings: Settings, access: Access, png: bytes) -> PageSource:
    """With a root that has a page, links in and out of it, and things that are no files."""
    root = tmp_path / "root"
    (root / "scans").mkdir(parents=True)
    (root / "scans" / "a page+1.png").write_bytes(png)
    (root / "linked.png").symlink_to(root / "scans" / "a page+1.png")
    (tmp_path / "outside.png").write_bytes(png)
    (tmp_path / "root-beside").mkdir()
    (tmp_path / "root-beside" / "page.png").write_bytes(png)
    (root / "escape.png").symlink_to(tmp_path / "outside.png")
    (root / "escape").symlink_to(tmp_path)
    (root / "loop").symlink_to(root / "loop")
    os.mkfifo(root / "pipe")
    return PageSource(dataclasses.replace(settings, local_files_root=str(root)), access)


@pytest.mark.parametrize(
    "named",
    [
        "scans/a%20page%2B1.png",  # spaces and plus signs, encoded
        "scans/../scans/a%20page%2B1.png",  # climbs, and stays inside
        "linked.png",  # a link that stays inside
    ],
)
def test_local_files_are_read_under_their_root(named: str, local_source: PageSource, studio: Studio) -> None:
    for reference in (f"/data/local-files/?d={named}", f"{studio.url}/data/local-files/?d={named}"):
        assert next(local_source.pages(reference)).width == 60
    assert studio.requests == []


def test_names_that_label_studio_wrote_on_windows_lead_into_folders(
    local_source: PageSource, tmp_path: Path, png: bytes
) -> None:
    folder = tmp_path / "root" / "2024"
    folder.mkdir()
    (folder / "scan 1.png").write_bytes(png)
    (folder / "back\\slash.png").write_bytes(png)  # what it is here is a name like any other
    for named in ("2024\\scan 1.png", "2024%5Cscan%201.png", "2024/back\\slash.png"):
        assert next(local_source.pages(f"/data/local-files/?d={named}")).width == 60
    with pytest.raises(ReferenceRefused, match="outside LOCAL_FILES_ROOT"):
        next(local_source.pages("/data/local-files/?d=..\\outside.png"))


@pytest.mark.parametrize(
    "name", ["my contract.png", "عقد إيجار.png", "Übergabe é.png", "it's (1).png", "a+b=c, 100%.png", "合同.png"]
)
def test_names_of_local_files_are_read_as_they_are_and_encoded(
    name: str, local_source: PageSource, tmp_path: Path, png: bytes
) -> None:
    folder = tmp_path / "root" / "my scans"
    folder.mkdir()
    (folder / name).write_bytes(png)
    encoded = f"my%20scans/{quote(name)}"
    # A plus sign in a query means a space, to browsers and to Label Studio.
    for named in (encoded,) if "+" in name else (encoded, f"my scans/{name}"):
        assert next(local_source.pages(f"/data/local-files/?d={named}")).width == 60


@pytest.mark.parametrize(
    ("query", "kind", "reason"),
    [
        ("d=../outside.png", ReferenceRefused, "outside LOCAL_FILES_ROOT"),  # climbs out
        ("d=scans/..%2F..%2Foutside.png", ReferenceRefused, "outside LOCAL_FILES_ROOT"),  # climbs out, encoded
        ("d=/etc/passwd", ReferenceRefused, "outside LOCAL_FILES_ROOT"),  # absolute
        ("d=../root-beside/page.png", ReferenceRefused, "outside LOCAL_FILES_ROOT"),  # a folder with the same beginning
        ("d=escape.png", ReferenceRefused, "outside LOCAL_FILES_ROOT"),  # a link that leads out
        ("d=escape/outside.png", ReferenceRefused, "outside LOCAL_FILES_ROOT"),  # a folder that leads out
        ("d=a%00.png", ReferenceRefused, "one file"),  # a zero byte
        ("d=", ReferenceRefused, "one file"),
        ("", ReferenceRefused, "one file"),
        ("d=a&d=b", ReferenceRefused, "one file"),
        ("d=missing.png", PageUnavailable, "cannot be read"),
        ("d=scans", PageUnavailable, "not a plain file"),  # a folder
        ("d=pipe", PageUnavailable, "not a plain file"),  # would wait for ever
        ("d=loop", PageUnavailable, "cannot be read|does not exist"),  # a link to itself
    ],
)
def test_local_files_outside_their_root_are_refused(
    query: str, kind: type[PageError], reason: str, local_source: PageSource
) -> None:
    with pytest.raises(kind, match=reason):
        local_source.pages(f"/data/local-files/?{query}")


@pytest.mark.parametrize("swap", ["file", "folder", "pipe"])
def test_a_file_that_takes_a_names_place_after_the_look_is_judged_itself(
    swap: str, tmp_path: Path, settings: Settings, png: bytes
) -> None:
    """Who may write under LOCAL_FILES_ROOT puts a link, or a pipe, where a page was when its name was judged."""
    root, page = tmp_path / "root", tmp_path / "root" / "scans" / "page.png"
    page.parent.mkdir(parents=True)
    page.write_bytes(png)
    (tmp_path / "page.png").write_bytes(png)
    assert read_plain(page, "page", max_bytes=settings.max_bytes, root=root) == png
    page.unlink()
    if swap == "file":
        page.symlink_to(tmp_path / "page.png")
    elif swap == "pipe":
        os.mkfifo(page)
    else:
        page.parent.rmdir()
        page.parent.symlink_to(tmp_path)
    with pytest.raises((ReferenceRefused, PageUnavailable)):
        read_plain(page, "page", max_bytes=settings.max_bytes, root=root)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: path.symlink_to("/dev/zero"), "not a plain file"),  # never ends
        (lambda path: path.symlink_to("/dev/tty"), "not a plain file"),  # waits for a person
        (lambda path: path.symlink_to("/proc/self/mem"), "cannot be read"),  # plain by its word
        (lambda path: path.symlink_to(path), "cannot be read"),
        (lambda path: path.symlink_to("x" * 200), "cannot be read"),
        (os.mkfifo, "not a plain file"),
        (Path.mkdir, "not a plain file"),
        (lambda path: path.write_bytes(bytes(101)), "MAX_BYTES"),
    ],
    ids=["zeros", "a terminal", "a memory", "itself", "nothing", "a pipe", "a folder", "too much"],
)
def test_what_no_page_can_be_is_not_read(make: Callable[[Path], object], reason: str, tmp_path: Path) -> None:
    page = tmp_path / "page.png"
    make(page)
    with pytest.raises((PageUnavailable, LimitExceeded), match=reason):
        read_plain(page, "page", max_bytes=100)


def test_a_file_that_grows_while_it_is_read_is_read_no_further_than_the_limit(tmp_path: Path) -> None:
    page = tmp_path / "page.png"
    page.write_bytes(bytes(50))
    stop = threading.Event()

    def grow() -> None:
        with page.open("ab", buffering=0) as file:
            while not stop.is_set():
                file.write(bytes(50))

    growing = threading.Thread(target=grow)
    growing.start()
    try:
        while True:
            try:
                assert len(read_plain(page, "page", max_bytes=10_000)) <= 10_000
            except LimitExceeded:
                break
    finally:
        stop.set()
        growing.join()
