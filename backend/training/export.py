"""A torch ResNet18 written as the ONNX classifier that serves; `graph.state_dict_from_onnx` reads it back without loss.

The graph is built node by node rather than by `torch.onnx.export`: the optimising exporter folds every BatchNorm into
its convolution, after which no state dict can be recovered and no training started from the file; the plain one leaves
the exporting machine's stack traces in it. This graph has the state dict's own names on its initializers, so that one
file serves and trains. ONNX Runtime folds BatchNorm and casts when it loads the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper
from torchvision.models import ResNet

from backend.training.graph import GraphBuilder

__all__ = ["export_classifier"]

INPUT_SIZE = 224
EMBEDDING = 512
_STAGES = (("layer1", 1), ("layer2", 2), ("layer3", 2), ("layer4", 2))


def export_classifier(model: ResNet, path: Path, *, half: bool = False, pool: int = 1) -> None:
    """Writes `model` as an ONNX classifier: `pixels` (N, 3, 224, 224) → `logits` (N, C), `embedding` (N, 512).

    The bytes depend on the weights alone, so equal weights give an equal checksum.

    Args:
        model: A torchvision ResNet18 with any number of outputs.
        path: The file to write.
        half: Keeps the weights of convolutions and of the head as float16 (22 MB instead of 45); the graph casts them
            back, and then computes what a model of `half_precision(model.state_dict())` does. BatchNorm stays float32:
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
