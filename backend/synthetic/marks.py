"""A mark before it meets its page: a layer of ink coverage, what pressing does to it, and the facts about it.

Inks of pens, stamp pads and finger pads are optical densities, with the variation of real ones. What a drawn page is:
its pixels, and the truth about every mark on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = [
    "INK_NAMES",
    "LANGUAGES",
    "MM_PER_INCH",
    "VISIBLE",
    "DrawnLookalike",
    "DrawnMark",
    "DrawnPage",
    "Ink",
    "Label",
    "Language",
    "Mark",
    "Use",
    "blotches",
    "cut_by_contact",
    "ink_box",
    "lay",
    "levelled",
    "pick_impression",
    "pick_ink",
    "pixels_of",
    "press",
    "trimmed",
]

Use = Literal["stamp", "signature", "thumb"]
Label = Literal["signature", "stamp", "thumb"]

MM_PER_INCH = 25.4
VISIBLE = 0.06
"""Coverage from which an annotator would see ink on clean paper."""
Language = Literal["ar", "en", "mixed"]
LANGUAGES: tuple[Language, ...] = get_args(Language)


@dataclass(frozen=True)
class Ink:
    """An ink by its optical density in red, green and blue light at full coverage.

    Example:
        >>> Ink("blue", (0.75, 0.55, 0.18)).on_white()
        (45, 72, 168)
    """

    name: str
    density: tuple[float, float, float]

    def on_white(self) -> tuple[int, int, int]:
        """Colour of full coverage on white paper, RGB 0-255."""
        red, green, blue = (round(255 * 10.0**-d) for d in self.density)
        return red, green, blue


# Densities of dry, full ink as scanners see it; each is an (R, G, B) triple.
_BASE: Mapping[str, tuple[float, float, float]] = {
    "blue": (0.78, 0.55, 0.16),
    "royal-blue": (0.85, 0.62, 0.30),
    "light-blue": (0.55, 0.30, 0.08),
    "violet-blue": (0.62, 0.66, 0.20),
    "purple": (0.48, 0.72, 0.24),
    "red": (0.10, 0.75, 0.62),
    "magenta-red": (0.12, 0.72, 0.38),
    "green": (0.80, 0.32, 0.55),
    "black": (0.95, 0.95, 0.92),
    "grey-black": (0.62, 0.61, 0.56),
    "blue-black": (0.95, 0.85, 0.60),
}
INK_NAMES: tuple[str, ...] = tuple(_BASE)

# Shares by use, by eye on real pages: half of the signatures and a fifth of the stamps are nearly black.
_SHARES: Mapping[Use, Mapping[str, float]] = {
    "stamp": {
        "blue": 0.24, "royal-blue": 0.10, "light-blue": 0.05, "violet-blue": 0.14, "purple": 0.12, "red": 0.13,
        "magenta-red": 0.03, "green": 0.05, "black": 0.07, "grey-black": 0.05, "blue-black": 0.02,
    },
    "signature": {
        "blue": 0.26, "royal-blue": 0.14, "light-blue": 0.03, "violet-blue": 0.06, "purple": 0.01, "red": 0.03,
        "green": 0.02, "black": 0.26, "grey-black": 0.08, "blue-black": 0.11,
    },
    "thumb": {
        "blue": 0.28, "royal-blue": 0.10, "violet-blue": 0.14, "purple": 0.13, "red": 0.07, "magenta-red": 0.02,
        "black": 0.13, "grey-black": 0.06, "blue-black": 0.07,
    },
}  # fmt: skip


def pick_ink(rng: np.random.Generator, *, for_: Use) -> Ink:
    """An ink as it is used for that kind of mark, its density varied in strength, hue and greyness."""
    shares = _SHARES[for_]
    weights = np.array(list(shares.values()))
    name = str(rng.choice(list(shares), p=weights / weights.sum()))
    density = np.array(_BASE[name])
    # Blacks stay neutral; colours lean one way or another.
    density = density * rng.normal(1.0, 0.025 if "black" in name else 0.07, 3).clip(0.8, 1.2) * rng.uniform(0.75, 1.2)
    # Old ink and poor scanners mix some grey in.
    density = density + rng.uniform(0.0, 0.08)
    red, green, blue = (float(d) for d in density.clip(0.02, 1.4))
    return Ink(name, (red, green, blue))


def lay(paper: NDArray[np.float32], coverage: NDArray[np.float32], ink: Ink) -> NDArray[np.float32]:
    """Lay ink on paper multiplicatively: paper * 10 ** (-coverage * density).

    Args:
        paper: (h, w, 3) float32, linear in reflectance, any scale.
        coverage: (h, w) float32.
        ink: what is laid.

    Returns:
        (h, w, 3) float32 of the same scale; the input is left as it was.
    """
    exponent = coverage[:, :, None] * (np.float32(-np.log(10.0)) * np.array(ink.density, dtype=np.float32))
    return (paper * np.exp(exponent)).astype(np.float32, copy=False)


@dataclass(frozen=True, kw_only=True, eq=False)
class Mark:
    """A signature, stamp or thumbprint as ink coverage.

    Attributes:
        label: what an annotator would call it.
        coverage: (h, w) float32, ≥ 0; 1 is full strength.
        ink: its ink.
        faded: printed or written so weakly that it is hard to see.
        partial: only part of the tool or finger touched the paper.
        kind: the sort within the label, such as 'round' or 'date'.
    """

    label: Label
    coverage: NDArray[np.float32]
    ink: Ink
    faded: bool = False
    partial: bool = False
    kind: str

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Tight bounds of the visible ink in the layer's own pixels: x0, y0, x1, y1 (exclusive)."""
        return ink_box(self.coverage)


def ink_box(coverage: NDArray[np.float32], visible: float = VISIBLE) -> tuple[int, int, int, int]:
    """Tight bounds of coverage ≥ `visible`, x0, y0, x1, y1 (exclusive); all zero where nothing is visible."""
    seen = coverage >= visible
    columns = np.flatnonzero(seen.any(axis=0))
    rows = np.flatnonzero(seen.any(axis=1))
    if not len(columns):
        return 0, 0, 0, 0
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def trimmed(coverage: NDArray[np.float32], margin: int = 2) -> NDArray[np.float32]:
    """The part of a layer that holds visible ink, with `margin` pixels around it where the layer has them."""
    x0, y0, x1, y1 = ink_box(coverage)
    return np.ascontiguousarray(coverage[max(y0 - margin, 0) : y1 + margin, max(x0 - margin, 0) : x1 + margin])


def pixels_of(millimetres: float, dpi: float) -> float:
    """Length on paper in pixels."""
    return millimetres * dpi / MM_PER_INCH


@dataclass(frozen=True, kw_only=True)
class DrawnMark:
    """What is true about one mark on a drawn page.

    Attributes:
        label: Its class.
        box: x1, y1, x2, y2 in pixels of the page, tight around the visible ink.
        ink: Name of the ink.
        kind: Sort within the class, such as `round`.
        faded: So weak that it is hard to see.
        partial: Only part of it was printed, or it is cut at the page's edge.
        overlaps: Some of its ink lies on another mark's.
    """

    label: Label
    box: tuple[float, float, float, float]
    ink: str
    kind: str
    faded: bool
    partial: bool
    overlaps: bool


@dataclass(frozen=True, kw_only=True)
class DrawnLookalike:
    """What people take for a mark on a drawn page, and is none.

    Attributes:
        kind: One of `LOOKALIKES`.
        box: x1, y1, x2, y2 in pixels of the page, tight around the visible ink.
    """

    kind: str
    box: tuple[float, float, float, float]


@dataclass(frozen=True, kw_only=True, eq=False)
class DrawnPage:
    """A drawn page.

    Attributes:
        pixels: (H, W, 3) uint8 RGB.
        dpi: Resolution across the page; of a squashed page, the mean of both directions.
        language: `ar`, `en` or `mixed`.
        marks: The truth, in the order in which the marks were laid.
        seed: What it was drawn from.
        lookalikes: What was laid on it on purpose and is no mark; its print has others.
    """

    pixels: NDArray[np.uint8]
    dpi: float
    language: Language
    marks: tuple[DrawnMark, ...]
    seed: int
    lookalikes: tuple[DrawnLookalike, ...] = ()


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
