"""Pictures made to harm whoever decodes them: what each kind's own headers and pixels allow."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

from PIL import Image

from tests.pages.files import endless, noisy, packed, picture, png_chunk, tiff

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["PICTURES"]

PNG = b"\x89PNG\r\n\x1a\n"
END = png_chunk(b"IEND", b"")
JPEG_END = b"\xff\xd9"


# TIFF


def directories_on_one_block(count: int = 9_990, entries: int = 60_000) -> bytes:
    """Each directory begins in another cell of one block, and calls all that follows its entries."""
    cells = bytearray(struct.pack("<HHHIH", entries, 1, 3, 1, 0) * (entries + count + 1))
    for number in range(count):
        after = 12 * (entries + number) + 2
        struct.pack_into("<I", cells, after, 8 + 12 * (number + 1) if number + 1 < count else 0)
    return b"II*\0" + struct.pack("<I", 8) + bytes(cells)


def directory(*entries: tuple[int, int, int, int], after: int = 0) -> bytes:
    """Tag, type, number of values, and the value or where they are."""
    packed_entries = b"".join(struct.pack("<HHII", *entry) for entry in sorted(entries))
    return struct.pack("<H", len(entries)) + packed_entries + struct.pack("<I", after)


def tiff_of(*entries: tuple[int, int, int, int], body: bytes = b"") -> bytes:
    """One directory behind a body, which begins at 8."""
    return b"II*\0" + struct.pack("<I", 8 + len(body)) + body + directory(*entries)


def grey(width: int, height: int, *, packing: int = 1, **more: int) -> list[tuple[int, int, int, int]]:
    """What an 8-bit grey page of one strip needs, but the strip itself."""
    values = {256: width, 257: height, 258: 8, 259: packing, 262: 1, 277: 1, 278: height}
    values.update({int(name[1:]): value for name, value in more.items()})
    return [(tag, 4, 1, value) for tag, value in values.items()]


def strips(count: int) -> bytes:
    table = struct.pack("<I", 8) * count
    place = 8 + len(table)
    return tiff_of(*grey(8, count, t278=1), (273, 4, count, 8), (279, 4, count, place), body=table + bytes(4 * count))


def one_strip(body: bytes, *entries: tuple[int, int, int, int]) -> bytes:
    return tiff_of(*entries, (273, 4, 1, 8), (279, 4, 1, len(body)), body=body)


def chain(count: int, *, round_again: bool = False) -> bytes:
    size = len(directory((256, 4, 1, 1)))
    places = [8 + size * number for number in range(1, count)] + [8 if round_again else 0]
    return b"II*\0" + struct.pack("<I", 8) + b"".join(directory((256, 4, 1, 1), after=after) for after in places)


def tables_on_one_another() -> bytes:
    body = bytes(1_000_000)
    many = [(40_000 + number, 1, len(body), 8) for number in range(900)]
    return one_strip(body, *grey(1000, 1000), *many)


TIFF: dict[str, Callable[[], bytes]] = {
    "directories on one block": directories_on_one_block,
    "20,000 directories": lambda: chain(20_000),
    "directories in a circle": lambda: chain(5_000, round_again=True),
    "a directory that is its own EXIF": lambda: one_strip(bytes(64), *grey(8, 8), (34665, 4, 1, 72), (330, 4, 1, 72)),
    "4 million strips": lambda: strips(4_000_000),
    "90,000 strips": lambda: strips(90_000),
    "tables on one another": tables_on_one_another,
    "a table of 4 billion values": lambda: one_strip(bytes(64), *grey(8, 8), (40_000, 12, 2**32 - 1, 8)),
    "strips beyond the end": lambda: tiff_of(*grey(8, 8), (273, 4, 1, 2**31), (279, 4, 1, 64)),
    "deflated nothing": lambda: one_strip(zlib.compress(bytes(10**8), 9), *grey(10_000, 10_000, packing=8)),
    "deflated more than it says": lambda: one_strip(zlib.compress(bytes(10**8), 9), *grey(100, 100, packing=8)),
    "run lengths": lambda: one_strip(b"\x81\0" * 780_000, *grey(10_000, 10_000, packing=32773)),
    "60,000 colours": lambda: tiff(bytes(64), width=8, height=8, t258=8, t277=60_000),
    "pixels of 65,535 bits": lambda: tiff(bytes(64), width=8, height=8, t258=65_535),
    "no rows in a strip": lambda: tiff(bytes(128), width=8, height=8, t278=0),
    "tiles of one pixel": lambda: tiff_of(*grey(3000, 3000), (322, 4, 1, 1), (323, 4, 1, 1), (324, 4, 9_000_000, 8)),
    "larger than numbers": lambda: tiff(bytes(32), width=2**31 - 1, height=2**31 - 1),
    "a JPEG of endless scans": lambda: one_strip(
        endless(scans=5000, mode="L", side=2000), *grey(2000, 2000, packing=7)
    ),
    "BigTIFF with a count beyond numbers": lambda: b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, 2**63),
}


# JPEG


def jpeg(*, mode: str = "RGB", side: int = 64, **options: object) -> bytes:
    return packed(Image.new(mode, (side, side), 255), "JPEG", **options)


def with_segments(segments: bytes) -> bytes:
    data = jpeg()
    return data[:2] + segments + data[2:]


def resized(data: bytes, width: int, height: int, marker: bytes = b"\xff\xc0") -> bytes:
    place = data.index(marker) + 5
    return data[:place] + struct.pack(">HH", height, width) + data[place + 4 :]


def after_first_scan(segments: bytes) -> bytes:
    data = jpeg(progressive=True)
    place = data.index(b"\xff\xda", data.index(b"\xff\xda") + 2)
    return data[:place] + segments + data[place:]


EXIF_LOOP = b"Exif\0\0II*\0\x08\0\0\0" + directory((34665, 4, 1, 8), (34853, 4, 1, 8), after=8)

JPEG: dict[str, Callable[[], bytes]] = {
    "15 million empty segments": lambda: with_segments(b"\xff\xfe\0\x02" * 15_000_000),
    "fill bytes": lambda: with_segments(b"\xff" * 8_000_000),
    "segments of no length": lambda: with_segments(b"\xff\xfe\0\0" * 100_000),
    "1,000 scans": lambda: endless(scans=1000),
    "100 scans of 64 megapixels": lambda: endless(scans=99, mode="L", side=8000),
    "a million comments between scans": lambda: after_first_scan(b"\xff\xfe\0\x02" * 1_000_000),
    "a million tables between scans": lambda: after_first_scan(b"\xff\xc4\0\x02" * 1_000_000),
    "a header of 4 gigapixels": lambda: resized(jpeg(), 65_535, 65_535),
    "a header of 100 megapixels": lambda: resized(jpeg(), 10_000, 10_000),
    "a progressive header of 100 megapixels": lambda: resized(jpeg(progressive=True), 10_000, 10_000, b"\xff\xc2"),
    "no height": lambda: resized(jpeg(), 64, 0),
    "EXIF in a circle": lambda: packed(picture(), "JPEG", exif=EXIF_LOOP),
    "EXIF that points outside": lambda: packed(picture(), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xf0"),
    "restarts without end": lambda: jpeg()[:-2] + b"\xff\xd0\xff\xd1" * 1_000_000 + JPEG_END,
    "a profile of nothing": lambda: with_segments(
        b"".join(b"\xff\xe2\xff\xffICC_PROFILE\0" + bytes([number, 255]) + bytes(65_519) for number in range(1, 256))
    ),
}


# PNG


def png(width: int, height: int, *, bits: int = 8, colours: int = 2, body: bytes = b"", before: bytes = b"") -> bytes:
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colours, 0, 0, 0))
    return PNG + header + before + png_chunk(b"IDAT", body) + END


def zeros(count: int) -> bytes:
    """Compressed; made in pieces, so that tests need no more memory than what they test."""
    packer = zlib.compressobj(9)
    piece = bytes(1 << 20)
    parts = [packer.compress(piece) for _ in range(count >> 20)]
    return b"".join([*parts, packer.compress(bytes(count & 0xFFFFF)), packer.flush()])


PNGS: dict[str, Callable[[], bytes]] = {
    "5 million empty parts": lambda: png(8, 8, before=png_chunk(b"teXt", b"") * 5_000_000, body=zeros(8 * 25)),
    "a byte in each part": lambda: (
        PNG
        + png_chunk(b"IHDR", struct.pack(">IIBBBBB", 500, 500, 8, 2, 0, 0, 0))
        + b"".join(png_chunk(b"IDAT", bytes([byte])) for byte in zlib.compress(bytes(500 * 1501), 0)[:90_000])
        + END
    ),
    "120 megapixels with transparency": lambda: png(12_000, 10_000, colours=6, body=zeros(10_000 * 48_001)),
    "120 megapixels of 16 bits": lambda: png(12_000, 10_000, bits=16, colours=2, body=zeros(10_000 * 72_001)),
    "a row of 100 megapixels": lambda: png(100_000_000, 1, colours=0, body=zeros(100_000_001)),
    "a column of 100 megapixels": lambda: png(1, 100_000_000, colours=0, body=zeros(2 * 100_000_000)),
    "larger than numbers": lambda: png(2**31 - 1, 2**31 - 1),
    "a text of nothing": lambda: png(8, 8, before=png_chunk(b"zTXt", b"k\0\0" + zeros(10**8)), body=zeros(200)),
    "a profile of nothing": lambda: png(8, 8, before=png_chunk(b"iCCP", b"k\0\0" + zeros(10**8)), body=zeros(200)),
    "more pixels than it says": lambda: png(8, 8, body=zeros(10**8)),
    "a palette without colours": lambda: png(64, 64, colours=3, body=zeros(65 * 64)),
    "a part of 2 gigabytes": lambda: PNG + struct.pack(">I", 2**31 - 1) + b"IHDR" + bytes(100),
}


# GIF, BMP


def gif(width: int, height: int, blocks: bytes) -> bytes:
    head = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6)
    return head + blocks


def frame(width: int, height: int, body: bytes) -> bytes:
    return b"\x2c" + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x02" + body


def run_length_bmp(width: int, height: int, body: bytes, *, packing: int = 1, bits: int = 8) -> bytes:
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, packing, len(body), 2835, 2835, 2, 0)
    head = b"BM" + struct.pack("<IHHI", 62 + len(body), 0, 0, 62)
    return head + info + bytes(4) + b"\xff\xff\xff\0" + body


OTHERS: dict[str, Callable[[], bytes]] = {
    "GIF: a byte in each block": lambda: gif(64, 64, frame(64, 64, b"\x01\x44" * 2_000_000 + b"\0") + b";"),
    "GIF: 600,000 comments": lambda: gif(8, 8, b"\x21\xfe\x01a\0" * 600_000 + frame(8, 8, b"\x02\x4c\x01\0") + b";"),
    "GIF: 100 megapixels of nothing": lambda: gif(10_000, 10_000, frame(10_000, 10_000, b"\x02\x4c\x01\0") + b";"),
    "GIF: a frame larger than its page": lambda: gif(8, 8, frame(65_535, 65_535, b"\x02\x4c\x01\0") + b";"),
    "GIF: no end": lambda: gif(64, 64, frame(64, 64, b"\xff" + bytes(255))),
    "BMP: ends of lines": lambda: run_length_bmp(10_000, 10_000, b"\0\0" * 22_500),
    "BMP: steps": lambda: run_length_bmp(10_000, 10_000, b"\0\x02\xff\xff" * 50_000),
    "BMP: runs": lambda: run_length_bmp(10_000, 10_000, b"\xff\x01" * 400_000),
    "BMP: runs of 4 bits": lambda: run_length_bmp(10_000, 10_000, b"\xff\x11" * 400_000, packing=2, bits=4),
    "BMP: no end": lambda: run_length_bmp(60, 40, b"\0\xff" * 10),
    "BMP: 10 gigapixels": lambda: run_length_bmp(100_000, 100_000, b"", packing=0),
    "BMP: a header of 4 gigabytes": lambda: b"BM" + struct.pack("<IHHII", 100, 0, 0, 54, 2**32 - 1) + bytes(80),
}


# WebP, AVIF, HEIC, JPEG 2000


def riff(*parts: tuple[bytes, bytes]) -> bytes:
    body = b"WEBP" + b"".join(name + struct.pack("<I", len(part)) + part + bytes(len(part) % 2) for name, part in parts)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def webp_part(width: int, height: int) -> tuple[bytes, bytes]:
    data = packed(Image.new("RGB", (width, height), "white"), "WEBP", lossless=True)
    return b"VP8L", data[20:]


def canvas(width: int, height: int, flags: int) -> tuple[bytes, bytes]:
    sides = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    return b"VP8X", bytes([flags, 0, 0, 0]) + sides


def box(name: bytes, body: bytes = b"") -> bytes:
    return struct.pack(">I", 8 + len(body)) + name + body


def tiles(data: bytes, *, size: int, step: int) -> bytes:
    """A JPEG 2000 that says it is of so many pixels, in tiles of so many."""
    place = data.index(b"\xff\x4f\xff\x51") + 8
    numbers = struct.pack(">8I", size, size, 0, 0, step, step, 0, 0)
    return data[:place] + numbers + data[place + 32 :]


MODERN: dict[str, Callable[[], bytes]] = {
    "WebP: 120 megapixels of white": lambda: packed(
        Image.new("RGB", (12_000, 10_000), "white"), "WEBP", lossless=True, quality=0, method=0
    ),
    "WebP: a canvas of 120 megapixels": lambda: riff(
        canvas(12_000, 10_000, 2), (b"ANIM", bytes(6)), (b"ANMF", bytes(16)), webp_part(8, 8)
    ),
    "WebP: a million empty parts": lambda: riff(*[(b"XXXX", b"")] * 1_000_000, webp_part(8, 8)),
    "WebP: nothing": lambda: riff((b"XXXX", bytes(8))),
    "WebP: larger than the file": lambda: b"RIFF\xff\xff\xff\x7fWEBP" + bytes(100),
    "AVIF: 64 megapixels of white": lambda: packed(
        Image.new("RGB", (8000, 8000), "white"), "AVIF", quality=10, speed=10
    ),
    "AVIF: 100,000 boxes": lambda: box(b"ftyp", b"avif\0\0\0\0avifmif1") + box(b"free") * 100_000,
    "AVIF: a box of no length": lambda: box(b"ftyp", b"avif\0\0\0\0avifmif1") + b"\0\0\0\x01meta" + bytes(8),
    "AVIF: a size that lies": lambda: noisy("AVIF").replace(
        # Beyond 2^28 pixels, the library itself would call it no picture.
        b"ispe\0\0\0\0\0\0\0\x40\0\0\0\x40",
        b"ispe\0\0\0\0\0\0\x2e\xe0\0\0\x2e\xe0",
    ),
    "HEIC: a size that lies": lambda: noisy("HEIF").replace(
        b"ispe\0\0\0\0\0\0\0\x40\0\0\0\x40", b"ispe\0\0\0\0\0\0\x27\x10\0\0\x27\x10"
    ),
    "HEIC: boxes in boxes": lambda: box(b"ftyp", b"heic\0\0\0\0mif1heic") + nested(5_000),
    "JPEG 2000: 4 billion tiles": lambda: tiles(noisy("JPEG2000"), size=2**16, step=1),
    "JPEG 2000: 100 megapixels that are not there": lambda: tiles(noisy("JPEG2000"), size=10_000, step=10_000),
    "JPEG 2000: larger than numbers": lambda: tiles(noisy("JPEG2000"), size=2**32 - 1, step=2**32 - 1),
    "JPEG 2000: tiles of no size": lambda: tiles(noisy("JPEG2000"), size=64, step=0),
}


def nested(depth: int) -> bytes:
    data = b""
    for _ in range(depth):
        data = box(b"meta", bytes(4) + data)
    return data


PICTURES: dict[str, Callable[[], bytes]] = {
    **{f"TIFF: {name}": make for name, make in TIFF.items()},
    **{f"JPEG: {name}": make for name, make in JPEG.items()},
    **{f"PNG: {name}": make for name, make in PNGS.items()},
    **OTHERS,
    **MODERN,
}
"""Each by what is hostile in it."""
