"""Small real models for tests: ResNet18 with random weights, its checkpoints, and folders of weights."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import nn
from torchvision.models import ResNet, resnet18

from backend.training.export import export_classifier
from backend.vision.network_config import CLASSES, ClassifierConfig, sha256_of
from backend.vision.weights import CONFIG_FILE, WEIGHTS_FILE

__all__ = ["checkpoint", "hostile_checkpoint", "random_model", "write_weights"]


def random_model(*, outputs: int = 4, seed: int = 0, bias: Mapping[int, float] | None = None) -> ResNet:
    """A ResNet18 whose BatchNorm statistics are not trivial; `bias` sets outputs of the head."""
    torch.manual_seed(seed)
    model = resnet18(num_classes=outputs).eval()
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            assert layer.running_mean is not None
            assert layer.running_var is not None
            layer.running_mean.uniform_(-0.3, 0.3)
            layer.running_var.uniform_(0.5, 2.0)
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.uniform_(layer.bias, -0.2, 0.2)
    with torch.no_grad():
        for output, value in (bias or {}).items():
            model.fc.bias[output] = value
    return model


def checkpoint(model: nn.Module) -> bytes:
    """The state dict as the original model's repository has it."""
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    return file.getvalue()


class _Hostile:
    """Unpickles to a call that leaves a trace."""

    def __init__(self, trace: Path) -> None:
        self._trace = trace

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return (exec, (f"open({str(self._trace)!r}, 'w').close()",))


def hostile_checkpoint(trace: Path, *, bare: bool = False) -> bytes:
    """A checkpoint that would make the file `trace` when unpickled; `bare` is a plain pickle."""
    if bare:
        return pickle.dumps(_Hostile(trace), protocol=2)
    file = io.BytesIO()
    torch.save({"fc.bias": _Hostile(trace)}, file)
    return file.getvalue()


def write_weights(model: ResNet, folder: Path, *, half: bool = False, temperature: float = 1.0) -> ClassifierConfig:
    """Writes a folder of weights that can serve."""
    folder.mkdir(parents=True, exist_ok=True)
    export_classifier(model, folder / WEIGHTS_FILE, half=half)
    config = ClassifierConfig(
        sha256=sha256_of(folder / WEIGHTS_FILE), classes=CLASSES[: model.fc.out_features], temperature=temperature
    )
    config.write(folder / CONFIG_FILE)
    return config
