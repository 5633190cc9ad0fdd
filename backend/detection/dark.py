"""Ink whose shape tells it from print where its colour does not: strokes too large for letters, and solid patches."""

from __future__ import annotations

import math
from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from backend.detection.config import DetectionConfig
from backend.detection.grouping import pieces_of
from backend.detection.ink import OD_STEPS, Ink

__all__ = ["pale_layers_of", "patch_layers_of", "stroke_layers_of"]

_BLUR = 4
"""Working pixels averaged to one on either axis, about 1 mm: two ridges of a thumb."""

_CROSSING = np.ones((9, 1), np.uint8)
"""Reach over a rule with its edges, working pixels."""


def stroke_layers_of(ink: Ink, config: DetectionConfig) -> Iterator[NDArray[np.uint8]]:
    """Gives (h, w) uint8 masks, 0 or 255, of the pieces of dark ink that no line of print would make.

    About half of real signatures are written in black, which no rule on colour can find. A pen's stroke hangs together
    over more than a line's height; a letter or a word does not, and a rule is straight for longer than a pen stroke.
    """
    masks = [
        np.asarray(cv2.inRange(ink.neutral, math.ceil(density * OD_STEPS), 255), np.uint8)
        for density in config.dark_ods
    ]
    rules = _ruled(masks[0], config)
    for mask in masks:
        yield _without_print(_without_rules(mask, rules), config)


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
            solid = cv2.inRange(opened, math.ceil(level * OD_STEPS), 255)
            near = cv2.resize(solid, (width, height), interpolation=cv2.INTER_NEAREST)
            inked = cv2.inRange(density, math.ceil(level * OD_STEPS), 255)
            yield np.asarray(cv2.bitwise_and(near, inked), np.uint8)


def pale_layers_of(ink: Ink, config: DetectionConfig) -> Iterator[NDArray[np.uint8]]:
    """Gives an (h, w) uint8 mask, 0 or 255, of grey ink that is paler than print: faded stamps of a grey scan."""
    lowest, highest = (round(density * OD_STEPS) for density in config.pale_ods)
    print_and_edges = cv2.dilate(cv2.inRange(ink.neutral, highest, 255), np.ones((7, 7), np.uint8))
    yield np.asarray(cv2.subtract(cv2.inRange(ink.neutral, lowest, 255), print_and_edges), np.uint8)


def _ruled(mask: NDArray[np.uint8], config: DetectionConfig) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Where lines are ruled across and down, a pixel wider than they are."""
    length = round(config.rule_mm / config.pixel_mm)
    edge = np.ones((3, 3), np.uint8)
    across = cv2.dilate(cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((1, length), np.uint8)), edge)
    down = cv2.dilate(cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((length, 1), np.uint8)), edge)
    return np.asarray(across, np.uint8), np.asarray(down, np.uint8)


def _without_rules(mask: NDArray[np.uint8], rules: tuple[NDArray[np.uint8], NDArray[np.uint8]]) -> NDArray[np.uint8]:
    for ruled, bridge in zip(rules, (_CROSSING, _CROSSING.T), strict=True):
        if not ruled.any():
            continue
        kept = cv2.subtract(mask, ruled)
        # A stroke that crosses a rule stays whole: what has ink on both sides of the rule is given back.
        crossing = cv2.bitwise_and(cv2.morphologyEx(kept, cv2.MORPH_CLOSE, bridge), ruled)
        mask = np.asarray(cv2.bitwise_or(kept, crossing), np.uint8)
    return mask


def _without_print(mask: NDArray[np.uint8], config: DetectionConfig) -> NDArray[np.uint8]:
    pieces = pieces_of(mask)
    sides = (pieces.boxes[:, 2:] - pieces.boxes[:, :2]) * config.pixel_mm
    shorter, longer = sides.min(axis=1), sides.max(axis=1)
    fill = pieces.ink * config.pixel_mm**2 / (shorter * longer)
    large = (shorter >= config.text_mm) & (longer >= config.shortest_mm) & (longer <= config.longest_mm)
    return pieces.mask_of(large & (fill <= config.most_fill))
