"""What pressing does to an inked shape: uneven pressure, dry patches, speckle, rims, partial contact, fading."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from backend.synthetic.marks import pixels_of

__all__ = ["Impression", "blotches", "cut_by_contact", "levelled", "pick_impression", "press"]

Layer = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Impression:
    """How a stamp met the paper.

    Attributes:
        strength: coverage of a well pressed stroke (1 full, below 0.4 faded).
        unevenness: 0 flat pressure; 1 some of the print missing.
        dryness: share of the ink lost in patches, 0-1.
        speckle: graininess of the ink film, 0-1.
        rim: how much darker the squeezed edges are, 0-1.
        spread_mm: how far the ink ran (blur).
        echo_mm: offset of a second, weaker strike; 0 for none.
    """

    strength: float
    unevenness: float
    dryness: float
    speckle: float
    rim: float
    spread_mm: float
    echo_mm: float = 0.0


def pick_impression(rng: np.random.Generator, *, faded: bool) -> Impression:
    """An impression as offices make them: mostly decent, sometimes dry, wet or struck twice."""
    strength = rng.uniform(0.16, 0.38) if faded else float(rng.choice([rng.uniform(0.5, 0.85), rng.uniform(0.8, 1.1)]))
    return Impression(
        strength=float(strength),
        unevenness=float(rng.beta(1.3, 2.2)),
        dryness=float(rng.beta(1.1, 4.0)) if rng.random() < 0.6 else 0.0,
        speckle=float(rng.beta(1.2, 3.6)),
        rim=float(rng.beta(1.2, 2.5)),
        spread_mm=float(rng.uniform(0.03, 0.12) if rng.random() < 0.9 else rng.uniform(0.12, 0.22)),
        echo_mm=float(rng.uniform(0.3, 1.2)) if rng.random() < 0.07 else 0.0,
    )


def blotches(rng: np.random.Generator, shape: tuple[int, int], grain_px: float) -> Layer:
    """Smooth noise of unit deviation whose spots are about `grain_px` wide, (h, w) float32."""
    height, width = shape
    grain = max(grain_px, 1.0)
    grid = rng.standard_normal((int(height / grain) + 4, int(width / grain) + 4), dtype=np.float32)
    if grain <= 1.0:
        return grid[:height, :width]
    size = (round(grid.shape[1] * grain), round(grid.shape[0] * grain))
    grown = cv2.resize(grid, size, interpolation=cv2.INTER_CUBIC)
    x, y = rng.integers(0, max(int(grain), 1), 2)
    # Interpolation between grid points flattens the noise; the factor restores the deviation.
    return np.asarray(grown[y : y + height, x : x + width] * np.float32(1.25), dtype=np.float32)


def press(rng: np.random.Generator, shape: Layer, impression: Impression, *, dpi: float) -> Layer:
    """The print that an inked shape leaves.

    Args:
        rng: source of the accidents.
        shape: (h, w) float32 in [0, 1], what the rubber covers.
        impression: how it is pressed.
        dpi: resolution of `shape`.

    Returns:
        (h, w) float32 coverage of the same size.
    """
    size = (shape.shape[0], shape.shape[1])
    inked = cv2.GaussianBlur(shape, (0, 0), max(pixels_of(impression.spread_mm, dpi), 0.3))
    if impression.rim > 0.02:
        inside = cv2.GaussianBlur(shape, (0, 0), max(pixels_of(0.28, dpi), 0.6))
        inked = inked * (1 + np.float32(0.7 * impression.rim) * (np.float32(0.75) - inside))
    inked = inked * _pressure(rng, size, impression, dpi)
    if impression.dryness > 0.05:
        patches = blotches(rng, size, pixels_of(2.2, dpi)) * 0.75 + blotches(rng, size, pixels_of(0.5, dpi)) * 0.65
        level = np.float32(2.3 - 3.2 * impression.dryness)
        inked = inked * (1 - 0.92 / (1 + np.exp(np.float32(-5) * (patches - level))))
    film = blotches(rng, size, pixels_of(0.16, dpi)) * 0.6 + blotches(rng, size, pixels_of(0.42, dpi)) * 0.6
    inked = inked * np.clip(1 - np.float32(0.1 + 0.5 * impression.speckle) * (film - 0.1), 0.04, 1.25)
    if impression.echo_mm:
        inked = np.maximum(inked, np.float32(rng.uniform(0.3, 0.8)) * _shifted(rng, inked, impression.echo_mm, dpi))
    return levelled(np.asarray(np.maximum(inked, 0), dtype=np.float32), impression.strength)


def levelled(coverage: Layer, strength: float) -> Layer:
    """Scale so that the strongest tenth of the inked area has the coverage `strength`; the most is 1.2."""
    inked = coverage[coverage > 0.1 * float(coverage.max())]
    top = float(np.percentile(inked, 90)) if inked.size else 1.0
    return np.asarray(np.clip(coverage * np.float32(strength / top), 0, 1.2), dtype=np.float32)


def cut_by_contact(
    rng: np.random.Generator, coverage: Layer, *, keep: float, dpi: float, angle: float | None = None
) -> Layer:
    """Leave about the share `keep` of the ink: the rest of the tool did not touch the paper.

    The edge of contact runs at `angle` (radians; random where None), is a little curved, ragged, and fades over a
    millimetre or two.
    """
    height, width = coverage.shape
    theta = float(rng.uniform(0, 2 * np.pi)) if angle is None else angle
    x = np.arange(width, dtype=np.float32)[None, :] - width / 2
    y = np.arange(height, dtype=np.float32)[:, None] - height / 2
    along = x * np.float32(np.cos(theta)) + y * np.float32(np.sin(theta))
    across = -x * np.float32(np.sin(theta)) + y * np.float32(np.cos(theta))
    along = along + across**2 * np.float32(rng.uniform(-0.6, 0.6) / max(height, width))
    along = along + blotches(rng, (height, width), pixels_of(2.0, dpi)) * np.float32(pixels_of(0.5, dpi))
    edge = _quantile_by_mass(along, coverage, keep)
    softness = np.float32(pixels_of(rng.uniform(0.25, 1.0), dpi))
    return np.asarray(coverage / (1 + np.exp(np.clip((along - edge) / softness, -30, 30))), dtype=np.float32)


def _pressure(rng: np.random.Generator, shape: tuple[int, int], impression: Impression, dpi: float) -> Layer:
    """Slow changes of pressure: a tilt of the hand and the waviness of rubber and paper."""
    height, width = shape
    theta = rng.uniform(0, 2 * np.pi)
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    tilt = x * np.float32(np.cos(theta)) + y * np.float32(np.sin(theta))
    waves = blotches(rng, shape, pixels_of(9.0, dpi)) * 0.6 + blotches(rng, shape, pixels_of(3.5, dpi)) * 0.35
    field = 1.1 - np.float32(impression.unevenness) * (0.45 + 0.55 * tilt * np.float32(rng.uniform(0, 1)) + 0.5 * waves)
    return np.asarray(np.clip(field, 0.03, 1.1), dtype=np.float32)


def _shifted(rng: np.random.Generator, layer: Layer, offset_mm: float, dpi: float) -> Layer:
    theta = rng.uniform(0, 2 * np.pi)
    turn = cv2.getRotationMatrix2D((layer.shape[1] / 2, layer.shape[0] / 2), rng.normal(0, 1.0), 1.0)
    reach = pixels_of(offset_mm, dpi)
    turn[0, 2] += reach * np.cos(theta)
    turn[1, 2] += reach * np.sin(theta)
    return np.asarray(cv2.warpAffine(layer, turn, (layer.shape[1], layer.shape[0])), dtype=np.float32)


def _quantile_by_mass(values: Layer, weights: Layer, share: float) -> float:
    """The value below which `share` of the weight lies."""
    counts, edges = np.histogram(values, bins=256, weights=weights)
    total = np.cumsum(counts)
    return float(edges[int(np.searchsorted(total, share * total[-1])) + 1])
