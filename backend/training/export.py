"""ONNX graphs built node by node, with a state dict's own names on the initializers: one file serves and trains.

A torch ResNet18 written as the ONNX classifier that serves; `graph.state_dict_from_onnx` reads it back without loss.

The graph is built node by node rather than by `torch.onnx.export`. The optimising exporter folds every BatchNorm into
its convolution. Then no state dict can be recovered, and no training can start from the file. The plain exporter leaves
the machine's stack traces in the file. This graph has the state dict's own names on its initializers, so that one file
serves and trains. ONNX Runtime folds BatchNorm and casts when it loads the file.

A trained detector written as the ONNX file that serves, with the state dict's names on its initializers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torchvision.models import ResNet

from backend.errors import BadWeights

__all__ = ["GraphBuilder", "export_classifier", "half_precision", "state_dict_from_onnx"]

_OPSET = 20
_IR_VERSION = 10
_UNUSED = "num_batches_tracked"
"""BatchNorm counts batches only where its momentum is None, which is never the case here."""
INPUT_SIZE = 224
EMBEDDING = 512
_STAGES = (("layer1", 1), ("layer2", 2), ("layer3", 2), ("layer4", 2))


def half_precision(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The state dict as a float16 export keeps it: convolutions and head rounded to float16, given back as float32."""
    return {name: tensor.half().float() if _is_large(name, tensor.ndim) else tensor for name, tensor in state.items()}


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
    return state | {norm + _UNUSED: torch.tensor(0) for norm in norms}


def _is_large(name: str, dimensions: int) -> bool:
    """Whether a parameter is one that a float16 export rounds: matrices and kernels."""
    return name.endswith("weight") and dimensions > 1


class GraphBuilder:
    """The nodes and initializers of a graph while it grows."""

    def __init__(self, state: Mapping[str, NDArray[Any]], *, half: bool) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.names: dict[str, str] = {}
        self.initializers: list[onnx.TensorProto] = []
        for name, values in state.items():
            if not name.endswith(_UNUSED):
                self._keep(name, values, half=half and _is_large(name, values.ndim))

    def _keep(self, name: str, values: NDArray[Any], *, half: bool) -> None:
        self.initializers.append(numpy_helper.from_array(values.astype(np.float16 if half else np.float32), name))
        self.names[name] = self.add("Cast", name, name=f"{name}.float", to=TensorProto.FLOAT) if half else name

    def add(self, operator: str, *inputs: str, name: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    def project(self, x: str, layer: str, *, name: str) -> str:
        """A 1 x 1 convolution with a bias."""
        return self.add("Conv", x, self.names[f"{layer}.weight"], f"{layer}.bias", name=name, kernel_shape=[1, 1])

    def convolve(self, x: str, layer: str, norm: str, *, kernel: int, stride: int) -> str:
        """A convolution that keeps the size (divided by `stride`), and its BatchNorm."""
        pads = [kernel // 2] * 4
        weight = self.names[f"{layer}.weight"]
        y = self.add("Conv", x, weight, name=layer, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=pads)
        parameters = [self.names[f"{norm}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")]
        return self.add("BatchNormalization", y, *parameters, name=norm, epsilon=1e-5)

    def filter(
        self, x: str, layer: str, norm: str, *, pads: Sequence[int], kernel: int, stride: int, groups: int
    ) -> str:
        """A convolution padded by `pads` (top, left, bottom, right), and its BatchNorm with TensorFlow's epsilon."""
        sides: dict[str, Any] = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": list(pads)}
        y = self.add("Conv", x, self.names[f"{layer}.weight"], name=layer, group=groups, **sides)
        parameters = [self.names[f"{norm}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")]
        return self.add("BatchNormalization", y, *parameters, name=norm, epsilon=1e-3)

    def block(self, x: str, block: str, *, stride: int) -> str:
        """A basic residual block of He et al., 2016 (arXiv:1512.03385)."""
        y = self.convolve(x, f"{block}.conv1", f"{block}.bn1", kernel=3, stride=stride)
        y = self.add("Relu", y, name=f"{block}.relu1")
        y = self.convolve(y, f"{block}.conv2", f"{block}.bn2", kernel=3, stride=1)
        if f"{block}.downsample.0.weight" in self.names:
            x = self.convolve(x, f"{block}.downsample.0", f"{block}.downsample.1", kernel=1, stride=stride)
        return self.add("Relu", self.add("Add", y, x, name=f"{block}.add"), name=f"{block}.relu2")

    def finish(
        self, name: str, inputs: Sequence[onnx.ValueInfoProto], outputs: Sequence[onnx.ValueInfoProto]
    ) -> onnx.ModelProto:
        """The model, checked."""
        proto = helper.make_graph(self.nodes, name, inputs, outputs, self.initializers)
        model = helper.make_model(proto, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION)
        onnx.checker.check_model(model, full_check=True)
        return model


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
    onnx.save(_graph(state, half=half, pool=pool), path)


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
