"""PDF documents → RGB pages, as they would be printed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backend.pages.page import Page
from backend.pages.raster import count_guard
from backend.pages.renderer import renderer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backend.pages.page import Limits

__all__ = ["decode_pdf"]


def decode_pdf(data: bytes, *, reference: str, limits: Limits, dpi: int, pages: slice | None) -> Iterator[Page]:
    """Pages as they would be printed, annotations and form fields included, at `dpi`.

    A document has a process to itself until its last page: one that is made to take for ever holds up no other.

    Raises:
        LimitExceeded: Pixels of a page, the number of pages, or seconds that opening it or rendering a page takes.
        PageUnavailable: There is no memory for it at the moment, or no process.
        UndecodablePage: Damaged, or encrypted with a password.
    """
    with renderer(reference) as process:
        count = process.open(data, reference=reference, seconds=limits.seconds)
        for index in count_guard(count, pages, reference=reference, limits=limits):
            pixels = process.page(index, dpi, reference=reference, limits=limits)
            yield Page(pixels=pixels, reference=reference, index=index, dpi=float(dpi))
