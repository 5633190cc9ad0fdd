"""Ink on paper as optical density: how strong, how coloured and of which hue it is at each pixel.

The detector's numbers, in millimetres and optical density, so that they hold at every resolution.

The colour of the bare paper at each place of a page: tint, shading and photographed light, without the ink.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["OD_STEPS", "DetectionConfig", "Ink", "ink_of", "paper_colour"]

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
class Ink:
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


def ink_of(pixels: NDArray[np.uint8], paper: NDArray[np.uint8], config: DetectionConfig) -> Ink:
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
    return Ink(
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
