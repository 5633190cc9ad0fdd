"""What a retraining starts from: the weights at the root of those that serve, or those that its recipe names.

torchvision's ImageNet weights as the base of a training: fetched once, as safetensors, and fitted to our input.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import onnx
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torchvision.models import resnet18

from backend.errors import BadWeights, WeightsUnavailable
from backend.models.hub_files import DIRECT, HubWay
from backend.models.original_model import Hub
from backend.models.promotion import Models
from backend.models.published import RESERVED, Registry
from backend.models.publishing import documents_of
from backend.models.serving import Sources
from backend.training.detector.detector_recipe import SHAPES, Shape, build_network
from backend.training.export import state_dict_from_onnx
from backend.training.training_loop import save
from backend.vision.engine import PIXEL_MM, DetectorConfig
from backend.vision.network_config import CLASSES, sha256_of
from backend.vision.weights import BUNDLED, DETECTOR_CONFIG_FILE, DETECTOR_WEIGHTS_FILE, home_of, in_floating_point

if TYPE_CHECKING:
    from backend.settings import Settings
    from backend.vision.weights import Weights

__all__ = [
    "FILENAME",
    "REPOSITORY",
    "REVISION",
    "Base",
    "DetectorBase",
    "base_of",
    "detector_base",
    "fetch_imagenet",
    "of_whole_numbers",
    "read_base",
]

_IMAGENET = "imagenet"
REPOSITORY = "timm/resnet18.tv_in1k"
"""torchvision's ResNet18 of ImageNet-1k (`IMAGENET1K_V1`) under its own names, but as no pickle; BSD-3-Clause."""
REVISION = "590dfdd48494d2316a8385e1ca7fbec3b9359b35"
FILENAME = "model.safetensors"
_READY = "base-{revision}.safetensors"
_DIGITS = 12
_CLASSES = 1000
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""By which its input was normalised, of RGB in [0, 1]; ours is not."""


def fetch_imagenet(
    folder: Path, *, endpoint: str | None = None, revision: str = REVISION, way: HubWay = DIRECT
) -> Path:
    """The weights as a ResNet18 of `CLASSES` whose input is RGB in [0, 1], and whose head knows nothing yet.

    Args:
        folder: Keeps them; a host without a way to the Hub finds the repository's `model.safetensors` where somebody
            has put it there.
        endpoint: Address of the Hub; None for HF_ENDPOINT or the public one.
        revision: Of the repository.
        way: To the Hub.

    Returns:
        A file of safetensors.

    Raises:
        WeightsUnavailable: They are not here, and the Hub does not answer or has no such file.
        BadWeights: The file is damaged, or not a ResNet18 of ImageNet's classes.
    """
    ready, given = folder / _READY.format(revision=revision[:_DIGITS]), folder / FILENAME
    if _is_whole(ready):
        return ready
    if not given.is_file():
        hub = Hub(
            folder=folder,
            endpoint=endpoint,
            repository=REPOSITORY,
            revision=revision,
            filename=FILENAME,
            way=way,
        )
        try:
            given, _ = hub.download()
        except WeightsUnavailable as error:
            raise WeightsUnavailable(
                f"{error}; where there is no way to it, put its {FILENAME} into {folder}"
            ) from error
    state = _of_our_input(_read(given))
    folder.mkdir(parents=True, exist_ok=True)
    save(state, ready, {"source": f"huggingface:{REPOSITORY}", "revision": revision})
    return ready


def _is_whole(path: Path) -> bool:
    """Whether what was made before is there, and not cut off by a power cut."""
    try:
        return path.is_file() and bool(load_file(path))
    except (OSError, SafetensorError):
        return False


def _read(path: Path) -> dict[str, torch.Tensor]:
    network = resnet18(num_classes=_CLASSES)
    try:
        network.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise BadWeights(f"{path} is no ResNet18 of ImageNet's {_CLASSES} classes: {reason}") from error
    return dict(network.state_dict())


def _of_our_input(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Takes the normalisation into the first convolution and its BatchNorm, and puts an empty head on.

    At the border it is not the same: the zeros around a normalised picture were its mean colour, and here are black.
    """
    deviation = torch.tensor(_DEVIATION).reshape(1, 3, 1, 1)
    kernels = state["conv1.weight"] / deviation
    missing = (kernels * torch.tensor(_MEAN).reshape(1, 3, 1, 1)).sum((1, 2, 3))
    head = {
        "fc.weight": state["fc.weight"].new_zeros(len(CLASSES), state["fc.weight"].shape[1]),
        "fc.bias": state["fc.bias"].new_zeros(len(CLASSES)),
    }
    return state | head | {"conv1.weight": kernels, "bn1.running_mean": state["bn1.running_mean"] + missing}


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
        shape: Of its network.
    """

    name: str
    folder: Path
    path: Path
    config: DetectorConfig
    shape: Shape


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
    if name == _IMAGENET:
        path = fetch_imagenet(settings.data_dir / "hub" / _IMAGENET, way=HubWay(proxy=settings.hub_proxy))
        return Base(name=f"{_IMAGENET}@{sha256_of(path)[:_DIGITS]}", path=path, pool=read_base(serving).pool)
    return read_base(serving if name == serving.name else Sources(name, settings.data_dir).at_once())


def detector_base(serving: Weights, settings: Settings, *, shapes: Sequence[Shape] = SHAPES) -> DetectorBase:
    """The detector that the one which serves goes back to, before any correction taught it.

    A retrained detector says in its config which one it goes on from, and one that was put into whole numbers here is
    its parent's. One that was made elsewhere, of a detector that is not here, is its own root. If it is of whole
    numbers, what it was made from may lie beside it.

    Raises:
        BadWeights: No training can go on from it: it is of whole numbers, or of none of the `shapes`.
    """
    weights: Weights | None = serving
    while weights is not None:
        folder, owner = home_of("detector", weights.folder), weights.name
        config = DetectorConfig.read(folder / DETECTOR_CONFIG_FILE)
        if folder != weights.folder:
            owner = BUNDLED.name
        weights = _before(weights, config, settings)
    path = in_floating_point(folder, DETECTOR_WEIGHTS_FILE)
    if of_whole_numbers(config) and path == folder / DETECTOR_WEIGHTS_FILE:
        raise BadWeights("it is of whole numbers, and what it was made from is not here")
    theirs = {name: tensor.shape for name, tensor in state_dict_from_onnx(path).items()}
    for shape in shapes:
        network = build_network(shape)
        ours = {name: tensor.shape for name, tensor in network.state_dict().items()}
        if ours == theirs and (config.pixel_mm, config.stride) == (PIXEL_MM, network.stride):
            name = f"{owner}@{config.sha256[:_DIGITS]}"
            return DetectorBase(name=name, folder=folder, path=path, config=config, shape=shape)
    raise BadWeights("its network is not of a kind that this program trains")


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
    theirs = DetectorConfig.read(home_of("detector", found.folder) / DETECTOR_CONFIG_FILE)
    return found if theirs.sha256.startswith(checksum) else None


def of_whole_numbers(config: DetectorConfig) -> bool:
    """Whether a detector computes in whole numbers, as `models quantise` makes it."""
    return "numbers" in config.provenance


def _made_of(models: Models, name: str) -> str | None:
    """Name of the weights whose classifier a model's was made of; None for a root."""
    record = None if name in {*RESERVED, _IMAGENET} else models.get(name).record
    if record is None or record.parent is None:
        return None
    return str(record.recipe.get("base", record.parent)).partition("@")[0]
