"""Bytes → pages: told apart by content, never by name.

PDF documents → RGB pages, as they would be printed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from backend.errors import LimitExceeded, UndecodablePage
from backend.pages.page import Page
from backend.pages.raster import count_guard, decode_raster
from backend.pages.renderer import renderer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backend.pages.page import Limits

__all__ = ["decode", "decode_pdf", "sniff"]

_MAGIC = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
)


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


def sniff(data: bytes) -> str | None:
    """Format of a file by its first bytes: JPEG, PNG, TIFF, WEBP, GIF, BMP or PDF; `None` for all others."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    for magic, kind in _MAGIC:
        if data.startswith(magic):
            return kind
    # Scanners and mail gateways put a few lines before a PDF; readers look for it in the first kilobyte.
    return "PDF" if b"%PDF-" in data[:1024] else None


def decode(data: bytes, *, reference: str, limits: Limits, dpi: int, pages: slice | None = None) -> Iterator[Page]:
    """Pages of a file as upright RGB, lazily: one page at a time is in memory.

    Args:
        data: The whole file.
        reference: Shown in errors and kept in each page; already shortened.
        limits: Checked from headers, before pixels are decoded. A file of which more than `limits.max_pages` are
            wanted is refused as a whole, before its first page.
        dpi: Resolution at which PDF pages are rendered.
        pages: Which pages, such as `slice(-2, None)` for the last two; all when `None`.

    Raises:
        LimitExceeded: Bytes, pixels, pages or rendering time.
        UndecodablePage: No format of ours, damaged, cut short or encrypted.
    """
    if len(data) > limits.max_bytes:
        raise LimitExceeded(reference, f"{len(data)} bytes, more than MAX_BYTES ({limits.max_bytes})")
    kind = sniff(data)
    if kind is None:
        raise UndecodablePage(reference, "neither JPEG, PNG, TIFF, WebP, GIF, BMP nor PDF")
    if kind == "PDF":
        return decode_pdf(data, reference=reference, limits=limits, dpi=dpi, pages=pages)
    return decode_raster(data, kind, reference=reference, limits=limits, pages=pages)
