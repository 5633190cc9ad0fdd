"""The ways of finding candidates, and the one that the DETECTOR setting names."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from backend.detection.both import BothDetectors
from backend.detection.candidates import Candidates
from backend.detection.detector import ColourDetector
from backend.detection.model import ModelDetector
from backend.nets.detector import DetectorConfig, DetectorNetwork, Fusion
from backend.nets.weights import BUNDLED, DETECTOR_CONFIG_FILE, DETECTOR_WEIGHTS_FILE
from backend.settings import DETECTORS

__all__ = ["DETECTORS", "Detects", "build_detector"]


class Detects(Protocol):
    """What the pipeline asks of a detector."""

    @property
    def name(self) -> str: ...

    @property
    def facts(self) -> dict[str, Any]: ...

    @property
    def fusion(self) -> Fusion: ...

    def __call__(self, pixels: NDArray[np.uint8], dpi: float | None = None) -> Candidates: ...


def build_detector(kind: str, folder: Path = BUNDLED, *, threads: int = 0) -> Detects:
    """The detector that a setting names.

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
    model = ModelDetector(network, name="model")
    return model if kind == "model" else BothDetectors(model, ColourDetector())
