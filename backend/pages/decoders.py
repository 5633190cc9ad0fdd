"""Processes that decode files of strangers, one file at a time each; one that takes too much or too long is ended."""

from __future__ import annotations

import atexit
import fcntl
import json
import math
import mmap
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import backend
from backend.errors import CutShort, LimitExceeded, PageError, PageUnavailable, UndecodablePage
from backend.pages.memory_share import MemoryShare
from backend.pages.page import KEPT_BYTES, PACKET_BYTES, Page

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from backend.pages.page import Limits

__all__ = ["Decoder", "decoder", "finish"]

_START_SECONDS = 60.0
_CLOSE_SECONDS = 5.0
# How often it is looked at whether a page takes much memory: in this time the system hands out some tens of MiB.
_LOOK_SECONDS = 0.02
# As many as there are pages looked at at once; others end with their file.
_MOST_IDLE = 2
# Of a process: one that is looked at, and one that is being drawn.
_MOST_CANVASES = 2
# Memory of a file that is used again for the next one; a scan has one or two megabytes.
_KEPT_FILE_BYTES = 8 << 20
# One that has grown beyond this is ended with its file: an idle one has 50 to 80 MiB.
_MOST_RESIDENT = 128 << 20
# How many times FETCH_TIMEOUT a larger page waits for the one before it.
_PATIENCE = 3
# What a program dies of by its own fault, and a file's; other signals come from outside.
_CRASHES = (signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGABRT, signal.SIGTRAP)
_ERRORS: dict[str, type[PageError]] = {
    kind.__name__: kind for kind in (CutShort, LimitExceeded, PageUnavailable, UndecodablePage)
}
_PROGRAM = "import sys; sys.path.append(sys.argv[1]); from backend.pages.workbench import main; main(int(sys.argv[2]))"
# What a decoder may know of this process: where its libraries are. No token, no password.
_KEPT_NAMES = ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV")
_KEPT_PREFIXES = ("LC_", "LD_", "PYTHON")
_FRUGAL = {
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",  # a page's pixels in few large pieces: those of 4 kB cost half the time
    "MALLOC_ARENA_MAX": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
}

_IDLE: list[Decoder] = []
# Re-entrant, because the garbage collector may close an abandoned file while its thread is in here.
_IDLE_LOCK = threading.RLock()


class _Closing:
    """When the program is about to end, and pages must come to an end, too."""

    def __init__(self) -> None:
        self.at = math.inf


_CLOSING = _Closing()


def finish(*, within: float) -> None:
    """From now on no page takes longer than `within` seconds: the program is about to end."""
    _CLOSING.at = min(_CLOSING.at, time.monotonic() + within)


@contextmanager
def decoder(reference: str) -> Iterator[Decoder]:
    """A process that nobody else has, kept for the next file unless something went wrong with this one.

    Args:
        reference: Of the file, for errors.

    Raises:
        PageUnavailable: None can be started.
    """
    process = _taken(reference)
    try:
        yield process
    finally:
        _given_back(process)


class Decoder:
    """One process that runs `backend.pages.workbench`, for one file after the other.

    Args:
        reference: Of the first file, for errors.

    Raises:
        PageUnavailable: It does not start.
    """

    def __init__(self, reference: str) -> None:
        try:
            self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        except OSError as error:
            raise PageUnavailable(reference, f"no process to decode it can be reached: {error}") from error
        root = str(Path(backend.__file__).parents[1])
        # -P: nothing that lies in the working folder must pass for a library.
        command = [sys.executable, "-P", "-c", _PROGRAM, root, str(theirs.fileno())]
        try:
            with theirs:
                self._process = subprocess.Popen(  # noqa: S603  our own module
                    command, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()], env=_environment()
                )
        except OSError as error:
            self._socket.close()
            raise PageUnavailable(reference, f"no process to decode it can be started: {error}") from error
        self._well = True
        self._file: int | None = None
        self._canvases: list[int] = []
        try:
            self._answer(time.monotonic() + _START_SECONDS)
        except OSError as error:
            reason = f"the process that decodes it does not start (exit code {self.end()})"
            raise PageUnavailable(reference, reason) from error

    @property
    def is_well(self) -> bool:
        """Whether it lives, and has said to the end what it was asked."""
        return self._well and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._process.pid

    def open(self, data: bytes, kind: str, pages: slice | None, *, reference: str, limits: Limits) -> range:
        """Opens a file in place of the one before, and gives the indices of the wanted pages."""
        wanted = [pages.start, pages.stop, pages.step] if pages else None
        request = {"do": "open", "kind": kind, "pages": wanted, "length": len(data), "seconds": limits.seconds}
        with self._wary(reference), self._room(reference, limits.seconds) as room:
            if self._file is None:
                self._file = _memory("file")
            _fill(self._file, data)
            answer = self._asked(request, self._file, room, reference=reference, seconds=limits.seconds)
            return range(int(answer["start"]), int(answer["stop"]), int(answer["step"]))

    def page(self, index: int, *, dpi: int, enough: float | None, reference: str, limits: Limits) -> Page:
        """Decodes one page of the file."""
        request = {
            "do": "page",
            "index": index,
            "dpi": dpi,
            "enough": enough,
            "max_pixels": limits.max_pixels,
            "seconds": limits.seconds,
            "large": False,
        }
        with self._wary(reference), self._canvas() as place, self._room(reference, limits.seconds) as room:
            answer = self._asked(request, place, room, reference=reference, seconds=limits.seconds)
            if "large" in answer:
                room.take()
                request["large"] = True
                answer = self._asked(request, place, room, reference=reference, seconds=limits.seconds)
            across, down = map(int, answer["pixels"])
            pixels = self._pixels(place, across, down, most=limits.max_pixels)
            width, height = map(int, answer["size"])
            found = None if answer["dpi"] is None else float(answer["dpi"])
        return Page(pixels=pixels, reference=reference, index=index, dpi=found, size=(width, height))

    def close(self) -> None:
        """Closes the file; raises OSError."""
        if self._file is not None and os.fstat(self._file).st_size > _KEPT_FILE_BYTES:
            os.close(self._file)
            self._file = None
        answer = self._exchange({"do": "close"}, None, time.monotonic() + _CLOSE_SECONDS)
        self._well = self._well and answer["resident"] <= _MOST_RESIDENT

    def end(self) -> int:
        """Ends the process, whatever it is at, and gives its exit code."""
        self._well = False
        self._process.kill()
        code = self._process.wait()
        self._socket.close()
        with _IDLE_LOCK:
            while self._canvases:
                os.close(self._canvases.pop())
            if self._file is not None:
                os.close(self._file)
                self._file = None
        return code

    @contextmanager
    def _room(self, reference: str, seconds: float) -> Iterator[MemoryShare]:
        """The process's part of the memory, until it has answered."""
        room = MemoryShare(self._process, reference, patience=_PATIENCE * seconds, closing=lambda: _CLOSING.at)
        try:
            yield room
        finally:
            room.leave()

    @contextmanager
    def _canvas(self) -> Iterator[int]:
        """Memory for a page that the process sees, too; kept here where nothing was drawn on it."""
        with _IDLE_LOCK:
            place = self._canvases.pop() if self._canvases else _memory("page")
        try:
            yield place
        except BaseException:
            os.close(place)
            raise

    def _pixels(self, place: int, width: int, height: int, *, most: int) -> NDArray[np.uint8]:
        """What the process has drawn, (H, W, 3): the memory itself, which comes back here when nobody uses it any more.

        New memory costs more than drawing on it: each piece of 4 kB has to be found and emptied.

        Raises:
            OSError: There is no memory.
            ValueError: It has drawn something else than it says.
        """
        size = 3 * width * height
        if min(width, height) < 1 or width * height > most or os.fstat(place).st_size < size:
            raise ValueError("pixels that do not fit their size")
        memory = mmap.mmap(place, size, access=mmap.ACCESS_COPY)
        weakref.finalize(memory, self._take_back, place).atexit = False
        return np.frombuffer(memory, np.uint8).reshape(height, width, 3)

    def _take_back(self, place: int) -> None:
        with _IDLE_LOCK:
            if self.is_well and len(self._canvases) < _MOST_CANVASES and os.fstat(place).st_size <= KEPT_BYTES:
                self._canvases.append(place)
                return
        os.close(place)

    @contextmanager
    def _wary(self, reference: str) -> Iterator[None]:
        """Ends a process that talks nonsense: a file may have taken it over."""
        try:
            yield
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            self._well = False
            raise UndecodablePage(reference, "damaged, or made to harm: its decoder talks nonsense") from error
        except OSError as error:
            raise PageUnavailable(reference, "there is no memory to decode it at the moment: ask again") from error

    def _asked(
        self, request: dict[str, Any], place: int, room: MemoryShare, *, reference: str, seconds: float
    ) -> dict[str, Any]:
        """The answer to a request, or the error that it tells of."""
        try:
            answer = self._exchange(request, place, time.monotonic() + seconds, room)
        except TimeoutError as error:
            if time.monotonic() >= _CLOSING.at:
                raise PageUnavailable(reference, "not decoded any more: this program is about to end") from error
            raise _too_long(reference) from error
        except OSError as error:
            raise self._lost(reference) from error
        if answer.get("worn"):
            self._well = False
        if "error" in answer:
            raise _ERRORS[answer["error"]](reference, answer["reason"])
        return answer

    def _exchange(
        self, request: dict[str, Any], place: int | None, end: float, room: MemoryShare | None = None
    ) -> dict[str, Any]:
        was_well, self._well = self._well, False
        socket.send_fds(self._socket, [json.dumps(request).encode()], [] if place is None else [place])
        answer = self._answer(end, room)
        self._well = was_well
        return answer

    def _answer(self, end: float, room: MemoryShare | None = None) -> dict[str, Any]:
        """What it says; raises TimeoutError, or ConnectionError where the process has ended.

        Time that it has to stand still for the sake of another page's memory does not count.
        """
        while True:
            left = min(end, _CLOSING.at) - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._socket.settimeout(min(left, _LOOK_SECONDS))
            try:
                packet = self._socket.recv(PACKET_BYTES)
            except TimeoutError:
                end += room.look() if room else 0.0
                continue
            if not packet:
                raise ConnectionError
            answer: dict[str, Any] = json.loads(packet)
            return answer

    def _lost(self, reference: str) -> PageError:
        """Why a process ended by itself, as an error of the page that it was at."""
        try:
            # It has closed its end of the socket, and is about to have an exit code.
            code = self._process.wait(_CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            code = self.end()
        if -code == signal.SIGXCPU:
            return _too_long(reference)
        if code < 0 and -code not in _CRASHES:
            how = signal.Signals(-code).name
            return PageUnavailable(reference, f"the process that decoded it was ended ({how}): is there memory for it?")
        reason = f"damaged, or more memory than a page may take: the program that decodes it fails (exit code {code})"
        return UndecodablePage(reference, reason)


def _too_long(reference: str) -> LimitExceeded:
    return LimitExceeded(reference, "opening it or decoding a page takes longer than FETCH_TIMEOUT")


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name in _KEPT_NAMES or name.startswith(_KEPT_PREFIXES)}
    return kept | _FRUGAL


def _memory(name: str) -> int:
    """A descriptor of memory that two processes can see, and neither can take away from the other; raises OSError."""
    place = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    fcntl.fcntl(place, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
    return place


def _fill(place: int, data: bytes) -> None:
    rest, position = memoryview(data), 0
    while rest:
        written = os.pwrite(place, rest, position)
        rest, position = rest[written:], position + written


def _taken(reference: str) -> Decoder:
    """A process that nobody else has."""
    while True:
        with _IDLE_LOCK:
            process = _IDLE.pop() if _IDLE else None
        if process is None:
            return Decoder(reference)
        if process.is_well:
            return process
        process.end()


def _given_back(process: Decoder) -> None:
    """Keeps a process that is well for the next file; ends one that is still at a page that took too long."""
    if process.is_well:
        try:
            process.close()
        except (OSError, KeyError, TypeError, ValueError):  # it is gone, or talks nonsense
            process.end()
            return
        with _IDLE_LOCK:
            if process.is_well and len(_IDLE) < _MOST_IDLE:
                _IDLE.append(process)
                return
    process.end()


@atexit.register
def _end_idle() -> None:
    with _IDLE_LOCK:
        while _IDLE:
            _IDLE.pop().end()
