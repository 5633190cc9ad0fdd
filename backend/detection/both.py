"""Two ways of finding as one: what the network proposes, and the coloured ink that it passed over."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.detection.candidates import Candidates
from backend.detection.detector import ColourDetector
from backend.detection.model import ModelDetector
from backend.geometry import iou

__all__ = ["BothDetectors"]

_SAME = 0.5
"""IoU from which a region of ink is one that the network proposed as well."""


class BothDetectors:
    """The network's candidates, then those regions of ink that are none of them.

    Args:
        model: The network's detector.
        colour: The rules on ink.
    """

    def __init__(self, model: ModelDetector, colour: ColourDetector) -> None:
        self._model = model
        self._colour = colour
        self.name = f"{model.name}+{colour.name}"
        self.fusion = model.fusion

    @property
    def facts(self) -> dict[str, Any]:
        """Everything that decides what is proposed, as plain JSON: a change of it is a change of version."""
        return {"model": self._model.facts, "colour": self._colour.facts, "same": _SAME}

    def __call__(self, pixels: NDArray[np.uint8], dpi: float | None = None) -> Candidates:
        """Gives the candidates of an (H, W, 3) uint8 RGB page, the network's first."""
        seen, inked = self._model(pixels, dpi), self._colour(pixels, dpi)
        new = iou(inked.boxes, seen.boxes).max(axis=1, initial=0) < _SAME
        return Candidates(
            np.concatenate([seen.boxes, inked.boxes[new]]),
            np.concatenate([seen.scores, inked.scores[new]]),
            np.concatenate([seen.heat, inked.heat[new]]),
        )
