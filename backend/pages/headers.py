"""What a file's headers say before anything is decoded: its kind, whether it is all there, and whether it is sane.

A decoder that walks a million empty segments does what the file asks. So the lists at a file's beginning are counted
here first, by their lengths alone. A file with more of anything than a page can need is refused.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from backend.errors import CutShort, LimitExceeded, UndecodablePage
from backend.pages.page import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["KINDS", "StillWebp", "ends_in_nothing", "examine", "sniff", "still_webp", "wavelet_levels"]

KINDS = "JPEG, PNG, TIFF, WebP, GIF, BMP, AVIF, HEIC, JPEG 2000 or PDF"
"""All that can be read, in words."""

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
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG2000"),
    (b"\xff\x4f\xff\x51", "JPEG2000"),
)
_AVIF = (b"avif", b"avis")
_HEIF = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_LONGEST_FTYP = 256

# Each far above what any page has, and small enough to be counted in a blink.
_MOST_SEGMENTS = 5_000  # JPEG: the largest profile takes a thousand
_MOST_EXIF = 100  # JPEG: each is put behind the others, which goes through all of them again
_MOST_TABLE_BYTES = 1 << 20  # JPEG: a page has one or two thousand
_MOST_SCANS = 100  # a progressive JPEG has about ten; each scan costs as much time as the whole picture
_MOST_CHUNKS = 100_000  # PNG and WebP: a large page has ten thousand
_MOST_PACKED = 1_000  # texts and profiles of a PNG, each of which may unpack to a megabyte
_MOST_BLOCKS = 500_000  # GIF: of 255 bytes each
_MOST_BOXES = 1_000  # AVIF, HEIC, JPEG 2000
_MOST_ITEMS = 2_000  # AVIF and HEIC: a photograph of 48 megapixels is a grid of 192
_MOST_TILES = 10_000  # JPEG 2000
_MOST_MARKERS = 16  # before the one that says how a JPEG 2000 is made, which comes right behind the first
_ZEROS = 4096


def sniff(data: bytes) -> str | None:
    """Kind of a file by its first bytes, as Pillow calls it, or PDF; `None` for all others."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[4:8] == b"ftyp":
        return _brand(data)
    for magic, kind in _MAGIC:
        if data.startswith(magic):
            return kind
    # Scanners and mail gateways put a few lines before a PDF; readers look for it in the first kilobyte.
    return "PDF" if b"%PDF-" in data[:1024] else None


def _brand(data: bytes) -> str | None:
    """AVIF or HEIF, by the brands of a file of boxes."""
    length = min(int.from_bytes(data[:4], "big"), _LONGEST_FTYP)
    brands = {data[8:12], *(data[place : place + 4] for place in range(16, length - 3, 4))}
    if brands & set(_AVIF):
        return "AVIF"
    return "HEIF" if brands & set(_HEIF) else None


def examine(data: bytes, kind: str) -> None:
    """Looks through the headers of a file that `sniff` called `kind`; TIFF has a module of its own.

    Raises:
        Refusal: `CutShort` where the file ends before the page does, `LimitExceeded` where it has more parts than a
            page can need, `UndecodablePage` where its parts make no file.
    """
    check = _CHECKS.get(kind)
    if check is not None:
        try:
            check(data)
        except (struct.error, IndexError) as error:
            raise Refusal(CutShort, "cut short: it ends within its header") from error


def ends_in_nothing(data: bytes) -> bool:
    """Whether a file's end is empty, as of one that is still being copied into room that was made for it."""
    return len(data) > _ZEROS and not any(data[-_ZEROS:])


def _too_many(most: int, parts: str) -> Refusal:
    return Refusal(LimitExceeded, f"more than {most} {parts}: no page needs so many")


def _jpeg(data: bytes) -> None:
    """The segments up to the first scan, the number of scans, and an end after them.

    End markers before the first scan may belong to a thumbnail in the EXIF.
    """
    position = 2
    exifs = tables = 0
    for _ in range(_MOST_SEGMENTS):
        if position + 4 > len(data):
            raise Refusal(CutShort, "cut short: the JPEG ends within its header")
        if data[position] != 0xFF:
            raise Refusal(_damage(data), "damaged: the JPEG's header makes no sense")
        marker = data[position + 1]
        if marker == 0xDA:
            break
        if marker == 0xFF:
            position += 1
        elif marker == 0x01 or 0xD0 <= marker <= 0xD8:
            position += 2
        else:
            length = int.from_bytes(data[position + 2 : position + 4], "big")
            exifs += marker == 0xE1 and data[position + 4 : position + 8] == b"Exif"
            tables += length if marker in (0xC4, 0xDB) else 0
            if exifs > _MOST_EXIF:
                raise _too_many(_MOST_EXIF, "EXIF segments in the JPEG")
            if tables > _MOST_TABLE_BYTES:
                raise _too_many(_MOST_TABLE_BYTES, "bytes of tables in the JPEG's header")
            position += 2 + length
    else:
        raise _too_many(_MOST_SEGMENTS, "segments in the JPEG's header")
    if data.rfind(b"\xff\xd9", position) == -1:
        raise Refusal(CutShort, "cut short: the JPEG has no end")
    scans = data.count(b"\xff\xda")
    if scans > _MOST_SCANS:
        raise Refusal(LimitExceeded, f"a JPEG of {scans} scans; more than {_MOST_SCANS} only cost time")


def _damage(data: bytes) -> type[CutShort | UndecodablePage]:
    return CutShort if ends_in_nothing(data) else UndecodablePage


def _png(data: bytes) -> None:
    position, texts = 8, 0
    for _ in range(_MOST_CHUNKS):
        length, name = struct.unpack_from(">I4s", data, position)
        position += 12 + length
        if position > len(data):
            raise Refusal(CutShort, "cut short: the PNG ends within a part")
        if name == b"IEND":
            return
        if not name.isalpha():
            raise Refusal(_damage(data), "damaged: the PNG's parts make no sense")
        texts += name in (b"iCCP", b"zTXt", b"iTXt")
        if texts > _MOST_PACKED:
            raise _too_many(_MOST_PACKED, "texts and profiles in the PNG")
    raise _too_many(_MOST_CHUNKS, "parts in the PNG")


def _webp(data: bytes) -> None:
    # Some writers leave out the last byte, which only makes the length even.
    if struct.unpack_from("<I", data, 4)[0] + 8 > len(data) + 1:
        raise Refusal(CutShort, "cut short: the WebP is longer than the file")
    for _ in _parts(data):
        pass


def _parts(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name, place and length of each part of a WebP."""
    position, end = 12, min(struct.unpack_from("<I", data, 4)[0] + 8, len(data))
    for _ in range(_MOST_CHUNKS):
        if position + 8 > end:
            return
        name, size = struct.unpack_from("<4sI", data, position)
        yield name, position + 8, size
        position += 8 + size + size % 2
    raise _too_many(_MOST_CHUNKS, "parts in the WebP")


@dataclass(frozen=True)
class StillWebp:
    """A WebP of one picture: its width and height, and its packed EXIF, empty where it has none."""

    size: tuple[int, int]
    exif: bytes


def still_webp(data: bytes) -> StillWebp | None:
    """What the headers of a WebP say; `None` for an animation.

    Raises:
        Refusal: It holds no picture.
    """
    size: tuple[int, int] | None = None
    exif = b""
    for name, place, length in _parts(data):
        if name == b"VP8X":
            if data[place] & 0x02:
                return None
        elif name == b"VP8 " and size is None:
            width, height = struct.unpack_from("<HH", data, place + 6)
            size = width & 0x3FFF, height & 0x3FFF
        elif name == b"VP8L" and size is None:
            (bits,) = struct.unpack_from("<I", data, place + 1)
            size = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        elif name == b"EXIF":
            exif = data[place : place + length]
    if size is None:
        raise Refusal(UndecodablePage, "damaged: the WebP holds no picture")
    return StillWebp(size, exif)


def _gif(data: bytes) -> None:
    """The blocks up to the end of the first picture: the others are not looked at."""
    position = 13 + _table(data[10])
    left = _MOST_BLOCKS
    while True:
        mark = data[position]
        if mark == 0x21:
            position += 2
        elif mark == 0x2C:
            position += 11 + _table(data[position + 9])
        elif mark == 0x3B:
            return
        else:
            raise Refusal(_damage(data), "damaged: the GIF's blocks make no sense")
        while size := data[position]:
            position += 1 + size
            left -= 1
            if not left:
                raise _too_many(_MOST_BLOCKS, "blocks before the end of the GIF's first picture")
        position += 1
        left -= 1
        if not left:
            raise _too_many(_MOST_BLOCKS, "blocks before the end of the GIF's first picture")
        if mark == 0x2C:
            return


def _table(flags: int) -> int:
    """Bytes of a colour table."""
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _bmp(data: bytes) -> None:
    offset, header = struct.unpack_from("<II", data, 10)
    if header < 40:
        return  # of OS/2, which Pillow reads by itself
    width, height, _, bits, packing = struct.unpack_from("<iiHHI", data, 18)
    row = (abs(width) * bits + 31) // 32 * 4
    if packing not in (1, 2) and offset + row * abs(height) > len(data) and _fits(width, height, data):
        raise Refusal(CutShort, "cut short: the BMP ends before its last row")


def _fits(width: int, height: int, data: bytes) -> bool:
    """Whether a file's end can be why its rows are missing, and not a header that lies."""
    return abs(width) * abs(height) <= 64 * len(data)


def _items(data: bytes) -> None:
    """The boxes of an AVIF or HEIC, and how many pictures it says that it is made of."""
    for name, start, end in _each_box(data):
        place = data.find(b"iinf", start, end) if name == b"meta" else -1
        # Of several, the library may read any: the first may stand in somebody's name only.
        while place != -1:
            form = ">I" if data[place + 4] else ">H"
            if struct.unpack_from(form, data, place + 8)[0] > _MOST_ITEMS:
                raise _too_many(_MOST_ITEMS, "pictures in one")
            place = data.find(b"iinf", place + 4, end)


def _boxes(data: bytes) -> None:
    for _ in _each_box(data):
        pass


def _each_box(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name, beginning and end of each box of the first level, which hold all others."""
    position = 0
    for _ in range(_MOST_BOXES):
        if position >= len(data):
            return
        size, name = struct.unpack_from(">I4s", data, position)
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, position + 8)
        elif size == 0:
            yield name, position, len(data)
            return  # to the end of the file
        if size < 8:
            raise Refusal(_damage(data), "damaged: its boxes make no sense")
        if position + size > len(data):
            raise Refusal(CutShort, "cut short: it ends within a box")
        yield name, position, position + size
        position += size
    raise _too_many(_MOST_BOXES, "boxes")


def _jpeg2000(data: bytes) -> None:
    """The boxes, the number of tiles, and an end after the picture."""
    if data[:4] != b"\xff\x4f\xff\x51":
        _boxes(data)
    start = data.find(b"\xff\x4f\xff\x51")
    if start == -1:
        raise Refusal(UndecodablePage, "damaged: the JPEG 2000 holds no picture")
    size = struct.unpack_from(">8I", data, start + 8)
    across, down = (
        -(-max(0, end - first) // step) if step else _MOST_TILES + 1
        for end, first, step in ((size[0], size[6], size[4]), (size[1], size[7], size[5]))
    )
    if across * down > _MOST_TILES:
        raise _too_many(_MOST_TILES, "tiles in the JPEG 2000")
    if data.find(b"\xff\xd9", start) == -1:
        raise Refusal(CutShort, "cut short: the JPEG 2000 has no end")


def wavelet_levels(data: bytes) -> int:
    """How many times a JPEG 2000 can be decoded at half its size; 0 where its header does not say."""
    place = data.find(b"\xff\x4f\xff\x51") + 2
    for _ in range(_MOST_MARKERS):
        if data[place : place + 2] == b"\xff\x52":
            return data[place + 9] if place + 9 < len(data) else 0
        place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    return 0


def _pdf(data: bytes) -> None:
    """That the file reaches the end that it promises; what a document holds, its own program counts."""
    head = re.search(rb"/Linearized\b[^>]{0,200}?/L\s+(\d{1,12})\b", data[:2048])
    if (head and int(head[1]) > len(data)) or b"%%EOF" not in data:
        raise Refusal(CutShort, "cut short: the PDF has no end")


_CHECKS: dict[str, Callable[[bytes], None]] = {
    "JPEG": _jpeg,
    "PNG": _png,
    "WEBP": _webp,
    "GIF": _gif,
    "BMP": _bmp,
    "AVIF": _items,
    "HEIF": _items,
    "JPEG2000": _jpeg2000,
    "PDF": _pdf,
}
