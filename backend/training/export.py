"""The networks written as the ONNX files that serve, with a state dict's own names on the initializers.

The graphs are built node by node rather than by `torch.onnx.export`. The optimising exporter folds every BatchNorm into
its convolution. Then no state dict can be recovered, and no training can start from the file. The plain exporter leaves
the machine's stack traces in the file. Here one file serves and trains: `state_dict_from_onnx` reads it back without
loss. ONNX Runtime folds BatchNorm and casts when it loads the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import nn
from torchvision.models import ResNet

from backend.errors import BadWeights
from backend.files import write_private
from backend.training.detector.detector_network import DetectorNet, ResidualNet
from backend.training.detector.lite_network import InvertedResidual, LiteNet, Pyramid
from backend.training.onnx_graph import UNUSED, GraphBuilder, is_large
from backend.training.refiner.refiner_network import RefinerNet, cells_of
from backend.vision.engine import EMBEDDING
from backend.vision.network_config import INPUT_SIZE, MARKS

__all__ = [
    "export_classifier",
    "export_detector",
    "export_refiner",
    "half_precision",
    "state_dict_from_onnx",
]

_STAGES = (("layer1", 1), ("layer2", 2), ("layer3", 2), ("layer4", 2))


def half_precision(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The state dict as a float16 export keeps it: convolutions and head rounded to float16, given back as float32."""
    return {name: tensor.half().float() if is_large(name, tensor.ndim) else tensor for name, tensor in state.items()}


def state_dict_from_onnx(path: Path) -> dict[str, torch.Tensor]:
    """The state dict (float32) that an exporter wrote to `path`, ready for `load_state_dict(strict=True)`.

    Raises:
        BadWeights: The file is no ONNX graph.
    """
    try:
        graph = onnx.load(path).graph
    except Exception as error:  # protobuf's own error class is private
        raise BadWeights(f"{path}: not an ONNX file ({error})") from error
    state = {
        tensor.name: torch.from_numpy(numpy_helper.to_array(tensor).astype(np.float32)) for tensor in graph.initializer
    }
    norms = [name.removesuffix("running_mean") for name in state if name.endswith("running_mean")]
    return state | {norm + UNUSED: torch.tensor(0) for norm in norms}


def export_classifier(model: ResNet, path: Path, *, half: bool = False, pool: int = 1) -> None:
    """Writes `model` as an ONNX classifier: `pixels` (N, 3, 224, 224) → `logits` (N, C), `embedding` (N, 512).

    The bytes depend on the weights alone, so equal weights give an equal checksum.

    Args:
        model: A torchvision ResNet18 with any number of outputs.
        path: The file to write.
        half: Keeps the weights of convolutions and of the head as float16 (22 MB instead of 45). The graph casts them
            back. It then computes what a model of `half_precision(model.state_dict())` does. BatchNorm stays float32:
            its variances would leave float16's range.
        pool: The graph first averages its input over squares of this side, for a model that was trained on 224 / `pool`
            pixels; it then computes `pool` squared times as fast.
    """
    state = {name: tensor.detach().cpu().numpy() for name, tensor in model.state_dict().items()}
    write_private(path, _graph(state, half=half, pool=pool).SerializeToString())


def _graph(state: Mapping[str, NDArray[Any]], *, half: bool, pool: int) -> onnx.ModelProto:
    graph = GraphBuilder(state, half=half)
    x = "pixels"
    if pool > 1:
        x = graph.add("AveragePool", x, name="pool", kernel_shape=[pool, pool], strides=[pool, pool])
    x = graph.convolve(x, "conv1", "bn1", kernel=7, stride=2)
    x = graph.add("Relu", x, name="relu")
    x = graph.add("MaxPool", x, name="maxpool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    for stage, stride in _STAGES:
        x = graph.block(x, f"{stage}.0", stride=stride)
        x = graph.block(x, f"{stage}.1", stride=1)
    x = graph.add("GlobalAveragePool", x, name="avgpool")
    x = graph.add("Flatten", x, name="embedding", axis=1)
    graph.add("Gemm", x, graph.names["fc.weight"], "fc.bias", name="logits", transB=1)
    classes = state["fc.bias"].shape[0]
    number = TensorProto.FLOAT
    inputs = [helper.make_tensor_value_info("pixels", number, ["N", 3, INPUT_SIZE, INPUT_SIZE])]
    outputs = [
        helper.make_tensor_value_info("logits", number, ["N", classes]),
        helper.make_tensor_value_info("embedding", number, ["N", EMBEDDING]),
    ]
    return graph.finish("classifier", inputs, outputs)


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
    write_private(path, graph.finish("detector", [pixels], outputs).SerializeToString())


def export_refiner(network: RefinerNet, path: Path) -> None:
    """Writes `network` as ONNX: `pixels` (N, S, S, 3) uint8 → `edges` (N, 12), `chances` (N, 3).

    Edges 4c to 4c + 3 are left, top, right and bottom of mark c, shares of what is seen. Kernels are kept as float16;
    the graph casts them back and computes in float32. The bytes depend on the weights alone.
    """
    state = {name: tensor.detach().cpu().numpy() for name, tensor in network.state_dict().items()}
    graph = GraphBuilder(state, half=True)
    cells, count = cells_of(network.side), 4 * len(MARKS)
    middles = ((np.arange(cells) + 0.5) / cells).astype(np.float32)[:, None]
    _constants(graph, {})
    for name, values in (
        ("middles", middles),
        ("rows", np.array([2], np.int64)),
        ("columns", np.array([3], np.int64)),
        ("last", np.array([2], np.int64)),
        ("sideways", np.array([[[True], [False]] * (count // 2)])),
    ):
        graph.add("Constant", name=name, value=numpy_helper.from_array(values))
    merged, last = _pyramid(graph, network)
    placed = graph.add("Add", merged, "position", name="placed")
    graph.nodes.append(
        helper.make_node(
            "Split", [_head(graph, placed, "borders", network.borders)], ["maps", "tells"], axis=1, num_outputs=2
        )
    )
    across, down = (
        graph.add(
            "ReduceSum",
            graph.add(
                "Mul", "maps", graph.add("Softmax", "tells", name=f"{name}.shares", axis=axis), name=f"{name}.told"
            ),
            over,
            name=name,
            keepdims=0,
        )
        for name, over, axis in (("across", "rows", 2), ("down", "columns", 3))
    )
    sure = graph.add("Softmax", graph.add("Where", "sideways", across, down, name="along"), name="sure", axis=2)
    graph.add("Squeeze", graph.add("MatMul", sure, "middles", name="expected"), "last", name="edges")
    pixels = helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["N", network.side, network.side, 3])
    _chances(graph, placed, last, network.evidence)
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", size])
        for name, size in (("edges", count), ("chances", len(MARKS)))
    ]
    write_private(path, graph.finish("refiner", [pixels], outputs).SerializeToString())


def _chances(graph: GraphBuilder, placed: str, last: str, evidence: nn.Module) -> None:
    """Adds `chances`: the sigmoid of what mean and largest features tell."""
    shown = _separable(graph, placed, "evidence", evidence)
    parts = [
        graph.add("GlobalAveragePool", shown, name="evidence.mean"),
        graph.add("GlobalMaxPool", shown, name="evidence.most"),
        graph.add("GlobalAveragePool", last, name="evidence.body"),
    ]
    seen = graph.add("Flatten", graph.add("Concat", *parts, name="evidence.all", axis=1), name="evidence.flat")
    told = graph.add("Gemm", seen, graph.names["chances.weight"], "chances.bias", name="chances.logits", transB=1)
    graph.add("Sigmoid", told, name="chances")


def _lite(graph: GraphBuilder, network: LiteNet) -> None:
    _constants(graph, {"stride": network.stride})
    for name, whole in (("first", 0), ("marks", network.classes), ("channels", 1)):
        graph.add("Constant", name=name, value=numpy_helper.from_array(np.array([whole], np.int64)))
    merged, last = _pyramid(graph, network)
    every = graph.add("Sigmoid", _head(graph, merged, "heat", network.heat), name="heat.every")
    graph.add("Slice", every, "first", "marks", "channels", name="heat")
    _distances(graph, _head(graph, merged, "edges", network.edges))
    pooled = graph.add("Flatten", graph.add("GlobalAveragePool", last, name="turns.pool"), name="turns.flat")
    turns = graph.add("Gemm", pooled, graph.names["turns.weight"], "turns.bias", name="turns.logits", transB=1)
    graph.add("Softmax", turns, name="turns", axis=1)


def _distances(graph: GraphBuilder, logits: str) -> None:
    """Adds `edges`, the softplus of the logits times the stride.

    It is written as max(x, 0) - log sigmoid |x|. ONNX Runtime computes eight numbers of these at a time, and its
    Softplus one by one.
    """
    sure = graph.add("Sigmoid", graph.add("Abs", logits, name="edges.size"), name="edges.sure")
    above = graph.add("Relu", logits, name="edges.above")
    positive = graph.add("Sub", above, graph.add("Log", sure, name="edges.below"), name="edges.positive")
    graph.add("Mul", positive, "stride", name="edges")


def _constants(graph: GraphBuilder, more: Mapping[str, float]) -> None:
    """What the pyramid computes with: nodes and not initializers, so that these are the state dict and nothing else."""
    for name, value in {"middle": 127.5, "one": 1.0, **more, "twice": [1, 1, 2, 2]}.items():
        graph.add("Constant", name=name, value=numpy_helper.from_array(np.array(value, np.float32)))


def _pyramid(graph: GraphBuilder, network: Pyramid) -> tuple[str, str]:
    """The pyramid's features of `pixels`, (N, H, W, 3) uint8, and the body's last."""
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
    return merged, levels[-1]


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
    _distances(graph, _residual_head(graph, x, "edges"))


def _rectified(graph: GraphBuilder, x: str, layer: str, *, kernel: int = 3, stride: int = 1) -> str:
    y = graph.convolve(x, f"{layer}.0", f"{layer}.1", kernel=kernel, stride=stride)
    return graph.add("Relu", y, name=f"{layer}.relu")


def _residual_block(graph: GraphBuilder, x: str, layer: str) -> str:
    y = _rectified(graph, x, f"{layer}.first")
    y = graph.convolve(y, f"{layer}.second.0", f"{layer}.second.1", kernel=3, stride=1)
    return graph.add("Relu", graph.add("Add", x, y, name=f"{layer}.add"), name=f"{layer}.relu")


def _residual_head(graph: GraphBuilder, x: str, layer: str) -> str:
    return graph.project(_rectified(graph, x, f"{layer}.0"), f"{layer}.1", name=f"{layer}.last")
