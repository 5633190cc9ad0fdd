"""Pieces of ink that lie close together become regions."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from backend.geometry import Boxes

__all__ = ["Regions", "halve", "regions_of", "without_specks"]


@dataclass(frozen=True)
class Regions:
    """Connected regions of one layer at one grouping distance.

    Attributes:
        boxes: (N, 4) tight around the ink, pixels of the mask.
        ink: (N,) inked area, square pixels of the mask.
    """

    boxes: Boxes
    ink: NDArray[np.float64]


def halve(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Halves the resolution; a cell is inked when any of its four pixels is."""
    height, width = mask.shape
    padded = np.pad(mask, ((0, height % 2), (0, width % 2)))
    rows = np.maximum(padded[0::2], padded[1::2])
    return np.maximum(rows[:, 0::2], rows[:, 1::2])


def without_specks(mask: NDArray[np.uint8], *, smallest: int) -> NDArray[np.uint8]:
    """Drops connected pieces of fewer than `smallest` pixels."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    keep = (stats[:, cv2.CC_STAT_AREA] >= smallest).astype(np.uint8) * np.uint8(255)
    keep[0] = 0
    return np.asarray(keep[labels], np.uint8)


def regions_of(mask: NDArray[np.uint8], *, gap: float) -> Regions:
    """Groups the pixels of a binary mask that are at most `gap` pixels apart."""
    radius = max(1, round(gap / 2))
    padded = np.pad(mask, radius)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(cv2.dilate(padded, kernel), connectivity=8)
    ink = np.bincount(labels[padded > 0], minlength=count)[1:].astype(np.float64)
    x, y, w, h = (stats[1:, column].astype(np.float64) for column in range(4))
    # The dilation moved every side out by the radius, the border moved the origin by as much: the top left stays.
    return Regions(np.column_stack([x, y, x + w - 2 * radius, y + h - 2 * radius]), ink)
