"""What a drawn page is: its pixels, and the truth about every mark on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from backend.synthetic.marks import Label

__all__ = ["LANGUAGES", "DrawnMark", "DrawnPage", "Language"]

Language = Literal["ar", "en", "mixed"]
LANGUAGES: tuple[Language, ...] = get_args(Language)


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
