"""Shares memory among the pages of a program: one page may take much, while all others go on with little."""

from __future__ import annotations

import mmap
import signal
import threading
import time
from typing import TYPE_CHECKING

from backend.errors import PageUnavailable

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

__all__ = ["MemoryShare"]

# Up to this a page waits for no other one; an A4 page of 300 dpi takes 80 to 110 MiB.
_SMALL_BYTES = 128 << 20
_LOOK_SECONDS = 0.2
_LARGE = threading.Semaphore()


class MemoryShare:
    """The part of one page in the memory that all pages of this program share.

    Up to `_SMALL_BYTES` a page takes what it needs. At most one page is larger: the process of another one that grows
    stands still until the first is done. The need is measured, not estimated, because the headers of a file tell little
    of it. So no page is refused for an estimate.

    Args:
        process: Decodes the page.
        reference: Of the page, for errors.
        patience: Seconds that it stands still at most.
        closing: Tells when the program is about to end.
    """

    def __init__(
        self, process: subprocess.Popen[bytes], reference: str, *, patience: float, closing: Callable[[], float]
    ) -> None:
        self._process = process
        self._reference = reference
        self._patience = patience
        self._closing = closing
        self._is_large = False

    def look(self) -> float:
        """Holds the process, where it has grown too large beside another one; gives the seconds that it stood still."""
        if self._is_large or _resident(self._process.pid) <= _SMALL_BYTES:
            return 0.0
        begun = time.monotonic()
        if not self._is_next(0.0):
            self._process.send_signal(signal.SIGSTOP)
            try:
                self.take()
            finally:
                self._process.send_signal(signal.SIGCONT)
        return time.monotonic() - begun

    def take(self) -> None:
        """Waits until no other page is large.

        Raises:
            PageUnavailable: The others take too long, or the program is about to end.
        """
        give_up = time.monotonic() + self._patience
        while not self._is_next(_LOOK_SECONDS):
            if time.monotonic() >= min(give_up, self._closing()):
                raise PageUnavailable(self._reference, "so large a page waits for another one: ask again")

    def leave(self) -> None:
        """Makes place for the next large page."""
        if self._is_large:
            self._is_large = False
            _LARGE.release()

    def _is_next(self, timeout: float) -> bool:
        self._is_large = self._is_large or _LARGE.acquire(timeout=timeout)
        return self._is_large


def _resident(number: int) -> int:
    """Bytes that a process has in memory; 0 of one that has ended."""
    try:
        with open(f"/proc/{number}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * mmap.PAGESIZE
    except (FileNotFoundError, ProcessLookupError):
        return 0
