"""Layers of ink, by hue and by strength: what keeps a pen stroke apart from the faded stamp under it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from backend.detection.config import DetectionConfig
from backend.detection.ink import Ink

__all__ = ["hue_modes", "layers_of"]

_HUES = 180
_HUE_SPREAD = 5.0
"""Standard deviation, in steps of 2 degrees, by which the hue histogram is smoothed: one ink makes one peak."""
_LEAST_PEAK = 0.04
_EDGE = np.ones((5, 5), np.uint8)
"""Reach of a strong stroke's soft edge, which is as pale as weak ink."""


def hue_modes(ink: Ink) -> list[NDArray[np.bool_]]:
    """Splits the circle of hues at the valleys of the page's hue histogram.

    Returns:
        A (180,) membership table for each ink of the page; none when there is but one ink.
    """
    strong = ink.colour >= ink.weakest * 1.5
    counts = np.bincount(ink.hue[strong], weights=ink.colour[strong].astype(np.float64), minlength=_HUES)
    steps = np.arange(_HUES)
    kernel = np.exp(-0.5 * (np.minimum(steps, _HUES - steps) / _HUE_SPREAD) ** 2)
    smooth = np.fft.irfft(np.fft.rfft(counts) * np.fft.rfft(kernel), n=_HUES)
    is_peak = (smooth > np.roll(smooth, 1)) & (smooth >= np.roll(smooth, -1)) & (smooth > _LEAST_PEAK * smooth.max())
    peaks = np.flatnonzero(is_peak)
    if len(peaks) < 2:
        return []
    valleys = []
    for here, there in zip(peaks, [*peaks[1:], peaks[0] + _HUES], strict=True):
        between = np.arange(here, there) % _HUES
        valleys.append(int(between[np.argmin(smooth[between])]))
    tables = []
    for start, stop in zip(valleys, [*valleys[1:], valleys[0]], strict=True):
        tables.append((steps - start) % _HUES < (stop - start) % _HUES)
    return tables


def layers_of(ink: Ink, config: DetectionConfig) -> Iterator[NDArray[np.uint8]]:
    """Gives (h, w) uint8 masks, 0 or 255: all coloured ink, then each hue by itself, each at every strength."""
    colours = [ink.colour]
    for table in hue_modes(ink):
        member = np.zeros(256, np.uint8)
        member[:_HUES][table] = 255
        colours.append(np.asarray(cv2.bitwise_and(ink.colour, cv2.LUT(ink.hue, member)), np.uint8))
    for colour in colours:
        masks = [cv2.inRange(colour, math.ceil(ink.weakest * strength), 255) for strength in config.strengths]
        yield from (np.asarray(mask, np.uint8) for mask in masks)
        # What is left of a faded stamp when the pen stroke across it is taken away.
        for weak, strong in pairwise(masks):
            yield np.asarray(cv2.subtract(weak, cv2.dilate(strong, _EDGE)), np.uint8)
