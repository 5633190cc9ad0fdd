"""Every format gives the same page, and the pages of a file come in the order wanted."""

from __future__ import annotations

import io
import itertools
import struct
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from backend.errors import LimitExceeded, UndecodablePage
from backend.pages.headers import sniff
from backend.pages.source import decode
from tests.pages.files import LIMITS, packed, pages_of, pdf, picture, pixels_of, sheets

if TYPE_CHECKING:
    pass


@pytest.mark.parametrize(
    ("kind", "options", "mean_error"),
    [
        ("JPEG", {"quality": 95, "subsampling": 0}, 1),
        ("JPEG", {"quality": 95, "subsampling": 0, "progressive": True}, 1),
        ("PNG", {}, 0),
        ("PNG", {"interlace": True}, 0),
        ("TIFF", {}, 0),
        ("TIFF", {"compression": "tiff_lzw"}, 0),
        ("TIFF", {"compression": "tiff_adobe_deflate"}, 0),
        ("TIFF", {"compression": "packbits"}, 0),
        ("TIFF", {"compression": "jpeg", "quality": 95}, 3),
        ("TIFF", {"big_tiff": True}, 0),
        ("WEBP", {"lossless": True}, 0),
        ("WEBP", {"quality": 95}, 5),
        ("BMP", {}, 0),
        ("GIF", {}, 0),
        ("JPEG2000", {}, 0),
        ("JPEG2000", {"no_jp2": True}, 0),  # a bare codestream
        ("AVIF", {"quality": 95, "subsampling": "4:4:4"}, 3),
        ("HEIF", {"quality": 95, "chroma": 444}, 3),
    ],
)
def test_every_format_gives_the_same_page(kind: str, options: dict[str, Any], mean_error: float) -> None:
    got = pixels_of(packed(picture(), kind, **options)).astype(int)
    assert np.abs(got - np.asarray(picture(), dtype=int)).mean() <= mean_error


def test_jpeg_pixels_are_those_of_pillow() -> None:
    data = packed(picture(301, 203), "JPEG", quality=80)
    assert np.array_equal(pixels_of(data), np.asarray(Image.open(io.BytesIO(data))))


@pytest.mark.parametrize("data", [b"\0", b"<html>", b"PK\3\4" + bytes(60), b"%!PS-Adobe", bytes(5000), b"\xff\xd8"])
def test_other_bytes_are_refused_by_name(data: bytes) -> None:
    with pytest.raises(UndecodablePage, match="neither JPEG, PNG"):
        pages_of(data)


@pytest.mark.parametrize("kind", ["ICO", "TGA", "PPM", "ICNS", "PCX", "EPS"])
def test_formats_that_nobody_named_are_refused(kind: str) -> None:
    with pytest.raises(UndecodablePage, match="neither JPEG, PNG"):
        pages_of(packed(picture(64, 64), kind))


def test_a_pdf_may_begin_a_few_lines_late() -> None:
    assert sniff(b"From a scanner\r\n" * 10 + b"%PDF-1.4") == "PDF"
    assert sniff(bytes(2000) + b"%PDF-1.4") is None


@pytest.mark.parametrize(
    ("width", "dpi", "expected"),
    [
        (60, (300, 300), 300),
        (60, (204, 98), None),  # a fax: its axes differ
        (60, (20, 20), None),  # below any scanner
        (60, (4800, 4800), None),  # above
        (3000, (72, 72), None),  # a phone's placeholder: a page of a metre
        (1700, (72, 72), 72),  # a screen-sized page of two feet
        (60, None, None),
    ],
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_resolution_is_kept_when_plausible(
    kind: str, width: int, dpi: tuple[int, int] | None, expected: float | None
) -> None:
    [page] = pages_of(packed(picture(width, 30), kind, **({"dpi": dpi} if dpi else {})))
    assert page.dpi == (None if expected is None else pytest.approx(expected, rel=0.01))


@pytest.mark.parametrize("make", [sheets, lambda count: pdf(count=count)], ids=["TIFF", "PDF"])
@pytest.mark.parametrize(
    ("pages", "indices"),
    [
        (None, [0, 1, 2, 3]),
        (slice(0, 1), [0]),
        (slice(-2, None), [2, 3]),
        (slice(None, None, -1), [3, 2, 1, 0]),
        (slice(9, None), []),
    ],
)
def test_pages_of_a_file_in_the_order_wanted(make: Any, pages: slice | None, indices: list[int]) -> None:
    got = pages_of(make(4), pages=pages)
    assert [page.index for page in got] == indices
    if make is sheets:
        assert [page.width for page in got] == [10 + index for index in indices]


@pytest.mark.parametrize("make", [sheets, lambda count: pdf(count=count)], ids=["TIFF", "PDF"])
def test_too_many_pages_are_refused_before_the_first(make: Any) -> None:
    with pytest.raises(LimitExceeded, match=r"5 pages, more than MAX_PAGES \(4\)"):
        next(decode(make(5), reference="page", limits=LIMITS, dpi=72))
    assert len(pages_of(make(5), pages=slice(-2, None))) == 2


def test_pages_are_decoded_as_they_are_asked_for() -> None:
    """The third sheet is broken; the two before it come all the same."""
    images = [picture(10, 8), picture(11, 8), picture(2000, 2000)]
    data = packed(images[0], "TIFF", save_all=True, append_images=images[1:], compression="tiff_lzw")
    pages = decode(data, reference="page", limits=LIMITS, dpi=72)
    assert [page.width for page in itertools.islice(pages, 2)] == [10, 11]
    with pytest.raises(LimitExceeded, match="MAX_PIXELS"):
        next(pages)


def test_a_tiff_whose_pages_go_round_in_circles_ends() -> None:
    data = bytearray(sheets(1))
    start = struct.unpack_from("<I", data, 4)[0]
    count = struct.unpack_from("<H", data, start)[0]
    struct.pack_into("<I", data, start + 2 + 12 * count, start)
    assert len(pages_of(bytes(data))) == 1
