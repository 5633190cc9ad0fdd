"""How large a page is, told by its print: letters of running text are nearly the same size on all paper."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["X_HEIGHT_MM", "x_height"]

X_HEIGHT_MM = 1.8
"""Height of a small letter of running text, 10 to 12 point, mm."""
_LONGEST_SIDE = 2500
_HEIGHTS = (3, 80)
_MOST_WIDE = 3.0
_LEAST_LETTERS = 120
_ROWS = 31
_DARKER = 12


def x_height(pixels: NDArray[np.uint8]) -> float | None:
    """Height of the small letters of an (H, W, 3) page, pixels; `None` where it has too few to tell.

    Most letters of a text have neither a stem nor a tail, so the commonest height among things of a letter's shape is
    theirs.
    """
    shrink = max(1.0, max(pixels.shape[:2]) / _LONGEST_SIDE)
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    if shrink > 1:
        grey = cv2.resize(grey, None, fx=1 / shrink, fy=1 / shrink, interpolation=cv2.INTER_AREA)
    ink = cv2.adaptiveThreshold(grey, 1, cv2.ADAPTIVE_THRESH_MEAN_C, cv2.THRESH_BINARY_INV, _ROWS, _DARKER)
    _, _, parts, _ = cv2.connectedComponentsWithStats(ink, connectivity=8)
    width, height, area = (parts[1:, column] for column in (cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT, cv2.CC_STAT_AREA))
    filled = area / (width * height)
    like_letters = (
        (height >= _HEIGHTS[0])
        & (height <= _HEIGHTS[1])
        & (width <= _MOST_WIDE * height)
        & (height <= 3 * width)
        & (filled > 0.15)
        & (filled < 0.9)
    )
    heights = height[like_letters]
    if len(heights) < _LEAST_LETTERS:
        return None
    counts = np.bincount(heights, minlength=_HEIGHTS[1] + 2).astype(float)
    smooth = np.convolve(counts, (0.5, 1.0, 0.5), mode="same")
    return float(smooth.argmax() * shrink)
