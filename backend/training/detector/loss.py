"""What the detector's training makes small: a focal loss of the heat, and 1 - the generalised IoU of the boxes."""

from __future__ import annotations

import torch
from torch.nn import functional

__all__ = ["edge_loss", "heat_loss"]


def heat_loss(logits: torch.Tensor, heat: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """The penalty-reduced focal loss of CornerNet and CenterNet (arXiv:1808.01244, eq. 1), for each mark.

    Args:
        logits: (N, C, h, w).
        heat: (N, C, h, w), 1 in the middle of marks.
        known: (N, C, h, w), 1 where the heat is known.
    """
    sure, not_sure = functional.logsigmoid(logits), functional.logsigmoid(-logits)
    chance = logits.sigmoid()
    middle = (heat > 0.999).float()
    hits = sure * (1 - chance) ** 2 * middle
    misses = not_sure * chance**2 * (1 - heat) ** 4 * (1 - middle)
    return -((hits + misses) * known).sum() / middle.sum().clamp(min=1)


def edge_loss(found: torch.Tensor, wanted: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """1 - GIoU (Rezatofighi et al. 2019, arXiv:1902.09630) of boxes seen from the same cell, averaged over the marks.

    Args:
        found: (N, 4C, h, w) distances to left, top, right and bottom, above 0.
        wanted: The same.
        weight: (N, C, h, w), 0 where there is no mark.
    """
    batch, classes, height, width = weight.shape
    cells = weight > 0
    rows = [edges.view(batch, classes, 4, height, width).permute(0, 1, 3, 4, 2)[cells] for edges in (found, wanted)]
    one, other = rows
    both = (torch.minimum(one[:, :2], other[:, :2]) + torch.minimum(one[:, 2:], other[:, 2:])).prod(dim=1)
    around = (torch.maximum(one[:, :2], other[:, :2]) + torch.maximum(one[:, 2:], other[:, 2:])).prod(dim=1)
    areas = [(edges[:, :2] + edges[:, 2:]).prod(dim=1) for edges in rows]
    union = areas[0] + areas[1] - both
    overlap = both / union - (around - union) / around
    return ((1 - overlap) * weight[cells]).sum() / weight.sum().clamp(min=1)
