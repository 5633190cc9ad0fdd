"""How large a page is, as its print tells: the letters of running text have nearly one size on all paper."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["long_side_mm"]

_PRINT_MM = 2.75
"""Height that half of the print is below, by its length: letters of Latin and Arabic text of 10 to 12 point, mm.

It is measured on 90 drawn pages of known resolution (2.3 to 3.8, whatever the language) and on 276 real pages, whose
long side it gives as 293 mm in the middle where they are whole sheets.
"""
_LONGEST_SIDE = 1300
_WINDOW = 31
_DARKER = 18
_HEIGHTS = (3, 80)
_LEAST_PIECES = 60


def long_side_mm(pixels: NDArray[np.uint8]) -> float | None:
    """Long side of an (H, W, 3) RGB page by its print, mm, good to a quarter; `None` where it has too little of that.

    Print is what is darker than its surroundings, in pieces of a letter's shape: letters, or the joined ones of a word.
    """
    longest = max(pixels.shape[:2])
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    if longest > _LONGEST_SIDE:
        shrink = _LONGEST_SIDE / longest
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
