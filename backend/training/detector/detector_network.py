"""What the networks that look at pages have in common, and the first kind of them: a small residual net.

The heads are those of CenterNet (Zhou et al. 2019, arXiv:1904.07850) as TTFNet trains them (Liu et al. 2020,
arXiv:1909.00700). Every cell near a mark's middle learns its four edges. Each class has edges of its own, since a
signature may have its middle where a stamp has it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from backend.vision.network_config import MARKS

__all__ = ["TAUGHT", "BodiedNet", "DetectorNet", "ResidualNet", "ResidualShape", "begin_rare"]

TAUGHT = (*MARKS, "handwriting", "print")
"""Classes of the heat-map: the marks, and what people take for marks. The last two are learnt and never shown."""
_RARE = 0.01
"""Probability that the untrained heat-map gives everywhere."""


class BodiedNet(nn.Module):
    """A network with a body that reads the page; the first layers of the body can be kept as they are."""

    @property
    def body(self) -> list[nn.Module]:
        """The layers before the pyramid and the heads, in order."""
        raise NotImplementedError

    def freeze(self, stages: int) -> None:
        """Lets the first part of the body and the `stages` after it keep weights and statistics; 0 lets all learn."""
        for number, part in enumerate(self.body):
            frozen = bool(stages) and number <= stages
            part.requires_grad_(not frozen)
            part.train(self.training and not frozen)


class DetectorNet(BodiedNet):
    """Pages (N, 3, H, W) in [0, 1] to heat (N, T, h, w), edges (N, 4C, h, w) and turns (N, 4).

    H and W are multiples of 32; h and w are H and W divided by the stride. Heat and turns are logits. The heat is of
    the first T of `TAUGHT`. The edges of mark c are channels 4c to 4c + 3. They are the distances, in pixels of the
    input, from the cell's middle to the left, top, right and bottom of the mark. Turns are the quarter turns to the
    left that the page was given; None where the network cannot tell.

    Attributes:
        stride: Pixels of the input to a cell of the output.
        classes: How many marks there are.
        taught: How many of `TAUGHT` the heat is of.
        tells_turns: Whether it can tell which way is up.
    """

    def __init__(self, *, stride: int, taught: int, tells_turns: bool) -> None:
        super().__init__()
        self.stride, self.taught, self.tells_turns = stride, taught, tells_turns
        self.classes = len(MARKS)
        self.heat: nn.Sequential
        self.edges: nn.Sequential

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """See the class."""
        raise NotImplementedError


def begin_rare(heat: nn.Sequential) -> None:
    """Lets a heat's head say, before it has learnt anything, that marks are rare."""
    last = heat[-1]
    assert isinstance(last, nn.Conv2d)  # noqa: S101 - the head's last layer always is
    nn.init.constant_(last.bias, -math.log(1 / _RARE - 1))  # type: ignore[arg-type]


_STRIDE = 8


@dataclass(frozen=True, kw_only=True)
class ResidualShape:
    """Widths and depths.

    Attributes:
        stem: Channels at half the resolution.
        widths: Channels at a quarter, an eighth, and so on.
        blocks: Residual blocks there.
        pyramid: Channels of the feature pyramid and of the heads.
    """

    stem: int = 32
    widths: tuple[int, ...] = (64, 96, 192, 320)
    blocks: tuple[int, ...] = (0, 1, 3, 2)
    pyramid: int = 96


def _unit(inputs: int, outputs: int, *, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class _Block(nn.Module):
    """Two convolutions and the way around them (He et al. 2015, arXiv:1512.03385)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = _unit(width, width)
        self.second = nn.Sequential(nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(N, C, h, w) to the same."""
        return functional.relu(features + self.second(self.first(features)), inplace=True)


class ResidualNet(DetectorNet):
    """Pages (N, 3, H, W) in [0, 1] to heat (N, 3, H / 8, W / 8), logits, and edges (N, 12, H / 8, W / 8).

    H and W are multiples of 32. The edges of class c are channels 4c to 4c + 3. They are the distances, in pixels of
    the input, from the cell's middle to the left, top, right and bottom of the mark.
    """

    def __init__(self, shape: ResidualShape = ResidualShape()) -> None:
        super().__init__(stride=_STRIDE, taught=len(MARKS), tells_turns=False)
        self.shape = shape
        self.stem = _unit(3, shape.stem, stride=2)
        widths = (shape.stem, *shape.widths)
        self.levels = nn.ModuleList(
            nn.Sequential(_unit(before, after, stride=2), *[_Block(after) for _ in range(blocks)])
            for before, after, blocks in zip(widths[:-1], widths[1:], shape.blocks, strict=True)
        )
        self.laterals = nn.ModuleList(_unit(width, shape.pyramid, kernel=1) for width in shape.widths[1:])
        self.smooth = _unit(shape.pyramid, shape.pyramid)
        self.heat = nn.Sequential(_unit(shape.pyramid, shape.pyramid), nn.Conv2d(shape.pyramid, len(MARKS), 1))
        begin_rare(self.heat)
        self.edges = nn.Sequential(_unit(shape.pyramid, shape.pyramid), nn.Conv2d(shape.pyramid, 4 * len(MARKS), 1))

    @property
    def body(self) -> list[nn.Module]:
        """The stem and the levels."""
        return [self.stem, *self.levels]

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """See the class."""
        features, found = self.stem(pixels), []
        for level in self.levels:
            features = level(features)
            found.append(features)
        merged: torch.Tensor | None = None
        for lateral, level_features in zip(reversed(self.laterals), reversed(found[1:]), strict=True):
            side = lateral(level_features)
            merged = side if merged is None else side + functional.interpolate(merged, scale_factor=2.0, mode="nearest")
        assert merged is not None  # noqa: S101 - there is always a level
        merged = self.smooth(merged)
        # In float32 whatever the convolutions compute in: distances go far beyond what bfloat16 counts singly.
        return self.heat(merged).float(), functional.softplus(self.edges(merged).float()) * _STRIDE, None
