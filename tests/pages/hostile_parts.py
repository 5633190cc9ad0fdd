"""Pictures made to harm by the number of their parts: frames, entries, tiles, levels, texts, tags and profiles."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

from PIL import Image

from tests.pages.files import packed, png_chunk
from tests.pages.hostile_pictures import (
    END,
    PNG,
    box,
    canvas,
    directory,
    frame,
    gif,
    grey,
    jpeg,
    one_strip,
    png,
    resized,
    riff,
    tiff_of,
    webp_part,
    with_segments,
    zeros,
)

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["PARTS"]


# Frames


def apng(frames: int, *, told: int | None = None) -> bytes:
    """A PNG whose first picture is followed by as many as one likes."""
    control = struct.pack(">IIIIIHHBB", 0, 8, 8, 0, 0, 1, 100, 0, 0)
    body = zlib.compress(bytes(8 * 25))
    rest = b"".join(
        png_chunk(b"fcTL", struct.pack(">I", 2 * number + 1) + control[4:])
        + png_chunk(b"fdAT", struct.pack(">I", 2 * number + 2) + body)
        for number in range(frames)
    )
    head = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0))
    animation = png_chunk(b"acTL", struct.pack(">II", frames + 1 if told is None else told, 0))
    return PNG + head + animation + png_chunk(b"fcTL", control) + png_chunk(b"IDAT", body) + rest + END


def animated_webp(frames: int, *, side: int = 8, flags: int = 2) -> bytes:
    """Frames of 8 by 8 on a canvas of any size."""
    name, body = webp_part(8, 8)
    part = name + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)
    one = b"ANMF", bytes(6) + struct.pack("<I", 7)[:3] * 2 + struct.pack("<I", 1)[:3] + b"\0" + part
    return riff(canvas(side, side, flags), (b"ANIM", bytes(6)), *[one] * frames)


FRAMES: dict[str, Callable[[], bytes]] = {
    "PNG: 45,000 frames": lambda: apng(45_000),
    "PNG: 4 billion frames that are not there": lambda: apng(3, told=2**32 - 1),
    "GIF: 200,000 frames": lambda: gif(1, 1, frame(1, 1, b"\x02\x44\x01\0") * 200_000 + b";"),
    "WebP: 50,000 frames": lambda: animated_webp(50_000),
    "WebP: an animation of 100 megapixels": lambda: animated_webp(20, side=10_000),
    "AVIF: 300 pictures in a row": lambda: packed(
        Image.new("RGB", (64, 64)), "AVIF", save_all=True, append_images=[Image.new("RGB", (64, 64))] * 299, speed=10
    ),
}


# Pictures made of pictures

LIST_OF_ONE = b"iinf" + struct.pack(">IH", 0, 1)


def made_of(
    kind: str,
    *,
    side: int,
    across: int,
    down: int,
    of_itself: bool = False,
    told: int | None = None,
    before: bytes = b"",
) -> bytes:
    """An AVIF or HEIC whose page is a grid of one picture that stands at every place.

    Args:
        kind: AVIF or HEIF, as Pillow calls them.
        side: Of the picture, pixels.
        across: Places in a row.
        down: Rows.
        of_itself: The grid is what stands at every place.
        told: Pixels of a side that the page says that it has; as many as it has when `None`.
        before: Stands where a name may, before the list of pictures.
    """
    one = packed(Image.new("RGB", (side, side), "white"), kind, quality=30)
    brand, item, setup = (b"avif", b"av01", b"av1C") if kind == "AVIF" else (b"heic", b"hvc1", b"hvcC")
    place = one.index(setup) - 4
    settings = one[place : place + int.from_bytes(one[place : place + 4], "big")]
    place = one.index(b"mdat") + 4
    picture = one[place : place - 8 + int.from_bytes(one[place - 8 : place - 4], "big")]
    count = across * down
    width, height = side * across, side * down
    plan = struct.pack(">BBBBII", 0, 1, down - 1, across - 1, width, height)

    def described(number: int, name: bytes) -> bytes:
        return box(b"infe", struct.pack(">IIH", 2 << 24, number, 0)[:4] + struct.pack(">HH", number, 0) + name + b"\0")

    def size(width: int, height: int) -> bytes:
        return box(b"ispe", struct.pack(">III", 0, width, height))

    parts = [1] * count if of_itself else range(2, count + 2)
    infos = described(1, b"grid") + b"".join(described(number, item) for number in range(2, count + 2))
    refers = box(b"dimg", struct.pack(">HH", 1, count) + b"".join(struct.pack(">H", number) for number in parts))
    shares = struct.pack(">HBBB", 1, 2, 1, 0x84)
    shares += b"".join(struct.pack(">HBBBB", number, 3, 0x82, 3, 0x84) for number in range(2, count + 2))
    pixels = box(b"pixi", struct.pack(">IBBBB", 0, 3, 8, 8, 8))
    shown = size(width, height) if told is None else size(told, told)
    properties = box(b"ipco", shown + settings + size(side, side) + pixels)
    properties += box(b"ipma", struct.pack(">II", 0, count + 1) + shares)

    def meta(start: int) -> bytes:
        places = struct.pack(">HHHHII", 1, 1, 0, 1, 0, len(plan))
        places += b"".join(
            struct.pack(">HHHHII", number, 0, 0, 1, start, len(picture)) for number in range(2, count + 2)
        )
        located = box(b"iloc", struct.pack(">IBBH", 1 << 24, 0x44, 0, count + 1) + places)
        handler = box(b"hdlr", bytes(8) + b"pict" + bytes(12) + before + b"\0")
        first = box(b"pitm", struct.pack(">IH", 0, 1))
        named = box(b"iinf", struct.pack(">IH", 0, count + 1) + infos)
        rest = box(b"iref", bytes(4) + refers) + box(b"iprp", properties) + box(b"idat", plan)
        return box(b"meta", bytes(4) + handler + first + located + named + rest)

    head = box(b"ftyp", brand + bytes(4) + b"mif1" + brand + (b"miaf" if kind == "AVIF" else b""))
    return head + meta(len(head) + len(meta(0)) + 8) + box(b"mdat", picture)


GRIDS: dict[str, Callable[[], bytes]] = {
    "AVIF: a grid of 110 megapixels": lambda: made_of("AVIF", side=1024, across=10, down=11),
    "AVIF: a grid of 60,000 places": lambda: made_of("AVIF", side=64, across=250, down=240),
    "AVIF: a grid of 10,000 places": lambda: made_of("AVIF", side=64, across=100, down=100),
    "AVIF: a grid of itself": lambda: made_of("AVIF", side=64, across=4, down=4, of_itself=True),
    "HEIC: a grid of 110 megapixels": lambda: made_of("HEIF", side=1024, across=10, down=11),
    "HEIC: a grid of 60,000 places": lambda: made_of("HEIF", side=64, across=250, down=240),
    "HEIC: a grid of 10,000 places": lambda: made_of("HEIF", side=64, across=100, down=100),
    "HEIC: a grid of itself": lambda: made_of("HEIF", side=64, across=4, down=4, of_itself=True),
    "AVIF: a grid larger than it says": lambda: made_of("AVIF", side=256, across=8, down=8, told=64),
    "HEIC: a grid larger than it says": lambda: made_of("HEIF", side=256, across=8, down=8, told=64),
    "AVIF: a grid behind a list of one": lambda: made_of("AVIF", side=64, across=100, down=100, before=LIST_OF_ONE),
    "HEIC: a grid behind a list of one": lambda: made_of("HEIF", side=64, across=100, down=100, before=LIST_OF_ONE),
}


# Segments of a JPEG


def segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def exif_of(count: int) -> bytes:
    entries = [(40_000 + number, 4, 1, number) for number in range(count)]
    return b"Exif\0\0II*\0\x08\0\0\0" + directory(*entries)


def resources() -> bytes:
    one = b"8BIM" + struct.pack(">HHI", 1005, 0, 0)
    return segment(0xED, b"Photoshop 3.0\0" + one * 5_000)


def other_pictures(count: int, *, told: int) -> bytes:
    """A JPEG that says that it holds others."""
    entries = struct.pack("<LLLHH", 0x030000, 1000, 0, 0, 0) * count
    table = directory((0xB000, 7, 4, 0x30303130), (0xB001, 4, 1, told), (0xB002, 7, len(entries), 8 + 2 + 36 + 4))
    return with_segments(segment(0xE2, b"MPF\0II*\0\x08\0\0\0" + table + entries))


def sampled(first: int) -> bytes:
    """A JPEG whose first colour has so many samples across and down, which the others are spread to."""
    data = bytearray(resized(jpeg(), 10_000, 10_000))
    data[data.index(b"\xff\xc0") + 11] = first
    return bytes(data)


SEGMENTS: dict[str, Callable[[], bytes]] = {
    "JPEG: 1,000 EXIF": lambda: with_segments(segment(0xE1, b"Exif\0\0" + bytes(65_000)) * 1000),
    "JPEG: an EXIF of 5,400 entries": lambda: with_segments(segment(0xE1, exif_of(5_400))),
    "JPEG: 900 EXIF of 5,400 entries": lambda: with_segments(
        segment(0xE1, exif_of(5_400)) + segment(0xE1, exif_of(5_400)) * 899
    ),
    "JPEG: 4,900 profiles": lambda: with_segments(segment(0xE2, b"ICC_PROFILE\0\1\1" + bytes(13_000)) * 4_900),
    "JPEG: 5 million resources": lambda: with_segments(resources() * 1000),
    "JPEG: 4,000 other pictures": lambda: other_pictures(4_000, told=4_000),
    "JPEG: 4 billion other pictures": lambda: other_pictures(3, told=2**32 - 1),
    "JPEG: 4,900 tables": lambda: with_segments(segment(0xDB, (b"\0" + bytes([1] * 64)) * 190) * 4_900),
    "JPEG: sixteen samples for one": lambda: sampled(0x44),
    "JPEG: no samples": lambda: sampled(0),
    "JPEG: in arithmetic code": lambda: jpeg(side=2000).replace(b"\xff\xc0", b"\xff\xc9"),
    "JPEG: without loss": lambda: jpeg(side=2000).replace(b"\xff\xc0", b"\xff\xc3"),
    "JPEG: a restart in each block": lambda: with_segments(b"\xff\xdd\0\4\0\1"),
}


# Texts and tables of a PNG, tags of a TIFF


def texts(name: bytes, count: int, size: int) -> bytes:
    """Compressed texts of nothing, each of which is small enough for readers."""
    before = {b"zTXt": b"k%d\0\0", b"iTXt": b"k%d\0\1\0\0\0"}[name]
    body = zlib.compress(bytes(size), 9)
    return png(
        8, 8, before=b"".join(png_chunk(name, before % number + body) for number in range(count)), body=zeros(200)
    )


def woven(width: int, height: int) -> bytes:
    """In seven passes (Adam7), which are decoded into one picture."""
    starts = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
    size = 0
    for left, top, across, down in starts:
        columns, rows = -(-(width - left) // across), -(-(height - top) // down)
        size += rows * (3 * columns + 1)
    head = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 1))
    return PNG + head + png_chunk(b"IDAT", zeros(size)) + END


def tagged(tag: int, kind: int, count: int, *, size: int) -> bytes:
    """A grey page with so many values of one tag."""
    picture = bytes(64)
    body = picture + bytes(count * size)
    entries = {entry[0]: entry for entry in grey(8, 8)}
    entries |= {tag: (tag, kind, count, 8 + len(picture)), 273: (273, 4, 1, 8), 279: (279, 4, 1, 64)}
    return tiff_of(*entries.values(), body=body)


def packed_nothing(packing: str) -> bytes:
    return packed(Image.new("L", (10_000, 10_000), 255), "TIFF", compression=packing)


def pyramid(levels: int) -> bytes:
    """Pictures of one page in ever smaller sizes, each named by the one before and by the page."""
    size = len(directory((256, 4, 1, 1), (257, 4, 1, 1), (330, 4, 1, 1)))
    first = 8 + 64
    chain = b"".join(
        directory((256, 4, 1, 8), (257, 4, 1, 8), (330, 4, 1, first + size * ((number + 1) % levels)))
        for number in range(levels)
    )
    table = b"".join(struct.pack("<I", first + size * number) for number in range(levels))
    body = bytes(64) + chain + table
    page = [*grey(8, 8), (273, 4, 1, 8), (279, 4, 1, 64), (330, 4, levels, first + len(chain))]
    return tiff_of(*page, body=body)


TABLES: dict[str, Callable[[], bytes]] = {
    "PNG: 50,000 packed texts": lambda: texts(b"zTXt", 50_000, 900_000),
    "PNG: 50,000 packed words of nations": lambda: texts(b"iTXt", 50_000, 900_000),
    "PNG: 45,000 profiles": lambda: png(
        8, 8, before=png_chunk(b"iCCP", b"k\0\0" + zlib.compress(bytes(900_000))) * 45_000, body=zeros(200)
    ),
    "PNG: 100 megapixels in seven passes": lambda: woven(10_000, 10_000),
    "PNG: an EXIF in a circle": lambda: png(
        8, 8, before=png_chunk(b"eXIf", b"II*\0\x08\0\0\0" + directory((34665, 4, 1, 8), after=8)), body=zeros(200)
    ),
    "PNG: a palette of 60 megabytes": lambda: png(
        8, 8, colours=3, before=png_chunk(b"PLTE", bytes(60_000_000)), body=zeros(72)
    ),
    "TIFF: 7 million resolutions": lambda: tagged(282, 5, 7_000_000, size=8),
    "TIFF: 7 million of both resolutions": lambda: tagged(283, 10, 7_000_000, size=8),
    "TIFF: 30 million depths": lambda: tagged(258, 3, 30_000_000, size=2),
    "TIFF: 30 million colours": lambda: tagged(320, 3, 30_000_000, size=2),
    "TIFF: 30 million kinds of samples": lambda: tagged(339, 3, 30_000_000, size=2),
    "TIFF: 30 million more samples": lambda: tagged(338, 3, 30_000_000, size=2),
    "TIFF: 60 million orientations": lambda: tagged(274, 3, 30_000_000, size=2),
    "TIFF: 15 million widths": lambda: tagged(256, 4, 15_000_000, size=4),
    "TIFF: 15 million unknown values": lambda: tagged(65_000, 4, 15_000_000, size=4),
    "TIFF: a profile of 60 megabytes": lambda: tagged(34675, 7, 60_000_000, size=1),
    "TIFF: words of 60 megabytes": lambda: tagged(270, 2, 60_000_000, size=1),
    "TIFF: resources of 60 megabytes": lambda: tagged(34377, 1, 60_000_000, size=1),
    "TIFF: 10,000 levels": lambda: pyramid(10_000),
    "TIFF: 100 megapixels of zstd": lambda: packed_nothing("zstd"),
    "TIFF: 100 megapixels of lzma": lambda: packed_nothing("lzma"),
    "TIFF: fax of a line of a million": lambda: one_strip(bytes(1000), *grey(1_000_000, 100, packing=4, t258=1)),
    "TIFF: fax without end": lambda: one_strip(b"\x55" * 1_000_000, *grey(10_000, 10_000, packing=3, t258=1)),
    "TIFF: a JPEG of another size": lambda: one_strip(
        resized(jpeg(mode="L"), 60_000, 60_000), *grey(64, 64, packing=7)
    ),
    "TIFF: a JPEG of before": lambda: one_strip(jpeg(mode="L", side=2000), *grey(2000, 2000, packing=6)),
    "TIFF: tiles of 2 gigabytes": lambda: tiff_of(
        *grey(8, 8), (322, 4, 1, 65_520), (323, 4, 1, 32_752), (324, 4, 1, 8), (325, 4, 1, 64), body=bytes(64)
    ),
    "TIFF: colours of sixteen samples for one": lambda: one_strip(
        bytes(4096), *grey(64, 64, t258=8, t262=6, t277=3), (530, 3, 2, 4 | 4 << 16)
    ),
    "TIFF: pixels in planes": lambda: tiff_of(
        *grey(10_000, 10_000, t277=3, t262=2, t284=2), (273, 4, 3, 8), (279, 4, 3, 8), body=bytes(64)
    ),
}


# Levels, layers and components of a JPEG 2000


def wavelets(*, size: int, step: int | None = None, components: int | None = None, **style: int) -> bytes:
    """A JPEG 2000 without boxes, whose header asks for more than there is.

    Args:
        size: Of the page, pixels.
        step: Of a tile; as large as the page when `None`.
        components: How many colours it says; as many as there are when `None`.
        style: `layers`, `levels`, `block` (side of a block of code, as a power of two), `precinct` (as well).
    """
    data = packed(Image.new("RGB", (64, 64), "white"), "JPEG2000", num_resolutions=1)
    start = data.index(b"\xff\x4f\xff\x51")
    stop = data.rindex(b"\xff\xd9") + 2
    data = data[start:stop]
    length = int.from_bytes(data[4:6], "big")
    numbers = struct.pack(">8I", size, size, 0, 0, step or size, step or size, 0, 0)
    head = data[:8] + numbers + data[40 : 4 + length]
    if components is not None:
        head = head[:40] + struct.pack(">H", components) + b"\x07\x01\x01" * components
        head = head[:4] + struct.pack(">H", len(head) - 4) + head[6:]
    code = data.index(b"\xff\x52")
    after = code + 2 + int.from_bytes(data[code + 2 : code + 4], "big")
    levels, block, precinct = style.get("levels", 0), style.get("block", 6), style.get("precinct")
    places = b"" if precinct is None else bytes([precinct * 0x11]) * (levels + 1)
    shape = bytes([levels, block - 2, block - 2, 0, 1]) + places
    ways = struct.pack(">BBHB", precinct is not None, 0, style.get("layers", 1), 1)
    return head + segment(0x52, ways + shape) + data[after:]


WAVELETS: dict[str, Callable[[], bytes]] = {
    "JPEG 2000: 65,535 layers": lambda: wavelets(size=64, layers=65_535),
    "JPEG 2000: 32 levels": lambda: wavelets(size=64, levels=32),
    "JPEG 2000: 255 levels": lambda: wavelets(size=64, levels=255),
    "JPEG 2000: 100 megapixels in blocks of 16": lambda: wavelets(size=10_000, block=2),
    "JPEG 2000: 100 megapixels in places of one": lambda: wavelets(size=10_000, precinct=0),
    "JPEG 2000: 4 megapixels in places of one": lambda: wavelets(size=2_000, precinct=0),
    "JPEG 2000: 10,000 tiles in places of one": lambda: wavelets(size=10_000, step=100, precinct=0),
    "JPEG 2000: 10,000 tiles of 32 levels": lambda: wavelets(size=10_000, step=100, levels=32),
    "JPEG 2000: 16,384 colours": lambda: wavelets(size=2_000, components=16_384),
    "JPEG 2000: a million parts of a tile": lambda: many_tile_parts(1_000_000),
}


def many_tile_parts(count: int) -> bytes:
    data = wavelets(size=64)
    place = data.index(b"\xff\x90")
    empty = b"\xff\x90\0\x0a\0\0" + struct.pack(">IBB", 14, 0, 0) + b"\xff\x93"
    return data[:place] + empty * count + data[place:]


# What is no page's kind


def icons(count: int) -> bytes:
    return struct.pack("<HHH", 0, 1, count) + struct.pack("<BBBBHHII", 0, 0, 0, 0, 1, 32, 64, 22) * count


STRANGERS: dict[str, Callable[[], bytes]] = {
    "icons: 65,535 in one file": lambda: icons(65_535),
    "icons: of Apple": lambda: b"icns" + struct.pack(">I", 2**31 - 1) + (b"ic10" + struct.pack(">I", 8)) * 100_000,
    "Photoshop: 300,000 by 300,000": lambda: (
        b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 56, 300_000, 300_000, 32, 3)
    ),
    "EPS: a program": lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n{} loop\n",
    "SVG: a billion laughs": lambda: (
        b'<!DOCTYPE s [<!ENTITY a "ha">]><svg xmlns="http://www.w3.org/2000/svg">&a;</svg>'
    ),
    "DDS, FITS, PCX, SGI": lambda: b"DDS |\0\0\0" + b"\xff" * 200,
    "JPEG XL": lambda: b"\xff\x0a" + b"\xff" * 200,
    "a PDF in a ZIP": lambda: b"PK\x03\x04" + bytes(2000) + b"%PDF-1.7",
}

PARTS: dict[str, Callable[[], bytes]] = {**FRAMES, **GRIDS, **SEGMENTS, **TABLES, **WAVELETS, **STRANGERS}
"""Each by what is hostile in it."""
