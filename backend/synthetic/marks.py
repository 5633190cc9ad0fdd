"""A mark before it meets its page: a layer of ink coverage with the facts about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from backend.synthetic.inks import Ink

__all__ = ["MM_PER_INCH", "VISIBLE", "Label", "Mark", "ink_box", "pixels_of", "trimmed"]

Label = Literal["signature", "stamp", "thumb"]

MM_PER_INCH = 25.4
VISIBLE = 0.06
"""Coverage from which an annotator would see ink on clean paper."""


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
