"""The directories of a TIFF: where each page begins, and what its tables ask for, by their lengths alone."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from backend.errors import CutShort, LimitExceeded, UndecodablePage
from backend.pages.page import Refusal

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Directories", "beginning_at"]

_MOST_DIRECTORIES = 10_000  # of one file, whichever are wanted: to find a page is to walk the directories before it
_MOST_ENTRIES = 1_000  # of one directory; a rich one has a hundred
_MOST_PIECES = 100_000  # strips or tiles of one page: one a row of the largest scan
_MOST_VALUES = 1_000  # of a tag that says one thing of the page, or of each of its colours
_FEW = (254, 256, 257, 258, 259, 262, 266, 274, 277, 278, 282, 283, 284, 296, 317, 322, 323, 338, 339, 530, 531, 532)
_OFFSETS = (273, 324)  # of strips, of tiles
_LENGTHS = (279, 325)
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}


@dataclass(frozen=True)
class _Layout:
    """How the numbers of a file are written."""

    order: str
    big: bool

    @property
    def count(self) -> struct.Struct:
        return struct.Struct(self.order + ("Q" if self.big else "H"))

    @property
    def entry(self) -> struct.Struct:
        """Tag, type, number of values."""
        return struct.Struct(self.order + ("HHQ" if self.big else "HHI"))

    @property
    def pointer(self) -> struct.Struct:
        return struct.Struct(self.order + ("Q" if self.big else "I"))


class Directories:
    """The directories of one file.

    Args:
        data: The whole file.

    Raises:
        Refusal: It has no header of a TIFF.
    """

    def __init__(self, data: bytes) -> None:
        order = "<" if data[:2] == b"II" else ">"
        self._data = data
        self._layout = _Layout(order, data[2:4] in (b"+\0", b"\0+"))

    def indices(self, wanted: slice | None) -> range:
        """Which pages `wanted` means; of a file whose last pages are not asked for, the end is not looked at.

        Raises:
            Refusal: More directories than a file can need, or it ends within one that is passed.
        """
        asked = wanted or slice(None)
        forward = (asked.step or 1) > 0 and (asked.start or 0) >= 0 and asked.stop is not None and asked.stop >= 0
        most = min(asked.stop, _MOST_DIRECTORIES) if forward else _MOST_DIRECTORIES
        count = sum(1 for _ in islice(self._offsets(), most + (not forward)))
        if count > _MOST_DIRECTORIES:
            raise Refusal(LimitExceeded, f"more than {_MOST_DIRECTORIES} pages in one file")
        return range(count)[asked]

    def offset(self, index: int) -> int:
        """Where the directory of a page begins; what it asks for is checked.

        Raises:
            Refusal: It asks for more than a page can need, or lies beyond the end of the file.
        """
        found = next(islice(self._offsets(), index, None), None)
        if found is None:
            raise Refusal(UndecodablePage, f"damaged: there is no page {index + 1}")
        self._check(found)
        return found

    def is_cut(self, offset: int) -> bool:
        """Whether a piece of the page at `offset` lies beyond the end of the file."""
        lengths: tuple[int, ...] = ()
        offsets: tuple[int, ...] = ()
        for tag, values in self._pieces(offset):
            if tag in _OFFSETS:
                offsets = values
            else:
                lengths = values
        return any(start + length > len(self._data) for start, length in zip(offsets, lengths, strict=False))

    def _offsets(self) -> Iterator[int]:
        """Of one directory after the other; one that was there before ends the row, as it ends that of readers."""
        layout, seen = self._layout, set()
        (place,) = self._read(layout.pointer, 8 if layout.big else 4)
        while place and place not in seen:
            seen.add(place)
            yield place
            (entries,) = self._read(layout.count, place)
            after = place + layout.count.size + entries * (layout.entry.size + layout.pointer.size)
            (place,) = self._read(layout.pointer, after)

    def _read(self, what: struct.Struct, place: int) -> tuple[int, ...]:
        try:
            return what.unpack_from(self._data, place)
        except struct.error as error:
            raise Refusal(CutShort, "cut short: a directory of the TIFF lies beyond its end") from error

    def _entries(self, offset: int) -> Iterator[tuple[int, int, int, int]]:
        """Tag, size of a value, number of values, place of the values."""
        layout = self._layout
        (entries,) = self._read(layout.count, offset)
        if entries > _MOST_ENTRIES:
            raise Refusal(LimitExceeded, f"a TIFF directory of {entries} entries: more than {_MOST_ENTRIES}")
        for number in range(entries):
            place = offset + layout.count.size + number * (layout.entry.size + layout.pointer.size)
            tag, kind, count = self._read(layout.entry, place)
            size = _SIZES.get(kind, 1)
            place += layout.entry.size
            if size * count > layout.pointer.size:
                (place,) = self._read(layout.pointer, place)
            yield tag, size, count, place

    def _check(self, offset: int) -> None:
        total = 0
        for tag, size, count, _ in self._entries(offset):
            if tag in (*_OFFSETS, *_LENGTHS) and count > _MOST_PIECES:
                raise Refusal(LimitExceeded, f"a TIFF page of {count} strips or tiles: more than {_MOST_PIECES}")
            if tag in _FEW and count > _MOST_VALUES:
                raise Refusal(LimitExceeded, f"a TIFF page with {count} values of tag {tag}: more than {_MOST_VALUES}")
            total += size * count
        if total > len(self._data):
            raise Refusal(self._lack(offset), "the tables of a TIFF page are longer than the file")

    def _lack(self, offset: int) -> type[CutShort | LimitExceeded]:
        """Tables that lie on one another make a small file ask for much; one that lies beyond the end is missing."""
        beyond = any(place + size * count > len(self._data) for _, size, count, place in self._entries(offset))
        return CutShort if beyond else LimitExceeded

    def _pieces(self, offset: int) -> Iterator[tuple[int, tuple[int, ...]]]:
        for tag, size, count, place in self._entries(offset):
            if tag in (*_OFFSETS, *_LENGTHS):
                letter = {2: "H", 4: "I", 8: "Q"}.get(size, "B")
                yield tag, self._read(struct.Struct(f"{self._layout.order}{count}{letter}"), place)


def beginning_at(data: bytes, offset: int) -> bytes:
    """The file with another directory as its first: a reader then begins there, and walks past no other."""
    order = "<" if data[:2] == b"II" else ">"
    if data[2:4] in (b"+\0", b"\0+"):
        return data[:8] + struct.pack(order + "Q", offset) + data[16:]
    return data[:4] + struct.pack(order + "I", offset) + data[8:]
