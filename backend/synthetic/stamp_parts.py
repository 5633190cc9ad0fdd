"""What stamp faces are made of: fitted lines of text, stacks of lines, rings."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from backend.synthetic.lettering import Font, fonts_of, is_arabic, render
from backend.synthetic.stamp_texts import Language

__all__ = ["SHIFT", "Image", "Layer", "fitted", "pick_stamp_font", "put", "ring", "stack"]

Layer = NDArray[np.float32]
Image = NDArray[np.uint8]
SHIFT = 4
"""Fractional bits of coordinates given to OpenCV, which draws antialiased at sub-pixel places only in this form."""


def pick_stamp_font(rng: np.random.Generator, language: Language) -> Font:
    """A face that stamps in this language are cut in."""
    faces = fonts_of("naskh", "kufi") if language == "ar" else fonts_of("serif", "sans", "mono")
    return faces[rng.integers(len(faces))]


def fitted(text: str, font: Font, height_px: float, width_px: float) -> Layer:
    """A line whose ink is about `height_px` tall (or less, so that it fits `width_px`)."""
    size = height_px * (1.3 if not font.arabic else 1.15)
    line = _cropped(render(text, font, size))
    if line.shape[1] > width_px:
        line = _cropped(render(text, font, max(size * width_px / line.shape[1], 3.0)))
    return line


def _cropped(layer: Layer) -> Layer:
    columns, rows = np.flatnonzero(layer.max(axis=0) > 0.05), np.flatnonzero(layer.max(axis=1) > 0.05)
    if not len(columns):
        return np.zeros((1, 1), np.float32)
    return layer[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def put(canvas: Layer, layer: Layer, x: float, y: float) -> None:
    """Add a layer centred on a point; what hangs over the canvas is lost."""
    left, top = round(x - layer.shape[1] / 2), round(y - layer.shape[0] / 2)
    x0, y0 = max(left, 0), max(top, 0)
    x1, y1 = min(left + layer.shape[1], canvas.shape[1]), min(top + layer.shape[0], canvas.shape[0])
    if x1 > x0 and y1 > y0:
        part = canvas[y0:y1, x0:x1]
        np.maximum(part, layer[y0 - top : y1 - top, x0 - left : x1 - left], out=part)


def stack(rng: np.random.Generator, canvas: Layer, lines: list[str], y: float, *, width: float, height: float) -> None:
    """Lines of text one under another, centred."""
    step = height / len(lines)
    emphasis = int(rng.integers(len(lines)))
    for index, text in enumerate(lines):
        language: Language = "ar" if is_arabic(text) else "en"
        tall = step * (0.8 if index == emphasis else 0.62)
        line = fitted(text, pick_stamp_font(rng, language), tall, width)
        put(canvas, line, canvas.shape[1] / 2, y + (index - (len(lines) - 1) / 2) * step)


def ring(image: Image, radius: float, width: float) -> None:
    """Draw a circle about the middle of an image; radius and width in pixels."""
    one = 1 << SHIFT
    centre = (round(image.shape[1] / 2 * one), round(image.shape[0] / 2 * one))
    cv2.circle(image, centre, round(radius * one), 255, max(round(width), 1), cv2.LINE_AA, SHIFT)
