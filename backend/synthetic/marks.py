"""A mark before it meets its page: a layer of ink coverage with the facts about it.

Inks of pens, stamp pads and finger pads as optical densities, with the variation of real ones.

What a drawn page is: its pixels, and the truth about every mark on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "INK_NAMES",
    "LANGUAGES",
    "MM_PER_INCH",
    "VISIBLE",
    "DrawnMark",
    "DrawnPage",
    "Ink",
    "Label",
    "Language",
    "Mark",
    "Use",
    "ink_box",
    "lay",
    "pick_ink",
    "pixels_of",
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


@dataclass(frozen=True, kw_only=True, eq=False)
class DrawnPage:
    """A drawn page.

    Attributes:
        pixels: (H, W, 3) uint8 RGB.
        dpi: Resolution across the page; of a squashed page, the mean of both directions.
        language: `ar`, `en` or `mixed`.
        marks: The truth, in the order in which the marks were laid.
        seed: What it was drawn from.
    """

    pixels: NDArray[np.uint8]
    dpi: float
    language: Language
    marks: tuple[DrawnMark, ...]
    seed: int
