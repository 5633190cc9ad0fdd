"""The ink of marks that were found: as a mask, as an outline, and as a box that is turned with it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from backend.geometry import Boxes
from backend.vision.ink import OD_STEPS, DetectionConfig, Ink, ink_of, paper_colour
from backend.vision.working_raster import rasterise

if TYPE_CHECKING:
    from backend.pages.page import Page

__all__ = ["Inked", "Turned", "ink_in", "outline", "turned_box"]

_DARK_OD = 0.15
"""Density from which neutral ink counts, where a box holds no coloured ink."""
_LEAST_SHARE = 0.01
"""Share of a box that coloured ink has to cover for the mark to be of that ink."""
_MOST_OF_BOX = 0.7
"""Share of a box over which ink has to reach for the mark to be of it, whatever other ink is there."""
_JOIN_MM = 0.8
"""Gaps in the ink, in mm, that an outline passes over first; it is doubled until the ink is one piece."""
_MOST_JOINS = 5
_PLACES_MM = 0.3
"""How far an outline may be from the ink's edge, mm."""
_LEAST_TURN = 5.0
_MOST_AREA = 0.8
"""Share of the upright box up to which the turned one is worth having."""


@dataclass(frozen=True, eq=False)
class Inked:
    """The ink of one mark.

    Attributes:
        left: Column of the mask's first pixel on the page.
        top: Row of the mask's first pixel on the page.
        mask: (h, w) whether there is ink; some pixel of it always is.
        pixel_mm: Side of a pixel of the page, mm.
    """

    left: int
    top: int
    mask: NDArray[np.bool_]
    pixel_mm: float


@dataclass(frozen=True, kw_only=True)
class Turned:
    """A box turned about its top left corner.

    Attributes:
        corner: Its top left corner, in pixels of the page, which it is turned about.
        size: Width and height before it is turned, pixels.
        degrees: Clockwise, over -45 and up to 45.
    """

    corner: tuple[float, float]
    size: tuple[float, float]
    degrees: float


def ink_in(
    page: Page,
    boxes: Boxes,
    *,
    config: DetectionConfig = DetectionConfig(),  # noqa: B008 - frozen
) -> tuple[Inked, ...]:
    """The ink in each box, by its optical density: coloured where there is some, else dark; the whole box for none.

    Args:
        page: The page, whose pixels may be fewer than its size says; masks are of its size.
        boxes: (N, 4) xyxy, pixels of the page.
        config: The detector's numbers.
    """
    if not len(boxes):
        return ()
    raster = rasterise(page.pixels, page.pixels_dpi, pixel_mm=config.pixel_mm)
    ink = ink_of(raster.pixels, paper_colour(raster.pixels, widest=config.paper_mm / config.pixel_mm), config)
    height, width = page.height, page.width
    pixel_mm = raster.pixels.shape[1] * config.pixel_mm / width
    found = []
    for (x1, y1, x2, y2), small in zip(boxes.tolist(), raster.from_page(boxes * page.scale).tolist(), strict=True):
        left, top = min(max(math.floor(x1), 0), width - 1), min(max(math.floor(y1), 0), height - 1)
        size = (max(min(math.ceil(x2), width) - left, 1), max(min(math.ceil(y2), height) - top, 1))
        mask = cv2.resize(_ink(ink, small), size, interpolation=cv2.INTER_LINEAR) > 0.5
        found.append(Inked(left, top, mask if mask.any() else np.ones_like(mask), pixel_mm))
    return tuple(found)


def outline(ink: Inked) -> NDArray[np.float64]:
    """The outline of a mark's ink, (N, 2) points in pixels of the page, N ≥ 3: gaps in the ink are passed over."""
    edge = max(1, round(_JOIN_MM * 2**_MOST_JOINS / ink.pixel_mm)) + 1
    mask = np.pad(ink.mask.astype(np.uint8), edge)
    for doubling in range(_MOST_JOINS + 1):
        reach = 2 * max(1, round(_JOIN_MM * 2**doubling / ink.pixel_mm / 2)) + 1
        joined = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach)))
        pieces, _ = cv2.findContours(joined, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        if len(pieces) == 1:
            break
    line = pieces[0] if len(pieces) == 1 else cv2.convexHull(np.concatenate(list(pieces)))
    line = cv2.approxPolyDP(line, _PLACES_MM / ink.pixel_mm, closed=True)
    if len(line) < 3:
        line = cv2.boxPoints(cv2.minAreaRect(np.argwhere(mask)[:, ::-1].astype(np.float32)))
    # From the middle of a pixel to the page's own measure, in which a pixel's left edge has its number.
    corner = np.array([ink.left - edge + 0.5, ink.top - edge + 0.5])
    return np.asarray(np.asarray(line, np.float64).reshape(-1, 2) + corner)


def turned_box(ink: Inked) -> Turned | None:
    """The smallest box around a mark's ink, where it is turned and much smaller than the upright one; else None."""
    points = np.argwhere(ink.mask)[:, ::-1].astype(np.float32)
    (x, y), (width, height), degrees = cv2.minAreaRect(points)
    # Releases of OpenCV differ in which side they call the width, and in the sign.
    while not -45 < degrees <= 45:
        width, height, degrees = height, width, degrees - math.copysign(90, degrees)
    across, down = np.ptp(points, axis=0) + 1
    if abs(degrees) < _LEAST_TURN or (width + 1) * (height + 1) > _MOST_AREA * across * down:
        return None
    angle, width, height = math.radians(degrees), width + 1, height + 1
    corner = (
        ink.left + 0.5 + x - math.cos(angle) * width / 2 + math.sin(angle) * height / 2,
        ink.top + 0.5 + y - math.sin(angle) * width / 2 - math.cos(angle) * height / 2,
    )
    return Turned(corner=corner, size=(width, height), degrees=degrees)


def _ink(ink: Ink, box: list[float]) -> NDArray[np.float32]:
    """The part of a working raster's ink that is in a box, as 0 and 1."""
    height, width = ink.colour.shape
    left, top = min(max(math.floor(box[0]), 0), width - 1), min(max(math.floor(box[1]), 0), height - 1)
    window = (slice(top, max(math.ceil(box[3]), top + 1)), slice(left, max(math.ceil(box[2]), left + 1)))
    colour = ink.colour[window] >= ink.weakest
    dark = ink.neutral[window] >= _DARK_OD * OD_STEPS
    # The corner of a stamp may reach into the box of a black signature.
    coloured = colour.mean() >= _LEAST_SHARE and (_reach(colour) >= _MOST_OF_BOX or _reach(colour) >= _reach(dark))
    return np.asarray(colour if coloured else dark, np.float32)


def _reach(mask: NDArray[np.bool_]) -> float:
    """Share of a box that is between the outermost pixels of a mask."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return float(np.ptp(rows) + 1) * float(np.ptp(columns) + 1) / mask.size if len(rows) else 0.0
