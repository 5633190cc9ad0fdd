"""Processes that render PDF documents, one document at a time each; one that is late with an answer is ended."""

from __future__ import annotations

import atexit
import select
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, cast

import numpy as np

from backend.errors import LimitExceeded, PageError, PageUnavailable, UndecodablePage
from backend.pages import pdfium
from backend.pages.raster import decoding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from backend.pages.page import Limits

__all__ = ["Renderer", "renderer"]

_START_SECONDS = 60.0
_CLOSE_SECONDS = 5.0
_PIPE_BYTES = 1 << 20
# As many as there are pages looked at at once; others end with their document.
_MOST_IDLE = 2
# What a program dies of by its own fault, and a file's; other signals come from outside.
_CRASHES = (signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGABRT, signal.SIGTRAP)
_IDLE: list[Renderer] = []
# Re-entrant, because the garbage collector may close an abandoned document while its thread is in here.
_IDLE_LOCK = threading.RLock()


@contextmanager
def renderer(reference: str) -> Iterator[Renderer]:
    """A process that nobody else has, kept for the next document unless something went wrong with this one.

    Args:
        reference: Of the document, for errors.

    Raises:
        PageUnavailable: None can be started.
    """
    process = _taken(reference)
    try:
        yield process
    finally:
        _given_back(process)


class Renderer:
    """One process that runs `backend.pages.pdfium`, for one document after the other.

    Args:
        reference: Of the first document, for errors.

    Raises:
        PageUnavailable: It does not start.
    """

    def __init__(self, reference: str) -> None:
        # By its path: it needs nothing of this package. -P: nothing that lies beside it must pass for a library.
        command = [sys.executable, "-P", str(pdfium.__file__)]
        try:
            self._process = subprocess.Popen(  # noqa: S603  our own module
                command, bufsize=0, pipesize=_PIPE_BYTES, stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
        except OSError as error:
            raise PageUnavailable(reference, f"no process to render it can be started: {error}") from error
        self._requests = cast("IO[bytes]", self._process.stdin)
        self._answers = cast("IO[bytes]", self._process.stdout)
        self._ready = select.poll()
        self._ready.register(self._answers, select.POLLIN)
        self._in_answer = True
        try:
            self._answer(time.monotonic() + _START_SECONDS)
        except OSError as error:
            reason = f"the process that renders it does not start (exit code {self.end()})"
            raise PageUnavailable(reference, reason) from error
        self._in_answer = False

    @property
    def is_well(self) -> bool:
        """Whether it lives, and has said to the end what it was asked."""
        return not self._in_answer and self._process.poll() is None

    def open(self, data: bytes, *, reference: str, seconds: float) -> int:
        """Opens a document in place of the one before, and gives its number of pages."""
        with self._asking(reference):
            end = time.monotonic() + seconds
            self._ask(pdfium.OPEN, len(data), body=data)
            kind, count, _ = self._answer(end)
        if kind != pdfium.DONE:
            raise _refusal(kind, reference)
        return count

    def page(self, index: int, dpi: int, *, reference: str, limits: Limits) -> NDArray[np.uint8]:
        """Renders one page of the document, (H, W, 3) RGB."""
        with decoding(reference), self._asking(reference):
            end = time.monotonic() + limits.seconds
            self._ask(pdfium.PAGE, index, dpi, limits.max_pixels)
            kind, width, height = self._answer(end)
            pixels = np.empty((height, width, 3) if kind == pdfium.DONE else (0, 0, 3), np.uint8)
            self._read(pixels.reshape(-1).data, end)
        if kind == pdfium.LARGE:
            way_out = f"more than MAX_PIXELS ({limits.max_pixels}); RENDER_DPI is {dpi}"
            raise LimitExceeded(reference, f"page {index + 1} has {width}x{height} pixels, {way_out}")
        if kind != pdfium.DONE:
            raise _refusal(kind, reference)
        return pixels

    def close(self) -> None:
        """Closes the document; raises OSError."""
        self._in_answer = True
        self._ask(pdfium.CLOSE)
        self._answer(time.monotonic() + _CLOSE_SECONDS)
        self._in_answer = False

    def end(self) -> int:
        """Ends the process, whatever it is at, and gives its exit code."""
        self._process.kill()
        code = self._process.wait()
        self._requests.close()
        self._answers.close()
        return code

    @contextmanager
    def _asking(self, reference: str) -> Iterator[None]:
        self._in_answer = True
        try:
            yield
        except TimeoutError as error:
            raise LimitExceeded(reference, "opening it or rendering a page takes longer than FETCH_TIMEOUT") from error
        except OSError as error:
            raise self._lost(reference) from error
        self._in_answer = False

    def _ask(self, wanted: bytes, first: int = 0, second: int = 0, third: int = 0, *, body: bytes = b"") -> None:
        for part in (pdfium.REQUEST.pack(wanted, first, second, third), body):
            rest = memoryview(part)
            while rest:
                rest = rest[self._requests.write(rest) :]

    def _answer(self, end: float) -> tuple[bytes, int, int]:
        head = bytearray(pdfium.ANSWER.size)
        self._read(memoryview(head), end)
        kind, first, second = pdfium.ANSWER.unpack(head)
        return kind, first, second

    def _read(self, rest: memoryview, end: float) -> None:
        """Fills `rest`; raises TimeoutError, or ConnectionError where the process has ended."""
        while rest:
            left = end - time.monotonic()
            if left <= 0 or not self._ready.poll(1000 * left):
                raise TimeoutError
            count = self._answers.readinto(rest)  # type: ignore[attr-defined]
            if not count:
                raise ConnectionError
            rest = rest[count:]

    def _lost(self, reference: str) -> PageError:
        """Why a process ended by itself, as an error of the page that it was at."""
        try:
            # It has closed its end of the pipe, and is about to have an exit code.
            code = self._process.wait(_CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            code = self.end()
        if code < 0 and -code not in _CRASHES:
            how = signal.Signals(-code).name
            return PageUnavailable(
                reference, f"the process that rendered it was ended ({how}): is there memory for it?"
            )
        return UndecodablePage(reference, f"damaged: the program that renders it fails (exit code {code})")


def _refusal(kind: bytes, reference: str) -> PageError:
    if kind == pdfium.LOCKED:
        return UndecodablePage(reference, "the PDF is encrypted: save it without a password")
    if kind == pdfium.SHORT:
        return PageUnavailable(reference, "there is no memory to render it at the moment: ask again")
    return UndecodablePage(reference, "damaged or cut short: the PDF cannot be read")


def _taken(reference: str) -> Renderer:
    """A process that nobody else has."""
    while True:
        with _IDLE_LOCK:
            process = _IDLE.pop() if _IDLE else None
        if process is None:
            return Renderer(reference)
        if process.is_well:
            return process
        process.end()


def _given_back(process: Renderer) -> None:
    """Keeps a process that is well for the next document; ends one that is still at a page that took too long."""
    if process.is_well:
        try:
            process.close()
        except OSError:
            process.end()
            return
        with _IDLE_LOCK:
            if len(_IDLE) < _MOST_IDLE:
                _IDLE.append(process)
                return
    process.end()


@atexit.register
def _end_idle() -> None:
    with _IDLE_LOCK:
        while _IDLE:
            _IDLE.pop().end()
