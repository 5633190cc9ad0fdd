"""Ink on paper as optical density: how strong, how coloured and of which hue it is at each pixel."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from backend.detection.config import DetectionConfig

__all__ = ["OD_STEPS", "Ink", "ink_of"]

OD_STEPS = 200
"""Densities are held as uint8 in steps of 1/200 OD: a byte then ends at 1.27 OD, which is as black as print gets."""

_DENSITY = np.minimum(np.round(-OD_STEPS * np.log10((np.arange(256) + 1.0) / 256.0)), 255).astype(np.uint8)
_SMOOTHING = (3, 3)
_TEXT_OD = 0.2
"""Density from which a pixel says something about the page's black."""


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
