"""Small real detectors for tests: random ones, one that says the same everywhere, and one that sees known inks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from backend.training.detector.detector_network import DetectorNet, ResidualShape
from backend.training.detector.detector_recipe import Shape, build_network
from backend.training.detector.lite_network import LiteShape
from backend.training.export import export_detector
from backend.vision.box_refiner import BoxRefiner, RefinerConfig
from backend.vision.engine import DetectorConfig, DetectorNetwork
from backend.vision.network_config import MARKS, sha256_of
from backend.vision.network_detector import ModelDetector
from backend.vision.weights import (
    DETECTOR_CONFIG_FILE,
    DETECTOR_WEIGHTS_FILE,
    REFINER_CONFIG_FILE,
    REFINER_WEIGHTS_FILE,
)

__all__ = [
    "REFINED",
    "REFINER_SIDE",
    "STRIDE",
    "TINY",
    "TINY_LITE",
    "even_network",
    "ink_detector",
    "open_detector",
    "random_network",
    "write_detector",
    "write_refiner",
]

PIXEL_MM = 0.508
"""Side of a pixel of these detectors' input, mm: 50 dpi."""
TINY = ResidualShape(stem=4, widths=(4, 8, 8, 8), blocks=(0, 1, 0, 0), pyramid=8)
TINY_LITE = LiteShape(stem=4, widths=(4, 4, 8, 8, 8, 8, 8), repeats=(1, 2, 1, 1, 1, 1, 1), expansion=2, pyramid=8)
"""Of the kinds of layer that each network has, at least one."""
REFINER_SIDE = 32
REFINED = {"signature": (0.25, 0.25, 0.75, 0.75), "stamp": (0.0, 0.25, 0.5, 1.0), "thumb": (0.6, 0.6, 0.6, 0.6)}
"""What the refiner of these tests answers for each mark: the box itself, another one, and nothing that is a box."""
STRIDE = 8
"""Of the residual network, and of the detector that sees known inks."""


def random_network(seed: int = 0, shape: Shape = TINY) -> DetectorNet:
    """A network whose BatchNorm statistics are not trivial, and whose heat has peaks all over the page."""
    torch.manual_seed(seed)
    network = build_network(shape).eval()
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            assert layer.running_mean is not None
            assert layer.running_var is not None
            layer.running_mean.uniform_(-0.1, 0.1)
            layer.running_var.uniform_(0.5, 1.0)
            nn.init.uniform_(layer.weight, 1, 2)
            nn.init.uniform_(layer.bias, -0.2, 0.5)
    nn.init.zeros_(_last(network.heat).bias)  # type: ignore[arg-type]
    return network


def even_network(*, heat: float, reach: float, shape: Shape = TINY) -> DetectorNet:
    """A network that says, whatever it sees, `heat` for each class in each cell and `reach` pixels to each edge."""
    network = build_network(shape).eval()
    for head, value in (
        (network.heat, math.log(heat / (1 - heat))),
        (network.edges, math.log(math.expm1(reach / network.stride))),
    ):
        nn.init.zeros_(_last(head).weight)
        nn.init.constant_(_last(head).bias, value)  # type: ignore[arg-type]
    return network


def _last(head: nn.Sequential) -> nn.Conv2d:
    layer = head[-1]
    assert isinstance(layer, nn.Conv2d)
    return layer


def write_detector(network: DetectorNet, folder: Path, **facts: Any) -> DetectorConfig:
    """Writes a folder with a detector that can serve; `facts` are fields of its config."""
    folder.mkdir(parents=True, exist_ok=True)
    export_detector(network, folder / DETECTOR_WEIGHTS_FILE, half=False)
    return _described(folder, **facts)


def ink_detector(folder: Path, reach: Sequence[Sequence[float]], **facts: Any) -> DetectorConfig:
    """Writes a detector whose heat can be worked out by hand.

    The heat of a cell is the ink in it: for a signature what it takes from the red light, for a stamp from the green,
    for a thumb from the blue. Cyan ink is a signature, black ink is everything.

    Args:
        folder: Where it goes.
        reach: (3, 4) distances to left, top, right and bottom for each class, the same in every cell.
        facts: Fields of its config.
    """
    folder.mkdir(parents=True, exist_ok=True)
    constants = {
        "white": np.array(255, np.float32),
        "absorbed": -np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1),
        "all": np.ones(3, np.float32),
        "nothing": np.zeros((12, 3, 1, 1), np.float32),
        "reach": np.array(reach, np.float32).ravel(),
    }
    cell: dict[str, Any] = {"kernel_shape": [STRIDE] * 2, "strides": [STRIDE] * 2}
    nodes = [
        helper.make_node("Cast", ["pixels"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["numbers", "white"], ["unit"]),
        helper.make_node("Transpose", ["unit"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("AveragePool", ["planes"], ["light"], **cell),
        helper.make_node("Conv", ["light", "absorbed", "all"], ["heat"]),
        helper.make_node("Conv", ["light", "nothing", "reach"], ["edges"]),
    ]
    pixels = helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["N", "H", "W", 3])
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", channels, "h", "w"])
        for name, channels in (("heat", len(MARKS)), ("edges", 4 * len(MARKS)))
    ]
    known = [numpy_helper.from_array(values, name) for name, values in constants.items()]
    graph = helper.make_graph(nodes, "ink", [pixels], outputs, known)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.save(model, folder / DETECTOR_WEIGHTS_FILE)
    return _described(folder, **facts)


def _described(folder: Path, **facts: Any) -> DetectorConfig:
    config = DetectorConfig(sha256=sha256_of(folder / DETECTOR_WEIGHTS_FILE), **{"pixel_mm": PIXEL_MM} | facts)
    config.write(folder / DETECTOR_CONFIG_FILE)
    return config


def open_detector(folder: Path) -> ModelDetector:
    """The detector that a folder holds, on one thread."""
    config = DetectorConfig.read(folder / DETECTOR_CONFIG_FILE)
    return ModelDetector(DetectorNetwork(folder / DETECTOR_WEIGHTS_FILE, config, threads=1))


def write_refiner(
    folder: Path,
    *,
    side: int = REFINER_SIDE,
    outputs: int = 4 * len(MARKS),
    chances: tuple[float, float, float] | None = None,
) -> BoxRefiner:
    """Writes a refiner that answers the same of whatever it sees: `REFINED`, and the chances, if it gives some."""
    answers = {"edges": np.array([REFINED[name] for name in MARKS], np.float32).reshape(1, -1)[:, :outputs]}
    answers |= {} if chances is None else {"chances": np.array([chances], np.float32)}
    nodes = [
        helper.make_node("Shape", ["pixels"], ["count"], start=0, end=1),
        helper.make_node("Concat", ["count", "one"], ["repeats"], axis=0),
        *(helper.make_node("Tile", [f"all {name}", "repeats"], [name]) for name in answers),
    ]
    constants = [
        *(numpy_helper.from_array(values, f"all {name}") for name, values in answers.items()),
        numpy_helper.from_array(np.array([1], np.int64), "one"),
    ]
    graph = helper.make_graph(
        nodes,
        "refiner",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["N", side, side, 3])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", values.shape[1]])
            for name, values in answers.items()
        ],
        constants,
    )
    path = folder / REFINER_WEIGHTS_FILE
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    config = RefinerConfig(sha256=sha256_of(path), side=REFINER_SIDE, trust=0.0 if chances is None else 0.5)
    config.write(folder / REFINER_CONFIG_FILE)
    return BoxRefiner.open(folder, threads=1)
