"""A rough box that an annotator drew, tightened to the ink inside."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from backend.geometry import Boxes, as_boxes
from backend.vision.ink import OD_STEPS, DetectionConfig, ink_of, paper_colour
from backend.vision.working_raster import rasterise

__all__ = ["refine"]

_DARK_OD = 0.15
"""Density from which neutral ink counts, where a box holds no coloured ink."""
_SMALLEST_PIECE = 4
"""Working pixels below which a piece of ink is a speck."""


def refine(
    pixels: NDArray[np.uint8],
    box: Boxes,
    dpi: float | None = None,
    *,
    config: DetectionConfig = DetectionConfig(),  # noqa: B008 - frozen
) -> Boxes:
    """Tightens a rough box to the coloured ink inside, or else to the dark ink.

    Ink that merely reaches in from outside, such as the next line of text, does not hold a side back.

    Args:
        pixels: (H, W, 3) uint8 RGB page.
        box: (1, 4) or (4,) xyxy, pixels of the page.
        dpi: Resolution of the page, where it is known.
        config: The detector's numbers.

    Returns:
        (1, 4) xyxy, pixels of the page, within the rough box; the rough box itself where it holds no ink.
    """
    rough = as_boxes(box)
    raster = rasterise(pixels, dpi, pixel_mm=config.pixel_mm)
    height, width = raster.pixels.shape[:2]
    inside = raster.from_page(rough)[0]
    left, top = np.floor(np.clip(inside[:2], 0, [width, height])).astype(int)
    right, bottom = np.ceil(np.clip(inside[2:], 0, [width, height])).astype(int)
    if right <= left or bottom <= top:
        return rough
    ink = ink_of(raster.pixels, paper_colour(raster.pixels, widest=config.paper_mm / config.pixel_mm), config)
    window = (slice(top, bottom), slice(left, right))
    least = config.least_ink_mm2 / config.pixel_mm**2
    for mask in (ink.colour >= ink.weakest, ink.neutral >= _DARK_OD * OD_STEPS):
        mine = _pieces_inside(mask, window)
        if mine.sum() >= least:
            rows, columns = np.flatnonzero(mine.any(axis=1)), np.flatnonzero(mine.any(axis=0))
            found = as_boxes([left + columns[0], top + rows[0], left + columns[-1] + 1, top + rows[-1] + 1])
            tight = raster.to_page(found)
            return np.concatenate([np.maximum(tight[:, :2], rough[:, :2]), np.minimum(tight[:, 2:], rough[:, 2:])], 1)
    return rough


def _pieces_inside(mask: NDArray[np.bool_], window: tuple[slice, slice]) -> NDArray[np.bool_]:
    """The window of a mask, with only those pieces that lie mostly in the window."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    within = np.bincount(labels[window].ravel(), minlength=count)
    keep = (within >= 0.5 * stats[:, cv2.CC_STAT_AREA]) & (stats[:, cv2.CC_STAT_AREA] >= _SMALLEST_PIECE)
    keep[0] = False
    return np.asarray(keep[labels[window]], np.bool_)
