"""PDF documents → RGB pages, rendered by PDFium."""

from __future__ import annotations

import math
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pypdfium2
import pypdfium2.internal
import pypdfium2.raw as pdfium

from backend.errors import LimitExceeded, UndecodablePage
from backend.pages.page import Page
from backend.pages.raster import count_guard, decoding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from backend.pages.page import Limits

__all__ = ["decode_pdf"]

# PDFium must not be called from two threads at once, whichever documents they have. Re-entrant, because the garbage
# collector may close an abandoned iterator while its thread is in here.
_LOCK = threading.RLock()


def decode_pdf(data: bytes, *, reference: str, limits: Limits, dpi: int, pages: slice | None) -> Iterator[Page]:
    """Pages as they would be printed, annotations and form fields included, at `dpi`.

    Raises:
        LimitExceeded: Pixels of a page, the number of pages, or seconds that rendering a page takes.
        UndecodablePage: Damaged, or encrypted with a password.
    """
    document = _open(data, reference)
    try:
        with _LOCK:
            count = len(document)
        for index in count_guard(count, pages, reference=reference, limits=limits):
            with _LOCK, decoding(reference):
                pixels = _render(document, index, dpi, reference, limits)
            yield Page(pixels=pixels, reference=reference, index=index, dpi=float(dpi))
    finally:
        with _LOCK:
            document.close()


def _open(data: bytes, reference: str) -> Any:
    with _LOCK, decoding(reference):
        try:
            document = pypdfium2.PdfDocument(data)
        except pypdfium2.PdfiumError as error:
            if error.err_code == pdfium.FPDF_ERR_PASSWORD:
                raise UndecodablePage(reference, "the PDF is encrypted: save it without a password") from error
            raise
        document.init_forms()
        return document


def _render(document: Any, index: int, dpi: int, reference: str, limits: Limits) -> NDArray[np.uint8]:
    # PDFium cannot be stopped while it loads a page, but what it took then is missing when it draws.
    end = time.monotonic() + limits.seconds
    page = document[index]
    try:
        # Rounded first: 595.276 pt at 72 dpi must not become a column more than the page has.
        width, height = (max(1, math.ceil(round(side * dpi / 72, 3))) for side in page.get_size())
        if width * height > limits.max_pixels:
            way_out = f"more than MAX_PIXELS ({limits.max_pixels}); RENDER_DPI is {dpi}"
            raise LimitExceeded(reference, f"page {index + 1} has {width}x{height} pixels, {way_out}")
        bitmap = pypdfium2.PdfBitmap.new_native(width, height, pdfium.FPDFBitmap_BGR, rev_byteorder=True)
        try:
            bitmap.fill_rect((255, 255, 255, 255), 0, 0, width, height)
            _draw(document, page, bitmap, reference=reference, end=end)
            return np.array(bitmap.to_numpy())
        finally:
            bitmap.close()
    finally:
        page.close()


def _draw(document: Any, page: Any, bitmap: Any, *, reference: str, end: float) -> None:
    """Draws in steps, so that a page made to take for ever does not: it would hold up every other PDF."""
    pause = pdfium.IFSDK_PAUSE(version=1)
    pypdfium2.internal.set_callback(pause, "NeedToPauseNow", lambda _: time.monotonic() >= end)
    flags = pdfium.FPDF_ANNOT | pdfium.FPDF_REVERSE_BYTE_ORDER
    place = (bitmap, page, 0, 0, bitmap.width, bitmap.height, 0, flags)
    try:
        status = pdfium.FPDF_RenderPageBitmap_Start(*place, pause)
        if status == pdfium.FPDF_RENDER_TOBECONTINUED:
            raise LimitExceeded(reference, "rendering a page takes longer than FETCH_TIMEOUT")
        if status != pdfium.FPDF_RENDER_DONE:
            raise UndecodablePage(reference, "a page of the PDF cannot be rendered")
    finally:
        pdfium.FPDF_RenderPage_Close(page)
    if document.formenv:
        pdfium.FPDF_FFLDraw(document.formenv, *place)
