"""The value that detection gives: boxes that may be marks, best first, and how sure it is of each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backend.geometry import Boxes

__all__ = ["Candidates", "log_odds"]

_LEAST = 0.03
"""Stands for a heat or a chance that is lower, so that no network decides alone."""


@dataclass(frozen=True)
class Candidates:
    """Parallel arrays, best candidate first.

    Attributes:
        boxes: (N, 4) xyxy, pixels of the page.
        scores: (N,) rank value, higher is better; comparable within a page only.
        heat: (N, 3) how sure a detector that knows the classes is of each; 0 where it has not said.
        turns: Quarter turns to the left that the page was given before it came here, as far as the detector can tell.
    """

    boxes: Boxes
    scores: NDArray[np.float64]
    heat: NDArray[np.float64]
    turns: int = 0

    def __len__(self) -> int:
        return len(self.boxes)


def log_odds(chances: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log odds of probabilities or heat, of the same shape; neither is taken for certain."""
    bounded = np.clip(chances, _LEAST, 1 - _LEAST)
    return np.asarray(np.log(bounded / (1 - bounded)))
