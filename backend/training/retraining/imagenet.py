"""torchvision's ImageNet weights as the base of a training: fetched once, as safetensors, and fitted to our input."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torchvision.models import resnet18

from backend.errors import BadWeights, WeightsUnavailable
from backend.nets.config import CLASSES
from backend.nets.hub import Hub
from backend.training.checkpoint import save

__all__ = ["FILENAME", "IMAGENET", "REPOSITORY", "REVISION", "fetch_imagenet"]

IMAGENET = "imagenet"
REPOSITORY = "timm/resnet18.tv_in1k"
"""torchvision's ResNet18 of ImageNet-1k (`IMAGENET1K_V1`) under its own names, but as no pickle; BSD-3-Clause."""
REVISION = "590dfdd48494d2316a8385e1ca7fbec3b9359b35"
FILENAME = "model.safetensors"
_READY = "base-{revision}.safetensors"
_DIGITS = 12
_CLASSES = 1000
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""By which its input was normalised, of RGB in [0, 1]; ours is not."""


def fetch_imagenet(folder: Path, *, endpoint: str | None = None, revision: str = REVISION) -> Path:
    """The weights as a ResNet18 of `CLASSES` whose input is RGB in [0, 1], and whose head knows nothing yet.

    Args:
        folder: Keeps them; a host without a way to the Hub finds the repository's `model.safetensors` where somebody
            has put it there.
        endpoint: Address of the Hub; None for HF_ENDPOINT or the public one.
        revision: Of the repository.

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
        hub = Hub(folder=folder, endpoint=endpoint, repository=REPOSITORY, revision=revision, filename=FILENAME)
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
