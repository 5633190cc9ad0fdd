"""Pens: how wide, how dark and how broken a line a moving pen leaves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from backend.synthetic.impression import blotches
from backend.synthetic.marks import pixels_of
from backend.synthetic.penstroke import Trace

__all__ = ["Pen", "draw_traces", "pick_pen"]

Layer = NDArray[np.float32]
_FINE_DPI = 500.0
_SHIFT = 4


@dataclass(frozen=True, kw_only=True)
class Pen:
    """A writing tool.

    Attributes:
        kind: its sort.
        width_mm: of a line at average speed.
        swing: how much the width follows speed and pressure, 0-1.
        nib_angle: direction of a broad nib, radians; None for a round point.
        skips: share of a quick line that stays bare, 0-1.
        soft_mm: how far the ink feathers.
    """

    kind: Literal["ball", "gel", "fountain", "marker"]
    width_mm: float
    swing: float
    nib_angle: float | None
    skips: float
    soft_mm: float


def pick_pen(rng: np.random.Generator) -> Pen:
    """A pen as it lies on a desk: mostly ball pens."""
    sort = rng.choice(4, p=[0.5, 0.24, 0.16, 0.1])
    if sort == 0:
        width, skips = float(rng.uniform(0.28, 0.5)), float(rng.beta(1.2, 4))
        return Pen(kind="ball", width_mm=width, swing=0.35, nib_angle=None, skips=skips, soft_mm=0.03)
    if sort == 1:
        width = float(rng.uniform(0.4, 0.75))
        return Pen(kind="gel", width_mm=width, swing=0.25, nib_angle=None, skips=0.03, soft_mm=0.05)
    if sort == 2:
        width, angle = float(rng.uniform(0.45, 0.9)), float(rng.uniform(0.3, 1.1))
        return Pen(kind="fountain", width_mm=width, swing=0.6, nib_angle=angle, skips=0.03, soft_mm=0.07)
    width = float(rng.uniform(0.8, 1.5))
    return Pen(kind="marker", width_mm=width, swing=0.12, nib_angle=None, skips=0.0, soft_mm=0.1)


def draw_traces(rng: np.random.Generator, traces: Sequence[Trace], pen: Pen, *, scale_mm: float, dpi: float) -> Layer:
    """Ink of a pen that follows traces.

    Args:
        rng: pressure, skips and paper grain.
        traces: paths with y up.
        pen: the tool.
        scale_mm: millimetres per unit of the traces.
        dpi: resolution of the result.

    Returns:
        Coverage (h, w) with a margin of a pen's width around the line.
    """
    unit = pixels_of(scale_mm, _FINE_DPI)
    paths = [trace.points * (unit, -unit) for trace in traces]
    margin = pixels_of(2 * pen.width_mm + 0.6, _FINE_DPI)
    lowest = np.min([path.min(axis=0) for path in paths], axis=0) - margin
    highest = np.max([path.max(axis=0) for path in paths], axis=0) + margin
    width, height = (max(math.ceil(span), 4) for span in highest - lowest)
    image = np.zeros((height, width), np.uint8)
    lines = [_lines(rng, trace, path - lowest, pen) for trace, path in zip(traces, paths, strict=True)]
    _draw(image, np.concatenate(lines))
    factor = dpi / _FINE_DPI
    size = (max(round(width * factor), 1), max(round(height * factor), 1))
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    scanned = cv2.resize(image, size, interpolation=method).astype(np.float32) / np.float32(255)
    small = cv2.GaussianBlur(scanned, (0, 0), max(pixels_of(pen.soft_mm, dpi), 0.25))
    shape = (small.shape[0], small.shape[1])
    grain = blotches(rng, shape, pixels_of(0.18, dpi)) * 0.7 + blotches(rng, shape, pixels_of(0.5, dpi)) * 0.5
    roughness = np.float32(0.16 if pen.kind == "ball" else 0.07)
    return np.asarray(small * np.clip(1 - roughness * grain, 0.2, 1.2), dtype=np.float32)


def _lines(rng: np.random.Generator, trace: Trace, path: NDArray[np.float64], pen: Pen) -> NDArray[np.float64]:
    """Line pieces (n, 6): x0, y0, x1, y1, width in pixels, darkness 0-1."""
    count = len(path)
    slow = 1 / (0.45 + trace.speed)
    slow = slow / slow.mean()
    hand = np.interp(np.arange(count), np.linspace(0, count, 8 + count // 40), rng.normal(1, 0.1, 8 + count // 40))
    ends = np.minimum(np.arange(count), np.arange(count)[::-1])
    touch = 0.45 + 0.55 * np.clip(ends / rng.uniform(4, 14), 0, 1)
    width = np.asarray(pen.width_mm * (1 - pen.swing + pen.swing * slow.clip(0.4, 1.9)) * hand * touch)
    steps = np.diff(path, axis=0)
    if pen.nib_angle is not None:
        direction = np.arctan2(-steps[:, 1], steps[:, 0])
        broad = 0.4 + 0.75 * np.abs(np.sin(direction - pen.nib_angle))
        width = width * np.concatenate([broad[:1], np.convolve(broad, np.ones(5) / 5, mode="same")])
    dark = np.clip(0.72 + 0.28 * slow * hand, 0.35, 1.0) * (0.7 + 0.3 * touch)
    if pen.skips > 0.05:
        dark = dark * (1 - _bare(rng, trace, steps, pen))
    pixels = np.maximum(pixels_of(1.0, _FINE_DPI) * width, 1.0)
    return np.column_stack([path[:-1], path[1:], pixels[1:], dark[1:]])


def _bare(rng: np.random.Generator, trace: Trace, steps: NDArray[np.float64], pen: Pen) -> NDArray[np.float64]:
    """How much of the line a ball leaves out at each point, 0-1: short gaps, more of them where the pen is quick."""
    travelled = np.concatenate([[0.0], np.cumsum(np.hypot(steps[:, 0], steps[:, 1]))])
    knots = np.arange(0.0, travelled[-1] + 1.0, pixels_of(0.45, _FINE_DPI))
    noise = np.interp(travelled, knots, rng.normal(0, 1, len(knots)))
    excess = noise + 0.35 * (trace.speed - 1) - (2.4 - 2.4 * pen.skips)
    return np.asarray(np.clip(excess * 2.0, 0, 0.85))


def _draw(image: NDArray[np.uint8], lines: NDArray[np.float64]) -> None:
    """Draw pale pieces first: where lines cross, the darker one shows."""
    order = np.argsort(lines[:, 5], kind="stable")
    ends = np.round(lines[order, :4] * (1 << _SHIFT)).astype(int).tolist()
    widths = np.maximum(np.round(lines[order, 4]), 1).astype(int).tolist()
    shades = np.round(lines[order, 5] * 255).astype(int).tolist()
    for (x0, y0, x1, y1), pen, shade in zip(ends, widths, shades, strict=True):
        cv2.line(image, (x0, y0), (x1, y1), shade, pen, cv2.LINE_8, _SHIFT)
