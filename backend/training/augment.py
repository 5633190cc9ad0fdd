"""What scanners, pens and offices do to a crop, as ink on paper: fading, other inks, overprints, blur, coarseness.

Works in optical density, D = -log(I / paper), where inks add. Nothing is mirrored: writing has a direction.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from backend.training.crops import MARGIN

__all__ = ["Augmentation", "augment", "centre", "hue_turn", "square"]

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]

_TURNABLE = frozenset({"stamp", "thumb"})
"""Marks that are put on paper at any angle."""
_HEAVIEST = 0.2
"""Mean density of an overprint beyond which nothing below it could be recognised."""
_LOG = -np.log(np.maximum(np.arange(256, dtype=np.float32), 1) / 255).astype(np.float32)
_GREY = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How often (probabilities) and how strongly crops are changed.

    Attributes:
        shift: Largest move of each edge of the box, as a share of the side; at most `crops.MARGIN`.
        tilt: Standard deviation of the rotation of every crop, degrees.
        turn: How often a stamp or a thumb is turned to any angle.
        fade: How often ink is weakened, down to `weakest` of its density.
        weakest: See `fade`.
        hue: How often inks change their hue.
        black: How often inks become black or grey.
        overprint: How often another crop that shows no mark is printed over it.
        overlap: How often a mark is printed over by one of another class.
        tint: How often the paper changes its colour or brightness.
        blur: How often it is blurred.
        coarse: How often it loses resolution, down to `coarsest` of its side.
        coarsest: See `coarse`.
        noise: How often it gets noise.
        jpeg: How often it is compressed.
    """

    shift: float = 0.10
    tilt: float = 4.0
    turn: float = 0.5
    fade: float = 0.4
    weakest: float = 0.2
    hue: float = 0.3
    black: float = 0.3
    overprint: float = 0.25
    overlap: float = 0.0
    tint: float = 0.5
    blur: float = 0.3
    coarse: float = 0.4
    coarsest: float = 0.3
    noise: float = 0.4
    jpeg: float = 0.5


def square(crop: Pixels, size: int) -> Pixels:
    """Resizes a stored crop, margin included, so that its box becomes `size` x `size` pixels in the middle."""
    side = round(size * (1 + 2 * MARGIN))
    smaller = max(crop.shape[:2]) > side
    return np.asarray(
        cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR), np.uint8
    )


def centre(crop: Pixels, size: int) -> Pixels:
    """The box of a crop that `square` made, unchanged: (size, size, 3)."""
    start = (crop.shape[0] - size) // 2
    return crop[start : start + size, start : start + size]


def augment(
    crop: Pixels,
    label: str,
    *,
    size: int,
    strength: Augmentation,
    rng: np.random.Generator,
    overlay: Pixels | None = None,
    other: Pixels | None = None,
) -> Pixels:
    """A changed copy of a crop.

    Args:
        crop: (side, side, 3) RGB, from `square`.
        label: Its class; only stamps and thumbs are turned freely.
        size: Side of the result.
        strength: How much to change.
        rng: Where chance comes from; the same state gives the same result.
        overlay: Another crop of the same shape that may be printed over it; one that shows no mark.
        other: A mark of another class, of the same shape, that is printed over it, never darker than it is itself.

    Returns:
        (size, size, 3) uint8 RGB.
    """
    paper = np.percentile(crop.reshape(-1, 3)[::7], 92, axis=0).astype(np.float32)
    moved = _moved(crop, label, paper, size=size, strength=strength, rng=rng)
    density = _LOG[moved] - _LOG[np.clip(np.round(paper), 1, 255).astype(np.uint8)]
    density = _inked(density, strength, rng)
    own = float(density.mean())
    if overlay is not None and rng.random() < strength.overprint:
        density += _overprint(overlay, size, rng)
    if other is not None:
        density += _overprint(other, size, rng, heaviest=own)
    light = np.clip(_paper(paper, size, strength, rng) * np.exp(-density), 0, 255)
    return _scanned(light.astype(np.float32), strength, rng)


def _moved(
    crop: Pixels, label: str, paper: Floats, *, size: int, strength: Augmentation, rng: np.random.Generator
) -> Pixels:
    """The crop with its box moved and turned; where nothing is known there is paper."""
    quarter = label in _TURNABLE and rng.random() < strength.turn
    if quarter:
        crop = np.ascontiguousarray(np.rot90(crop, int(rng.integers(4))))
    angle = rng.normal(0, strength.tilt) + (rng.uniform(-45, 45) if quarter and rng.random() < 0.5 else 0)
    left, top, right, bottom = rng.uniform(-strength.shift, strength.shift, 4)
    middle = crop.shape[0] / 2
    # From the result's pixels to the crop's: first the turn around the middle, then the moved edges.
    wide, high = 1 + right - left, 1 + bottom - top
    cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    turn = np.array([[cos, -sin], [sin, cos]])
    scale = np.diag([wide, high])
    offset = middle + size * np.array([left + right, top + bottom]) / 2 - scale @ turn @ np.full(2, size / 2)
    matrix = np.column_stack([scale @ turn, offset])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    moved = cv2.warpAffine(
        crop,
        matrix,
        (size, size),
        flags=flags,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=[float(value) for value in paper],
    )
    return np.asarray(moved, np.uint8)


def _inked(density: Floats, strength: Augmentation, rng: np.random.Generator) -> Floats:
    """Ink of another colour and strength on the same paper."""
    if rng.random() < strength.black:
        density = np.repeat((density @ _GREY)[..., None], 3, axis=2) * np.float32(rng.uniform(0.9, 1.6))
    elif rng.random() < strength.hue:
        density = density @ hue_turn(rng.uniform(-180, 180))
    if rng.random() < strength.fade:
        density = density * np.float32(rng.uniform(strength.weakest, 1.0))
    return density * np.float32(rng.uniform(0.85, 1.2))


def hue_turn(degrees: float) -> Floats:
    """Rotation of colours around the grey axis, as a matrix for row vectors."""
    axis = np.full(3, 1 / np.sqrt(3))
    matrix, _ = cv2.Rodrigues(axis * np.radians(degrees))
    return np.asarray(matrix, np.float32)


def _overprint(overlay: Pixels, size: int, rng: np.random.Generator, *, heaviest: float = _HEAVIEST) -> Floats:
    """What printing a part of another crop on top adds to the density, at most `heaviest` on average."""
    part = cv2.resize(centre(overlay, size), (size, size)) if rng.random() < 0.5 else _enlarged(overlay, size, rng)
    paper = np.percentile(part.reshape(-1, 3)[::7], 92, axis=0)
    density = _LOG[part] - _LOG[np.clip(np.round(paper), 1, 255).astype(np.uint8)]
    density = np.maximum(density, 0) * np.float32(rng.uniform(0.3, 1.0))
    most = min(_HEAVIEST, max(heaviest, 0.0))
    return np.asarray(density * min(1.0, most / max(float(density.mean()), 1e-6)), np.float32)


def _enlarged(overlay: Pixels, size: int, rng: np.random.Generator) -> Pixels:
    part = max(8, int(overlay.shape[0] * rng.uniform(0.3, 0.8)))
    top, left = rng.integers(0, overlay.shape[0] - part + 1, 2)
    return np.asarray(cv2.resize(overlay[top : top + part, left : left + part], (size, size)), np.uint8)


def _paper(paper: Floats, size: int, strength: Augmentation, rng: np.random.Generator) -> Floats:
    """The paper's colour at each pixel, or as one colour."""
    if rng.random() >= strength.tint:
        return paper
    light = rng.uniform(0.72, 1.0)
    tinted = (255 * light * rng.uniform(0.9, 1.0, 3)).astype(np.float32)
    slope = rng.uniform(-0.12, 0.12, 2)
    ramp = np.linspace(-0.5, 0.5, size, dtype=np.float32)
    shade = 1 + slope[0] * ramp[:, None] + slope[1] * ramp[None]
    return np.asarray(tinted * shade[..., None], np.float32)


def _scanned(light: Floats, strength: Augmentation, rng: np.random.Generator) -> Pixels:
    """What a scanner or a telephone, and saving, make of it."""
    size = light.shape[0]
    if rng.random() < strength.coarse:
        side = max(8, round(size * rng.uniform(strength.coarsest, 0.9)))
        small = cv2.resize(light, (side, side), interpolation=cv2.INTER_AREA)
        light = np.asarray(cv2.resize(small, (size, size), interpolation=cv2.INTER_LINEAR), np.float32)
    elif rng.random() < strength.blur:
        light = np.asarray(cv2.GaussianBlur(light, (0, 0), rng.uniform(0.3, 1.3)), np.float32)
    if rng.random() < strength.noise:
        light = light + rng.standard_normal(light.shape, np.float32) * np.float32(rng.uniform(1, 9))
    pixels = np.clip(light, 0, 255).astype(np.uint8)
    if rng.random() < strength.jpeg:
        _, saved = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(30, 95))])
        pixels = np.asarray(cv2.imdecode(saved, cv2.IMREAD_COLOR_RGB), np.uint8)
    return pixels
