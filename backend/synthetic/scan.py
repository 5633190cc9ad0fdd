"""From a warped sheet to the image of a scanner, copier, fax or telephone: light, tint, blur, noise, tone, JPEG."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from backend.synthetic.sheet import Density
from backend.synthetic.texts import pick

__all__ = ["ScanStyle", "develop", "draw_style"]

Tone = Literal["colour", "grey", "bilevel"]

_LUMA = (0.299, 0.587, 0.114)
_TINTS: tuple[tuple[float, float, float], ...] = (
    (1.0, 0.97, 0.88),
    (0.97, 0.98, 1.0),
    (1.0, 0.98, 0.94),
    (0.95, 0.95, 0.95),
    (0.93, 0.96, 1.0),
    (1.0, 0.96, 0.76),
    (0.90, 0.97, 0.91),
    (1.0, 0.90, 0.92),
    (0.86, 0.86, 0.85),
)
_LIGHT_STEP = 16
_NOISE_ROWS = 256
_FAINTEST = 0.045


@dataclass(frozen=True, kw_only=True)
class ScanStyle:
    """How one page is captured.

    Attributes:
        tone: Colour, grey or black and white only.
        photo: Taken with a telephone: uneven light and perspective.
        paper: Reflectance of bare paper in red, green and blue, 0-1.
        shade: How much darker the worst lit part is, 0-1.
        spine: Strength of a book's shadow along one side, 0-1.
        surround: Optical density of what lies around the page.
        blur: Standard deviation of the optics in pixels at 200 dpi.
        noise: Standard deviation of the sensor, 0-255.
        white: Level that becomes white, 0-255; 255 leaves the paper as it is.
        black: Level that becomes black, 0-255.
        gamma: Exponent of the tone curve.
        threshold: Level, 0-1 of the paper, under which a black and white scan prints black.
        quality: JPEG quality.
        subsampled: JPEG stores colour at half resolution.
    """

    tone: Tone = "colour"
    photo: bool = False
    paper: tuple[float, float, float] = (1.0, 1.0, 1.0)
    shade: float = 0.0
    spine: float = 0.0
    surround: float = 0.0
    blur: float = 0.0
    noise: float = 0.0
    white: float = 255.0
    black: float = 0.0
    gamma: float = 1.0
    threshold: float = 0.6
    quality: int = 95
    subsampled: bool = True

    def visible(self, coverage: NDArray[np.float32], density: Density) -> NDArray[np.bool_]:
        """Where ink of that density can be told from bare paper in this scan, (h, w)."""
        grey = sum(weight * channel for weight, channel in zip(_LUMA, density, strict=True))
        if self.tone == "bilevel":
            return coverage * np.float32(grey) >= np.float32(-math.log10(self.threshold))
        strength = grey if self.tone == "grey" else max(density)
        # Ink no darker than the level that becomes white is gone.
        burnt = math.log10(max(max(self.paper) * 255 / self.white, 1.0))
        return coverage * np.float32(strength) >= np.float32(_FAINTEST + burnt)


def draw_style(rng: np.random.Generator) -> ScanStyle:
    """A random way of capturing: mostly office scanners, some telephones, copiers and faxes."""
    kind = str(rng.choice(["clean", "office", "copier", "photo", "fax"], p=[0.25, 0.43, 0.14, 0.16, 0.02]))
    grey = rng.random() < 0.12
    saved = ScanStyle(quality=int(rng.integers(40, 96)), subsampled=bool(rng.random() < 0.75))
    if kind == "fax":
        return replace(saved, tone="bilevel", noise=6.0, threshold=rng.uniform(0.5, 0.72), blur=0.6)
    tint = np.array(pick(rng, _TINTS) if rng.random() < 0.42 else (1.0, 1.0, 1.0))
    tone: Tone = "grey" if grey else "colour"
    if kind == "clean":
        bright = tint * rng.uniform(0.97, 1.0)
        return replace(
            saved,
            tone=tone,
            paper=_triple(bright),
            noise=rng.uniform(0, 1.5),
            blur=rng.uniform(0, 0.6),
            white=rng.uniform(238, 255) * float(bright.max()),
        )
    if kind == "photo":
        return replace(
            saved,
            tone=tone,
            photo=True,
            paper=_triple(tint * rng.uniform(0.72, 0.98) * rng.normal(1, 0.04, 3).clip(0.9, 1.1)),
            shade=rng.uniform(0.05, 0.4),
            spine=rng.uniform(0, 0.5) * (rng.random() < 0.3),
            surround=rng.uniform(0.2, 1.2),
            noise=rng.uniform(1.5, 7),
            blur=rng.uniform(0.5, 1.6),
            gamma=rng.uniform(0.85, 1.25),
            black=rng.uniform(0, 20),
        )
    copied = kind == "copier"
    return replace(
        saved,
        tone="grey" if copied and rng.random() < 0.3 else tone,
        paper=_triple(tint * rng.uniform(0.80, 0.99)),
        shade=rng.uniform(0, 0.12),
        spine=rng.uniform(0.1, 0.6) * (rng.random() < 0.12),
        surround=pick(rng, (0.0, 0.0, 0.1, 1.3)),
        noise=rng.uniform(1, 9 if copied else 5),
        blur=rng.uniform(0.2, 1.2),
        black=rng.uniform(0, 60 if copied else 30),
        white=rng.uniform(225, 255) if copied else 255.0,
        gamma=rng.uniform(0.8, 1.3),
    )


def develop(
    density: NDArray[np.float32], rng: np.random.Generator, style: ScanStyle, *, dpi: float
) -> NDArray[np.uint8]:
    """Turns the page's optical density, (H, W, 3), into an RGB image, (H, W, 3) uint8; `density` is used up."""
    height, width = density.shape[:2]
    np.multiply(density, np.float32(-math.log(10)), out=density)
    image = cv2.exp(density, density)
    light = cv2.resize(_light(rng, style, width, height), (width, height), interpolation=cv2.INTER_LINEAR)
    pixels = np.asarray(cv2.multiply(image, light, scale=255, dtype=cv2.CV_8U), np.uint8)
    sigma = style.blur * dpi / 200
    if sigma > 0.15:
        pixels = np.asarray(cv2.GaussianBlur(pixels, (0, 0), sigma), np.uint8)
    pixels = _with_noise(pixels, rng, style.noise)
    pixels = np.asarray(cv2.LUT(pixels, _tone_curve(style)), np.uint8)
    if style.tone != "colour":
        grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
        if style.tone == "bilevel":
            grey = cv2.threshold(grey, style.threshold * 255, 255, cv2.THRESH_BINARY)[1]
        pixels = np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB), np.uint8)
    return compressed(pixels, quality=style.quality, subsampled=style.subsampled)


def compressed(pixels: NDArray[np.uint8], *, quality: int, subsampled: bool) -> NDArray[np.uint8]:
    """The image after a JPEG of that quality."""
    factor = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420 if subsampled else cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444
    options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, factor]
    done, data = cv2.imencode(".jpg", pixels[..., ::-1], options)
    if not done:
        raise RuntimeError("OpenCV could not encode a JPEG")
    return np.ascontiguousarray(np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)[..., ::-1])


def _light(rng: np.random.Generator, style: ScanStyle, width: int, height: int) -> NDArray[np.float32]:
    """Reflected light of bare paper over the page, coarse, (h, w, 3): tint, smooth shade, a book's spine."""
    shape = max(height // _LIGHT_STEP, 4), max(width // _LIGHT_STEP, 4)
    rows, columns = np.mgrid[0 : 1 : complex(shape[0]), 0 : 1 : complex(shape[1])]
    field = np.ones(shape)
    if style.shade:
        turn = rng.uniform(0, 2 * math.pi)
        slope = (rows - 0.5) * math.cos(turn) + (columns - 0.5) * math.sin(turn)
        clouds = cv2.resize(rng.normal(0, 0.35, (4, 3)), shape[::-1], interpolation=cv2.INTER_CUBIC)
        field -= style.shade * np.clip(0.5 + slope * 0.8 + clouds * 0.5, 0, 1.3)
    if style.spine:
        side = columns if rng.random() < 0.5 else 1 - columns
        field *= 1 - style.spine * np.exp(-side / 0.06)
    mottle = cv2.resize(rng.normal(0, 0.006, (shape[0] // 3 + 1, shape[1] // 3 + 1)), shape[::-1])
    tinted = (field + mottle)[..., None] * np.array(style.paper)
    if style.photo:
        tinted = tinted * (1 + rng.normal(0, 0.03, 3) * (rows - columns)[..., None])
    return np.asarray(np.clip(tinted, 0.05, 1.2), np.float32)


def _with_noise(pixels: NDArray[np.uint8], rng: np.random.Generator, sigma: float) -> NDArray[np.uint8]:
    """Adds sensor noise, partly common to the channels; one band of it is laid again and again at random shifts."""
    if sigma < 0.3:
        return pixels
    height, width = pixels.shape[:2]
    common = rng.standard_normal((_NOISE_ROWS, width, 1), np.float32)
    own = rng.standard_normal((_NOISE_ROWS, width, 3), np.float32)
    band = np.round((common * 0.8 + own * 0.6) * np.float32(sigma)).astype(np.int16)
    noisy = pixels.copy()
    for top in range(0, height, _NOISE_ROWS):
        rows = noisy[top : top + _NOISE_ROWS]
        shifted = np.roll(band, int(rng.integers(width)), axis=1)[:: int(rng.choice([-1, 1]))][: len(rows)]
        rows[:] = cv2.add(rows, np.ascontiguousarray(shifted), dtype=cv2.CV_8U)
    return noisy


def _tone_curve(style: ScanStyle) -> NDArray[np.uint8]:
    """The 256 levels after black point, white point and gamma."""
    level = np.clip((np.arange(256) - style.black) / (style.white - style.black), 0, 1)
    return np.asarray(np.round(255 * level**style.gamma), np.uint8)


def _triple(values: NDArray[np.float64]) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values.clip(0.3, 1.0))
    return red, green, blue
