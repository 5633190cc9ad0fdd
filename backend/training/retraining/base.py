"""What a retraining starts from: the weights at the root of those that serve, or those that its recipe names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import onnx

from backend.errors import BadWeights
from backend.nets.config import sha256_of
from backend.nets.detector import PIXEL_MM, DetectorConfig
from backend.nets.registry import RESERVED, Registry
from backend.nets.sources import Sources
from backend.nets.weights import BUNDLED, DETECTOR_CONFIG_FILE, DETECTOR_WEIGHTS_FILE
from backend.registry.candidates import documents_of
from backend.registry.models import Models
from backend.training.detector.network import STRIDE, DetectorNet
from backend.training.graph import state_dict_from_onnx
from backend.training.quantise import detector_folder
from backend.training.retraining.imagenet import IMAGENET, fetch_imagenet

if TYPE_CHECKING:
    from backend.nets.weights import Weights
    from backend.settings import Settings
    from backend.training.detector.network import Shape

__all__ = ["Base", "DetectorBase", "base_of", "detector_base", "of_whole_numbers", "read_base"]

_DIGITS = 12


@dataclass(frozen=True, kw_only=True)
class Base:
    """The weights that a training starts from.

    Attributes:
        name: Of the weights, with the beginning of their checksum.
        path: Their file, of ONNX or safetensors.
        pool: Side of the squares over which they average their input first; 1 where they do not.
        documents: What they have seen; None where nobody says.
    """

    name: str
    path: Path
    pool: int
    documents: frozenset[str] | None = frozenset()


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
        documents=documents_of(weights.folder),
    )


def base_of(serving: Weights, settings: Settings, *, wanted: str = "") -> Base:
    """What the classifier starts from: what is wanted, or the root of those weights which serve.

    The root are the weights before any correction taught them: bundled, from the Hub, published from elsewhere, or
    ImageNet's. All samples are learnt anew from there each time, so that what was retracted since is in no later model.

    Args:
        serving: The weights that serve; ImageNet's average their input as these do, so as to be as fast.
        settings: Where everything is.
        wanted: What MODEL may be, or `imagenet`; nothing for the root.

    Raises:
        RegistryError: A model on the way is no longer there, or its record cannot be read.
        ModelError: The base cannot be opened, or fetched.
    """
    models, name = Models(settings.data_dir / "models"), wanted or serving.name
    while not wanted and (source := _made_of(models, name)) is not None:
        name = source
    if name == IMAGENET:
        path = fetch_imagenet(settings.data_dir / "hub" / IMAGENET)
        return Base(name=f"{IMAGENET}@{sha256_of(path)[:_DIGITS]}", path=path, pool=read_base(serving).pool)
    return read_base(serving if name == serving.name else Sources(name, settings.data_dir).at_once())


def detector_base(serving: Weights, settings: Settings, *, shape: Shape) -> DetectorBase:
    """The detector that the one which serves goes back to, before any correction taught it.

    A retrained detector says in its config which one it goes on from, and one that was put into whole numbers here is
    its parent's. One that was made elsewhere, of a detector that is not here, is its own root.

    Raises:
        BadWeights: No training can go on from it: it is of whole numbers, or of another kind than `shape`.
    """
    weights: Weights | None = serving
    while weights is not None:
        folder, owner = detector_folder(weights), weights.name
        config = DetectorConfig.read(folder / DETECTOR_CONFIG_FILE)
        if folder != weights.folder:
            owner = BUNDLED.name
        weights = _before(weights, config, settings)
    if of_whole_numbers(config):
        raise BadWeights("it is of whole numbers, and what it was made from is not here")
    path = folder / DETECTOR_WEIGHTS_FILE
    ours = {name: tensor.shape for name, tensor in DetectorNet(shape).state_dict().items()}
    theirs = {name: tensor.shape for name, tensor in state_dict_from_onnx(path).items()}
    if ours != theirs or (config.pixel_mm, config.stride) != (PIXEL_MM, STRIDE):
        raise BadWeights("its network is not of the kind that this program trains")
    return DetectorBase(name=f"{owner}@{config.sha256[:_DIGITS]}", folder=folder, path=path, config=config)


def _before(weights: Weights, config: DetectorConfig, settings: Settings) -> Weights | None:
    """The weights with the detector that those of `weights` were made of; None where there are none, or not here."""
    name, made, checksum = config.provenance.get("base", "").partition("@")
    if not made:
        record = None if weights.name in RESERVED else Models(settings.data_dir / "models").get(weights.name).record
        if not of_whole_numbers(config) or record is None or record.source != "quantised" or record.parent is None:
            return None
        name = record.parent
    if name not in {*RESERVED, *Registry(settings.data_dir / "models").names()}:
        return None
    found = Sources(name, settings.data_dir).at_once()
    theirs = DetectorConfig.read(detector_folder(found) / DETECTOR_CONFIG_FILE)
    return found if theirs.sha256.startswith(checksum) else None


def of_whole_numbers(config: DetectorConfig) -> bool:
    """Whether a detector computes in whole numbers, as `models quantise` makes it."""
    return "numbers" in config.provenance


def _made_of(models: Models, name: str) -> str | None:
    """Name of the weights whose classifier a model's was made of; None for a root."""
    record = None if name in {*RESERVED, IMAGENET} else models.get(name).record
    if record is None or record.parent is None:
        return None
    return str(record.recipe.get("base", record.parent)).partition("@")[0]
