"""Which way the lines of print run: across a page, or down it where it lies on its side."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

__all__ = ["CLEAR", "lines_across"]

CLEAR = 0.3
"""From this on, above 0 or below, `lines_across` tells which way lines run."""

_BLOCK = 64
"""Side of the places that are looked at one by one, pixels: at 75 dpi, some five lines of print."""
_RULE = 45
"""Length from which ink in one row or column is a ruled line and no print, pixels."""
_PAPER = 41
"""Side of the surroundings that tell how light the paper is, pixels."""
_FAINTEST = 0.06
_DARKEST = 0.5
"""Ink counts from the first difference to the paper on, and no more than by the second; white is 1."""
_LEAST_INK = 0.01
"""Mean ink of a place that has print."""
_LEAST_PLACES = 12
"""Places that have print on a page of which it tells something; a drawing has fewer."""
_LEAST_VARIANCE = 1e-3


def lines_across(pixels: NDArray[np.uint8]) -> float:
    """How much more the ink changes from row to row than from column to column, as the log of a ratio of variances.

    Above 0 where lines of print run across, below 0 where they run down the page, 0 where there is hardly any print.

    Args:
        pixels: (H, W, 3) uint8 RGB page at about 75 dpi.
    """
    ink = _print(pixels)
    if min(ink.shape) < _BLOCK:
        return 0.0
    places = sliding_window_view(ink, (_BLOCK, _BLOCK))[:: _BLOCK // 2, :: _BLOCK // 2]
    rows, columns = places.sum(axis=3), places.sum(axis=2)
    amount = rows.sum(axis=2)
    amount[amount < _LEAST_INK * _BLOCK**2] = 0
    if np.count_nonzero(amount) < _LEAST_PLACES:
        return 0.0
    told = np.log((rows.var(axis=2) + _LEAST_VARIANCE) / (columns.var(axis=2) + _LEAST_VARIANCE))
    return float(np.average(told, weights=amount))


def _print(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Ink, (H, W) in [0, 1], without ruled lines and the edges of pictures."""
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    ink = np.minimum(cv2.blur(grey, (_PAPER, _PAPER)) - grey, _DARKEST)
    ink[ink < _FAINTEST] = 0
    there = (ink > 0).astype(np.uint8)
    for shape in ((1, _RULE), (_RULE, 1)):
        ruled = cv2.morphologyEx(there, cv2.MORPH_OPEN, np.ones(shape, np.uint8))
        ink[cv2.dilate(ruled, np.ones((3, 3), np.uint8)) > 0] = 0
    return np.asarray(ink, np.float32)
