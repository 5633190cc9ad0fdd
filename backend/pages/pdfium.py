"""The program that renders PDF documents, one at a time, in a process of its own: bytes in on stdin, pixels on stdout.

PDFium cannot be stopped while it decodes one picture or loads one page, and a hostile file keeps it there for as long
as it likes; a process can be ended. `backend.pages.renderer` starts this one by its path and speaks to it: it knows
PDFium and nothing of this package, so that it is ready in a tenth of a second. It ends with its standard input, or
with the process that started it.
"""

from __future__ import annotations

import math
import os
import signal
import struct
import sys
import threading
import time
from typing import Any, BinaryIO

__all__ = [
    "ANSWER",
    "BAD",
    "CLOSE",
    "DONE",
    "LARGE",
    "LOCKED",
    "OPEN",
    "PAGE",
    "REQUEST",
    "SHORT",
]

REQUEST = struct.Struct("<cQQQ")
"""What is wanted, and: the length of the file that follows (OPEN); the page's index, dpi and most pixels (PAGE)."""
OPEN, PAGE, CLOSE = b"o", b"p", b"c"

ANSWER = struct.Struct("<cQQ")
"""What became of it, and: the number of pages (OPEN); width and height, 3 × width × height bytes after them (PAGE)."""
DONE = b"d"
LARGE = b"l"
"""A page of more pixels than may be; its width and height."""
LOCKED = b"k"
"""Encrypted with a password."""
SHORT = b"s"
"""There is no memory for it."""
BAD = b"b"
"""Damaged."""

_WATCH_SECONDS = 1.0
_MOST = 2**63
_Answer = tuple[bytes, int, int, Any]


class _Renderer:
    """Holds the document that is open."""

    def __init__(self) -> None:
        # Here and not above: the process that speaks to this one reads this file too, and needs no PDFium.
        import pypdfium2  # noqa: PLC0415
        import pypdfium2.internal  # noqa: PLC0415
        import pypdfium2.raw  # noqa: PLC0415

        self._library = pypdfium2
        self._document: Any = None

    def answer(self, wanted: bytes, numbers: tuple[int, int, int], requests: BinaryIO) -> _Answer:
        try:
            if wanted == OPEN:
                return DONE, self._open(requests.read(numbers[0])), 0, b""
            if wanted == PAGE:
                return self._page(*numbers)
            self._close()
        except MemoryError:
            return SHORT, 0, 0, b""
        except self._library.PdfiumError as error:
            locked = error.err_code == self._library.raw.FPDF_ERR_PASSWORD
            return LOCKED if locked else BAD, 0, 0, b""
        except (ArithmeticError, ValueError):
            # Such as a page as large as no number.
            return BAD, 0, 0, b""
        return DONE, 0, 0, b""

    def _open(self, data: bytes) -> int:
        self._close()
        self._document = self._library.PdfDocument(data)
        self._document.init_forms()
        return len(self._document)

    def _close(self) -> None:
        if self._document is not None:
            self._document.close()
            self._document = None

    def _page(self, index: int, dpi: int, most: int) -> _Answer:
        page = self._document[index]
        try:
            # Rounded first: 595.276 pt at 72 dpi must not become a column more than the page has.
            width, height = (max(1, math.ceil(round(side * dpi / 72, 3))) for side in page.get_size())
            if width * height > most:
                return LARGE, min(width, _MOST), min(height, _MOST), b""
            return DONE, width, height, self._pixels(page, width, height)
        finally:
            page.close()

    def _pixels(self, page: Any, width: int, height: int) -> Any:
        """(height, width, 3) RGB on white paper, as printed: annotations and form fields included."""
        library, raw = self._library, self._library.raw
        bitmap = library.PdfBitmap.new_native(width, height, raw.FPDFBitmap_BGR, rev_byteorder=True)
        try:
            bitmap.fill_rect((255, 255, 255, 255), 0, 0, width, height)
            flags = raw.FPDF_ANNOT | raw.FPDF_REVERSE_BYTE_ORDER
            place = (bitmap, page, 0, 0, width, height, 0, flags)
            pause = raw.IFSDK_PAUSE(version=1)
            library.internal.set_callback(pause, "NeedToPauseNow", lambda _: False)
            try:
                # In steps that never pause: drawn in one, a page would not say whether it could be.
                if raw.FPDF_RenderPageBitmap_Start(*place, pause) != raw.FPDF_RENDER_DONE:
                    raise ValueError("a page that cannot be rendered")
            finally:
                raw.FPDF_RenderPage_Close(page)
            if self._document.formenv:
                raw.FPDF_FFLDraw(self._document.formenv, *place)
            return bitmap.buffer
        finally:
            bitmap.close()


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_WATCH_SECONDS)
    os._exit(1)


def _main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # Sent to the whole group, they are for the process that started this one, and may want a page still.
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    answers, requests = os.fdopen(os.dup(1), "wb"), sys.stdin.buffer
    os.dup2(2, 1)  # whatever else is printed must not get between the answers
    renderer = _Renderer()
    answers.write(ANSWER.pack(DONE, 0, 0))
    answers.flush()
    while len(head := requests.read(REQUEST.size)) == REQUEST.size:
        wanted, *numbers = REQUEST.unpack(head)
        kind, first, second, body = renderer.answer(wanted, (numbers[0], numbers[1], numbers[2]), requests)
        answers.write(ANSWER.pack(kind, first, second))
        answers.write(body)
        answers.flush()


if __name__ == "__main__":
    try:
        _main()
    except BrokenPipeError:
        os._exit(1)
