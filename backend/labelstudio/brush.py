"""Masks as Label Studio's brush stores them: runs of the bytes of a red, green, blue and alpha picture.

The format is that of @thi.ng/rle-pack. First come 32 bits for the number of values, 5 bits for their width less one,
and four times 4 bits for the widths of lengths less one. Then come the runs. Of each run, one bit says whether one
value is repeated, and 2 bits choose a width. Then come its length less one and its values: one, or as many as the
length says.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from backend.errors import RequestError

__all__ = ["box_of_runs", "runs_of_mask"]

_CHANNELS = 4
_ALPHA = 3
_WIDTHS = (3, 4, 8, 16)
_INKED = 255
_MOST_BYTES = 4 * 1024 * 1024
"""A page covered with strokes is a tenth of it."""


def runs_of_mask(mask: NDArray[np.bool_], *, left: int, top: int, width: int, height: int) -> list[int]:
    """The bytes that stand for a mask on a page.

    Args:
        mask: (h, w) whether there is ink.
        left: Column of the mask's first pixel on the page.
        top: Row of the mask's first pixel on the page.
        width: Width of the page in pixels.
        height: Height of the page in pixels.
    """
    rows, starts = np.nonzero(np.diff(mask, axis=1, prepend=False) & mask)
    _, ends = np.nonzero(np.diff(mask, axis=1, append=False) & mask)
    begin = ((rows + top) * width + left + starts).tolist()
    end = ((rows + top) * width + left + ends + 1).tolist()
    bits = [f"{width * height * _CHANNELS:032b}", f"{7:05b}", *(f"{one - 1:04b}" for one in _WIDTHS)]
    reached = 0
    for first, last in zip(begin, end, strict=True):
        bits += _runs((first - reached) * _CHANNELS, 0)
        bits += _runs((last - first) * _CHANNELS, _INKED)
        reached = last
    bits += _runs((width * height - reached) * _CHANNELS, 0)
    text = "".join(bits)
    text += "0" * (-len(text) % 8)
    return list(int(text, 2).to_bytes(len(text) // 8, "big"))


def box_of_runs(runs: Sequence[object], *, width: int, height: int) -> tuple[int, int, int, int] | None:
    """x1, y1, x2, y2 of the pixels that a mask covers; None where it covers none.

    Raises:
        RequestError: The bytes are none of a page of this size.
    """
    if len(runs) > _MOST_BYTES or not all(isinstance(one, int) and 0 <= one <= 255 for one in runs):
        raise RequestError(f"a brush's mask is no list of at most {_MOST_BYTES} bytes")
    reader = _Bits(bytes(one for one in runs if isinstance(one, int)))
    if reader.take(32) != width * height * _CHANNELS:
        raise RequestError(f"a brush's mask is of another size than its page, {width} x {height} pixels")
    word = reader.take(5) + 1
    widths = [reader.take(4) + 1 for _ in range(4)]
    found: list[tuple[int, int]] = list(_covered(reader, word, widths, total=width * height * _CHANNELS))
    if not found:
        return None
    spans = np.array(found) // _CHANNELS
    first, last = spans[:, 0], spans[:, 1]
    whole = bool((first // width != last // width).any())
    x1, x2 = (0, width - 1) if whole else (int((first % width).min()), int((last % width).max()))
    return x1, int(first.min()) // width, x2 + 1, int(last.max()) // width + 1


def _covered(reader: _Bits, word: int, widths: Sequence[int], *, total: int) -> Iterator[tuple[int, int]]:
    """First and last value of each stretch whose alpha is not 0."""
    at = 0
    while at < total:
        repeated = reader.take(1)
        length = 1 + reader.take(widths[reader.take(2)])
        if repeated:
            value = reader.take(word)
            # The first and the last alpha in the run; there may be none.
            first, last = at + (_ALPHA - at) % _CHANNELS, at + length - 1
            last -= (last - _ALPHA) % _CHANNELS
            if value and first <= last:
                yield first, last
        else:
            for place in range(at, at + length):
                if reader.take(word) and place % _CHANNELS == _ALPHA:
                    yield place, place
        at += length


def _runs(length: int, value: int) -> Iterator[str]:
    """A value so many times over, in runs of the shortest width that holds their length."""
    while length > 0:
        part = min(length, 2 ** _WIDTHS[-1])
        choice = next(place for place, one in enumerate(_WIDTHS) if part <= 2**one)
        yield f"1{choice:02b}{part - 1:0{_WIDTHS[choice]}b}{value:08b}"
        length -= part


class _Bits:
    """Bits of some bytes, from the highest of the first."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, count: int) -> int:
        """The next bits as a number."""
        end = self._at + count
        last = -(-end // 8)
        if last > len(self._data):
            raise RequestError("a brush's mask ends before its page does")
        window = int.from_bytes(self._data[self._at // 8 : last], "big")
        self._at = end
        return (window >> (last * 8 - end)) & ((1 << count) - 1)
