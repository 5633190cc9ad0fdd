"""Pages, pictures and files made in memory."""

from __future__ import annotations

import io
import struct
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from backend.pages.page import Limits, Page
from backend.pages.source import decode
from tests.patience import SECONDS

if TYPE_CHECKING:
    from numpy.typing import NDArray


LIMITS = Limits(max_bytes=2_000_000, max_pixels=1_000_000, max_pages=4, seconds=SECONDS)


def pages_of(data: bytes, *, limits: Limits = LIMITS, dpi: int = 72, pages: slice | None = None) -> list[Page]:
    return list(decode(data, reference="page", limits=limits, dpi=dpi, pages=pages))


def pixels_of(data: bytes) -> NDArray[np.uint8]:
    [page] = pages_of(data)
    assert page.pixels.dtype == np.uint8
    assert page.pixels.flags.c_contiguous
    assert page.pixels.shape == (page.height, page.width, 3)
    return page.pixels


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def pdf(*, width: float = 60, height: float = 40, count: int = 1, content: bytes = b"", rotate: int = 0) -> bytes:
    """A PDF of `count` same pages with a red square at the lower left, and `content` drawn over it."""
    stream = b"1 0 0 rg 0 0 20 20 re f " + content
    kids = b" ".join(b"%d 0 R" % (4 + index) for index in range(count))
    page = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 %f %f]/Rotate %d/Contents 3 0 R>>" % (width, height, rotate)
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Count %d/Kids[%s]>>" % (count, kids),
        b"<</Length %d>>stream\n%s\nendstream" % (len(stream), stream),
        *[page] * count,
    ]
    body = b"".join(b"%d 0 obj%s endobj\n" % (number, text) for number, text in enumerate(objects, 1))
    return b"%PDF-1.7\n" + body + b"trailer<</Root 1 0 R/Size %d>>\n%%%%EOF" % (len(objects) + 1)


def picture_pdf(jpeg: bytes, *, width: int, height: int, filters: bytes = b"/DCTDecode") -> bytes:
    """A PDF of two pages: the first as `pdf` makes it, the second a JPEG over all of it."""
    content = b"q 60 0 0 40 0 0 cm /I Do Q"
    image = b"/Type/XObject/Subtype/Image/ColorSpace/DeviceRGB/BitsPerComponent 8/Width %d/Height %d" % (width, height)
    page = b"6 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 60 40]/Contents 7 0 R/Resources<</XObject<</I 8 0 R>>>>>>"
    objects = (
        page + b"endobj\n"
        b"7 0 obj<</Length %d>>stream\n%s\nendstream endobj\n"
        % (len(content), content)
        + b"8 0 obj<<%s/Filter[%s]/Length %d>>stream\n" % (image, filters, len(jpeg))
        + jpeg
        + b"\nendstream endobj\n"
    )
    return (
        pdf()
        .replace(b"/Count 1/Kids[4 0 R]", b"/Count 2/Kids[4 0 R 6 0 R]")
        .replace(b"trailer<</Root 1 0 R/Size 5>>", objects + b"trailer<</Root 1 0 R/Size 9>>")
    )


def endless(*, scans: int, mode: str = "RGB", side: int = 64) -> bytes:
    """A small JPEG of as many scans over the same pixels as one likes, each of which goes over all of them."""
    data = packed(Image.new(mode, (side, side), "white"), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * (scans - data.count(b"\xff\xda") + 1) + b"\xff\xd9"


def picture(width: int = 60, height: int = 40) -> Image.Image:
    """A page whose four corners differ, so that any turn shows: red, green, blue and white blocks."""
    pixels = np.full((height, width, 3), 200, np.uint8)
    half_h, half_w = height // 2, width // 2
    pixels[:half_h, :half_w] = (220, 30, 30)
    pixels[:half_h, half_w:] = (30, 200, 30)
    pixels[half_h:, :half_w] = (30, 30, 220)
    return Image.fromarray(pixels)


def packed(image: Image.Image, kind: str, **options: Any) -> bytes:
    if kind == "HEIF":
        import pillow_heif

        pillow_heif.register_heif_opener()
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def tiff(pixels: bytes, *, width: int, height: int, order: str = "<", **tags: int) -> bytes:
    """A one-strip greyscale TIFF with the tags that Pillow cannot be made to write."""
    values = {256: width, 257: height, 258: 16, 259: 1, 262: 1, 273: 8, 277: 1, 278: height, 279: len(pixels)}
    values.update({int(name[1:]): value for name, value in tags.items()})
    entries = b"".join(struct.pack(order + "HHII", tag, 4, 1, value) for tag, value in sorted(values.items()))
    start = {"<": b"II*\0", ">": b"MM\0*"}[order]
    end = struct.pack(order + "H", len(values)) + entries + bytes(4)
    return start + struct.pack(order + "I", 8 + len(pixels)) + pixels + end


def sheets(count: int) -> bytes:
    images = [picture(10 + index, 8) for index in range(count)]
    return packed(images[0], "TIFF", save_all=True, append_images=images[1:], compression="tiff_lzw")


def noisy(kind: str, *, side: int = 64, mode: str = "RGB", **options: Any) -> bytes:
    """A page of which every part of the file matters."""
    noise = np.random.default_rng(7).integers(0, 256, (side, side, 3), dtype=np.uint8)
    return packed(Image.fromarray(noise).convert(mode), kind, **options)
