"""Stamp prints: a face inked and pressed unevenly, in part, weakly or twice, then scanned."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from backend.synthetic.impression import cut_by_contact, pick_impression, press
from backend.synthetic.marks import Ink, Mark, pick_ink, pixels_of, trimmed
from backend.synthetic.stamp_faces import STAMP_KINDS, StampKind, engrave
from backend.synthetic.stamp_parts import pick_words

__all__ = ["STAMP_KINDS", "StampKind", "draw_stamp"]

Layer = NDArray[np.float32]
_SHARES = (0.34, 0.13, 0.16, 0.05, 0.12, 0.08, 0.12)
_LOWEST_DPI = 200.0
"""Stamps are engraved at this resolution or above, then scanned down: small letters blur as they do in a scan."""


def draw_stamp(
    rng: np.random.Generator,
    *,
    dpi: float,
    kind: StampKind | None = None,
    ink: Ink | None = None,
    faded: bool | None = None,
    partial: bool | None = None,
) -> Mark:
    """One stamp print.

    Args:
        rng: decides all that is not given.
        dpi: resolution of the page; sizes are true millimetres (22-50 across, date stamps 15-40 wide).
        kind: sort of stamp.
        ink: pad ink.
        faded: weak print (coverage about 0.15-0.4); one in six where not given.
        partial: part of the rubber did not touch; one in ten where not given.

    Returns:
        The mark, trimmed to its ink.
    """
    sort = kind or STAMP_KINDS[rng.choice(len(STAMP_KINDS), p=_SHARES)]
    pad = ink or pick_ink(rng, for_="stamp")
    is_faded = bool(rng.random() < 1 / 6) if faded is None else faded
    is_partial = bool(rng.random() < 0.1) if partial is None else partial
    fine = max(dpi, _LOWEST_DPI)
    rubber = engrave(rng, sort, pick_words(rng), dpi=fine)
    angle = _rotation(rng, sort)
    # The margin leaves room for ink that runs and for a second strike.
    turned = trimmed(np.pad(_turned(rubber, angle), round(pixels_of(1.5, fine))), margin=round(pixels_of(1.5, fine)))
    print_ = press(rng, turned, pick_impression(rng, faded=is_faded), dpi=fine)
    if is_partial:
        print_ = cut_by_contact(rng, print_, keep=float(rng.uniform(0.35, 0.75)), dpi=fine)
    scanned = _scaled(print_, dpi / fine)
    return Mark(label="stamp", coverage=trimmed(scanned), ink=pad, faded=is_faded, partial=is_partial, kind=sort)


def _rotation(rng: np.random.Generator, kind: StampKind) -> float:
    """Degrees; a round stamp has no upright, others are set nearly straight."""
    if kind == "round" and rng.random() < 0.6:
        return float(rng.uniform(-180, 180))
    return float(np.clip(rng.normal(0, 9), -25, 25)) if rng.random() < 0.93 else float(rng.uniform(-90, 90))


def _turned(layer: Layer, degrees: float) -> Layer:
    height, width = layer.shape
    reach = math.ceil(math.hypot(height, width)) + 2
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1.0)
    turn[:, 2] += [(reach - width) / 2, (reach - height) / 2]
    return np.asarray(cv2.warpAffine(layer, turn, (reach, reach)), dtype=np.float32)


def _scaled(layer: Layer, factor: float) -> Layer:
    if factor >= 1:
        return layer
    size = (max(round(layer.shape[1] * factor), 1), max(round(layer.shape[0] * factor), 1))
    return np.asarray(cv2.resize(layer, size, interpolation=cv2.INTER_AREA), dtype=np.float32)
