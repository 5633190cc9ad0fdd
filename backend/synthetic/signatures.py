"""Handwritten signatures of many hands and pens, from legible names to paraphs and Arabic-like strokes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from backend.synthetic.impression import blotches, levelled
from backend.synthetic.inks import Ink, pick_ink
from backend.synthetic.letterforms import CAPITALS
from backend.synthetic.lettering import fonts_of, render
from backend.synthetic.marks import Mark, pixels_of, trimmed
from backend.synthetic.penmanship import Hand, Stroke, compose, pick_hand, pick_syllables
from backend.synthetic.pens import Pen, draw_traces, pick_pen
from backend.synthetic.penstroke import Trace, write

__all__ = ["SIGNATURE_KINDS", "SignatureKind", "draw_signature"]

SignatureKind = Literal["name", "scrawl", "initials", "arabic", "paraph", "script"]
SIGNATURE_KINDS: tuple[SignatureKind, ...] = get_args(SignatureKind)

Layer = NDArray[np.float32]
_SHARES = (0.26, 0.22, 0.12, 0.22, 0.1, 0.08)


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
    hand, pen = pick_hand(rng), pick_pen(rng)
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
    return draw_traces(rng, traces, fitting, scale_mm=float(scale), dpi=dpi)


def _haste(rng: np.random.Generator, hand: Hand) -> float:
    return float(np.clip(hand.haste + rng.normal(0, 0.03), 0.08, 0.6))


def _leaning(trace: Trace, hand: Hand) -> Trace:
    """The trace with the writer's slant and climbing baseline."""
    x, y = trace.points[:, 0] + hand.slant * trace.points[:, 1], trace.points[:, 1]
    cosine, sine = math.cos(hand.rise), math.sin(hand.rise)
    return Trace(np.column_stack([x * cosine - y * sine, x * sine + y * cosine]), trace.speed)


def _from_script(rng: np.random.Generator, hand: Hand, width_mm: float, dpi: float) -> Layer:
    """A legible name: a script face, bent, squeezed and unevenly inked."""
    faces = fonts_of("script")
    font = faces[rng.integers(len(faces))]
    fine = max(dpi, 250.0)
    first, last = (str(list(CAPITALS)[rng.integers(len(CAPITALS))]) for _ in range(2))
    body = [pick_syllables(rng, int(rng.integers(1, 4))) for _ in range(2)]
    text = f"{first}{body[0]} {last}{body[1]}" if rng.random() < 0.6 else f"{first}. {last}{body[1]}"
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
