"""PDF documents → RGB pages as they would be printed, in a decoder process."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pypdfium2
import pypdfium2.internal
from pypdfium2 import raw

from backend.errors import UndecodablePage
from backend.pages.headers import examine
from backend.pages.page import Drawn, Refusal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from backend.pages.page import Desk

__all__ = ["PdfDocument"]

_MOST = 2**31
_MOST_LOOKED_AT = 40_000_000
"""Pixels of a page to be looked at; a larger one, such as a plan of A0, is drawn at half its size."""


class PdfDocument:
    """A PDF that is open; annotations and form fields are drawn with its pages.

    Args:
        data: The whole file.

    Raises:
        Refusal: Damaged, cut short, or encrypted with a password.
    """

    def __init__(self, data: bytes) -> None:
        examine(data, "PDF")
        try:
            self._document: Any = pypdfium2.PdfDocument(data)
            self._document.init_forms()
        except pypdfium2.PdfiumError as error:
            if error.err_code == raw.FPDF_ERR_PASSWORD:
                raise Refusal(UndecodablePage, "the PDF is encrypted: save it without a password") from error
            raise _damaged() from error

    def indices(self, wanted: slice | None) -> range:
        """Which pages `wanted` means."""
        return range(len(self._document))[wanted or slice(None)]

    def page(self, index: int, desk: Desk) -> Drawn:
        """Draws one page on white paper, at the desk's resolution; raises `Refusal`."""
        try:
            page = self._document[index]
            try:
                # Rounded first: 595.276 pt at 72 dpi must not become a column more than the page has.
                sides = (max(1, math.ceil(round(side * desk.dpi / 72, 3))) for side in page.get_size())
                width, height = (min(side, _MOST) for side in sides)
                desk.admit(width, height, what=f"page {index + 1} has ", hint=f"; RENDER_DPI is {desk.dpi}")
                factor = 2 if desk.enough and width * height > _MOST_LOOKED_AT else 1
                self._draw(page, desk.canvas(-(-height // factor), -(-width // factor)))
            finally:
                page.close()
        except (pypdfium2.PdfiumError, ArithmeticError, ValueError) as error:
            # Such as a page whose size is no number.
            raise _damaged() from error
        return Drawn(size=(width, height), dpi=float(desk.dpi))

    def close(self) -> None:
        """Lets go of the file."""
        self._document.close()

    def _draw(self, page: Any, canvas: NDArray[np.uint8]) -> None:
        height, width = canvas.shape[:2]
        canvas[...] = 255
        bitmap = raw.FPDFBitmap_CreateEx(width, height, raw.FPDFBitmap_BGR, canvas.ctypes.data, canvas.strides[0])
        if not bitmap:
            raise MemoryError
        try:
            place = (bitmap, page, 0, 0, width, height, 0, raw.FPDF_ANNOT | raw.FPDF_REVERSE_BYTE_ORDER)
            pause = raw.IFSDK_PAUSE(version=1)
            pypdfium2.internal.set_callback(pause, "NeedToPauseNow", lambda _: False)
            try:
                # In steps that never pause: the call that draws it at once does not say whether it failed.
                if raw.FPDF_RenderPageBitmap_Start(*place, pause) != raw.FPDF_RENDER_DONE:
                    raise _damaged()
            finally:
                raw.FPDF_RenderPage_Close(page)
            if self._document.formenv:
                raw.FPDF_FFLDraw(self._document.formenv, *place)
        finally:
            raw.FPDFBitmap_Destroy(bitmap)


def _damaged() -> Refusal:
    return Refusal(UndecodablePage, "damaged or cut short: the PDF cannot be read")
