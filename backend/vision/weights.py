"""A folder with weights and their config: where it is, what it is called, and the classifier in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from backend.errors import BadWeights
from backend.vision.network_config import ClassifierConfig

__all__ = [
    "BUNDLED",
    "CONFIG_FILE",
    "DETECTOR_CONFIG_FILE",
    "DETECTOR_WEIGHTS_FILE",
    "FILES",
    "FLOAT_DETECTOR_FILE",
    "FLOAT_REFINER_FILE",
    "FLOAT_WEIGHTS_FILE",
    "NETWORKS",
    "REFINER_CONFIG_FILE",
    "REFINER_WEIGHTS_FILE",
    "WEIGHTS_FILE",
    "NetworkFiles",
    "Weights",
    "home_of",
    "in_floating_point",
]

WEIGHTS_FILE = "classifier.onnx"
FLOAT_WEIGHTS_FILE = "classifier.float.onnx"
"""Beside weights of whole numbers: what they were made from, and what a training goes on from."""
CONFIG_FILE = "classifier.json"
DETECTOR_WEIGHTS_FILE = "detector.onnx"
DETECTOR_CONFIG_FILE = "detector.json"
REFINER_WEIGHTS_FILE = "refiner.onnx"
REFINER_CONFIG_FILE = "refiner.json"
FLOAT_DETECTOR_FILE = "detector.float.onnx"
FLOAT_REFINER_FILE = "refiner.float.onnx"


class NetworkFiles(NamedTuple):
    """Names of one network's files in a folder of weights.

    Attributes:
        weights: The ONNX file.
        config: What it promises.
        floating: Lies beside weights of whole numbers alone.
    """

    weights: str
    config: str
    floating: str


FILES: Mapping[str, NetworkFiles] = {
    "classifier": NetworkFiles(WEIGHTS_FILE, CONFIG_FILE, FLOAT_WEIGHTS_FILE),
    "detector": NetworkFiles(DETECTOR_WEIGHTS_FILE, DETECTOR_CONFIG_FILE, FLOAT_DETECTOR_FILE),
    "refiner": NetworkFiles(REFINER_WEIGHTS_FILE, REFINER_CONFIG_FILE, FLOAT_REFINER_FILE),
}
NETWORKS = tuple(FILES)
BUNDLED = Path(__file__).parents[1] / "models" / "bundled"


def in_floating_point(folder: Path, name: str) -> Path:
    """A network's file that a training can start from: what `name` was made from, where that lies beside, or itself."""
    kept = folder / next(files.floating for files in FILES.values() if files.weights == name)
    return kept if kept.is_file() else folder / name


def home_of(network: str, folder: Path) -> Path:
    """Where a network of `NETWORKS` is that serves with the weights of a folder: there, or with the bundled ones."""
    return folder if (folder / FILES[network].config).is_file() else BUNDLED


@dataclass(frozen=True)
class Weights:
    """Weights that can serve.

    Attributes:
        name: `bundled`, `hub` or the name of a promoted model.
        folder: Holds `classifier.onnx` and `classifier.json`.
        config: What `classifier.json` says.
        gate: The four-class weights that say `none` in place of weights that cannot.
    """

    name: str
    folder: Path
    config: ClassifierConfig
    gate: Weights | None = None

    @property
    def path(self) -> Path:
        """The ONNX file."""
        return self.folder / WEIGHTS_FILE

    @property
    def trainable(self) -> Path:
        """The ONNX file that a training can start from."""
        return in_floating_point(self.folder, WEIGHTS_FILE)

    @classmethod
    def open(cls, folder: Path, *, name: str, gate_folder: Path = BUNDLED) -> Weights:
        """Opens a folder of weights, with the gate of `gate_folder` where they cannot say `none`.

        Raises:
            BadWeights: A file is missing, or the config does not parse.
        """
        config = ClassifierConfig.read(folder / CONFIG_FILE)
        if not (folder / WEIGHTS_FILE).is_file():
            raise BadWeights(f"{folder} holds no {WEIGHTS_FILE}")
        if config.knows_none:
            return cls(name, folder, config)
        gate = cls(BUNDLED.name, gate_folder, ClassifierConfig.read(gate_folder / CONFIG_FILE))
        if not gate.config.knows_none:
            raise BadWeights(f"{gate_folder} cannot say `none`: weights of three classes need a gate that can")
        return cls(name, folder, config, gate)
