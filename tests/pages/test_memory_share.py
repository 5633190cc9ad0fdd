"""The pages of a program share its memory: one may be large, and the small ones pass it."""

from __future__ import annotations

import math
import subprocess
import sys
import threading
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from backend.errors import PageUnavailable
from backend.pages.memory_share import MemoryShare
from tests.pages.conftest import wait_until
from tests.patience import SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator

GROWN = "memory = b'x' * ({} << 20); print('grown', flush=True); input()"


@contextmanager
def grown(mebibytes: int) -> Iterator[subprocess.Popen[bytes]]:
    """A process that has taken so much memory, and waits."""
    command = [sys.executable, "-c", GROWN.format(mebibytes)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"grown\n"
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def share(
    process: subprocess.Popen[bytes], *, patience: float = float(SECONDS), end: float = math.inf
) -> Iterator[MemoryShare]:
    one = MemoryShare(process, "page", patience=patience, closing=lambda: end)
    try:
        yield one
    finally:
        one.leave()


def stands_still(process: subprocess.Popen[bytes]) -> bool:
    return Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def test_of_two_large_pages_one_stands_still_and_small_ones_pass() -> None:
    waited: list[float] = []
    with ExitStack() as stack:
        first, second = (stack.enter_context(grown(160)) for _ in range(2))
        small = stack.enter_context(grown(8))
        one, other, passing = (stack.enter_context(share(process)) for process in (first, second, small))
        assert one.look() < 1.0
        waiting = threading.Thread(target=lambda: waited.append(other.look()))
        waiting.start()
        wait_until(lambda: stands_still(second))
        assert passing.look() == 0.0
        assert one.look() == 0.0, "the first one is asked only once"
        assert not stands_still(first)
        assert not stands_still(small)
        assert waited == []
        one.leave()
        waiting.join()
        assert waited[0] > 0.0
        wait_until(lambda: not stands_still(second))


@pytest.mark.parametrize(
    ("patience", "end"),
    [
        (0.0, math.inf),  # the other one takes too long
        (60.0, 0.0),  # the program is about to end
    ],
)
def test_a_large_page_does_not_wait_for_ever(patience: float, end: float) -> None:
    with grown(160) as first, grown(160) as second, share(first) as one:
        one.look()
        with share(second, patience=patience, end=end) as other, pytest.raises(PageUnavailable, match="ask again"):
            other.look()
        wait_until(lambda: not stands_still(second))
        one.leave()
        with share(second, patience=0.0) as other:
            other.take()  # who gave up holds nothing


def test_a_process_that_has_ended_takes_nothing() -> None:
    with grown(160) as process, share(process) as one:
        process.kill()
        process.wait()
        assert one.look() == 0.0
