"""What a retraining starts from: the weights at the root of those that serve, before any correction taught them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import onnx

from backend.nets.detector import DetectorConfig
from backend.nets.registry import RESERVED
from backend.nets.sources import Sources
from backend.nets.weights import BUNDLED, DETECTOR_CONFIG_FILE, DETECTOR_WEIGHTS_FILE
from backend.registry.models import Models
from backend.training.quantise import detector_folder

if TYPE_CHECKING:
    from backend.nets.weights import Weights
    from backend.settings import Settings

__all__ = ["Base", "DetectorBase", "detector_base", "of_whole_numbers", "read_base", "root_of"]

_DIGITS = 12


@dataclass(frozen=True, kw_only=True)
class Base:
    """The weights that a training starts from.

    Attributes:
        name: Of the weights, with the beginning of their checksum.
        path: Their ONNX file.
        pool: Side of the squares over which they average their input first; 1 where they do not.
    """

    name: str
    path: Path
    pool: int


@dataclass(frozen=True, kw_only=True)
class DetectorBase:
    """The detector that a training starts from.

    Attributes:
        name: Of the weights that it is in, with the beginning of its checksum.
        folder: Theirs.
        path: Its ONNX file.
        config: What stands beside it.
    """

    name: str
    folder: Path
    path: Path
    config: DetectorConfig


def read_base(weights: Weights) -> Base:
    """What a training has to know of weights to start from them."""
    pools = [node for node in onnx.load(weights.trainable).graph.node if node.op_type == "AveragePool"]
    sides = [attribute.ints[0] for node in pools for attribute in node.attribute if attribute.name == "kernel_shape"]
    return Base(
        name=f"{weights.name}@{weights.config.sha256[:_DIGITS]}",
        path=weights.trainable,
        pool=int(sides[0]) if sides else 1,
    )


def root_of(serving: Weights, settings: Settings) -> Weights:
    """The weights that those which serve go back to: bundled, from the Hub, or published from elsewhere.

    All samples are learnt anew from there each time, so that what was retracted since is in no later model.

    Raises:
        RegistryError: A model on the way is no longer there, or its record cannot be read.
        ModelError: The root cannot be opened.
    """
    models, name = Models(settings.data_dir / "models"), serving.name
    while (source := _made_of(models, name)) is not None:
        name = source
    return serving if name == serving.name else Sources(name, settings.data_dir).at_once()


def detector_base(serving: Weights, settings: Settings) -> DetectorBase | None:
    """The detector that the one which serves goes back to; None where that one is of whole numbers, and a root.

    A retrained detector says in its config which one it goes on from; one of whole numbers is its parent's.

    Raises:
        RegistryError: A model on the way is no longer there, or its record cannot be read.
        ModelError: The root cannot be opened.
        BadWeights: A config on the way cannot be read.
    """
    weights = serving
    while True:
        folder = detector_folder(weights)
        config = DetectorConfig.read(folder / DETECTOR_CONFIG_FILE)
        before, made, _ = config.provenance.get("base", "").partition("@")
        if not made:
            if not of_whole_numbers(config):
                owner = weights.name if folder == weights.folder else BUNDLED.name
                name = f"{owner}@{config.sha256[:_DIGITS]}"
                return DetectorBase(name=name, folder=folder, path=folder / DETECTOR_WEIGHTS_FILE, config=config)
            record = None if weights.name in RESERVED else Models(settings.data_dir / "models").get(weights.name).record
            if record is None or record.parent is None:
                return None
            before = record.parent
        weights = Sources(before, settings.data_dir).at_once()


def of_whole_numbers(config: DetectorConfig) -> bool:
    """Whether a detector computes in whole numbers, as `models quantise` makes it."""
    return "numbers" in config.provenance


def _made_of(models: Models, name: str) -> str | None:
    """Name of the weights whose classifier a model's was made of; None for a root."""
    record = None if name in RESERVED else models.get(name).record
    if record is None or record.parent is None:
        return None
    return str(record.recipe.get("base", record.parent)).partition("@")[0]
