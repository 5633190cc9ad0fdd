"""The original model card's fixed HSV rules, kept only to measure against: red and blue masks, closing, contours."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from backend.geometry import Boxes, as_boxes

__all__ = ["hsv_boxes"]

_RANGES = (
    ((0, 30, 50), (10, 255, 255)),
    ((160, 30, 50), (180, 255, 255)),
    ((90, 30, 50), (130, 255, 255)),
)
"""Lowest and highest hue, saturation and value: red on both sides of hue 0, then blue.

Of the usual values, the saturation and the kernel are those that do best on the real pages, not to flatter us.
"""
_KERNEL = np.ones((9, 9), np.uint8)
_SMALLEST_AREA_AT_300_DPI = 2000.0


def hsv_boxes(pixels: NDArray[np.uint8]) -> Boxes:
    """Boxes (N, 4) around contours of red or blue pixels of an (H, W, 3) RGB page."""
    hsv = cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV)
    found: list[tuple[int, int, int, int]] = []
    smallest = _SMALLEST_AREA_AT_300_DPI * (max(pixels.shape[:2]) / 3508) ** 2
    red = cv2.bitwise_or(*(cv2.inRange(hsv, np.array(low), np.array(high)) for low, high in _RANGES[:2]))
    blue = cv2.inRange(hsv, np.array(_RANGES[2][0]), np.array(_RANGES[2][1]))
    for mask in (red, blue):
        closed = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, _KERNEL, iterations=2)
        contours, _ = cv2.findContours(closed, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        for contour in contours:
            x, y, w, h = cv2.boundingRect(contour)
            if w * h >= smallest:
                found.append((x, y, x + w, y + h))
    return as_boxes(found)
