"""Round stamp faces: rings, text on circles, and what stands in the middle."""

from __future__ import annotations

import math

import cv2
import numpy as np

from backend.synthetic.emblems import draw_emblem, draw_star
from backend.synthetic.lettering import render, render_on_circle, width_of
from backend.synthetic.marks import pixels_of
from backend.synthetic.stamp_parts import SHIFT, Image, Layer, fitted, pick_stamp_font, put, ring, stack
from backend.synthetic.stamp_texts import Language, StampWords, pick_date

__all__ = ["engrave_disc"]


def engrave_disc(rng: np.random.Generator, words: StampWords, dpi: float, half: float) -> Layer:
    """A round stamp of radius `half` pixels, upright."""
    inner = float(rng.uniform(0.56, 0.74))
    canvas = _rings(rng, half, dpi, inner=inner)
    middle = canvas.shape[0] / 2
    band = half * (1 - inner) - pixels_of(1.2, dpi)
    radius = half - pixels_of(0.9, dpi) - band / 2
    top_language: Language = "ar" if rng.random() < 0.65 else "en"
    other: Language = "en" if top_language == "ar" else "ar"
    if rng.random() < 0.25:
        other = top_language
    long = {"ar": words.arabic, "en": words.english}
    short = {"ar": words.place_arabic, "en": words.place_english}
    lower = long[other] if other != top_language and rng.random() < 0.6 else short[other]
    fill = float(rng.uniform(0.72, 0.92))
    for text, language, angle, inward in ((long[top_language], top_language, 0.0, False), (lower, other, 180.0, True)):
        if inward and rng.random() < 0.15:
            continue
        font = pick_stamp_font(rng, language)
        size = band * fill * (1.0 if font.arabic else 1.15)
        widest = math.radians(190 if not inward else 135) * radius
        strip = render(text, font, size).shape[1]
        size *= min(1.0, widest / strip)
        bent = render_on_circle(text, font, size, radius=radius, centre_angle=angle, inward=inward)
        put(canvas, bent, middle, middle)
    _separators(rng, canvas, radius, band)
    room = half * inner * 0.86
    if half * inner > pixels_of(9.5, dpi) and rng.random() < 0.35:
        room = _second_ring(rng, canvas, words, half * inner, dpi)
    _centre(rng, canvas, words, room, dpi)
    return canvas


def _rings(rng: np.random.Generator, half: float, dpi: float, *, inner: float) -> Layer:
    """Outer and inner rings of a round stamp in one of several engravings."""
    side = math.ceil(2 * half) + 4
    image = np.zeros((side, side), np.uint8)
    mm = pixels_of(1.0, dpi)
    pen = rng.uniform(0.25, 0.9) * mm
    style = rng.integers(5)
    ring(image, half - pen / 2 - 1, pen)
    if style in (1, 2):
        ring(image, half - pen - rng.uniform(0.5, 0.9) * mm, rng.uniform(0.15, 0.3) * mm)
    if style == 3:
        _beads(image, half - pen - 0.8 * mm, count=int(rng.integers(60, 120)), size=0.22 * mm)
    if inner > 0 and rng.random() < 0.9:
        thin = rng.uniform(0.15, 0.5) * mm
        ring(image, half * inner, thin)
        if style == 2:
            ring(image, half * inner - 0.7 * mm, thin)
        if style == 4:
            _beads(image, half * inner + 0.6 * mm, count=int(rng.integers(36, 80)), size=0.2 * mm)
    return image.astype(np.float32) / np.float32(255)


def _beads(image: Image, radius: float, *, count: int, size: float) -> None:
    one = 1 << SHIFT
    for angle in np.arange(count) * 2 * np.pi / count:
        x = image.shape[1] / 2 + radius * np.cos(angle)
        y = image.shape[0] / 2 + radius * np.sin(angle)
        cv2.circle(image, (round(x * one), round(y * one)), max(round(size * one), 8), 255, -1, cv2.LINE_AA, SHIFT)


def _second_ring(rng: np.random.Generator, canvas: Layer, words: StampWords, outer: float, dpi: float) -> float:
    """Small print all round inside the inner ring, as registered seals have; gives the room left in the middle."""
    size = pixels_of(float(rng.uniform(1.9, 2.6)), dpi)
    radius = outer - pixels_of(0.7, dpi) - size / 2
    arabic = rng.random() < 0.4
    part = (
        f"{words.place_arabic} * سجل تجاري {words.number} * "
        if arabic
        else f"REG. {words.number} * {words.place_english} * "
    )
    font = pick_stamp_font(rng, "ar" if arabic else "en")
    times = max(int(2 * math.pi * radius / width_of(part, font, size)), 1)
    bent = render_on_circle(part * times, font, size, radius=radius, centre_angle=float(rng.uniform(0, 360)))
    middle = canvas.shape[0] / 2
    put(canvas, bent, middle, middle)
    inner = radius - size / 2 - pixels_of(0.6, dpi)
    if rng.random() < 0.7:
        image = np.zeros(canvas.shape, np.uint8)
        ring(image, inner, rng.uniform(0.15, 0.35) * pixels_of(1.0, dpi))
        put(canvas, image.astype(np.float32) / np.float32(255), middle, middle)
    return inner * 0.88


def _separators(rng: np.random.Generator, canvas: Layer, radius: float, band: float) -> None:
    sort = rng.integers(3)
    if sort == 2:
        return
    size = max(round(band * rng.uniform(0.35, 0.6)), 5)
    sign = draw_star(size) if sort == 0 else draw_star(size, points=16, sharpness=0.95)
    for angle in (100.0, 260.0):
        x = canvas.shape[1] / 2 + radius * math.sin(math.radians(angle))
        y = canvas.shape[0] / 2 - radius * math.cos(math.radians(angle))
        put(canvas, sign, x, y)


def _centre(rng: np.random.Generator, canvas: Layer, words: StampWords, room: float, dpi: float) -> None:
    """What stands in the middle: an emblem, lines, initials, a date between bars, or nothing for a signature."""
    x = y = canvas.shape[0] / 2
    sort = rng.choice(5, p=[0.26, 0.34, 0.14, 0.14, 0.12])
    if sort == 0:
        put(canvas, draw_emblem(rng, round(room * rng.uniform(0.9, 1.5))), x, y)
    elif sort == 1:
        lines = [words.office_arabic, words.office_english, words.place_arabic, words.place_english, words.number]
        count = int(rng.integers(2, 5))
        chosen = [lines[i] for i in sorted(rng.permutation(len(lines))[:count])]
        stack(rng, canvas, chosen, y, width=1.7 * room, height=1.25 * room)
    elif sort == 2:
        font = pick_stamp_font(rng, "en")
        put(canvas, fitted(words.initials, font, room * rng.uniform(0.5, 0.8), room * 1.5), x, y)
    elif sort == 3:
        date = fitted(pick_date(rng, "en"), pick_stamp_font(rng, "en"), room * 0.32, room * 1.6)
        put(canvas, date, x, y)
        bar = np.ones((max(round(pixels_of(0.3, dpi)), 1), round(room * 1.7)), np.float32)
        for offset in (-0.38, 0.38):
            put(canvas, bar, x, y + offset * room)
