"""Processes that decode: kept while they are well, ended when they are not, gone with their owner."""

from __future__ import annotations

import dataclasses
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from backend.errors import LimitExceeded, PageUnavailable, UndecodablePage
from backend.pages.decoders import Decoder, decoder
from backend.pages.headers import sniff
from backend.pages.page import Limits, Page
from tests.pages.conftest import wait_until
from tests.pages.files import LIMITS, endless, pdf, picture_pdf

ROOT = Path(__file__).parents[2]
ENDLESS = picture_pdf(endless(scans=50_000, side=4000), width=4000, height=4000)
"""Its second page takes a quarter of an hour."""


def opened(process: Decoder, data: bytes) -> range:
    return process.open(data, sniff(data) or "", None, reference="page", limits=LIMITS)


def page(process: Decoder, index: int, *, dpi: int = 72, limits: Limits = LIMITS) -> Page:
    return process.page(index, dpi=dpi, enough=None, reference="page", limits=limits)


def lives(number: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def computed(number: int) -> float:
    """Seconds that a process has computed."""
    return int(Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[11]) / os.sysconf("SC_CLK_TCK")


def test_one_process_renders_one_document_after_the_other() -> None:
    seen = set()
    for count in (1, 3):
        with decoder("page") as process:
            assert list(opened(process, pdf(count=count))) == list(range(count))
            assert page(process, 0, dpi=144).pixels.shape == (80, 120, 3)
            seen.add(process.pid)
    assert len(seen) == 1


def test_two_documents_at_once_have_a_process_each() -> None:
    with decoder("one") as one, decoder("other") as other:
        assert len(opened(one, pdf(count=2))) == 2
        assert len(opened(other, pdf(count=3))) == 3
        assert page(one, 1, dpi=72).pixels.shape == (40, 60, 3)
        assert one.pid != other.pid


def test_one_that_is_late_is_ended() -> None:
    with decoder("page") as process:
        opened(process, ENDLESS)
        with pytest.raises(LimitExceeded, match="FETCH_TIMEOUT"):
            page(process, 1, limits=dataclasses.replace(LIMITS, seconds=0.3))
        late = process.pid
    assert not lives(late)
    with decoder("page") as process:
        assert len(opened(process, pdf())) == 1


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
    with decoder("page") as process:
        opened(process, ENDLESS)
        before = computed(process.pid)

        def kill() -> None:
            wait_until(lambda: computed(process.pid) > before + 0.2)  # by now it is in the picture
            os.kill(process.pid, number)

        killer = threading.Thread(target=kill)
        killer.start()
        with pytest.raises(error):
            page(process, 1)
        killer.join()
    with decoder("page") as process:
        assert len(opened(process, pdf())) == 1


def test_one_without_room_for_the_pixels_says_so_and_makes_place_for_another() -> None:
    """A file that may not grow stands for the disk; limits are inherited, so this one would have it for ever."""
    with decoder("page") as process:
        opened(process, pdf(width=600, height=400))
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        with pytest.raises(PageUnavailable, match="no room to decode it at the moment"):
            page(process, 0)
    assert not lives(process.pid)
    with decoder("page") as another:
        opened(another, pdf())
        assert page(another, 0).pixels.shape == (40, 60, 3)


def test_one_that_died_while_nobody_had_it_is_not_handed_out() -> None:
    with decoder("page") as idle:
        pass
    os.kill(idle.pid, signal.SIGKILL)
    wait_until(lambda: idle._process.poll() is not None)
    with decoder("page") as process:
        assert len(opened(process, pdf())) == 1


def test_one_that_does_not_start_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backend.pages.decoders._IDLE", [])
    monkeypatch.setattr("sys.executable", "/bin/false")
    with pytest.raises(PageUnavailable, match="does not start"), decoder("page"):
        pass


def test_one_for_which_no_descriptor_is_left_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backend.pages.decoders._IDLE", [])
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        with pytest.raises(PageUnavailable, match="Too many open files"), decoder("page"):
            pass
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_one_that_talks_nonsense_at_the_end_of_its_file_is_ended() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs, decoder("page") as process:
        process._socket.close()
        process._socket = ours
        theirs.send(b"{}")
    assert not lives(process.pid)


def test_a_signal_to_the_whole_group_leaves_it_to_finish_the_page() -> None:
    with decoder("page") as process:
        opened(process, pdf(count=2))
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(process.pid, number)
        assert page(process, 1, dpi=72).pixels.shape == (40, 60, 3)


OWNER = """
import sys
from backend.pages.decoders import decoder
from tests.pages.test_decoders import ENDLESS, opened, page

with decoder("page") as process:
    opened(process, ENDLESS)
    print(process.pid, flush=True)
    page(process, int(sys.argv[1]))
    print("drawn", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("still", [False, True], ids=["at work", "made to stand still"])
@pytest.mark.parametrize("page", [0, 1], ids=["idle", "in a picture that takes for ever"])
def test_one_ends_with_the_process_that_had_it(page: int, *, still: bool) -> None:
    command = [sys.executable, "-c", OWNER, str(page)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout
        number = int(owner.stdout.readline())
        if page == 0:
            assert owner.stdout.readline() == "drawn\n"
        else:
            time.sleep(0.3)  # by now it is in the picture
        assert lives(number)
        if still:
            os.kill(number, signal.SIGSTOP)
        owner.kill()
        owner.wait()
        wait_until(lambda: not lives(number))


def test_an_idle_decoder_does_not_keep_a_large_files_memory() -> None:
    with decoder("page") as process:
        opened(process, pdf())
        small = process._file
        process.open(pdf() + bytes(9 << 20), "PDF", None, reference="page", limits=LIMITS)
        assert process._file == small
        process.close()
        assert process._file is None
        assert len(opened(process, pdf())) == 1
