"""The refiner's network: where a mark begins and ends in what it sees, and how likely it is that there is one."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from backend.training.detector.lite_network import LITE0, LiteShape, Pyramid, head, separable
from backend.vision.network_config import MARKS

__all__ = ["RefinerNet", "cells_of", "chance_loss", "place_loss", "places_of"]

_STRIDE = 4
_DROPPED = 0.2
"""Share of what the chances are told from that is left out while training."""
_RIGHT = 0.5
"""IoU from which a box is right."""


def cells_of(side: int) -> int:
    """How many places along a side of `side` pixels an edge may lie at."""
    return side // _STRIDE


class RefinerNet(Pyramid):
    """Candidates (N, 3, S, S) in [0, 1] to two logits: (N, 4C, S / 4), where each edge lies, and (N, C), the chances.

    S is a multiple of 32. Channels 4c to 4c + 3 are the left, top, right and bottom edge of mark c. The places of left
    and right run from the left to the right of what is seen, those of top and bottom from its top to its bottom. The
    candidate always lies in the middle, so each cell also has a bias that tells where it is. Only few
    cells lie on the strokes of a mark, so each also says how much its word counts for an edge (a softmax across it).
    The chance of mark c is that the box of these edges is right: that there is such a mark, and the box fits it.

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
        self.evidence = separable(shape.pyramid, shape.pyramid)
        self.chances = nn.Linear(2 * shape.pyramid + shape.widths[-1], len(MARKS))

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """See the class."""
        merged, last = self.features(pixels)
        placed = merged + self.position
        maps, tells = self.borders(placed).float().chunk(2, dim=1)
        across, down = ((maps * tells.softmax(dim=dim)).sum(dim=dim) for dim in (2, 3))
        sideways = torch.tensor([True, False] * (maps.shape[1] // 2), device=maps.device)
        along = torch.where(sideways[:, None], across, down)
        shown = self.evidence(placed)
        seen = torch.cat([shown.mean(dim=(2, 3)), shown.amax(dim=(2, 3)), last.mean(dim=(2, 3))], dim=1)
        return along, self.chances(functional.dropout(seen, _DROPPED, self.training).float())


def places_of(logits: torch.Tensor) -> torch.Tensor:
    """The expected place of each edge, a share of what is seen: logits (N, K, n) to (N, K) in (0, 1)."""
    cells = logits.shape[-1]
    middles = (torch.arange(cells, device=logits.device) + 0.5) / cells
    return logits.softmax(dim=-1) @ middles


def place_loss(logits: torch.Tensor, wanted: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
    """How far the boxes are off, and how little the cells beside the true edges are believed; 0 where there is none.

    The first part is 1 - GIoU (arXiv:1902.09630) of the expected boxes. The second is the distribution focal loss of
    arXiv:2006.04388: the cross-entropy of the two cells about an edge, each weighed by how near it is.

    Args:
        logits: (N, 4C, n).
        wanted: (N, C, 4) true edges, shares of what is seen.
        there: (N, C) 1 where there is a mark to find.
    """
    count, _, cells = logits.shape
    rows = there > 0
    if not rows.any():
        return logits.sum() * 0
    own, wanted = logits.view(count, len(MARKS), 4, cells)[rows], wanted[rows]
    found = places_of(own)
    both, union, around = _shared(found, wanted)
    overlap = both / union.clamp(min=1e-6) - (around - union) / around.clamp(min=1e-6)
    place = (wanted * cells - 0.5).clamp(0, cells - 1)
    before = place.floor().clamp(max=cells - 2).long()
    share = place - before
    sure = own.log_softmax(dim=-1)
    near = sure.gather(-1, before[..., None])[..., 0] * (1 - share)
    far = sure.gather(-1, before[..., None] + 1)[..., 0] * share
    return (1 - overlap).mean() - 0.25 * (near + far).mean()


def chance_loss(chances: torch.Tensor, logits: torch.Tensor, wanted: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of the chance that each box is right, averaged over those of which that is known.

    A box is right from an IoU of .5 with the mark on. So a mark whose edges are not found is none yet.

    Args:
        chances: (N, C) logits.
        logits: (N, 4C, n), which give the boxes.
        wanted: (N, C, 4) true edges, shares of what is seen.
        there: (N, C) 1 where there is a mark, 0 where there is none, -1 where nobody knows.
    """
    with torch.no_grad():
        found = places_of(logits).view(*there.shape, 4)
        both, union, _ = _shared(found, wanted)
        right = (both >= _RIGHT * union).float() * (there > 0)
    known = there >= 0
    if not known.any():
        return chances.sum() * 0
    return functional.binary_cross_entropy_with_logits(chances[known], right[known])


def _shared(one: torch.Tensor, other: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Areas of boxes (..., 4): of what two share, of both together, and of the box around both."""
    lower, upper = torch.maximum(one[..., :2], other[..., :2]), torch.minimum(one[..., 2:], other[..., 2:])
    both = (upper - lower).clamp(min=0).prod(dim=-1)
    around = (torch.maximum(one[..., 2:], other[..., 2:]) - torch.minimum(one[..., :2], other[..., :2])).prod(dim=-1)
    union = (
        (one[..., 2:] - one[..., :2]).clamp(min=0).prod(dim=-1)
        + (other[..., 2:] - other[..., :2]).clamp(min=0).prod(dim=-1)
        - both
    )
    return both, union, around
