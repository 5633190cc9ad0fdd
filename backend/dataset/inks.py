"""The colour of a mark's ink, by the optical density of what is coloured in its box."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from backend.detection.ink import OD_STEPS, Ink
from backend.geometry import Boxes, clip

__all__ = ["INKS", "ink_names"]

INKS = ("blue", "violet", "red", "green", "black", "pale")
"""Names of ink groups; `pale` is too weak to tell, `black` has no colour, grey and pencil among it."""
_SECTORS = (("violet", 38), ("red", 64), ("green", 130), ("blue", 173))
"""Where a name's hues end and this name's begin, in OpenCV's steps of 2 degrees, of the density: blue ink, which
absorbs red and some green, is at 14 to 32, purple at 45, magenta to red at 73 to 84, green at 165."""
_DARK_OD = 0.12
_COLOURED = 0.35
"""Share of a mark's inked pixels that are coloured, from which its ink is: text under a stamp is black as well."""
_LEAST_PIXELS = 12
_STRONG = 2.0


def ink_names(ink: Ink, boxes: Boxes) -> list[str]:
    """Names the ink in each box.

    Args:
        ink: Of the page, at the working resolution.
        boxes: (N, 4) pixels of that resolution.
    """
    height, width = ink.colour.shape
    inside = clip(boxes, width=width, height=height)
    whole = np.column_stack([np.floor(inside[:, :2]), np.ceil(inside[:, 2:])]).astype(int)
    return [_name(ink, box) for box in whole]


def _name(ink: Ink, box: NDArray[np.int_]) -> str:
    left, top, right, bottom = box
    place = slice(top, bottom), slice(left, right)
    colour, neutral, hue = ink.colour[place], ink.neutral[place], ink.hue[place]
    coloured = colour >= _STRONG * ink.weakest
    dark = ~coloured & (neutral >= _DARK_OD * OD_STEPS)
    inked = int(coloured.sum()) + int(dark.sum())
    if inked < _LEAST_PIXELS:
        return "pale"
    if coloured.sum() < _COLOURED * inked:
        return "black"
    weights = np.bincount(hue[coloured], weights=colour[coloured].astype(np.float64), minlength=256)
    totals = dict.fromkeys(INKS, 0.0)
    for step, weight in enumerate(weights[:180]):
        totals[_sector(step)] += float(weight)
    return max(totals, key=lambda name: totals[name])


def _sector(step: int) -> str:
    """The name of a hue."""
    name = "blue"
    for other, begin in _SECTORS:
        if step >= begin:
            name = other
    return name
