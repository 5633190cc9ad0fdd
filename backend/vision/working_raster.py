"""The working raster: a page brought to square pixels of one size in millimetres, whatever its resolution."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from backend.geometry import Boxes, clip

__all__ = ["Raster", "rasterise"]

_A4_MM = (210.0, 297.0)
_PLAUSIBLE_LONG_SIDE_MM = (148.0, 420.0)
"""A6 to A3: metadata that makes a page smaller or larger than that is wrong more often than the page is."""
_SQUARE_TOLERANCE = 0.01
_LONGEST_SIDE = 2000


@dataclass(frozen=True)
class Raster:
    """A page at the working resolution.

    Attributes:
        pixels: (h, w, 3) uint8 RGB, every pixel `pixel_mm` wide and high.
        page: Width and height of the page it was made from, pixels.
        pixel_mm: Side of a working pixel, mm.
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


def _size_mm(width: int, height: int, dpi: float | None) -> tuple[float, float]:
    """Physical size of a page.

    A square page is taken for an A4 page squashed by an image loader that wanted squares: real contract pages are
    never square, such copies are common.
    """
    if abs(width - height) <= _SQUARE_TOLERANCE * max(width, height):
        return _A4_MM
    shortest, longest = _PLAUSIBLE_LONG_SIDE_MM
    if dpi and shortest <= max(width, height) * 25.4 / dpi <= longest:
        mm = 25.4 / dpi
    else:
        mm = _A4_MM[1] / max(width, height)
    return width * mm, height * mm


def rasterise(pixels: NDArray[np.uint8], dpi: float | None, *, pixel_mm: float) -> Raster:
    """Resamples an (H, W, 3) page to pixels of `pixel_mm`; an unknown or implausible `dpi` means A4."""
    height, width = pixels.shape[:2]
    # Even sides, so that halves of the raster have whole cells.
    size = [min(max(2 * round(side / pixel_mm / 2), 2), _LONGEST_SIDE) for side in _size_mm(width, height, dpi)]
    small = pixels
    # Halving is several times cheaper than averaging over odd areas; what is left to bilinear is a factor below two.
    while small.shape[1] >= 2 * size[0] and small.shape[0] >= 2 * size[1]:
        rows, columns = small.shape[0] // 2, small.shape[1] // 2
        small = np.asarray(
            cv2.resize(small[: 2 * rows, : 2 * columns], (columns, rows), interpolation=cv2.INTER_AREA), np.uint8
        )
    if (small.shape[1], small.shape[0]) != tuple(size):
        small = np.asarray(cv2.resize(small, size, interpolation=cv2.INTER_LINEAR), np.uint8)
    return Raster(small, (width, height), pixel_mm)
