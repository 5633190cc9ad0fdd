"""Scenes that are easy to tell apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from backend.geometry import as_boxes
from backend.training.detector.changes import Changes
from backend.training.detector.detector_network import TAUGHT
from backend.training.detector.scenes import Knowledge, Scene
from backend.vision.network_config import MARKS

__all__ = ["CANVAS", "STILL", "known", "plain_scene"]

Corners = tuple[float, float, float, float]

CANVAS = (416, 352)
"""Height and width of the windows of these tests."""
STILL = Changes(
    window=CANVAS,
    beyond=0,
    focus=0,
    turn=0,
    paste=0,
    zoom=1,
    stretch=0,
    tilt=0,
    camera=0,
    fax=0,
    grey=0,
    hue=0,
    fade=0,
    tint=0,
    blur=0,
    noise=0,
    jpeg=0,
)
"""Nothing happens to the page."""


def known(
    marks: Sequence[tuple[str, Corners]] = (),
    *,
    ignored: Sequence[Corners] = (),
    complete: Sequence[str] = MARKS,
) -> Knowledge:
    """What is known about a page with these marks."""
    return Knowledge(
        boxes=as_boxes([box for _, box in marks]),
        labels=np.array([TAUGHT.index(name) for name, _ in marks], np.intp),
        ignored=as_boxes(ignored),
        complete=np.array([name in complete for name in TAUGHT]),
    )


def plain_scene(marks: Sequence[tuple[str, Corners]] = (), *, height: int = CANVAS[0], width: int = CANVAS[1]) -> Scene:
    """A white page on which each mark is a filled rectangle."""
    pixels = np.full((height, width, 3), 255, np.uint8)
    for _, (left, top, right, bottom) in marks:
        pixels[int(top) : int(bottom), int(left) : int(right)] = 30
    return Scene(pixels, known(marks))
