"""The bundled weights with a spoiled head: real, as fast as they were, and wrong in a way that is known."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from backend.vision.network_config import CLASSES, ClassifierConfig, sha256_of
from backend.vision.weights import BUNDLED, CONFIG_FILE, WEIGHTS_FILE

__all__ = ["forgets", "mistakes"]

_NEVER = -60.0
Head = Callable[[NDArray[np.floating], NDArray[np.floating]], None]


def mistakes(one: str, other: str, folder: Path) -> Path:
    """A folder of weights that take each of two classes for the other."""
    swapped = list(range(len(CLASSES)))
    here, there = CLASSES.index(one), CLASSES.index(other)
    swapped[here], swapped[there] = there, here

    def swap(weight: NDArray[np.floating], bias: NDArray[np.floating]) -> None:
        weight[:], bias[:] = weight[swapped], bias[swapped]

    return _spoiled(folder, swap)


def forgets(label: str, folder: Path) -> Path:
    """A folder of weights that never say `label`."""

    def silence(_: NDArray[np.floating], bias: NDArray[np.floating]) -> None:
        bias[CLASSES.index(label)] = _NEVER

    return _spoiled(folder, silence)


def _spoiled(folder: Path, spoil: Head) -> Path:
    shutil.copytree(BUNDLED, folder)
    model = onnx.load(folder / WEIGHTS_FILE)
    head = {one.name: one for one in model.graph.initializer if one.name in {"fc.weight", "fc.bias"}}
    values = {name: numpy_helper.to_array(one).copy() for name, one in head.items()}
    spoil(values["fc.weight"], values["fc.bias"])
    for name, one in head.items():
        one.CopyFrom(numpy_helper.from_array(values[name], name))
    onnx.save(model, folder / WEIGHTS_FILE)
    config = ClassifierConfig.read(folder / CONFIG_FILE)
    dataclasses.replace(config, sha256=sha256_of(folder / WEIGHTS_FILE)).write(folder / CONFIG_FILE)
    return folder
