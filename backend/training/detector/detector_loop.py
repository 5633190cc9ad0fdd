"""How the detector learns from pages, by the loop that trains both networks.

How well a detector finds the marks of known pages, by itself: its best macro F1 at any threshold.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.utils.data import Dataset

from backend.geometry import coverage, iou
from backend.training import training_loop
from backend.training.detector.changes import changed
from backend.training.detector.detector_network import DetectorNet
from backend.training.detector.detector_recipe import DetectorRecipe, build_network
from backend.training.detector.scenes import Knowledge, Scene, Stock, edge_loss, heat_loss, targets_of, turn_loss
from backend.training.page_course import PageCourse
from backend.training.ranks import Ranks, ranks
from backend.training.training_loop import EpochEnd, Tell, nobody
from backend.vision.network_config import MARKS
from backend.vision.network_detector import Peaks, padded, peaks_of

__all__ = ["AVERAGE_FILE", "CHECKPOINT_FILE", "DetectorEpoch", "DetectorProgress", "fit_detector", "score", "seen"]

_BARS = np.linspace(0.1, 0.7, 13)
_HIT = 0.5
_MULTIPLE = 32
CHECKPOINT_FILE = "detector-checkpoint.safetensors"
AVERAGE_FILE = "detector.safetensors"

Batch = tuple[torch.Tensor, ...]


@torch.inference_mode()
def seen(network: DetectorNet, scene: Scene, *, half: bool = False) -> Peaks:
    """What the network, in evaluation mode, finds on an unchanged page; `half` as in the recipe."""
    device = next(network.parameters()).device
    pixels = torch.from_numpy(padded(scene.pixels, _MULTIPLE)).to(device)
    with torch.autocast(device.type, torch.bfloat16, enabled=half):
        logits, edges, _ = network(pixels.permute(2, 0, 1)[None].float().div(255))
    heat, distances = logits[0, : len(MARKS)].sigmoid().cpu().numpy(), edges[0].cpu().numpy()
    return peaks_of(heat, distances, stride=network.stride, least=0.1, most=50, same=0.5)


def score(network: DetectorNet, stock: Stock, *, half: bool = False) -> dict[str, float]:
    """Macro F1 at IoU .5 by domain, at the threshold, one for all classes, that is best there.

    On a page, only classes count whose marks are all known. A class without a true mark has no part. `half` as in the
    recipe.
    """
    network.eval()
    rows: dict[str, list[NDArray[np.float64]]] = {}
    for scene, group in zip(stock.scenes, stock.groups, strict=True):
        rows.setdefault(group.split("/")[0], []).append(_counts(seen(network, scene, half=half), scene.knowledge))
    return {domain: _best(np.sum(counts, axis=0)) for domain, counts in rows.items()}


def _counts(peaks: Peaks, knowledge: Knowledge) -> NDArray[np.float64]:
    """Hits, found and true marks, (bars, classes, 3)."""
    counts = np.zeros((len(_BARS), len(MARKS), 3))
    for label in np.flatnonzero(knowledge.complete[: len(MARKS)]):
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


@dataclass(frozen=True, kw_only=True)
class DetectorEpoch:
    """One line of the history; `score`: the best macro F1 at IoU .5 of any threshold, by domain, where judged."""

    epoch: int
    heat_loss: float
    edge_loss: float
    score: dict[str, float]
    seconds: float


@dataclass(frozen=True, kw_only=True)
class DetectorProgress:
    """Where a run stands: its recipe's digest, the epochs that are over, and their history."""

    recipe: str
    epoch: int = 0
    history: tuple[DetectorEpoch, ...] = field(default_factory=tuple)


def fit_detector(
    recipe: DetectorRecipe,
    train: Stock,
    judge: Stock,
    folder: Path,
    *,
    base: Mapping[str, torch.Tensor] | None = None,
    workers: int = 0,
    stop_after: int | None = None,
    tell: Tell = nobody,
) -> DetectorProgress:
    """Trains by `recipe`; `folder` keeps the checkpoint and the average of the weights.

    A run that was stopped goes on after its last whole epoch. On a processor it ends with the weights of one that was
    not stopped; a GPU adds up in no fixed order. It runs on a GPU where torch sees one, and on several where torchrun
    starts a process for each. Then each has its part of every batch, and the first one judges and writes. A loss is the
    mean over the processes, each of which divides by the marks of its own part.

    Args:
        recipe: What to do.
        train: Its pages teach.
        judge: Its pages tell how well, unchanged.
        folder: Made when missing.
        base: The state dict that a new run begins with; random weights where None.
        workers: Processes that change pages.
        stop_after: Epochs after which this call returns even if there are more.
        tell: Is told after each epoch how far it is.

    Raises:
        TrainingError: `folder` holds a checkpoint of another recipe, or a batch cannot be divided among the processes.
    """
    with ranks() as own:
        torch.manual_seed(recipe.seed)
        course = _Course(recipe, train, judge, own, base=base, workers=workers)
        return training_loop.train(course, folder, own, stop_after=stop_after, tell=tell)


class _Epoch(Dataset[Batch]):
    """The changed pages of one epoch with their targets, by position; any process gives the same for the same one."""

    def __init__(
        self,
        stock: Stock,
        order: NDArray[np.intp],
        positions: NDArray[np.intp],
        recipe: DetectorRecipe,
        *,
        epoch: int,
        stride: int,
    ) -> None:
        self._stock, self._order, self._positions, self._recipe = stock, order, positions, recipe
        self._epoch, self._stride = epoch, stride

    def __len__(self) -> int:
        return len(self._positions)

    def __getitem__(self, place: int) -> Batch:
        position = int(self._positions[place])
        rng = np.random.default_rng([self._recipe.seed, self._epoch, 1, position])
        stock = self._stock
        scene = changed(stock.scenes[self._order[position]], stock.marks, self._recipe.changes, rng)
        height, width = scene.pixels.shape[:2]
        targets = targets_of(scene.knowledge, height=height, width=width, stride=self._stride)
        parts = (scene.pixels, targets.heat, targets.known, targets.edges, targets.weight)
        return *map(torch.from_numpy, parts), torch.tensor(scene.turns)


class _Course(PageCourse[DetectorProgress, Batch]):
    """A detector that learns from pages."""

    network: DetectorNet

    def __init__(
        self,
        recipe: DetectorRecipe,
        train: Stock,
        judge: Stock,
        own: Ranks,
        *,
        base: Mapping[str, torch.Tensor] | None,
        workers: int,
    ) -> None:
        self.recipe, self.judge = recipe, judge
        network = build_network(recipe.shape, dropped=recipe.dropped)
        if base is not None:
            network.load_state_dict(dict(base))
        super().__init__(
            network,
            recipe,
            train,
            own,
            workers=workers,
            title="training the detector",
            things="pages",
            losses=2,
            files=(CHECKPOINT_FILE, AVERAGE_FILE),
        )

    def progress(self, facts: dict[str, Any] | None) -> DetectorProgress:
        """See `Course`."""
        if facts is None:
            return DetectorProgress(recipe=self.recipe.digest)
        return DetectorProgress(**facts | {"history": tuple(DetectorEpoch(**line) for line in facts["history"])})

    def shown(self, order: NDArray[np.intp], positions: NDArray[np.intp], epoch: int) -> Dataset[Batch]:
        """See `PageCourse`."""
        return _Epoch(self.train, order, positions, self.recipe, epoch=epoch, stride=self.network.stride)

    def losses(self, network: nn.Module, batch: Batch) -> tuple[torch.Tensor, Sequence[torch.Tensor]]:
        """See `Course`."""
        pixels, heat, known, edges, weight, turns = (part.to(self.ranks.device) for part in batch)
        with torch.autocast(self.ranks.device.type, torch.bfloat16, enabled=self.recipe.half):
            logits, found, upright = network(pixels.permute(0, 3, 1, 2).float().div(255))
        taught = slice(self.network.taught)
        told = heat_loss(logits, heat[:, taught], known[:, taught]), edge_loss(found, edges, weight)
        loss = told[0] + self.recipe.edge_loss * told[1]
        if upright is not None:
            loss = loss + self.recipe.turn_loss * turn_loss(upright, turns)
        return loss, told

    def scores(self, progress: DetectorProgress, average: nn.Module) -> dict[str, float]:
        """See `Course`; empty where the epoch is not judged."""
        if not self.recipe.judges(progress.epoch):
            return {}
        return score(cast(DetectorNet, average), self.judge, half=self.recipe.half)

    def judged(
        self, progress: DetectorProgress, losses: Sequence[float], scores: dict[str, float], seconds: float
    ) -> EpochEnd[DetectorProgress]:
        """See `Course`."""
        heat, edges = losses
        line = DetectorEpoch(epoch=progress.epoch, heat_loss=heat, edge_loss=edges, score=scores, seconds=seconds)
        by_domain = ", ".join(f"macro F1 {name} {value:.3f}" for name, value in scores.items())
        return EpochEnd(
            progress=dataclasses.replace(progress, epoch=progress.epoch + 1, history=(*progress.history, line)),
            said=f"epoch {line.epoch}: heat {heat:.3f}, edges {edges:.3f}, {seconds:.0f} s {by_domain}",
            kept={"recipe": json.dumps(self.recipe.as_json())},
        )
