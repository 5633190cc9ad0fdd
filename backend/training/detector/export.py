"""A trained detector written as the ONNX file that serves, with the state dict's names on its initializers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from backend.training.detector.network import STRIDE, DetectorNet
from backend.training.graph import GraphBuilder

__all__ = ["export_detector"]


def export_detector(network: DetectorNet, path: Path, *, half: bool = True) -> None:
    """Writes `network` as ONNX: `pixels` (N, H, W, 3) uint8 → `heat` (N, 3, h, w) in [0, 1], `edges` (N, 12, h, w).

    The bytes depend on the weights alone, so equal weights give an equal checksum.

    Args:
        network: The trained network.
        path: The file to write.
        half: Keeps the kernels as float16; the graph casts them back and computes in float32.
    """
    state = {name: tensor.detach().cpu().numpy() for name, tensor in network.state_dict().items()}
    graph = GraphBuilder(state, half=half)
    # Nodes and not initializers, so that the initializers are the state dict and nothing else.
    for name, value in (("white", 255), ("stride", STRIDE), ("twice", [1, 1, 2, 2])):
        graph.add("Constant", name=name, value=numpy_helper.from_array(np.array(value, np.float32)))
    x = graph.add("Cast", "pixels", name="pixels.float", to=TensorProto.FLOAT)
    x = graph.add("Transpose", graph.add("Div", x, "white", name="unit"), name="planes", perm=[0, 3, 1, 2])
    x = _unit(graph, x, "stem", stride=2)
    found = []
    for level, blocks in enumerate(network.shape.blocks):
        x = _unit(graph, x, f"levels.{level}.0", stride=2)
        for block in range(1, blocks + 1):
            x = _block(graph, x, f"levels.{level}.{block}")
        found.append(x)
    merged = ""
    for lateral in reversed(range(len(found) - 1)):
        side = _unit(graph, found[lateral + 1], f"laterals.{lateral}", kernel=1)
        merged = graph.add("Add", side, merged, name=f"laterals.{lateral}.sum") if merged else side
        if lateral:
            merged = graph.add("Resize", merged, "", "twice", name=f"laterals.{lateral}.twice", **_NEAREST)
    x = _unit(graph, merged, "smooth")
    graph.add("Sigmoid", _head(graph, x, "heat"), name="heat")
    distances = graph.add("Softplus", _head(graph, x, "edges"), name="edges.positive")
    graph.add("Mul", distances, "stride", name="edges")
    pixels = helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["N", "H", "W", 3])
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", channels, "h", "w"])
        for name, channels in (("heat", network.classes), ("edges", 4 * network.classes))
    ]
    onnx.save(graph.finish("detector", [pixels], outputs), path)


_NEAREST = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}


def _unit(graph: GraphBuilder, x: str, layer: str, *, kernel: int = 3, stride: int = 1) -> str:
    y = graph.convolve(x, f"{layer}.0", f"{layer}.1", kernel=kernel, stride=stride)
    return graph.add("Relu", y, name=f"{layer}.relu")


def _block(graph: GraphBuilder, x: str, layer: str) -> str:
    y = _unit(graph, x, f"{layer}.first")
    y = graph.convolve(y, f"{layer}.second.0", f"{layer}.second.1", kernel=3, stride=1)
    return graph.add("Relu", graph.add("Add", x, y, name=f"{layer}.add"), name=f"{layer}.relu")


def _head(graph: GraphBuilder, x: str, layer: str) -> str:
    return graph.project(_unit(graph, x, f"{layer}.0"), f"{layer}.1", name=f"{layer}.last")
