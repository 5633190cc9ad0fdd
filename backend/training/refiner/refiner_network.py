"""The refiner's network: where, along the width and the height of what it sees, a mark begins and ends."""

from __future__ import annotations

import torch
from torch import nn

from backend.training.detector.lite_network import LITE0, LiteShape, Pyramid, head
from backend.vision.network_config import MARKS

__all__ = ["RefinerNet", "cells_of", "place_loss", "places_of"]

_STRIDE = 4


def cells_of(side: int) -> int:
    """How many places along a side of `side` pixels an edge may lie at."""
    return side // _STRIDE


class RefinerNet(Pyramid):
    """Candidates (N, 3, S, S) in [0, 1] to logits (N, 4C, S / 4) over where each edge lies.

    S is a multiple of 32. Channels 4c to 4c + 3 are the left, top, right and bottom edge of mark c. The places of left
    and right run from the left to the right of what is seen, those of top and bottom from its top to its bottom. The
    candidate always lies in the middle, so each cell also has a bias that tells where it is. Only few
    cells lie on the strokes of a mark, so each also says how much its word counts for an edge (a softmax across it).

    Args:
        side: S, pixels.
        shape: Widths and depths of the body, which is that of the detector.
        dropped: How often the body's last block is left out while training; earlier ones less.
    """

    def __init__(self, side: int, shape: LiteShape = LITE0, *, dropped: float = 0.0) -> None:
        super().__init__()
        self.shape, self.side = shape, side
        self.build_pyramid(shape, dropped=dropped)
        self.position = nn.Parameter(torch.zeros(1, shape.pyramid, cells_of(side), cells_of(side)))
        self.borders = head(shape.pyramid, 2 * 4 * len(MARKS))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """See the class."""
        merged, _ = self.features(pixels)
        maps, tells = self.borders(merged + self.position).float().chunk(2, dim=1)
        across, down = ((maps * tells.softmax(dim=dim)).sum(dim=dim) for dim in (2, 3))
        sideways = torch.tensor([True, False] * (maps.shape[1] // 2), device=maps.device)
        return torch.where(sideways[:, None], across, down)


def places_of(logits: torch.Tensor) -> torch.Tensor:
    """The expected place of each edge, a share of what is seen: logits (N, K, n) to (N, K) in (0, 1)."""
    cells = logits.shape[-1]
    middles = (torch.arange(cells, device=logits.device) + 0.5) / cells
    return logits.softmax(dim=-1) @ middles


def place_loss(logits: torch.Tensor, wanted: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """How far the boxes are off, and how little the cells beside the true edges are believed.

    The first part is 1 - GIoU (arXiv:1902.09630) of the expected boxes. The second is the distribution focal loss of
    arXiv:2006.04388: the cross-entropy of the two cells about an edge, each weighed by how near it is.

    Args:
        logits: (N, 4C, n).
        wanted: (N, 4) true edges, shares of what is seen.
        labels: (N,) indices into `MARKS`.
    """
    count, _, cells = logits.shape
    own = logits.view(count, len(MARKS), 4, cells)[torch.arange(count, device=logits.device), labels]
    found = places_of(own)
    lower, upper = torch.maximum(found[:, :2], wanted[:, :2]), torch.minimum(found[:, 2:], wanted[:, 2:])
    both = (upper - lower).clamp(min=0).prod(dim=1)
    around = (torch.maximum(found[:, 2:], wanted[:, 2:]) - torch.minimum(found[:, :2], wanted[:, :2])).prod(dim=1)
    union = sum((box[:, 2:] - box[:, :2]).clamp(min=0).prod(dim=1) for box in (found, wanted)) - both
    overlap = both / union.clamp(min=1e-6) - (around - union) / around.clamp(min=1e-6)
    place = (wanted * cells - 0.5).clamp(0, cells - 1)
    before = place.floor().clamp(max=cells - 2).long()
    share = place - before
    sure = own.log_softmax(dim=-1)
    near = sure.gather(-1, before[..., None])[..., 0] * (1 - share)
    far = sure.gather(-1, before[..., None] + 1)[..., 0] * share
    return (1 - overlap).mean() - 0.25 * (near + far).mean()
