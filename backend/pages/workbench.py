"""The program of a decoder process: files in, pixels out through memory that both sides see, all within limits.

A library that decodes one picture cannot be stopped. A hostile file can keep it busy for ever, or make it take all
memory. A process can be bounded and ended. `backend.pages.decoders` starts this one and speaks to it. A request and its
answer are one JSON object each, in one packet. The file, and the memory for a page's pixels, come as descriptors beside
the request. It ends with its socket, or with the process that started it.
"""

from __future__ import annotations

import ctypes
import errno
import json
import math
import mmap
import os
import resource
import signal
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from backend.errors import LimitExceeded, PageUnavailable, UndecodablePage
from backend.pages.page import KEPT_BYTES, PACKET_BYTES, Refusal
from backend.pages.raster import PictureFile

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from backend.pages.page import Document

__all__ = ["ORDINARY_BYTES", "end_with", "main", "room_for"]

_MEBIBYTE = 1 << 20
ORDINARY_BYTES = 512 * _MEBIBYTE
"""Memory that opening a file, or decoding a page, may take beyond what the idle process has."""
# The same of a page of which all pixels are asked for: with the program beside it, that is a gigabyte.
_LARGEST_BYTES = 704 * _MEBIBYTE
_BESIDES_PIXELS = 128 * _MEBIBYTE
# What the system says where it has nothing left, which is no fault of the file that is decoded.
_SHORTAGES = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EIO)
_SHORT_OF_MEMORY = ("out of memory", "cannot allocate memory", "memory allocation")
_WATCH_SECONDS = 1.0
_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG; a name of Linux's headers
_SPARE_SECONDS = 2
_MOST_CANVASES = 3


def room_for(pixels: int, bytes_a_pixel: int = 10) -> int:
    """Bytes that decoding a page of so many pixels may take where all of them are asked for.

    It is `ORDINARY_BYTES`, unless the page itself needs more: 10 bytes a pixel, and 128 MiB for the file and the
    library. Of the 10 bytes, the library's picture takes 4, the answer 3, and a progressive JPEG's coefficients 3. So
    pages up to 40 million pixels are ordinary. No page has more than `_LARGEST_BYTES`: A3 at 600 dpi finds room there,
    and what needs more is refused when it asks for it. Whoever looks for marks asks for fewer pixels, and such a page
    has `ORDINARY_BYTES` whatever its size.
    """
    return min(max(ORDINARY_BYTES, bytes_a_pixel * pixels + _BESIDES_PIXELS), _LARGEST_BYTES)


class _LargePage(Exception):
    """A page that needs more than the ordinary room, which it has to wait for."""


class _Desk:
    """Where one page is drawn: see `backend.pages.page.Desk`."""

    def __init__(self, request: dict[str, Any], canvas: Callable[[int], mmap.mmap], bounds: _Bounds) -> None:
        self.dpi: int = request["dpi"]
        self.enough: float | None = request["enough"]
        self.drawn: tuple[int, int] = (0, 0)
        self._most_pixels: int = request["max_pixels"]
        self._large: bool = request["large"]
        self._canvas = canvas
        self._bounds = bounds

    def admit(self, width: int, height: int, *, what: str = "", hint: str = "", bytes_a_pixel: int = 10) -> None:
        pixels = width * height
        if pixels > self._most_pixels:
            way_out = "save it with fewer dots an inch, or raise MAX_PIXELS"
            reason = f"{what}{width}x{height} pixels, more than MAX_PIXELS ({self._most_pixels}){hint}: {way_out}"
            raise Refusal(LimitExceeded, reason)
        room = ORDINARY_BYTES if self.enough else room_for(pixels, bytes_a_pixel)
        if room > ORDINARY_BYTES and not self._large:
            raise _LargePage
        self._bounds.memory(room)

    def canvas(self, height: int, width: int) -> NDArray[np.uint8]:
        size = 3 * width * height
        self.drawn = width, height
        return np.frombuffer(self._canvas(size), np.uint8, size).reshape(height, width, 3)


class _Bounds:
    """What the operating system holds this process to."""

    def __init__(self) -> None:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        self._inherited = resource.getrlimit(resource.RLIMIT_AS)
        self._base = _size()
        self._room = ORDINARY_BYTES

    def begin(self, seconds: float) -> None:
        """Before each file and page: so many seconds of a processor, and the ordinary memory."""
        soft = math.ceil(time.process_time() + seconds) + _SPARE_SECONDS
        _, hard = resource.getrlimit(resource.RLIMIT_CPU)
        resource.setrlimit(resource.RLIMIT_CPU, (soft if hard < 0 else min(soft, hard), hard))
        self._base = _size()
        self.memory(ORDINARY_BYTES)

    def memory(self, room: int) -> None:
        """So many bytes beyond those of the beginning."""
        soft, hard = self._inherited
        wanted = self._base + room
        for inherited in (soft, hard):
            wanted = wanted if inherited < 0 else min(wanted, inherited)
        resource.setrlimit(resource.RLIMIT_AS, (wanted, hard))
        self._room = room

    def refusal(self) -> Refusal:
        """Why there was no memory: the page took all its room, or this machine has none left, which passes."""
        resource.setrlimit(resource.RLIMIT_AS, self._inherited)
        try:
            mmap.mmap(-1, self._room).close()
        except OSError:
            return Refusal(PageUnavailable, "there is no memory to decode it at the moment: ask again")
        return Refusal(
            LimitExceeded,
            f"decoding it takes more than {self._room // _MEBIBYTE} MiB of memory: save it with fewer pixels, or as a "
            "JPEG that is not progressive",
        )


class _Workbench:
    """Holds the file that is open.

    Args:
        desk: The socket over which requests come.
    """

    def __init__(self, requests: socket.socket) -> None:
        self._requests = requests
        self._bounds = _Bounds()
        self._document: Document | None = None
        self._canvases: dict[int, mmap.mmap] = {}

    def answer(self, request: dict[str, Any], place: int) -> dict[str, Any]:
        """What becomes of a request; `place` is the descriptor beside it."""
        wanted = {"open": self._open, "page": self._page, "close": self._close}[request["do"]]
        try:
            return wanted(request, place)
        except _LargePage:
            return {"large": True}
        except Refusal as refusal:
            return _said(refusal)
        except Exception as error:
            if _is_short_of_memory(error):
                return _said(self._bounds.refusal()) | {"worn": True}
            if isinstance(error, OSError) and error.errno in _SHORTAGES:
                # A fresh process may have what this one lacks: limits are inherited when one starts.
                reason = f"there is no room to decode it at the moment ({os.strerror(error.errno)}): ask again"
                return _said(Refusal(PageUnavailable, reason)) | {"worn": True}
            return _said(Refusal(UndecodablePage, f"damaged: it cannot be read ({type(error).__name__})"))

    def _open(self, request: dict[str, Any], place: int) -> dict[str, Any]:
        if request["kind"] == "PDF":
            # Here and not above: where no PDF comes, its library need not be loaded.
            from backend.pages.pdfium import PdfDocument  # noqa: PLC0415
        self._close(request, place)
        self._bounds.begin(request["seconds"])
        data = os.pread(place, request["length"], 0)
        self._document = PdfDocument(data) if request["kind"] == "PDF" else PictureFile(data, request["kind"])
        wanted = request["pages"]
        indices = self._document.indices(slice(*wanted) if wanted else None)
        return {"start": indices.start, "stop": indices.stop, "step": indices.step}

    def _page(self, request: dict[str, Any], place: int) -> dict[str, Any]:
        if self._document is None:
            raise Refusal(UndecodablePage, "no file is open")
        self._bounds.begin(request["seconds"])
        desk = _Desk(request, lambda size: self._canvas(place, size), self._bounds)
        drawn = self._document.page(request["index"], desk)
        return {"pixels": desk.drawn, "size": drawn.size, "dpi": drawn.dpi}

    def _canvas(self, place: int, size: int) -> mmap.mmap:
        """Memory of at least `size` bytes behind a descriptor, which was seen before where it comes back."""
        found = os.fstat(place)
        memory = self._canvases.pop(found.st_ino, None)
        if memory is None or len(memory) < size:
            if found.st_size < size:
                os.ftruncate(place, size)
            memory = mmap.mmap(place, size)
        if size <= KEPT_BYTES:
            self._canvases[found.st_ino] = memory
            if len(self._canvases) > _MOST_CANVASES:
                del self._canvases[next(iter(self._canvases))]
        return memory

    def _close(self, _: dict[str, Any], __: int) -> dict[str, Any]:
        if self._document is not None:
            self._document.close()
            self._document = None
        return {"resident": _resident()}


def _said(refusal: Refusal) -> dict[str, Any]:
    return {"error": refusal.kind.__name__, "reason": refusal.reason}


def _is_short_of_memory(error: Exception) -> bool:
    """Whether there was no memory, in the words of Python and NumPy, of OpenCV, or of the libraries behind Pillow."""
    if isinstance(error, cv2.error):
        return error.code == cv2.Error.StsNoMem
    told = str(error).lower()
    return isinstance(error, MemoryError) or any(words in told for words in _SHORT_OF_MEMORY)


def _pages_of_memory(field: int) -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[field]) * mmap.PAGESIZE


def _size() -> int:
    """Bytes of address space."""
    return _pages_of_memory(0)


def _resident() -> int:
    return _pages_of_memory(1)


def _go_on_without_parent() -> None:
    """A process that was made to stand still goes on when nobody is left to say so, and then ends itself."""
    ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, signal.SIGCONT)


def end_with(parent: int) -> None:
    """Ends this process with the one that started it; for a thread of its own."""
    while os.getppid() == parent:
        time.sleep(_WATCH_SECONDS)
    os._exit(1)


def main(number: int) -> None:
    """Answers requests until there are no more.

    Args:
        number: Descriptor of the socket.
    """
    for sent in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # Sent to the whole group, they are for the process that started this one, and may want a page still.
        signal.signal(sent, signal.SIG_IGN)
    _go_on_without_parent()
    threading.Thread(target=end_with, args=(os.getppid(),), daemon=True).start()
    cv2.setNumThreads(1)
    with socket.socket(fileno=number) as requests:
        workbench = _Workbench(requests)
        requests.send(b"{}")
        # What libraries say of a file is the file's own words: they must not get into anybody's log.
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 1)
        os.dup2(silent, 2)
        while True:
            packet, places, _, _ = socket.recv_fds(requests, PACKET_BYTES, 1)
            if not packet:
                return
            place = places[0] if places else -1
            try:
                answer = workbench.answer(json.loads(packet), place)
            finally:
                if places:
                    os.close(place)
            requests.send(json.dumps(answer).encode())


if __name__ == "__main__":
    main(int(sys.argv[1]))
