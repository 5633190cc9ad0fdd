"""Handwritten signatures of many hands and pens, from legible names to paraphs and Arabic-like strokes.

Pens: how wide, how dark and how broken a line a moving pen leaves.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from backend.synthetic.letterforms import CAPITALS, Trace, write
from backend.synthetic.lettering import Font, fonts_of, render
from backend.synthetic.marks import Ink, Mark, blotches, levelled, pick_ink, pixels_of, trimmed
from backend.synthetic.penmanship import Hand, Stroke, compose, pick_hand, pick_syllables

__all__ = ["SIGNATURE_KINDS", "Pen", "SignatureKind", "draw_signature", "write_in_script"]

Layer = NDArray[np.float32]
_FINE_DPI = 500.0
_SHIFT = 4
SignatureKind = Literal["name", "scrawl", "initials", "arabic", "paraph", "script"]
SIGNATURE_KINDS: tuple[SignatureKind, ...] = get_args(SignatureKind)

_SHARES = (0.26, 0.22, 0.12, 0.22, 0.1, 0.08)


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


def _pick_pen(rng: np.random.Generator) -> Pen:
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


def _draw_traces(rng: np.random.Generator, traces: Sequence[Trace], pen: Pen, *, scale_mm: float, dpi: float) -> Layer:
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


def draw_signature(
    rng: np.random.Generator,
    *,
    dpi: float,
    kind: SignatureKind | None = None,
    ink: Ink | None = None,
    faded: bool | None = None,
) -> Mark:
    """One signature, 20-80 mm wide (initials and paraphs down to 12).

    Args:
        rng: decides all that is not given.
        dpi: resolution of the page.
        kind: sort of signature.
        ink: of the pen.
        faded: written weakly (coverage about 0.2-0.4); one in sixteen where not given.

    Returns:
        The mark, trimmed to its ink; never `partial`.
    """
    sort = kind or SIGNATURE_KINDS[rng.choice(len(SIGNATURE_KINDS), p=_SHARES)]
    tone = ink or pick_ink(rng, for_="signature")
    is_faded = bool(rng.random() < 1 / 16) if faded is None else faded
    hand, pen = pick_hand(rng), _pick_pen(rng)
    width_mm = _width(rng, sort)
    if sort == "script":
        coverage = _from_script(rng, hand, width_mm, dpi)
    else:
        coverage = _from_pen(rng, compose(rng, sort, hand), hand, pen, width_mm=width_mm, dpi=dpi)
    strength = rng.uniform(0.2, 0.38) if is_faded else rng.uniform(0.7, 1.1)
    coverage = levelled(coverage, float(strength))
    return Mark(label="signature", coverage=trimmed(coverage), ink=tone, faded=is_faded, kind=sort)


def _width(rng: np.random.Generator, kind: SignatureKind) -> float:
    """Width on paper in millimetres."""
    low, high = {"initials": (14.0, 40.0), "paraph": (18.0, 55.0), "arabic": (22.0, 65.0)}.get(kind, (26.0, 76.0))
    return float(rng.uniform(low, high))


def _from_pen(
    rng: np.random.Generator, strokes: Sequence[Stroke], hand: Hand, pen: Pen, *, width_mm: float, dpi: float
) -> Layer:
    traces = [_leaning(write(stroke, overlap=_haste(rng, hand)), hand) for stroke in strokes if len(stroke) > 1]
    points = np.concatenate([trace.points for trace in traces])
    wide, tall = np.ptp(points, axis=0)
    # Small letters are 2.5-8.5 mm high and a signature space seldom higher than 35 mm, however wide the name.
    scale = min(max(min(width_mm / wide, rng.uniform(2.5, 8.5)), 15.0 / wide), 34.0 / max(tall, 1e-3))
    # Nobody writes small letters with a thick marker.
    fitting = replace(pen, width_mm=min(pen.width_mm, max(0.22 * float(scale), 0.3)))
    return _draw_traces(rng, traces, fitting, scale_mm=float(scale), dpi=dpi)


def _haste(rng: np.random.Generator, hand: Hand) -> float:
    return float(np.clip(hand.haste + rng.normal(0, 0.03), 0.08, 0.6))


def _leaning(trace: Trace, hand: Hand) -> Trace:
    """The trace with the writer's slant and climbing baseline."""
    x, y = trace.points[:, 0] + hand.slant * trace.points[:, 1], trace.points[:, 1]
    cosine, sine = math.cos(hand.rise), math.sin(hand.rise)
    return Trace(np.column_stack([x * cosine - y * sine, x * sine + y * cosine]), trace.speed)


def _from_script(rng: np.random.Generator, hand: Hand, width_mm: float, dpi: float) -> Layer:
    """A legible name in a script face."""
    faces = fonts_of("script")
    font = faces[rng.integers(len(faces))]
    first, last = (str(list(CAPITALS)[rng.integers(len(CAPITALS))]) for _ in range(2))
    body = [pick_syllables(rng, int(rng.integers(1, 4))) for _ in range(2)]
    text = f"{first}{body[0]} {last}{body[1]}" if rng.random() < 0.6 else f"{first}. {last}{body[1]}"
    return write_in_script(rng, text, font, hand, width_mm=width_mm, dpi=dpi)


def write_in_script(
    rng: np.random.Generator, text: str, font: Font, hand: Hand, *, width_mm: float, dpi: float
) -> Layer:
    """A line of text as a hand writes it: a script face, bent, squeezed and unevenly inked.

    Args:
        rng: decides how.
        text: of one line.
        font: a script face.
        hand: whose baseline it has.
        width_mm: of the line on paper.
        dpi: resolution of the page.

    Returns:
        (h, w) float32 coverage, trimmed to its ink.
    """
    fine = max(dpi, 250.0)
    line = np.pad(render(text, font, pixels_of(11.0, fine)), round(pixels_of(3.0, fine)))
    line *= 0.9 + 0.12 * blotches(rng, (line.shape[0], line.shape[1]), pixels_of(3.0, fine))
    height, width = line.shape
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    reach = np.float32(pixels_of(0.5, fine))
    x = x + reach * blotches(rng, (height, width), pixels_of(9.0, fine))
    y = y + reach * blotches(rng, (height, width), pixels_of(7.0, fine))
    y = y + np.float32(math.tan(hand.rise)) * (x - width / 2) * np.float32(0.6)
    bent = cv2.remap(line, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0)
    bent = trimmed(np.maximum(bent, 0).astype(np.float32))
    factor = pixels_of(width_mm, dpi) / bent.shape[1]
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    scaled = np.maximum(
        cv2.resize(bent, None, fx=factor, fy=factor * float(rng.uniform(0.85, 1.2)), interpolation=method), 0
    )
    grain = blotches(rng, (scaled.shape[0], scaled.shape[1]), pixels_of(0.3, dpi))
    return np.asarray(scaled * np.clip(1 - 0.12 * grain, 0.3, 1.2), dtype=np.float32)
