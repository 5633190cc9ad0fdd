"""An ONNX graph while it is built, node by node, with a state dict's own names on the initializers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

__all__ = ["UNUSED", "GraphBuilder", "is_large"]

_OPSET = 20
_IR_VERSION = 10
UNUSED = "num_batches_tracked"
"""BatchNorm counts batches only where its momentum is None, which is never the case here."""


def is_large(name: str, dimensions: int) -> bool:
    """Whether a parameter is one that a float16 export rounds: matrices and kernels."""
    return name.endswith("weight") and dimensions > 1


class GraphBuilder:
    """The nodes and initializers of a graph while it grows."""

    def __init__(self, state: Mapping[str, NDArray[Any]], *, half: bool) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.names: dict[str, str] = {}
        self.initializers: list[onnx.TensorProto] = []
        for name, values in state.items():
            if not name.endswith(UNUSED):
                self._keep(name, values, half=half and is_large(name, values.ndim))

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
