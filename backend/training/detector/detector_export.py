"""A trained detector written as the ONNX file that serves, with the state dict's names on its initializers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from backend.training.detector.detector_network import DetectorNet
from backend.training.detector.lite_network import InvertedResidual, LiteNet
from backend.training.detector.residual_network import ResidualNet
from backend.training.export import GraphBuilder

__all__ = ["export_detector"]

_NEAREST = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}


def export_detector(network: DetectorNet, path: Path, *, half: bool = True) -> None:
    """Writes `network` as ONNX: `pixels` (N, H, W, 3) uint8 → `heat` (N, 3, h, w) in [0, 1], `edges` (N, 12, h, w).

    Edges are in pixels. A network that tells which way is up also gives `turns` (N, 4). These are the probabilities
    that the page was turned to the left by so many quarters. The heat of what is never shown is computed and dropped:
    its weights stay in the file, so that a training can go on from it. The bytes depend on the weights alone, so equal
    weights give an equal checksum.

    Args:
        network: The trained network.
        path: The file to write.
        half: Keeps the kernels as float16; the graph casts them back and computes in float32.

    Raises:
        TypeError: The network is of a kind that cannot be written.
    """
    state = {name: tensor.detach().cpu().numpy() for name, tensor in network.state_dict().items()}
    graph = GraphBuilder(state, half=half)
    if isinstance(network, LiteNet):
        _lite(graph, network)
    elif isinstance(network, ResidualNet):
        _residual(graph, network)
    else:
        raise TypeError(f"a {type(network).__name__} cannot be written as ONNX")
    pixels = helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["N", "H", "W", 3])
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", channels, "h", "w"])
        for name, channels in (("heat", network.classes), ("edges", 4 * network.classes))
    ]
    if network.tells_turns:
        outputs.append(helper.make_tensor_value_info("turns", TensorProto.FLOAT, ["N", 4]))
    onnx.save(graph.finish("detector", [pixels], outputs), path)


def _lite(graph: GraphBuilder, network: LiteNet) -> None:
    # Constants are nodes and not initializers, so that the initializers are the state dict and nothing else.
    for name, value in (("middle", 127.5), ("one", 1.0), ("stride", network.stride), ("twice", [1, 1, 2, 2])):
        graph.add("Constant", name=name, value=numpy_helper.from_array(np.array(value, np.float32)))
    for name, whole in (("first", 0), ("marks", network.classes), ("channels", 1)):
        graph.add("Constant", name=name, value=numpy_helper.from_array(np.array([whole], np.int64)))
    x = graph.add("Cast", "pixels", name="pixels.float", to=TensorProto.FLOAT)
    x = graph.add("Sub", graph.add("Div", x, "middle", name="unit"), "one", name="centred")
    x = graph.add("Transpose", x, name="planes", perm=[0, 3, 1, 2])
    x = _unit(graph, x, "stem", network.stem)
    found = []
    for stage, blocks in enumerate(network.stages):
        for number, block in enumerate(blocks.children()):
            assert isinstance(block, InvertedResidual)  # noqa: S101 - a stage is made of nothing else
            x = _block(graph, x, f"stages.{stage}.{number}", block)
        found.append(x)
    levels = [found[stage] for stage in (1, 2, 4, 6)]
    merged = _unit(graph, levels[-1], f"laterals.{len(levels) - 1}", network.laterals[-1])
    for number in reversed(range(len(levels) - 1)):
        larger = graph.add("Resize", merged, "", "twice", name=f"merges.{number}.twice", **_NEAREST)
        side = _unit(graph, levels[number], f"laterals.{number}", network.laterals[number])
        merged = graph.add("Add", side, larger, name=f"merges.{number}.sum")
        merged = _separable(graph, merged, f"merges.{number}", network.merges[number])
    every = graph.add("Sigmoid", _head(graph, merged, "heat", network.heat), name="heat.every")
    graph.add("Slice", every, "first", "marks", "channels", name="heat")
    distances = graph.add("Softplus", _head(graph, merged, "edges", network.edges), name="edges.positive")
    graph.add("Mul", distances, "stride", name="edges")
    pooled = graph.add("Flatten", graph.add("GlobalAveragePool", levels[-1], name="turns.pool"), name="turns.flat")
    turns = graph.add("Gemm", pooled, graph.names["turns.weight"], "turns.bias", name="turns.logits", transB=1)
    graph.add("Softmax", turns, name="turns", axis=1)


def _unit(graph: GraphBuilder, x: str, layer: str, unit: nn.Module) -> str:
    y = _convolved(graph, x, layer, unit)
    return graph.add("Clip", y, *_six(graph), name=f"{layer}.relu6")


def _six(graph: GraphBuilder) -> tuple[str, str]:
    """The bounds of ReLU6, as constants that are there once."""
    if "six" not in graph.names:
        for name, value in (("zero", 0.0), ("six", 6.0)):
            constant = numpy_helper.from_array(np.array(value, np.float32))
            graph.names[name] = graph.add("Constant", name=name, value=constant)
    return graph.names["zero"], graph.names["six"]


def _convolved(graph: GraphBuilder, x: str, layer: str, unit: nn.Module) -> str:
    convolution = unit[0]  # type: ignore[index]
    before, after, *_ = convolution.pads
    return graph.filter(
        x,
        f"{layer}.0",
        f"{layer}.1",
        pads=(before, before, after, after),
        kernel=convolution.kernel_size[0],
        stride=convolution.stride[0],
        groups=convolution.groups,
    )


def _block(graph: GraphBuilder, x: str, layer: str, block: InvertedResidual) -> str:
    y = x if block.expand is None else _unit(graph, x, f"{layer}.expand", block.expand)
    y = _unit(graph, y, f"{layer}.filter", block.filter)
    y = _convolved(graph, y, f"{layer}.project", block.project)
    return graph.add("Add", x, y, name=f"{layer}.add") if block.around else y


def _separable(graph: GraphBuilder, x: str, layer: str, units: nn.Module) -> str:
    for number, unit in enumerate(units.children()):
        x = _unit(graph, x, f"{layer}.{number}", unit)
    return x


def _head(graph: GraphBuilder, x: str, layer: str, head: nn.Sequential) -> str:
    for number in range(len(head) - 1):
        x = _separable(graph, x, f"{layer}.{number}", head[number])
    return graph.project(x, f"{layer}.{len(head) - 1}", name=f"{layer}.last")


def _residual(graph: GraphBuilder, network: ResidualNet) -> None:
    for name, value in (("white", 255), ("stride", network.stride), ("twice", [1, 1, 2, 2])):
        graph.add("Constant", name=name, value=numpy_helper.from_array(np.array(value, np.float32)))
    x = graph.add("Cast", "pixels", name="pixels.float", to=TensorProto.FLOAT)
    x = graph.add("Transpose", graph.add("Div", x, "white", name="unit"), name="planes", perm=[0, 3, 1, 2])
    x = _rectified(graph, x, "stem", stride=2)
    found = []
    for level, blocks in enumerate(network.shape.blocks):
        x = _rectified(graph, x, f"levels.{level}.0", stride=2)
        for block in range(1, blocks + 1):
            x = _residual_block(graph, x, f"levels.{level}.{block}")
        found.append(x)
    merged = ""
    for lateral in reversed(range(len(found) - 1)):
        side = _rectified(graph, found[lateral + 1], f"laterals.{lateral}", kernel=1)
        merged = graph.add("Add", side, merged, name=f"laterals.{lateral}.sum") if merged else side
        if lateral:
            merged = graph.add("Resize", merged, "", "twice", name=f"laterals.{lateral}.twice", **_NEAREST)
    x = _rectified(graph, merged, "smooth")
    graph.add("Sigmoid", _residual_head(graph, x, "heat"), name="heat")
    distances = graph.add("Softplus", _residual_head(graph, x, "edges"), name="edges.positive")
    graph.add("Mul", distances, "stride", name="edges")


def _rectified(graph: GraphBuilder, x: str, layer: str, *, kernel: int = 3, stride: int = 1) -> str:
    y = graph.convolve(x, f"{layer}.0", f"{layer}.1", kernel=kernel, stride=stride)
    return graph.add("Relu", y, name=f"{layer}.relu")


def _residual_block(graph: GraphBuilder, x: str, layer: str) -> str:
    y = _rectified(graph, x, f"{layer}.first")
    y = graph.convolve(y, f"{layer}.second.0", f"{layer}.second.1", kernel=3, stride=1)
    return graph.add("Relu", graph.add("Add", x, y, name=f"{layer}.add"), name=f"{layer}.relu")


def _residual_head(graph: GraphBuilder, x: str, layer: str) -> str:
    return graph.project(_rectified(graph, x, f"{layer}.0"), f"{layer}.1", name=f"{layer}.last")
