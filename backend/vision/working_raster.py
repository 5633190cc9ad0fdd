"""The working raster: a page brought to square pixels of one size in millimetres, whatever its resolution."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from backend.geometry import Boxes, clip

__all__ = ["Raster", "long_side_mm", "rasterise"]

_PRINT_MM = 2.75
"""Median height of print, weighted by its length: letters of Latin and Arabic text of 10 to 12 point, mm.

It is measured on 90 drawn pages of known resolution (2.3 to 3.8, whatever the language) and on 276 real pages, whose
long side it gives as 293 mm in the middle where they are whole sheets.
"""
_LONGEST_READ_SIDE = 1300
_WINDOW = 31
_DARKER = 18
_HEIGHTS = (3, 80)
_LEAST_PIECES = 60


def long_side_mm(pixels: NDArray[np.uint8]) -> float | None:
    """Long side of an (H, W, 3) RGB page by its print, mm, good to a quarter; `None` where it has too little of that.

    Print is darker than its surroundings, in pieces shaped like a letter, or like the joined letters of a word.
    """
    longest = max(pixels.shape[:2])
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    if longest > _LONGEST_READ_SIDE:
        shrink = _LONGEST_READ_SIDE / longest
        grey = cv2.resize(grey, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
    ink = cv2.adaptiveThreshold(grey, 1, cv2.ADAPTIVE_THRESH_MEAN_C, cv2.THRESH_BINARY_INV, _WINDOW, _DARKER)
    _, _, pieces, _ = cv2.connectedComponentsWithStats(ink, connectivity=8)
    width, height, area = (pieces[1:, column] for column in (cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT, cv2.CC_STAT_AREA))
    like_letters = (
        (height >= _HEIGHTS[0])
        & (height <= _HEIGHTS[1])
        & (width <= 12 * height)
        & (height <= 3 * width)
        & (area > 0.15 * width * height)
    )
    if like_letters.sum() < _LEAST_PIECES:
        return None
    width, height = width[like_letters], height[like_letters]
    order = np.argsort(height)
    along = np.cumsum(width[order])
    middle = height[order][np.searchsorted(along, along[-1] / 2)]
    return float(max(grey.shape) * _PRINT_MM / middle)


_A4_MM = (210.0, 297.0)
_SHEET_MM = (148.0, 440.0)
"""A6 to A3 and to 11 by 17 inches, with the pixels that a scanner adds: a resolution that makes a page larger than that
is wrong more often than the page is."""
_STRIP = 2.5
"""How many times longer than wide a receipt is at least; a sheet is 1.4 times."""
_LONGEST_STRIP_MM = 1500.0
_SMALLEST_MM = 10.0
"""Long side of the smallest picture that somebody cuts out of a page."""
_SMALLEST_BY_PRINT_MM = 40.0
_CONTRADICTS = 1.6
"""The print is believed where it makes a page this many times larger or smaller than its resolution does, or than
A4."""
_SQUARE_TOLERANCE = 0.01
_LONGEST_SIDE = 4000
"""Pixels: room for A3 at 150 dpi, from which the detector's input is averaged, and for a receipt of two feet."""


@dataclass(frozen=True)
class Raster:
    """A page at the working resolution.

    Attributes:
        pixels: (h, w, 3) uint8 RGB, every pixel `pixel_mm` wide and high.
        page: Width and height of the page it was made from, pixels.
        pixel_mm: Side of a working pixel, mm: what was asked for, or more where the page is too long for that.
    """

    pixels: NDArray[np.uint8]
    page: tuple[int, int]
    pixel_mm: float

    def to_page(self, boxes: Boxes) -> Boxes:
        """Brings (N, 4) boxes of the raster to pixels of the page, inside it."""
        height, width = self.pixels.shape[:2]
        scale = np.array([self.page[0] / width, self.page[1] / height] * 2)
        return clip(boxes * scale, width=self.page[0], height=self.page[1])

    def from_page(self, boxes: Boxes) -> Boxes:
        """Brings (N, 4) boxes of the page to pixels of the raster."""
        height, width = self.pixels.shape[:2]
        return np.asarray(boxes * np.array([width / self.page[0], height / self.page[1]] * 2))


def _size_mm(pixels: NDArray[np.uint8], dpi: float | None) -> tuple[float, float]:
    """Physical width and height of a page.

    Its resolution tells, where that makes a sheet. One that makes a small picture may have been left over from before
    a page was made smaller, and one that makes a receipt longer than a sheet may be a mere placeholder, so the print is
    asked, too. Without a resolution a page is taken for A4, unless its print
    says that it is a part of a sheet, or a larger one. A square page without a resolution is taken for an A4 page
    squashed by an image loader that wanted squares: real contract pages are never square, such copies are common.
    """
    height, width = pixels.shape[:2]
    longest = max(width, height)
    is_square = abs(width - height) <= _SQUARE_TOLERANCE * longest
    by_dpi = longest * 25.4 / dpi if dpi else 0.0
    shortest_sheet, longest_sheet = _SHEET_MM
    if shortest_sheet <= by_dpi <= longest_sheet and not is_square:
        return width * by_dpi / longest, height * by_dpi / longest
    is_small = _SMALLEST_MM <= by_dpi < shortest_sheet
    is_strip = longest_sheet < by_dpi <= _LONGEST_STRIP_MM and longest >= _STRIP * min(width, height)
    if is_square and not is_small:
        return _A4_MM
    by_print = long_side_mm(pixels)
    if (is_small or is_strip) and (by_print is None or not _contradicts(by_print, by_dpi)):
        chosen = by_dpi
    elif is_square:
        return _A4_MM
    elif by_print and _contradicts(by_print, _A4_MM[1]) and _SMALLEST_BY_PRINT_MM <= by_print <= longest_sheet:
        chosen = by_print
    else:
        chosen = _A4_MM[1]
    return width * chosen / longest, height * chosen / longest


def _contradicts(one: float, other: float) -> bool:
    return max(one, other) > _CONTRADICTS * min(one, other)


def rasterise(pixels: NDArray[np.uint8], dpi: float | None, *, pixel_mm: float) -> Raster:
    """Resamples an (H, W, 3) page to pixels of `pixel_mm`.

    Where `dpi` is unknown or implausible, the page's print tells its size, or else it is taken for A4.
    """
    height, width = pixels.shape[:2]
    sides = _size_mm(pixels, dpi)
    step = max(pixel_mm, max(sides) / _LONGEST_SIDE)
    # Even sides, so that halves of the raster have whole cells.
    size = [max(2 * round(side / step / 2), 2) for side in sides]
    small = pixels
    # Halving is several times cheaper than averaging over odd areas; what is left to bilinear is a factor below two.
    while small.shape[1] >= 2 * size[0] and small.shape[0] >= 2 * size[1]:
        rows, columns = small.shape[0] // 2, small.shape[1] // 2
        small = np.asarray(
            cv2.resize(small[: 2 * rows, : 2 * columns], (columns, rows), interpolation=cv2.INTER_AREA), np.uint8
        )
    if (small.shape[1], small.shape[0]) != tuple(size):
        small = np.asarray(cv2.resize(small, size, interpolation=cv2.INTER_LINEAR), np.uint8)
    return Raster(small, (width, height), step)
