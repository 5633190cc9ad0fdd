"""Processes that render PDF documents: kept while they are well, ended when they are not, gone with their owner."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from backend.errors import LimitExceeded, PageUnavailable, UndecodablePage
from backend.pages.page import Limits
from backend.pages.renderer import Renderer, renderer
from tests.pages.conftest import wait_until
from tests.pages.files import LIMITS, endless, pdf, picture_pdf

ROOT = Path(__file__).parents[2]
ENDLESS = picture_pdf(endless(scans=50_000, side=4000), width=4000, height=4000)
"""Its second page takes a quarter of an hour."""


def pid(process: Renderer) -> int:
    return process._process.pid


def lives(number: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_one_process_renders_one_document_after_the_other() -> None:
    seen = set()
    for count in (1, 3):
        with renderer("page") as process:
            assert process.open(pdf(count=count), reference="page", seconds=20.0) == count
            assert process.page(0, 144, reference="page", limits=LIMITS).shape == (80, 120, 3)
            seen.add(pid(process))
    assert len(seen) == 1


def test_two_documents_at_once_have_a_process_each() -> None:
    with renderer("one") as one, renderer("other") as other:
        assert one.open(pdf(count=2), reference="one", seconds=20.0) == 2
        assert other.open(pdf(count=3), reference="other", seconds=20.0) == 3
        assert one.page(1, 72, reference="one", limits=LIMITS).shape == (40, 60, 3)
        assert pid(one) != pid(other)


def test_one_that_is_late_is_ended() -> None:
    with renderer("page") as process:
        process.open(ENDLESS, reference="page", seconds=20.0)
        with pytest.raises(LimitExceeded, match="FETCH_TIMEOUT"):
            process.page(
                1, 72, reference="page", limits=Limits(max_bytes=1, max_pixels=10**6, max_pages=1, seconds=0.3)
            )
        late = pid(process)
    assert not lives(late)
    with renderer("page") as process:
        assert process.open(pdf(), reference="page", seconds=20.0) == 1


@pytest.mark.parametrize(
    ("number", "error"),
    [
        # the file's own doing: it would do it again
        (signal.SIGSEGV, UndecodablePage),
        # the kernel's, for want of memory: another time it may be drawn
        (signal.SIGKILL, PageUnavailable),
    ],
)
def test_one_that_dies_takes_nobody_along(number: signal.Signals, error: type[Exception]) -> None:
    with renderer("page") as process:
        process.open(ENDLESS, reference="page", seconds=20.0)
        killer = threading.Timer(0.3, os.kill, (pid(process), number))
        killer.start()
        with pytest.raises(error):
            process.page(1, 72, reference="page", limits=LIMITS)
        killer.join()
    with renderer("page") as process:
        assert process.open(pdf(), reference="page", seconds=20.0) == 1


def test_one_that_died_while_nobody_had_it_is_not_handed_out() -> None:
    with renderer("page") as idle:
        pass
    os.kill(pid(idle), signal.SIGKILL)
    wait_until(lambda: idle._process.poll() is not None)
    with renderer("page") as process:
        assert process.open(pdf(), reference="page", seconds=20.0) == 1


def test_one_that_does_not_start_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backend.pages.renderer._IDLE", [])
    monkeypatch.setattr("sys.executable", "/bin/false")
    with pytest.raises(PageUnavailable, match="does not start"), renderer("page"):
        pass


def test_a_signal_to_the_whole_group_leaves_it_to_finish_the_page() -> None:
    with renderer("page") as process:
        process.open(pdf(count=2), reference="page", seconds=20.0)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(pid(process), number)
        assert process.page(1, 72, reference="page", limits=LIMITS).shape == (40, 60, 3)


OWNER = """
import sys
from backend.pages.renderer import renderer
from tests.pages.files import LIMITS
from tests.pages.test_renderer import ENDLESS, pid

with renderer("page") as process:
    process.open(ENDLESS, reference="page", seconds=20.0)
    print(pid(process), flush=True)
    process.page(int(sys.argv[1]), 72, reference="page", limits=LIMITS)
    print("drawn", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("page", [0, 1], ids=["idle", "in a picture that takes for ever"])
def test_one_ends_with_the_process_that_had_it(page: int) -> None:
    command = [sys.executable, "-c", OWNER, str(page)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout
        number = int(owner.stdout.readline())
        if page == 0:
            assert owner.stdout.readline() == "drawn\n"
        else:
            time.sleep(0.3)  # by now it is in the picture
        assert lives(number)
        owner.kill()
        owner.wait()
        wait_until(lambda: not lives(number))
