"""What is damaged, cut short or made to harm is refused as a whole, by one typed error."""

from __future__ import annotations

import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backend.errors import CutShort, LimitExceeded, PageError
from tests.pages.files import LIMITS, endless, noisy, packed, pages_of, pdf, picture, pixels_of, png_chunk, sheets, tiff

ROOT = Path(__file__).parents[2]
FORMATS = ("JPEG", "PNG", "TIFF", "WEBP", "BMP", "GIF", "AVIF", "HEIF", "JPEG2000", "PDF")


@pytest.mark.parametrize("tenth", range(10))
@pytest.mark.parametrize("kind", FORMATS)
def test_a_file_cut_short_is_not_known_yet(kind: str, tenth: int) -> None:
    """Its download was cut off, or it is being copied: it may be whole a minute later, so it is not called damaged."""
    data = pdf() if kind == "PDF" else noisy(kind, **({"lossless": True} if kind == "WEBP" else {}))
    with pytest.raises(CutShort):
        pages_of(data[: len(data) * tenth // 10])


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "TIFF"])
def test_a_file_copied_by_half_into_room_that_was_made_for_it_is_not_known_yet(kind: str) -> None:
    options = {"compression": "tiff_lzw"} if kind == "TIFF" else {}
    data = noisy(kind, side=128, **options)
    with pytest.raises(CutShort):
        pages_of(data[: len(data) // 2] + bytes(len(data) // 2))


def test_a_linearised_pdf_that_is_shorter_than_it_says_is_not_known_yet() -> None:
    """It has one end at its beginning, which browsers wait for, and another at its end."""
    data = pdf()
    head = b"%%PDF-1.7\n9 0 obj<</Linearized 1/L %d/H[0 0]>>endobj\n" % len(data)
    assert len(pages_of(data.replace(b"%PDF-1.7\n", head.replace(b"%d" % len(data), b"%d" % 40)))) == 1
    with pytest.raises(CutShort, match="cut short"):
        pages_of(data.replace(b"%PDF-1.7\n", head + b"%%EOF\n")[: len(data) - 5])


@pytest.mark.parametrize(
    ("progressive", "ending"),
    [
        (False, b""),  # cut off
        (False, b"\xff\xd9"),  # cut off, and an end put on
        (False, bytes(20_000)),  # the rest never arrived
        (True, b""),
        (True, bytes(20_000)),
    ],
)
def test_half_a_jpeg_is_no_page(progressive: bool, ending: bytes) -> None:
    data = packed(picture(600, 400), "JPEG", quality=95, progressive=progressive)
    with pytest.raises(CutShort, match="cut short"):
        pages_of(data[: len(data) // 2] + ending)


def test_the_end_of_a_thumbnail_is_not_the_end_of_the_page() -> None:
    thumbnail = packed(picture(16, 16), "JPEG")
    data = packed(picture(600, 400), "JPEG", exif=b"Exif\0\0" + thumbnail)
    assert pixels_of(data).shape == (400, 600, 3)
    with pytest.raises(CutShort, match="cut short"):
        pages_of(data[: len(data) // 2])


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_jpeg_of_endless_scans_is_refused_before_decoding(mode: str) -> None:
    assert len(pages_of(endless(scans=12, mode=mode))) == 1
    with pytest.raises(LimitExceeded, match="1000 scans"):
        pages_of(endless(scans=1000, mode=mode))


SHORT_OF_MEMORY = """
import resource, sys
from backend.errors import PageError
from backend.pages.source import decode
from backend.pages.page import Limits
from tests.pages.files import packed
from PIL import Image

def first(data):
    limits = Limits(max_bytes=10**7, max_pixels=10**8, max_pages=1, seconds=600.0)
    return next(decode(data, reference="page", limits=limits, dpi=72))

data = packed(Image.new(sys.argv[2], (9000, 9000)), sys.argv[1])
first(data)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 50_000_000,) * 2)
try:
    first(data)
except PageError as error:
    print(type(error).__name__, error)
"""


@pytest.mark.parametrize(("kind", "mode"), [("JPEG", "RGB"), ("JPEG", "CMYK"), ("PNG", "RGB")])
def test_a_want_of_memory_is_no_damage(kind: str, mode: str) -> None:
    """It passes: a page that was called damaged for it would never be looked at again."""
    command = [sys.executable, "-c", SHORT_OF_MEMORY, kind, mode]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stdout.startswith("PageUnavailable page: there is no memory"), done.stdout + done.stderr


def huge_png(side: int) -> bytes:
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IDAT", zlib.compress(bytes(9))) + png_chunk(b"IEND", b"")


def huge_jpeg() -> bytes:
    data = bytearray(packed(picture(), "JPEG"))
    size = data.index(b"\xff\xc0") + 5
    data[size : size + 4] = b"\xff\xff\xff\xff"
    return bytes(data)


@pytest.mark.parametrize(
    "data",
    [
        huge_png(100_000),
        huge_png(2**31 - 1),
        huge_jpeg(),
        packed(picture(), "BMP")[:18] + struct.pack("<ii", 100_000, 100_000) + packed(picture(), "BMP")[26:],
        b"GIF89a" + struct.pack("<HH", 65535, 65535) + packed(picture(), "GIF")[10:],
        tiff(bytes(32), width=2**30, height=2**30),
    ],
    ids=["PNG", "PNG, largest", "JPEG", "BMP", "GIF", "TIFF"],
)
def test_a_header_that_promises_too_much_is_refused_before_decoding(data: bytes) -> None:
    with pytest.raises(LimitExceeded, match="MAX_PIXELS"):
        pages_of(data)


def test_a_file_larger_than_the_limit_is_not_looked_at() -> None:
    with pytest.raises(LimitExceeded, match="MAX_BYTES"):
        pages_of(bytes(LIMITS.max_bytes + 1))


VALID = {
    "JPEG": noisy("JPEG"),
    "progressive JPEG": noisy("JPEG", progressive=True),
    "PNG": noisy("PNG"),
    "TIFF": noisy("TIFF"),
    "compressed TIFF": sheets(2),
    "WEBP": noisy("WEBP"),
    "BMP": noisy("BMP"),
    "GIF": noisy("GIF"),
    "PDF": pdf(count=2),
}


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # Pillow warns of what it mends; a server must go on then, too
@pytest.mark.parametrize("name", VALID)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_damage_gives_pages_or_a_page_error(name: str, data: st.DataObject) -> None:
    spoiled = bytearray(VALID[name])
    for _ in range(data.draw(st.integers(1, 8))):
        # Headers are short and matter most: half of the damage goes to the first hundred bytes.
        place = data.draw(st.integers(0, 100) | st.integers(0, len(spoiled) - 1)) % len(spoiled)
        match data.draw(st.sampled_from(["set", "cut", "double", "drop"])):
            case "set":
                spoiled[place] = data.draw(st.integers(0, 255))
            case "cut":
                del spoiled[max(place, 1) :]
            case "double":
                spoiled[place:place] = spoiled[place : place + 50]
            case "drop":
                del spoiled[max(place, 1) : place + 20]
    try:
        pages = pages_of(bytes(spoiled))
    except PageError:
        return
    for page in pages:
        assert page.pixels.dtype == np.uint8
        assert page.pixels.shape == (page.height, page.width, 3)
        assert page.width * page.height <= LIMITS.max_pixels
