"""Text as ink coverage: the bundled typefaces, Arabic shaping and reading order, lines straight or on a circle."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from arabic_reshaper import ArabicReshaper
from bidi.algorithm import get_display
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

__all__ = [
    "FONTS",
    "Coverage",
    "Font",
    "Style",
    "fonts_of",
    "is_arabic",
    "metrics",
    "render",
    "render_on_circle",
    "width_of",
]

Coverage = NDArray[np.float32]
"""Ink coverage, (h, w) float32: 0 is bare paper, 1 full strength."""

Style = Literal["serif", "sans", "mono", "naskh", "kufi", "script"]

_FOLDER = Path(__file__).parent / "fonts"
_STEP = 0.25
"""Sizes are rounded to a quarter pixel, so that the face cache stays small."""


@dataclass(frozen=True)
class Font:
    """One bundled typeface; `arabic` tells whether it has Arabic letters (all have Latin ones)."""

    name: str
    file: str
    style: Style
    bold: bool = False
    arabic: bool = False


FONTS: tuple[Font, ...] = (
    Font("tinos", "tinos.ttf", "serif"),
    Font("tinos-bold", "tinos-bold.ttf", "serif", bold=True),
    Font("arimo", "arimo.ttf", "sans"),
    Font("arimo-bold", "arimo-bold.ttf", "sans", bold=True),
    Font("cousine", "cousine.ttf", "mono"),
    Font("special-elite", "special-elite.ttf", "mono"),
    Font("amiri", "amiri.ttf", "naskh", arabic=True),
    Font("noto-naskh-bold", "noto-naskh-bold.ttf", "naskh", bold=True, arabic=True),
    Font("noto-sans-arabic", "noto-sans-arabic.ttf", "kufi", arabic=True),
    Font("cairo-bold", "cairo-bold.ttf", "kufi", bold=True, arabic=True),
    Font("lemonada", "lemonada.otf", "kufi", arabic=True),
    Font("homemade-apple", "homemade-apple.ttf", "script"),
    Font("caveat", "caveat.ttf", "script"),
    Font("alex-brush", "alex-brush.ttf", "script"),
    Font("marks-hand-a", "marks-hand-a.ttf", "script"),
    Font("marks-hand-b", "marks-hand-b.ttf", "script"),
)

# Faces without Arabic letters borrow those of a face of like weight.
_ARABIC_COMPANION = {
    font.name: FONTS[7] if font.bold else FONTS[6] for font in FONTS if font.style in ("serif", "mono", "script")
}
_ARABIC_COMPANION |= {font.name: FONTS[9] if font.bold else FONTS[8] for font in FONTS if font.style == "sans"}

# Isolated letters stay plain code points and no word ligature is made: not every face has those presentation forms.
_RESHAPER = ArabicReshaper(
    {"use_unshaped_instead_of_isolated": True, "delete_harakat": True, "ARABIC LIGATURE ALLAH": False}
)


def fonts_of(*styles: Style, bold: bool | None = None, arabic: bool | None = None) -> tuple[Font, ...]:
    """The bundled faces of these styles (all where none is named), in a fixed order."""
    return tuple(
        font
        for font in FONTS
        if (not styles or font.style in styles)
        and (bold is None or font.bold == bold)
        and (arabic is None or font.arabic == arabic)
    )


def is_arabic(text: str) -> bool:
    """Whether the text holds an Arabic letter (any block with shaped or plain letters; digits do not count)."""
    return any(_arabic_letter(character) for character in text)


def metrics(font: Font, size_px: float) -> tuple[int, int]:
    """Ascent and descent in whole pixels: rows of `render` above and below the baseline."""
    ascent, descent = _face(font.file, _rounded(size_px)).getmetrics()
    return ascent, descent


def width_of(text: str, font: Font, size_px: float) -> float:
    """Advance of the shaped line in pixels; `render` is a little wider (overhang on both sides)."""
    return sum(face.getlength(run) for run, face in _runs(text, font, size_px))


def render(text: str, font: Font, size_px: float) -> Coverage:
    """Draw one line of logical (unshaped) text.

    Arabic is shaped and set in reading order; the paragraph's direction follows its first strong letter.

    Returns:
        Coverage (h, w). The height is ascent + descent of the tallest face used, so lines of one font share a baseline
        (row `metrics(font, size_px)[0]` when no companion face is taller). The width is the advance plus a margin of a
        quarter em on either side for overhanging strokes.
    """
    runs = _runs(text, font, size_px)
    faces = [face for _, face in runs] or [_face(font.file, _rounded(size_px))]
    ascent = max(face.getmetrics()[0] for face in faces)
    descent = max(face.getmetrics()[1] for face in faces)
    margin = margin_of(size_px)
    width = math.ceil(sum(face.getlength(run) for run, face in runs)) + 2 * margin
    image = Image.new("L", (max(width, 1), max(ascent + descent, 1)))
    draw = ImageDraw.Draw(image)
    x = float(margin)
    for run, face in runs:
        draw.text((x, ascent), run, font=face, fill=255, anchor="ls")
        x += face.getlength(run)
    return np.asarray(image, dtype=np.float32) / np.float32(255)


def margin_of(size_px: float) -> int:
    """Blank columns that `render` leaves on either side of the advance."""
    return math.ceil(size_px / 4)


def render_on_circle(
    text: str, font: Font, size_px: float, *, radius: float, centre_angle: float, inward: bool = False
) -> Coverage:
    """Draw one line along a circle, centred on an angle; joined letters stay joined, for the whole line is bent.

    Args:
        text: logical text.
        font: its face.
        size_px: em size.
        radius: of the middle of the band of letters, in pixels; the letters stay within `size_px` * 0.75 of it.
        centre_angle: where the middle of the line lies, degrees clockwise from the top of the circle.
        inward: feet of the letters point outwards (text of the lower half, read from left to right).

    Returns:
        Square coverage with the circle's centre in its middle. A line longer than 350° is compressed to that.
    """
    strip = _trimmed_rows(render(text, font, size_px))
    height, width = strip.shape
    half = math.ceil(radius + height / 2) + 2
    axis = np.arange(-half, half + 1, dtype=np.float32)
    x, y = np.meshgrid(axis, axis)
    distance = np.hypot(x, y)
    angle = np.arctan2(x, -y) - np.float32(math.radians(centre_angle))
    angle = (angle + np.float32(math.pi)) % np.float32(2 * math.pi) - np.float32(math.pi)
    arc = min(width / radius, math.radians(350))
    along = angle * np.float32(width / arc)
    across = distance - np.float32(radius)
    if inward:
        along, across = -along, -across
    map_x = along + np.float32((width - 1) / 2)
    map_y = np.float32((height - 1) / 2) - across
    return cv2.remap(strip, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0).astype(
        np.float32
    )


def _trimmed_rows(strip: Coverage) -> Coverage:
    """The rows that hold ink, so that the band of letters is centred on its radius."""
    rows = np.flatnonzero(strip.max(axis=1) > 0.05)
    return strip[rows[0] : rows[-1] + 1] if len(rows) else strip


def _rounded(size_px: float) -> float:
    return max(round(size_px / _STEP) * _STEP, 1.0)


@lru_cache(maxsize=256)
def _face(file: str, size_px: float) -> ImageFont.FreeTypeFont:
    # The basic layout engine needs no system library; shaping is done before it sees the text.
    return ImageFont.truetype(_FOLDER / file, size_px, layout_engine=ImageFont.Layout.BASIC)


@lru_cache(maxsize=4096)
def _visual(text: str) -> str:
    """Shaped characters in visual order, left to right."""
    # bidi.algorithm mirrors brackets, which the package's own get_display does not.
    return str(get_display(_RESHAPER.reshape(text))) if is_arabic(text) else text


def _runs(text: str, font: Font, size_px: float) -> list[tuple[str, ImageFont.FreeTypeFont]]:
    """Visual text cut where the face changes: Arabic signs that a face lacks come from its companion."""
    visual = _visual(text)
    size = _rounded(size_px)
    face = _face(font.file, size)
    if font.arabic or not any(_foreign(character) for character in visual):
        return [(visual, face)] if visual else []
    other = _face(_ARABIC_COMPANION[font.name].file, size)
    return [("".join(run), other if foreign else face) for foreign, run in groupby(visual, key=_foreign)]


def _foreign(character: str) -> bool:
    return "\u0600" <= character <= "\u06ff" or "\ufb50" <= character <= "\ufdff" or "\ufe70" <= character <= "\ufefc"


def _arabic_letter(character: str) -> bool:
    return _foreign(character) and not "\u0660" <= character <= "\u066d" and character not in "،؛؟"
