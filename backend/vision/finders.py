"""The ways of finding candidates, and the one that the DETECTOR setting names.

Two ways of finding as one: what the network proposes, and the coloured ink that it passed over.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from backend.geometry import Boxes, iou
from backend.settings import DETECTORS
from backend.vision.box_refiner import BoxRefiner
from backend.vision.candidates import Candidates
from backend.vision.colour_detector import ColourDetector
from backend.vision.engine import DetectorConfig, DetectorNetwork, Fusion
from backend.vision.network_detector import ModelDetector
from backend.vision.weights import (
    BUNDLED,
    DETECTOR_CONFIG_FILE,
    DETECTOR_WEIGHTS_FILE,
    REFINER_CONFIG_FILE,
)

__all__ = ["DETECTORS", "BothDetectors", "Detects", "build_detector"]

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

    def second_look(
        self, pixels: NDArray[np.uint8], boxes: Boxes, labels: NDArray[np.intp], *, dpi: float | None, times: int
    ) -> Boxes:
        """See `Detects`."""
        return self._model.second_look(pixels, boxes, labels, dpi=dpi, times=times)


class Detects(Protocol):
    """What the pipeline asks of a detector."""

    @property
    def name(self) -> str: ...

    @property
    def facts(self) -> dict[str, Any]: ...

    @property
    def fusion(self) -> Fusion: ...

    def __call__(self, pixels: NDArray[np.uint8], dpi: float | None = None) -> Candidates: ...

    def second_look(
        self, pixels: NDArray[np.uint8], boxes: Boxes, labels: NDArray[np.intp], *, dpi: float | None, times: int
    ) -> Boxes:
        """The boxes (N, 4) with the edges that a second look gives them; as they came where there is none.

        Args:
            pixels: (H, W, 3) uint8 RGB page.
            boxes: (N, 4) xyxy, pixels of the page.
            labels: (N,) indices into `MARKS`: what each is taken for.
            dpi: The page's resolution, where it is known.
            times: How often each box is looked at, each time where the look before left it.
        """
        ...


def build_detector(kind: str, folder: Path = BUNDLED, *, threads: int = 0) -> Detects:
    """The detector that a setting names.

    Its refiner is the one of the folder, or else the program's own: corrections do not teach it.

    Args:
        kind: One of `DETECTORS`.
        folder: Of the weights that serve; where it holds no detector, the bundled one serves.
        threads: Threads one inference may use; 0 for as many as there are cores.

    Raises:
        BadWeights: A file is not what its config promises.
    """
    if kind == "colour":
        return ColourDetector()
    own = (folder / DETECTOR_CONFIG_FILE).is_file()
    place = folder if own else BUNDLED
    config = DetectorConfig.read(place / DETECTOR_CONFIG_FILE)
    network = DetectorNetwork(place / DETECTOR_WEIGHTS_FILE, config, threads=threads)
    newer = folder if (folder / REFINER_CONFIG_FILE).is_file() else BUNDLED
    refiner = BoxRefiner.open(newer, threads=threads) if config.refined else None
    model = ModelDetector(network, name="model", refiner=refiner)
    return model if kind == "model" else BothDetectors(model, ColourDetector())
