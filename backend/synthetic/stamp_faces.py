"""The rubber of stamps: round, oval, boxed, dated, lined; as shapes, before any ink or pressing.

Round stamp faces: rings, text on circles, and what stands in the middle.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Literal, get_args

import cv2
import numpy as np

from backend.synthetic.lettering import fonts_of, is_arabic, render, render_on_circle, width_of
from backend.synthetic.marks import pixels_of
from backend.synthetic.stamp_parts import (
    SHIFT,
    Image,
    Language,
    Layer,
    StampWords,
    draw_emblem,
    draw_star,
    fitted,
    pick_date,
    pick_stamp_font,
    put,
    ring,
    stack,
)

__all__ = ["STAMP_KINDS", "StampKind", "engrave"]

StampKind = Literal["round", "oval", "rectangular", "square", "date", "lines", "office"]
STAMP_KINDS: tuple[StampKind, ...] = get_args(StampKind)


def _engrave_disc(rng: np.random.Generator, words: StampWords, dpi: float, half: float) -> Layer:
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


def engrave(rng: np.random.Generator, kind: StampKind, words: StampWords, *, dpi: float) -> Layer:
    """An upright stamp face of a kind with these words, (h, w) float32: 1 where the rubber would print."""
    return _ENGRAVERS[kind](rng, words, dpi)


def _engrave_round(rng: np.random.Generator, words: StampWords, dpi: float) -> Layer:
    return _engrave_disc(rng, words, dpi, pixels_of(float(rng.triangular(24, 40, 47.5)), dpi) / 2)


def _engrave_oval(rng: np.random.Generator, words: StampWords, dpi: float) -> Layer:
    disc = _engrave_disc(rng, words, dpi, pixels_of(float(rng.uniform(32, 50)), dpi) / 2)
    height = round(disc.shape[0] * rng.uniform(0.58, 0.8))
    return np.asarray(cv2.resize(disc, (disc.shape[1], height), interpolation=cv2.INTER_AREA), dtype=np.float32)


def _frame(rng: np.random.Generator, width: float, height: float, dpi: float, *, corners: float | None = None) -> Layer:
    """A rectangular border: single, double, thick and thin, square or rounded."""
    image = np.zeros((math.ceil(height) + 2, math.ceil(width) + 2), np.uint8)
    mm = pixels_of(1.0, dpi)
    pens = [rng.uniform(0.25, 0.9) * mm]
    if rng.random() < 0.35:
        pens.append(rng.uniform(0.15, 0.35) * mm)
    rounding = (rng.uniform(1.0, 3.0) if rng.random() < 0.4 else 0.0) if corners is None else corners
    inset = 1.0
    for pen in pens:
        _rounded_rectangle(image, inset + pen / 2, max(rounding * mm - inset, 0.0), max(round(pen), 1))
        inset += pen + 0.6 * mm
    return image.astype(np.float32) / np.float32(255)


def _rounded_rectangle(image: Image, inset: float, corner: float, pen: int) -> None:
    height, width = image.shape
    x0, y0, x1, y1 = inset, inset, width - 1 - inset, height - 1 - inset
    quarter = np.linspace(0, np.pi / 2, 9 if corner > 0.5 else 1)
    points: list[tuple[float, float]] = []
    for cx, cy, start in (
        (x1 - corner, y1 - corner, 0.0),
        (x0 + corner, y1 - corner, 0.5),
        (x0 + corner, y0 + corner, 1.0),
        (x1 - corner, y0 + corner, 1.5),
    ):
        angles = quarter + start * np.pi
        points += [(cx + corner * math.cos(a), cy + corner * math.sin(a)) for a in angles]
    fixed = np.round(np.array(points) * (1 << SHIFT)).astype(np.int32)
    cv2.polylines(image, [fixed], True, 255, pen, cv2.LINE_AA, SHIFT)


def _engrave_form(rng: np.random.Generator, words: StampWords, dpi: float) -> Layer:
    """A ruled stamp to be filled in by hand: a heading over rows with labels."""
    width, rows = pixels_of(float(rng.uniform(34, 50)), dpi), int(rng.integers(2, 5))
    step = pixels_of(float(rng.uniform(4.2, 6.0)), dpi)
    canvas = _frame(rng, width, step * (rows + 1.2), dpi, corners=0.0)
    language: Language = "ar" if rng.random() < 0.5 else "en"
    labels = ("رقم", "التاريخ", "التوقيع", "ملاحظات") if language == "ar" else ("No.", "Date", "Signature", "Remarks")
    font = pick_stamp_font(rng, language)
    heading = words.office_arabic if language == "ar" else words.office_english
    put(canvas, fitted(heading, font, step * 0.6, width * 0.8), canvas.shape[1] / 2, step * 0.62)
    rule = np.ones((max(round(pixels_of(0.22, dpi)), 1), round(width * 0.97)), np.float32)
    ruled = rng.random() < 0.6
    for index in range(rows):
        y = step * (1.7 + index)
        if ruled or index == 0:
            put(canvas, rule, canvas.shape[1] / 2, y - step / 2)
        label = fitted(labels[index], font, step * 0.42, width * 0.35)
        start = width * 0.05 + label.shape[1] / 2
        put(canvas, label, canvas.shape[1] - start if language == "ar" else start, y)
    return canvas


def _engrave_rectangular(rng: np.random.Generator, words: StampWords, dpi: float) -> Layer:
    if rng.random() < 0.2:
        return _engrave_form(rng, words, dpi)
    width, height = pixels_of(float(rng.uniform(34, 50)), dpi), pixels_of(float(rng.uniform(14, 30)), dpi)
    canvas = _frame(rng, width, height, dpi)
    lines = [words.arabic, words.english, f"P.O. Box {words.number} {words.place_english}", f"Tel: {words.telephone}"]
    lines += [f"سجل تجاري {words.number}", words.place_arabic]
    count = int(rng.integers(2, 5))
    chosen = lines[:2] + [lines[2 + i] for i in sorted(rng.permutation(4)[: count - 2])]
    if rng.random() < 0.3:
        chosen.append(
            str(rng.choice(["Sign: ..................", "التوقيع: ....................", "Date:  ____ / ____ / ____"]))
        )
    stack(rng, canvas, chosen, canvas.shape[0] / 2, width=width * 0.86, height=height * 0.8)
    return canvas


def _engrave_square(rng: np.random.Generator, words: StampWords, dpi: float) -> Layer:
    side = pixels_of(float(rng.uniform(22, 34)), dpi)
    canvas = _frame(rng, side, side, dpi)
    if rng.random() < 0.5:
        put(canvas, draw_emblem(rng, round(side * 0.4)), side / 2, side * 0.32)
        lines = [words.arabic, words.place_english]
        stack(rng, canvas, lines, side * 0.73, width=side * 0.84, height=side * 0.36)
    else:
        lines = [*words.arabic.split(), words.number][:4]
        stack(rng, canvas, lines, side / 2, width=side * 0.84, height=side * 0.84)
    return canvas


def _engrave_date(rng: np.random.Generator, words: StampWords, dpi: float) -> Layer:
    """A band dater: the date in typewriter digits, alone or between lines of an office stamp."""
    width = pixels_of(float(rng.uniform(20, 40)), dpi)
    full = rng.random() < 0.55
    height = width * (rng.uniform(0.42, 0.62) if full else 0.22)
    boxed = rng.random() < (0.6 if full else 0.25)
    canvas = _frame(rng, width, height, dpi) if boxed else np.zeros((math.ceil(height), math.ceil(width)), np.float32)
    language: Language = "ar" if rng.random() < 0.3 else "en"
    faces = fonts_of("naskh", "kufi") if language == "ar" else fonts_of("mono", "sans")
    tall = height * (0.26 if full else 0.62)
    date = fitted(pick_date(rng, language), faces[rng.integers(len(faces))], tall, width * 0.86)
    put(canvas, _uneven_bands(rng, date, pixels_of(0.35, dpi)), canvas.shape[1] / 2, canvas.shape[0] / 2)
    if full:
        for text, share in ((words.office_english, 0.2), (words.place_arabic, 0.8)):
            spoken: Language = "ar" if is_arabic(text) else "en"
            line = fitted(text, pick_stamp_font(rng, spoken), height * 0.17, width * 0.84)
            put(canvas, line, canvas.shape[1] / 2, height * share)
    return canvas


def _uneven_bands(rng: np.random.Generator, line: Layer, most_px: float) -> Layer:
    """Day, month and year stand on bands of their own, never quite level."""
    reach = math.ceil(most_px)
    padded = np.pad(line, ((reach, reach), (0, 0)))
    cuts = np.linspace(0, line.shape[1], 4).astype(int)
    for left, right in pairwise(cuts):
        padded[:, left:right] = np.roll(padded[:, left:right], int(rng.integers(-reach, reach + 1)), axis=0)
    return padded


def _engrave_lines(rng: np.random.Generator, words: StampWords, dpi: float) -> Layer:
    """Name stamps without a border."""
    width = pixels_of(float(rng.uniform(28, 50)), dpi)
    count = int(rng.integers(1, 5))
    lines = [words.english, words.office_english, f"{words.place_english} {words.number}", f"Tel. {words.telephone}"]
    if rng.random() < 0.5:
        lines = [words.arabic, words.office_arabic, words.place_arabic, f"هاتف {words.telephone}"]
    height = pixels_of(float(rng.uniform(3.4, 5.0)), dpi) * count
    canvas = np.zeros((math.ceil(height), math.ceil(width)), np.float32)
    stack(rng, canvas, lines[:count], height / 2, width=width, height=height)
    return canvas


def _engrave_office(rng: np.random.Generator, words: StampWords, dpi: float) -> Layer:
    """PAID, APPROVED, مدفوع: one or two big words, mostly in a box."""
    width = pixels_of(float(rng.uniform(22, 46)), dpi)
    both = rng.random() < 0.35
    height = width * rng.uniform(0.5, 0.7) if both else width * rng.uniform(0.26, 0.4)
    bare = rng.random() < 0.25
    canvas = np.zeros((math.ceil(height), math.ceil(width)), np.float32) if bare else _frame(rng, width, height, dpi)
    arabic_only = rng.random() < 0.45
    lines = (
        [words.office_arabic, words.office_english]
        if both
        else [words.office_arabic if arabic_only else words.office_english]
    )
    stack(rng, canvas, lines, canvas.shape[0] / 2, width=width * 0.86, height=height * (0.8 if both else 0.95))
    return canvas


_ENGRAVERS: dict[StampKind, Callable[[np.random.Generator, StampWords, float], Layer]] = {
    "round": _engrave_round,
    "oval": _engrave_oval,
    "rectangular": _engrave_rectangular,
    "square": _engrave_square,
    "date": _engrave_date,
    "lines": _engrave_lines,
    "office": _engrave_office,
}
