"""Networks of a few kilobytes that are real to every check: they say what they are told to, and find nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from backend.vision.engine import DetectorConfig
from backend.vision.network_config import CLASSES, MARKS, ClassifierConfig, sha256_of
from backend.vision.weights import CONFIG_FILE, DETECTOR_CONFIG_FILE, DETECTOR_WEIGHTS_FILE, WEIGHTS_FILE

__all__ = ["finds_nothing", "says"]


def says(label: str, folder: Path, *, threshold: float = 0.0) -> Path:
    """A folder of weights that call every crop `label`, with a probability of .98 or so."""
    folder.mkdir(parents=True, exist_ok=True)
    bias = np.zeros(len(CLASSES), np.float32)
    bias[CLASSES.index(label)] = 5
    constants = {
        "head": np.zeros((3, len(CLASSES)), np.float32),
        "bias": bias,
        "body": np.ones((3, 512), np.float32),
    }
    nodes = [
        helper.make_node("GlobalAveragePool", ["pixels"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["colour"]),
        helper.make_node("Gemm", ["colour", "head", "bias"], ["logits"]),
        helper.make_node("MatMul", ["colour", "body"], ["embedding"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", 3, 224, 224])],
        [
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", len(CLASSES)]),
            helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", 512]),
        ],
        [numpy_helper.from_array(values, name) for name, values in constants.items()],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), folder / WEIGHTS_FILE
    )
    config = ClassifierConfig(sha256=sha256_of(folder / WEIGHTS_FILE), thresholds=(threshold,) * 3)
    config.write(folder / CONFIG_FILE)
    return folder


def finds_nothing(folder: Path) -> Path:
    """Adds a detector without any heat to a folder of weights."""
    outputs = {"heat": len(MARKS), "edges": 4 * len(MARKS)}
    nodes = [
        helper.make_node("Cast", ["pixels"], ["colours"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["colours"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("AveragePool", ["planes"], ["cells"], kernel_shape=[8, 8], strides=[8, 8]),
        *(helper.make_node("Conv", ["cells", f"to_{name}"], [name]) for name in outputs),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, [1, "h", "w", 3])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, n, "y", "x"]) for name, n in outputs.items()],
        [numpy_helper.from_array(np.zeros((n, 3, 1, 1), np.float32), f"to_{name}") for name, n in outputs.items()],
    )
    _save(graph, folder / DETECTOR_WEIGHTS_FILE)
    DetectorConfig(sha256=sha256_of(folder / DETECTOR_WEIGHTS_FILE)).write(folder / DETECTOR_CONFIG_FILE)
    return folder


def _save(graph: onnx.GraphProto, path: Path) -> None:
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
