"""Ink whose shape tells it from print where its colour does not: strokes too large for letters, and solid patches."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from backend.detection.config import DetectionConfig
from backend.detection.ink import OD_STEPS, Ink

__all__ = ["pale_layers_of", "patch_layers_of", "stroke_layers_of"]

_BLUR = 4
"""Working pixels averaged to one on either axis, about 1 mm: two ridges of a thumb."""


def stroke_layers_of(ink: Ink, config: DetectionConfig) -> Iterator[NDArray[np.uint8]]:
    """Gives (h, w) uint8 masks, 0 or 255, of the pieces of dark ink that no line of print would make.

    About half of real signatures are written in black, which no rule on colour can find. A pen's stroke hangs together
    over more than a line's height; a letter or a word does not, and a rule is straight for longer than a pen stroke.
    """
    for density in config.dark_ods:
        mask = (ink.neutral >= density * OD_STEPS).astype(np.uint8) * np.uint8(255)
        yield _without_print(_without_rules(mask, config), config)


def patch_layers_of(ink: Ink, config: DetectionConfig) -> Iterator[NDArray[np.uint8]]:
    """Gives (h, w) uint8 masks, 0 or 255, of ink that covers the paper without a gap, as a thumb does.

    At a scale that blurs ridges together, an opening takes away everything with white in it: lines of print, strokes
    and the rings of stamps.
    """
    height, width = ink.neutral.shape
    size = (max(1, width // _BLUR), max(1, height // _BLUR))
    side = round(config.patch_mm / (_BLUR * config.pixel_mm)) | 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    for density in (ink.neutral, ink.colour):
        coarse = cv2.resize(density, size, interpolation=cv2.INTER_AREA)
        opened = cv2.dilate(cv2.morphologyEx(coarse, cv2.MORPH_OPEN, disc), np.ones((3, 3), np.uint8))
        for level in config.patch_ods:
            solid = (opened >= level * OD_STEPS).astype(np.uint8) * np.uint8(255)
            near = cv2.resize(solid, (width, height), interpolation=cv2.INTER_NEAREST)
            inked = (density >= level * OD_STEPS).astype(np.uint8) * np.uint8(255)
            yield np.asarray(cv2.bitwise_and(near, inked), np.uint8)


def pale_layers_of(ink: Ink, config: DetectionConfig) -> Iterator[NDArray[np.uint8]]:
    """Gives an (h, w) uint8 mask, 0 or 255, of grey ink that is paler than print: faded stamps of a grey scan."""
    lowest, highest = (round(density * OD_STEPS) for density in config.pale_ods)
    print_and_edges = cv2.dilate(cv2.inRange(ink.neutral, highest, 255), np.ones((7, 7), np.uint8))
    yield np.asarray(cv2.subtract(cv2.inRange(ink.neutral, lowest, 255), print_and_edges), np.uint8)


def _without_rules(mask: NDArray[np.uint8], config: DetectionConfig) -> NDArray[np.uint8]:
    length = round(config.rule_mm / config.pixel_mm)
    across = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((1, length), np.uint8))
    down = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((length, 1), np.uint8))
    kept = mask
    for rules, bridge in ((across, (9, 1)), (down, (1, 9))):
        wide = cv2.dilate(rules, np.ones((3, 3), np.uint8))
        kept = np.asarray(cv2.subtract(kept, wide), np.uint8)
        # A stroke that crosses a rule stays whole: what has ink on both sides of the rule is given back.
        crossing = cv2.morphologyEx(kept, cv2.MORPH_CLOSE, np.ones(bridge, np.uint8))
        kept = np.asarray(cv2.bitwise_or(kept, cv2.bitwise_and(crossing, wide)), np.uint8)
    return kept


def _without_print(mask: NDArray[np.uint8], config: DetectionConfig) -> NDArray[np.uint8]:
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8, ltype=cv2.CV_16U)
    sides = stats[:, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]] * config.pixel_mm
    shorter, longer = sides.min(axis=1), sides.max(axis=1)
    fill = stats[:, cv2.CC_STAT_AREA] * config.pixel_mm**2 / (shorter * longer)
    large = (shorter >= config.text_mm) & (longer >= config.shortest_mm) & (longer <= config.longest_mm)
    keep = large & (fill <= config.most_fill)
    keep[0] = False
    return np.asarray((keep.astype(np.uint8) * np.uint8(255))[labels], np.uint8)
