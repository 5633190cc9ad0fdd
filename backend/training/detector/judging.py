"""How well a detector finds the marks of known pages, by itself: its best macro F1 at any threshold."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from backend.detection.model import padded
from backend.detection.peaks import Peaks, peaks_of
from backend.geometry import coverage, iou
from backend.nets.config import MARKS
from backend.training.detector.network import STRIDE, DetectorNet
from backend.training.detector.scenes import Scene, Stock
from backend.training.detector.targets import Knowledge

__all__ = ["score", "seen"]

_BARS = np.linspace(0.1, 0.7, 13)
_HIT = 0.5
_MULTIPLE = 32


@torch.inference_mode()
def seen(network: DetectorNet, scene: Scene, *, half: bool = False) -> Peaks:
    """What the network, in evaluation mode, finds on an unchanged page; `half` as in the recipe."""
    device = next(network.parameters()).device
    pixels = torch.from_numpy(padded(scene.pixels, _MULTIPLE)).to(device)
    with torch.autocast(device.type, torch.bfloat16, enabled=half):
        logits, edges = network(pixels.permute(2, 0, 1)[None].float().div(255))
    heat, distances = logits[0].sigmoid().cpu().numpy(), edges[0].cpu().numpy()
    return peaks_of(heat, distances, stride=STRIDE, least=0.1, most=50, same=0.5)


def score(network: DetectorNet, stock: Stock, *, half: bool = False) -> dict[str, float]:
    """Macro F1 at IoU .5 by domain, at the threshold, one for all classes, that is best there.

    Only classes of which every mark of a page is known count on it; a class without a true mark has no part. `half` as
    in the recipe.
    """
    network.eval()
    rows: dict[str, list[NDArray[np.float64]]] = {}
    for scene, group in zip(stock.scenes, stock.groups, strict=True):
        rows.setdefault(group.split("/")[0], []).append(_counts(seen(network, scene, half=half), scene.knowledge))
    return {domain: _best(np.sum(counts, axis=0)) for domain, counts in rows.items()}


def _counts(peaks: Peaks, knowledge: Knowledge) -> NDArray[np.float64]:
    """Hits, found and true marks, (bars, classes, 3)."""
    counts = np.zeros((len(_BARS), len(MARKS), 3))
    for label in np.flatnonzero(knowledge.complete):
        true = knowledge.boxes[knowledge.labels == label]
        own = peaks.labels == label
        boxes, scores = peaks.boxes[own], peaks.scores[own]
        overlap, taken, hits = iou(boxes, true), np.zeros(len(true), bool), np.zeros(len(boxes), bool)
        for row in range(len(boxes)):
            free = np.where(taken, 0, overlap[row])
            if free.max(initial=0) >= _HIT:
                taken[int(free.argmax())] = hits[row] = True
        counted = hits | (coverage(boxes, knowledge.ignored).max(axis=1, initial=0) < _HIT)
        for place, bar in enumerate(_BARS):
            above = scores >= bar
            counts[place, label] = (hits & above).sum(), (counted & above).sum(), len(true)
    return counts


def _best(counts: NDArray[np.float64]) -> float:
    """The highest mean F1 of the classes that have true marks, over all bars."""
    present = counts[0, :, 2] > 0
    hits, found, true = np.moveaxis(counts[:, present], 2, 0)
    return float((2 * hits / np.maximum(found + true, 1)).mean(axis=1).max()) if present.any() else 0.0
