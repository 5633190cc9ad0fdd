"""Marks of a kind that no bundled training saw: stamps of other shapes, and inks of other colours for all three."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from backend.synthetic.inked_prints import draw_thumb
from backend.synthetic.marks import Ink, Label, Mark, pick_impression, pixels_of, press, trimmed
from backend.synthetic.signatures import draw_signature
from backend.synthetic.stamp_parts import (
    SHIFT,
    StampWords,
    fitted,
    pick_date,
    pick_stamp_font,
    pick_words,
    put,
    ring,
    stack,
)
from backend.synthetic.texts import pick

__all__ = ["NEW_INKS", "NEW_STAMPS", "draw_new_mark"]

Layer = NDArray[np.float32]
Point = tuple[float, float]

NEW_INKS: Mapping[str, tuple[float, float, float]] = {
    "orange": (0.06, 0.42, 0.95),
    "brown": (0.38, 0.62, 0.82),
    "turquoise": (0.80, 0.22, 0.26),
    "pink": (0.05, 0.62, 0.16),
    "olive": (0.46, 0.36, 0.86),
}
"""Optical density in red, green and blue; `backend.synthetic.marks` has none of them."""
_FINE_DPI = 200.0
_FAINTER = 0.15


def draw_new_mark(rng: np.random.Generator, label: Label, *, dpi: float) -> Mark:
    """One mark in a new ink; a stamp is also of a new shape, a signature or thumb of the hands that are known."""
    ink = _pick_ink(rng)
    if label == "signature":
        return draw_signature(rng, dpi=dpi, ink=ink)
    if label == "thumb":
        return draw_thumb(rng, dpi=dpi, ink=ink)
    return _stamp(rng, ink, dpi)


def _pick_ink(rng: np.random.Generator) -> Ink:
    name = pick(rng, tuple(NEW_INKS))
    density = np.array(NEW_INKS[name]) * rng.normal(1.0, 0.06, 3).clip(0.8, 1.2) * rng.uniform(0.85, 1.2)
    red, green, blue = (float(value) for value in density.clip(0.02, 1.4))
    return Ink(name, (red, green, blue))


def _stamp(rng: np.random.Generator, ink: Ink, dpi: float) -> Mark:
    kind = pick(rng, tuple(NEW_STAMPS))
    faded = bool(rng.random() < _FAINTER)
    rubber = np.pad(NEW_STAMPS[kind](rng, pick_words(rng), _FINE_DPI), round(pixels_of(1.5, _FINE_DPI)))
    height, width = rubber.shape
    reach = math.ceil(math.hypot(height, width)) + 2
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), float(rng.normal(0, 12)), 1.0)
    turn[:, 2] += [(reach - width) / 2, (reach - height) / 2]
    turned = np.asarray(cv2.warpAffine(rubber, turn, (reach, reach)), np.float32)
    print_ = press(rng, turned, pick_impression(rng, faded=faded), dpi=_FINE_DPI)
    factor = dpi / _FINE_DPI
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    scaled = np.asarray(cv2.resize(print_, None, fx=factor, fy=factor, interpolation=method), np.float32)
    return Mark(label="stamp", coverage=trimmed(scaled), ink=ink, faded=faded, kind=kind)


def _triangle(rng: np.random.Generator, words: StampWords, dpi: float) -> Layer:
    """An inspector's triangle: two outlines, a number and a word in the wide part."""
    side = pixels_of(float(rng.uniform(30, 44)), dpi)
    canvas = _outlines(side, side * 0.88, [(0.5, 0.02), (0.98, 0.97), (0.02, 0.97)], dpi)
    lines = [words.office_english, words.number]
    stack(rng, canvas, lines, side * 0.66, width=side * 0.46, height=side * 0.32)
    return canvas


def _hexagon(rng: np.random.Generator, words: StampWords, dpi: float) -> Layer:
    """A six-sided stamp with lines of text."""
    side = pixels_of(float(rng.uniform(28, 42)), dpi)
    corners = [(0.5 + 0.48 * math.sin(turn), 0.5 - 0.48 * math.cos(turn)) for turn in np.arange(6) * math.pi / 3]
    canvas = _outlines(side, side, corners, dpi)
    lines = [words.arabic, words.place_english, words.number]
    stack(rng, canvas, lines, side * 0.5, width=side * 0.66, height=side * 0.46)
    return canvas


def _diamond(rng: np.random.Generator, words: StampWords, dpi: float) -> Layer:
    """A square on its corner, a date in the middle."""
    side = pixels_of(float(rng.uniform(32, 46)), dpi)
    canvas = _outlines(side, side * 0.8, [(0.5, 0.02), (0.98, 0.5), (0.5, 0.98), (0.02, 0.5)], dpi)
    lines = [words.initials, pick_date(rng, "en"), words.office_arabic]
    stack(rng, canvas, lines, side * 0.4, width=side * 0.5, height=side * 0.38)
    return canvas


def _negative(rng: np.random.Generator, words: StampWords, dpi: float) -> Layer:
    """A solid field out of which the letters are cut: the paper writes."""
    width = pixels_of(float(rng.uniform(30, 48)), dpi)
    height = width * float(rng.uniform(0.3, 0.55))
    field = np.zeros((math.ceil(height), math.ceil(width)), np.uint8)
    middle = (round(width / 2), round(height / 2))
    if rng.random() < 0.5:
        cv2.ellipse(field, middle, (middle[0] - 1, middle[1] - 1), 0, 0, 360, 255, -1, cv2.LINE_AA)
    else:
        field[:] = 255
    letters = np.zeros(field.shape, np.float32)
    stack(rng, letters, [words.office_english, words.place_arabic], height / 2, width=width * 0.7, height=height * 0.66)
    return np.asarray(field.astype(np.float32) / 255 * (1 - letters), np.float32)


def _postmark(rng: np.random.Generator, words: StampWords, dpi: float) -> Layer:
    """A cancellation: a ring with place and date, and waves beside it."""
    round_, mm = pixels_of(float(rng.uniform(22, 28)), dpi), pixels_of(1.0, dpi)
    disc = np.zeros((math.ceil(round_) + 4, math.ceil(round_) + 4), np.uint8)
    ring(disc, round_ / 2 - 1, 0.5 * mm)
    canvas = np.pad(disc.astype(np.float32) / np.float32(255), ((0, 0), (0, round(round_ * 1.1))))
    middle = disc.shape[0] / 2
    font = pick_stamp_font(rng, "en")
    date, place = pick_date(rng, "en"), words.place_english
    for text, offset in ((place, -0.22), (date, 0.02), (words.number, 0.26)):
        put(canvas, fitted(text, font, round_ * 0.15, round_ * 0.74), middle, middle + offset * round_)
    waves = np.zeros(canvas.shape, np.uint8)
    across = np.linspace(round_ * 1.04, canvas.shape[1] - 2, 60)
    for row in np.linspace(0.2, 0.8, 5):
        heights = row * round_ + 0.035 * round_ * np.sin(across / round_ * 4 * math.pi)
        path = np.round(np.column_stack([across, heights]) * (1 << SHIFT)).astype(np.int32)
        cv2.polylines(waves, [path], False, 255, max(round(0.45 * mm), 1), cv2.LINE_AA, SHIFT)
    return np.asarray(np.maximum(canvas, waves.astype(np.float32) / np.float32(255)), np.float32)


def _outlines(width: float, height: float, corners: list[Point], dpi: float) -> Layer:
    """A polygon as two outlines, the outer thick and the inner thin; `corners` are shares of width and height."""
    image = np.zeros((math.ceil(height), math.ceil(width)), np.uint8)
    shape = np.array(corners) * [width - 1, height - 1]
    middle = shape.mean(axis=0)
    for share, pen in ((1.0, 0.7), (0.88, 0.3)):
        path = np.round((middle + share * (shape - middle)) * (1 << SHIFT)).astype(np.int32)
        cv2.polylines(image, [path], True, 255, max(round(pixels_of(pen, dpi)), 1), cv2.LINE_AA, SHIFT)
    return image.astype(np.float32) / np.float32(255)


NEW_STAMPS: Mapping[str, Callable[[np.random.Generator, StampWords, float], Layer]] = {
    "triangle": _triangle,
    "hexagon": _hexagon,
    "diamond": _diamond,
    "negative": _negative,
    "postmark": _postmark,
}
"""Shapes that `backend.synthetic.stamp_faces` does not cut."""
