"""What the networks that look at pages have in common, whatever their body."""

from __future__ import annotations

import math

import torch
from torch import nn

from backend.vision.network_config import MARKS

__all__ = ["TAUGHT", "BodiedNet", "DetectorNet", "begin_rare"]

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
