"""The colour of the bare paper at each place of a page: tint, shading and photographed light, without the ink."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["paper_colour"]

_CELL = 8
"""Working pixels of one cell of the coarse grid on which the paper is estimated (about 2 mm)."""


def paper_colour(pixels: NDArray[np.uint8], *, widest: float) -> NDArray[np.uint8]:
    """Estimates the paper under an (h, w, 3) uint8 page; the same shape comes back.

    The brightest spot of each cell, then a morphological closing on the coarse grid, which fills in whatever dark thing
    is narrower than `widest` pixels: text, strokes and stamps go, the edge of a photo or of a coloured band stays.
    """
    height, width = pixels.shape[:2]
    # Averaging four pixels first keeps the maximum from following the scanner's noise.
    half = cv2.resize(pixels, (max(1, width // 2), max(1, height // 2)), interpolation=cv2.INTER_AREA)
    bright = cv2.dilate(half, np.ones((_CELL // 2 + 1, _CELL // 2 + 1), np.uint8))
    size = (max(1, width // _CELL), max(1, height // _CELL))
    coarse = cv2.resize(bright, size, interpolation=cv2.INTER_NEAREST)
    cells = max(3, round(widest / _CELL) | 1)
    closed = cv2.morphologyEx(coarse, cv2.MORPH_CLOSE, np.ones((cells, cells), np.uint8))
    smooth = cv2.GaussianBlur(closed, (0, 0), 1.5, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(cv2.resize(smooth, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)
