"""Ink on paper as optical density, and the ink of marks that were found: as a mask, as an outline, as a turned box.

The detector's numbers are in millimetres and optical density, so that they hold at every resolution. The colour of the
bare paper is known at each place of a page: tint, shading and photographed light, without the ink.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from backend.geometry import Boxes
from backend.vision.working_raster import rasterise

if TYPE_CHECKING:
    from backend.pages.page import Page

__all__ = [
    "OD_STEPS",
    "DetectionConfig",
    "Inked",
    "PageInk",
    "ink_in",
    "ink_of",
    "outline",
    "paper_colour",
    "turned_box",
]

_CELL = 8
"""Working pixels of one cell of the coarse grid on which the paper is estimated (about 2 mm)."""
OD_STEPS = 200
"""Densities are held as uint8 in steps of 1/200 OD: a byte then ends at 1.27 OD, which is as black as print gets."""

_DENSITY = np.minimum(np.round(-OD_STEPS * np.log10((np.arange(256) + 1.0) / 256.0)), 255).astype(np.uint8)
_SMOOTHING = (3, 3)
_TEXT_OD = 0.2
"""Density from which a pixel says something about the page's black."""


@dataclass(frozen=True, kw_only=True)
class DetectionConfig:
    """What counts as ink, what belongs together, and what is large enough to be a mark.

    `dataclasses.asdict` gives plain JSON, which is part of the version string.

    Example:
        >>> DetectionConfig(most_candidates=12).most_candidates
        12

    Attributes:
        pixel_mm: Side of a pixel of the working raster, mm (0.254 is 100 dpi).
        paper_mm: Widest dark thing that is not taken for paper, mm.
        weakest_ink: Chroma, in OD, below which nothing is coloured ink.
        noise_ratio: The page's own colour noise (OD) times this is also too weak to be ink.
        neutral_margin: Chroma beyond that of the page's black, as a share of the grey OD, from which ink is coloured.
        neutral_ratios: Lowest and highest chroma that black is taken to have, as a share of its grey OD.
        strengths: Multiples of the page's weakest ink at which layers are cut.
        gaps_mm: Distances, across and down, over which pieces of ink are grouped into one region, mm. The wide one
            joins the words of one line, such as a name written with a space.
        dark_ods: Densities, in OD, at which layers of dark ink are cut.
        rule_mm: Straight dark runs of at least this length are ruled lines, mm.
        text_mm: Connected dark ink whose shorter side is below this is print, mm.
        most_fill: Largest share of its box that a piece of dark handwriting fills.
        patch_mm: Diameter of the disc of ink that makes a solid patch, such as a thumbprint, mm.
        patch_ods: Densities, in OD, at which layers of solid patches are cut.
        pale_ods: Density, in OD, from which grey is pale ink, and the one from which it is print.
        shortest_mm: Smallest longer side of a mark, mm.
        longest_mm: Largest longer side of a mark, mm.
        thinnest_mm: Smallest shorter side of a mark, mm.
        least_ink_mm2: Smallest inked area of a mark, mm².
        duplicate_iou: IoU above which two candidates are the same.
        least_score: Likelihood below which a region is no candidate, unless there are very few.
        fewest_candidates: Number of candidates that a page has, however unlikely, if it has as many regions.
        most_candidates: Largest number of candidates of one page.
    """

    pixel_mm: float = 0.254
    paper_mm: float = 28.0
    weakest_ink: float = 0.02
    noise_ratio: float = 3.0
    neutral_margin: float = 0.06
    neutral_ratios: tuple[float, float] = (0.1, 0.3)
    strengths: tuple[float, ...] = (1.0, 3.0, 7.0)
    gaps_mm: tuple[tuple[float, float], ...] = ((1.0, 1.0), (2.0, 2.0), (3.5, 3.5), (6.0, 1.5))
    dark_ods: tuple[float, ...] = (0.05, 0.12, 0.3)
    rule_mm: float = 25.0
    text_mm: float = 5.0
    most_fill: float = 0.6
    patch_mm: float = 5.0
    patch_ods: tuple[float, ...] = (0.05, 0.12)
    pale_ods: tuple[float, float] = (0.03, 0.15)
    shortest_mm: float = 6.0
    longest_mm: float = 110.0
    thinnest_mm: float = 2.5
    least_ink_mm2: float = 3.0
    duplicate_iou: float = 0.7
    least_score: float = 0.06
    fewest_candidates: int = 8
    most_candidates: int = 30


def paper_colour(pixels: NDArray[np.uint8], *, widest: float) -> NDArray[np.uint8]:
    """Estimates the paper under an (h, w, 3) uint8 page; the same shape comes back.

    The brightest spot of each cell is taken. Then a morphological closing on the coarse grid fills in every dark thing
    narrower than `widest` pixels. Text, strokes and stamps go; the edge of a photo or of a coloured band stays.
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


@dataclass(frozen=True)
class PageInk:
    """Ink of a page at the working resolution; the arrays are (h, w) uint8.

    Attributes:
        colour: Chroma of the density beyond what this page's black has, steps of 1/200 OD.
        neutral: Density common to all channels, steps of 1/200 OD.
        hue: Hue of the absorption, 0 to 179 as in OpenCV: near 0 for blue ink, 60 for purple, 90 for red.
        weakest: Colour below which the page shows nothing but noise, steps of 1/200 OD.
    """

    colour: NDArray[np.uint8]
    neutral: NDArray[np.uint8]
    hue: NDArray[np.uint8]
    weakest: float


def ink_of(pixels: NDArray[np.uint8], paper: NDArray[np.uint8], config: DetectionConfig) -> PageInk:
    """Measures the ink on an (h, w, 3) uint8 page whose bare `paper`, of the same shape, is known.

    Density is the logarithm of paper over page in each channel (Beer and Lambert): inks printed over each other add up,
    and shading divides out.
    """
    density = cv2.subtract(cv2.LUT(pixels, _DENSITY), cv2.LUT(paper, _DENSITY))
    density = cv2.blur(density, _SMOOTHING)
    red, green, blue = cv2.split(density)
    neutral = np.asarray(cv2.min(cv2.min(red, green), blue), np.uint8)
    chroma = np.asarray(cv2.subtract(cv2.max(cv2.max(red, green), blue), neutral), np.uint8)
    black = cv2.convertScaleAbs(neutral, alpha=_chroma_of_black(chroma, neutral, config))
    noise = config.noise_ratio * float(np.median(chroma[::4, ::4]))
    return PageInk(
        colour=np.asarray(cv2.subtract(chroma, black), np.uint8),
        neutral=neutral,
        hue=np.asarray(cv2.cvtColor(density, cv2.COLOR_RGB2HSV)[..., 0], np.uint8),
        weakest=max(config.weakest_ink * OD_STEPS, noise),
    )


def _chroma_of_black(chroma: NDArray[np.uint8], neutral: NDArray[np.uint8], config: DetectionConfig) -> float:
    """Chroma that black ink has on this page, as a share of its density.

    It depends on the scanner, the paper's tint and the compression; most dark pixels of a contract are black text, so
    their median tells.
    """
    least, most = config.neutral_ratios
    dark = neutral[::2, ::2] > _TEXT_OD * OD_STEPS
    if not dark.any():
        return least
    typical = float(np.median(chroma[::2, ::2][dark] / neutral[::2, ::2][dark]))
    return min(max(1.5 * typical + config.neutral_margin, least), most)


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
    config: DetectionConfig = DetectionConfig(),
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


def _ink(ink: PageInk, box: list[float]) -> NDArray[np.float32]:
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
