"""Bytes → pages: told apart by content, never by name, and decoded in a process that can be ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backend.errors import CutShort, LimitExceeded, UndecodablePage
from backend.pages.decoders import decoder
from backend.pages.headers import KINDS, sniff

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backend.pages.page import Limits, Page

__all__ = ["ENOUGH_DPI", "PAGE_SUFFIXES", "decode"]

_IMAGES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".avif", ".heic", ".heif", ".jp2", ".j2k")
PAGE_SUFFIXES = frozenset({".pdf", ".tif", ".tiff", *_IMAGES})
"""How the names of files with pages end, in lower case: by them files are picked out of folders."""

ENOUGH_DPI = 150.0
"""Dots an inch that the detector, and the classifier's crops, can use: a page to be looked at needs no more."""


def decode(
    data: bytes,
    *,
    reference: str,
    limits: Limits,
    dpi: int,
    pages: slice | None = None,
    enough: float | None = None,
) -> Iterator[Page]:
    """Pages of a file as upright RGB, lazily: one page at a time is in memory.

    A file has a process to itself until its last page: one that is made to take for ever holds up no other. Of
    animations, and of the several pictures that phones put in one JPEG, the first is the page. PDF pages are drawn as
    they would be printed, annotations and form fields included.

    Args:
        data: The whole file.
        reference: Shown in errors and kept in each page; already shortened.
        limits: Checked from headers, before pixels are decoded. If more than `limits.max_pages` of a file
            are wanted, the file is refused as a whole, before its first page.
        dpi: Resolution at which PDF pages are rendered.
        pages: Which pages, such as `slice(-2, None)` for the last two; all when `None`. Directories of a TIFF are
            walked no further than these need.
        enough: Dots an inch that the caller can use, such as `ENOUGH_DPI`. A picture of twice, four or eight times as
            many comes at half, a quarter or an eighth of its size. A JPEG is then decoded sooner. All there are when
            `None`.

    Raises:
        LimitExceeded: Bytes, pixels, pages, parts of a file, time or memory.
        CutShort: The file ends before the page does.
        PageUnavailable: There is no memory for it at the moment, or no process.
        UndecodablePage: No format of ours, damaged or encrypted.
    """
    if len(data) > limits.max_bytes:
        raise LimitExceeded(reference, f"{len(data)} bytes, more than MAX_BYTES ({limits.max_bytes})")
    if not data:
        raise CutShort(reference, "the file is empty")
    kind = sniff(data)
    if kind is None:
        raise UndecodablePage(reference, f"neither {KINDS.replace(' or ', ' nor ')}")
    return _pages(data, kind, reference=reference, limits=limits, dpi=dpi, pages=pages, enough=enough)


def _pages(
    data: bytes, kind: str, *, reference: str, limits: Limits, dpi: int, pages: slice | None, enough: float | None
) -> Iterator[Page]:
    with decoder(reference) as process:
        indices = process.open(data, kind, pages, reference=reference, limits=limits)
        if len(indices) > limits.max_pages:
            raise LimitExceeded(reference, f"{len(indices)} pages, more than MAX_PAGES ({limits.max_pages})")
        for index in indices:
            yield process.page(index, dpi=dpi, enough=enough, reference=reference, limits=limits)
