"""Stamp prints and thumbprints: rubber faces and real ridge flow, inked and pressed unevenly, in part or weakly.

The flow of the ridges is the zero-pole model of loops and deltas (Sherlock & Monro 1993). The ridges grow out of noise
under filters tuned to the flow (SFinGe: Cappelli, Maio & Maltoni 2000), here as one bank of Gabor filters.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from backend.synthetic.marks import (
    Ink,
    Mark,
    blotches,
    cut_by_contact,
    levelled,
    pick_impression,
    pick_ink,
    pixels_of,
    press,
    trimmed,
)
from backend.synthetic.stamp_faces import STAMP_KINDS, StampKind, engrave
from backend.synthetic.stamp_parts import pick_words

__all__ = ["STAMP_KINDS", "THUMB_KINDS", "StampKind", "ThumbKind", "draw_ridges", "draw_stamp", "draw_thumb"]

Layer = NDArray[np.float32]
_STAMP_SHARES = (0.34, 0.13, 0.16, 0.05, 0.12, 0.08, 0.12)
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
    sort = kind or STAMP_KINDS[rng.choice(len(STAMP_KINDS), p=_STAMP_SHARES)]
    pad = ink or pick_ink(rng, for_="stamp")
    is_faded = bool(rng.random() < 1 / 6) if faded is None else faded
    is_partial = bool(rng.random() < 0.1) if partial is None else partial
    fine = max(dpi, _LOWEST_DPI)
    rubber = engrave(rng, sort, pick_words(rng), dpi=fine)
    angle = _stamp_rotation(rng, sort)
    # The margin leaves room for ink that runs and for a second strike.
    turned = trimmed(np.pad(_turned(rubber, angle), round(pixels_of(1.5, fine))), margin=round(pixels_of(1.5, fine)))
    print_ = press(rng, turned, pick_impression(rng, faded=is_faded), dpi=fine)
    if is_partial:
        print_ = cut_by_contact(rng, print_, keep=float(rng.uniform(0.35, 0.75)), dpi=fine)
    scanned = _scaled(print_, dpi / fine)
    return Mark(label="stamp", coverage=trimmed(scanned), ink=pad, faded=is_faded, partial=is_partial, kind=sort)


def _stamp_rotation(rng: np.random.Generator, kind: StampKind) -> float:
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


ThumbKind = Literal["arch", "left-loop", "right-loop", "whorl", "twin-loop"]
THUMB_KINDS: tuple[ThumbKind, ...] = get_args(ThumbKind)

_THUMB_SHARES = (0.08, 0.3, 0.3, 0.25, 0.07)
_ORIENTATIONS = 16
_ROUNDS = 4
_FINE_DPI = 200.0
"""Ridges grow at this resolution (period about four pixels) and are then scaled to the page's."""


def draw_thumb(
    rng: np.random.Generator,
    *,
    dpi: float,
    kind: ThumbKind | None = None,
    ink: Ink | None = None,
    faded: bool | None = None,
    partial: bool | None = None,
) -> Mark:
    """One thumbprint, 15-28 mm long.

    Args:
        rng: decides all that is not given.
        dpi: resolution of the page.
        kind: ridge pattern.
        ink: pad ink.
        faded: weak print (coverage about 0.15-0.4); one in eight where not given.
        partial: only a part of the pad touched; one in seven where not given.

    Returns:
        The mark, trimmed to its ink.
    """
    pattern = kind or THUMB_KINDS[rng.choice(len(THUMB_KINDS), p=_THUMB_SHARES)]
    pad = ink or pick_ink(rng, for_="thumb")
    is_faded = bool(rng.random() < 1 / 8) if faded is None else faded
    is_partial = bool(rng.random() < 1 / 7) if partial is None else partial
    length = float(rng.uniform(19.0, 28.0))
    width = length * float(rng.uniform(0.62, 0.82))
    size = (round(pixels_of(length, _FINE_DPI)), round(pixels_of(width, _FINE_DPI)))
    ridges = draw_ridges(rng, size, pattern, period_mm=float(rng.uniform(0.45, 0.55)), dpi=_FINE_DPI)
    print_ = _inked(rng, ridges, _FINE_DPI)
    if rng.random() < 0.12:
        print_ = _smeared(rng, print_, _FINE_DPI)
    if is_partial:
        print_ = cut_by_contact(rng, print_, keep=float(rng.uniform(0.35, 0.7)), dpi=_FINE_DPI)
    print_ = levelled(print_, float(rng.uniform(0.2, 0.38) if is_faded else rng.uniform(0.6, 1.05)))
    coverage = _turned_and_scaled(print_, _thumb_rotation(rng), dpi / _FINE_DPI)
    return Mark(label="thumb", coverage=trimmed(coverage), ink=pad, faded=is_faded, partial=is_partial, kind=pattern)


def draw_ridges(
    rng: np.random.Generator, size: tuple[int, int], kind: ThumbKind, *, period_mm: float, dpi: float
) -> Layer:
    """The ridge pattern of a whole finger pad, without outline or ink.

    Args:
        rng: places the singularities and the noise the ridges grow from.
        size: (height, width) in pixels.
        kind: which pattern.
        period_mm: from ridge to ridge.
        dpi: resolution.

    Returns:
        (height, width) float32 in [-1, 1]; positive on ridges.
    """
    theta = _orientation(rng, size, kind)
    period = pixels_of(period_mm, dpi)
    bank = [_gabor(period, index * np.pi / _ORIENTATIONS) for index in range(_ORIENTATIONS)]
    place = theta / np.float32(np.pi) * _ORIENTATIONS
    lower = np.floor(place).astype(np.intp) % _ORIENTATIONS
    share = (place - np.floor(place)).astype(np.float32)
    ridges = rng.standard_normal(size, dtype=np.float32)
    for _ in range(_ROUNDS):
        stack = np.stack([cv2.filter2D(ridges, cv2.CV_32F, kernel, borderType=cv2.BORDER_REFLECT) for kernel in bank])
        below = np.take_along_axis(stack, lower[None], axis=0)[0]
        above = np.take_along_axis(stack, ((lower + 1) % _ORIENTATIONS)[None], axis=0)[0]
        ridges = np.tanh(2.2 * (below * (1 - share) + above * share))
    return ridges


def _gabor(period: float, theta: float) -> Layer:
    """Even Gabor filter for ridges running at `theta` (radians from the x axis), zero mean, unit gain at its period."""
    sigma = 0.45 * period
    along = 0.75 * period
    reach = int(np.ceil(2.2 * along))
    axis = np.arange(-reach, reach + 1, dtype=np.float32)
    x, y = np.meshgrid(axis, axis)
    across = -x * np.sin(theta) + y * np.cos(theta)
    length = x * np.cos(theta) + y * np.sin(theta)
    envelope = np.exp(-0.5 * (across**2 / sigma**2 + length**2 / along**2))
    wave = np.cos(2 * np.pi * across / period)
    kernel = envelope * (wave - (envelope * wave).sum() / envelope.sum())
    return np.asarray(kernel / (kernel * wave).sum(), dtype=np.float32)


def _orientation(rng: np.random.Generator, size: tuple[int, int], kind: ThumbKind) -> Layer:
    """Ridge direction in [0, pi) at each pixel, x to the right and y down."""
    height, width = size
    x = np.linspace(-0.5, 0.5, width, dtype=np.float32)[None, :] * np.float32(width / height)
    y = np.linspace(0.5, -0.5, height, dtype=np.float32)[:, None]
    z = x + 1j * y
    cores, deltas = _singularities(rng, kind)
    if kind == "arch":
        rise = rng.uniform(0.7, 1.3) * np.exp(-(((y + 0.12) / 0.22) ** 2))
        theta = -np.arctan(2.4 * rise * np.sin(2 * np.pi * x / 0.8)) * 1.0
        return np.asarray(np.mod(theta + 0.08 * blotches(rng, size, height / 4), np.pi), dtype=np.float32)
    theta = np.zeros(size)
    for core in cores:
        theta = theta + 0.5 * np.angle(z - core)
    for delta in deltas:
        theta = theta - 0.5 * np.angle(z - delta)
    # Image rows run downwards, so angles change their sign.
    theta = -theta + 0.07 * blotches(rng, size, height / 4)
    return np.asarray(np.mod(theta, np.pi), dtype=np.float32)


def _singularities(rng: np.random.Generator, kind: ThumbKind) -> tuple[list[complex], list[complex]]:
    """Cores and deltas in units of the pad's length, y up, the pad's middle at 0."""

    def near(x: float, y: float) -> complex:
        return complex(x + rng.normal(0, 0.025), y + rng.normal(0, 0.03))

    if kind == "left-loop":
        return [
            near(0.02, 0.06),
        ], [near(0.27, -0.27)]
    if kind == "right-loop":
        return [near(-0.02, 0.06)], [near(-0.27, -0.27)]
    if kind == "whorl":
        middle = near(0.0, 0.06)
        gap = complex(rng.uniform(-0.02, 0.02), rng.uniform(0.02, 0.06))
        return [middle + gap, middle - gap], [near(0.32, -0.28), near(-0.32, -0.28)]
    if kind == "twin-loop":
        tilt = rng.choice([-1.0, 1.0])
        return [near(0.06 * tilt, 0.14), near(-0.06 * tilt, -0.03)], [near(0.32, -0.3), near(-0.32, -0.28)]
    return [], []


def _inked(rng: np.random.Generator, ridges: Layer, dpi: float) -> Layer:
    """Ridges as the ink leaves them: the pad's outline, pressure, pores, dryness and flooding."""
    size = (ridges.shape[0], ridges.shape[1])
    height, width = size
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    power = rng.uniform(2.0, 2.8)
    ragged = 0.035 * blotches(rng, size, pixels_of(4.0, dpi)) + 0.02 * blotches(rng, size, pixels_of(0.8, dpi))
    distance = (np.abs(x) ** power + np.abs(y + 0.06 * x**2) ** power) ** np.float32(1 / power) + ragged
    edge = 1 / (1 + np.exp((distance - 0.86) / np.float32(rng.uniform(0.01, 0.04))))
    waves = blotches(rng, size, pixels_of(6.0, dpi)) * 0.6 + blotches(rng, size, pixels_of(2.0, dpi)) * 0.4
    wetness = np.float32(rng.normal(0.05, 0.33)) + np.float32(rng.uniform(0.1, 0.4)) * waves - 0.15 * distance
    grain = 0.18 * blotches(rng, size, pixels_of(0.15, dpi)) + 0.14 * blotches(rng, size, pixels_of(0.45, dpi))
    wetness = ridges + wetness + grain * np.float32(rng.uniform(0.6, 1.8))
    bitten = 1 / (1 + np.exp(np.clip(-4.5 * wetness, -30, 30))) * np.clip(0.85 + 0.2 * waves, 0.25, 1.15)
    print_ = np.asarray(bitten, dtype=np.float32)
    for _ in range(int(rng.integers(0, 4))):
        print_ = _creased(rng, print_, dpi)
    return np.asarray(print_ * edge, dtype=np.float32)


def _creased(rng: np.random.Generator, print_: Layer, dpi: float) -> Layer:
    """A white line of a skin fold across the print."""
    height, width = print_.shape
    image = np.zeros((height, width), np.uint8)
    middle = np.array([rng.uniform(0.2, 0.8) * width, rng.uniform(0.2, 0.9) * height])
    angle, half = rng.normal(0, 0.6), rng.uniform(0.1, 0.35) * width
    reach = half * np.array([np.cos(angle), np.sin(angle)])
    bend = rng.normal(0, 0.12) * half * np.array([-np.sin(angle), np.cos(angle)])
    points = np.round(np.array([middle - reach, middle + bend, middle + reach]) * 16).astype(np.int32)
    pen = max(round(pixels_of(rng.uniform(0.12, 0.3), dpi)), 1)
    cv2.polylines(image, [points], False, 255, pen, cv2.LINE_AA, 4)
    gap = image.astype(np.float32) / np.float32(255) * np.float32(rng.uniform(0.5, 0.95))
    return print_ * (1 - gap)


def _smeared(rng: np.random.Generator, print_: Layer, dpi: float) -> Layer:
    """Drag a share of the ink along one direction, as a finger that slid does."""
    length = max(round(pixels_of(rng.uniform(0.6, 2.5), dpi)), 3)
    angle = rng.uniform(0, 2 * np.pi)
    kernel = np.zeros((2 * length + 1, 2 * length + 1), np.float32)
    for step in range(length + 1):
        row, column = length + round(step * np.sin(angle)), length + round(step * np.cos(angle))
        kernel[row, column] += 1 - 0.7 * step / length
    kernel /= kernel.sum()
    padded = cv2.copyMakeBorder(print_, length, length, length, length, cv2.BORDER_CONSTANT, value=0)
    dragged = cv2.filter2D(padded, cv2.CV_32F, kernel, borderType=cv2.BORDER_CONSTANT)
    share = np.float32(rng.uniform(0.3, 0.75))
    return np.asarray(np.maximum(dragged, padded * (1 - share) + dragged * share), dtype=np.float32)


def _thumb_rotation(rng: np.random.Generator) -> float:
    return float(rng.normal(0, 18)) if rng.random() < 0.85 else float(rng.uniform(-180, 180))


def _turned_and_scaled(layer: Layer, degrees: float, factor: float) -> Layer:
    height, width = layer.shape
    reach = int(np.ceil(np.hypot(height, width))) + 2
    scale = max(factor, 1.0)
    side = int(np.ceil(reach * scale))
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, scale)
    turn[:, 2] += [(side - width) / 2, (side - height) / 2]
    grown = cv2.warpAffine(layer, turn, (side, side), flags=cv2.INTER_CUBIC if factor > 1 else cv2.INTER_LINEAR)
    if factor < 1:
        grown = cv2.resize(grown, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    return np.asarray(np.maximum(grown, 0), dtype=np.float32)
