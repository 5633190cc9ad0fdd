"""The detector's training loop: a checkpoint after every epoch, and a result that an interruption does not change.

How well a detector finds the marks of known pages, by itself: its best macro F1 at any threshold.
"""

from __future__ import annotations

import copy
import json
import math
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import load_file
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from backend.errors import TrainingError
from backend.geometry import coverage, iou
from backend.training.batches import epoch_order
from backend.training.detector.changes import changed
from backend.training.detector.detector_network import DetectorNet
from backend.training.detector.detector_recipe import DetectorRecipe, build_network
from backend.training.detector.scenes import Scene, Stock
from backend.training.detector.targets import Knowledge, edge_loss, heat_loss, targets_of, turn_loss
from backend.training.loop_parts import Tell, adamw, follow, how_far, nobody, rate_at, restore, save, state_of
from backend.vision.network_config import MARKS
from backend.vision.network_detector import Peaks, padded, peaks_of

__all__ = ["AVERAGE_FILE", "CHECKPOINT_FILE", "DetectorEpoch", "DetectorProgress", "fit_detector", "score", "seen"]

_BARS = np.linspace(0.1, 0.7, 13)
_HIT = 0.5
_MULTIPLE = 32
CHECKPOINT_FILE = "detector-checkpoint.safetensors"
AVERAGE_FILE = "detector.safetensors"
_LARGEST_GRADIENT = 10.0

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
    not stopped; a GPU adds up in no fixed order. It runs on a GPU where torch sees one.

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
        TrainingError: `folder` holds a checkpoint of another recipe.
    """
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)
    run = _Run(recipe, base)
    progress = run.resume(folder / CHECKPOINT_FILE)
    last = recipe.epochs if stop_after is None else min(recipe.epochs, progress.epoch + stop_after)
    title = "training the detector"
    with tqdm(total=recipe.epochs, initial=progress.epoch, unit="epoch", desc=title, disable=None) as bar:
        while progress.epoch < last:
            progress = run.epoch(progress, train, judge, folder, workers)
            bar.update()
            tell(how_far(progress.epoch, recipe.epochs, seconds=progress.history[-1].seconds))
    return progress


class _Epoch(Dataset[Batch]):
    """The changed pages of one epoch with their targets, by position; any process gives the same for the same one."""

    def __init__(
        self, stock: Stock, order: NDArray[np.intp], recipe: DetectorRecipe, *, epoch: int, stride: int
    ) -> None:
        self._stock, self._order, self._recipe, self._epoch, self._stride = stock, order, recipe, epoch, stride

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, position: int) -> Batch:
        rng = np.random.default_rng([self._recipe.seed, self._epoch, 1, position])
        stock = self._stock
        scene = changed(stock.scenes[self._order[position]], stock.marks, self._recipe.changes, rng)
        height, width = scene.pixels.shape[:2]
        targets = targets_of(scene.knowledge, height=height, width=width, stride=self._stride)
        parts = (scene.pixels, targets.heat, targets.known, targets.edges, targets.weight)
        return *map(torch.from_numpy, parts), torch.tensor(scene.turns)


class _Run:
    """A network in training, its moving average, and its optimiser."""

    def __init__(self, recipe: DetectorRecipe, base: Mapping[str, torch.Tensor] | None) -> None:
        self.recipe = recipe
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        network = build_network(recipe.shape, dropped=recipe.dropped)
        if base is not None:
            network.load_state_dict(dict(base))
        self.network = network.to(self.device).to(memory_format=torch.channels_last)
        self.average = copy.deepcopy(self.network).requires_grad_(False)
        body = [one for part in self.network.body for one in part.parameters()]
        bodily = {id(one) for one in body}
        heads = [one for one in self.network.parameters() if id(one) not in bodily]
        self.network.freeze(recipe.frozen)
        self.optimiser = adamw(
            ([one for one in body if one.requires_grad], recipe.body_rate),
            (heads, 1.0),
            learning_rate=recipe.learning_rate,
            weight_decay=recipe.weight_decay,
        )

    def epoch(
        self, progress: DetectorProgress, train: Stock, judge: Stock, folder: Path, workers: int
    ) -> DetectorProgress:
        """Trains one epoch, judges it and saves everything."""
        began = time.monotonic()
        heat, edges = self._train(progress.epoch, train, workers)
        line = DetectorEpoch(
            epoch=progress.epoch,
            heat_loss=heat,
            edge_loss=edges,
            score=score(self.average, judge, half=self.recipe.half) if self.recipe.judges(progress.epoch) else {},
            seconds=time.monotonic() - began,
        )
        scores = ", ".join(f"macro F1 {name} {value:.3f}" for name, value in line.score.items())
        tqdm.write(
            f"epoch {line.epoch}: heat {heat:.3f}, edges {edges:.3f}, {line.seconds:.0f} s {scores}",
            file=sys.stderr,
        )
        progress = DetectorProgress(recipe=progress.recipe, epoch=progress.epoch + 1, history=(*progress.history, line))
        save(self.average.state_dict(), folder / AVERAGE_FILE, {"recipe": json.dumps(self.recipe.as_json())})
        state = state_of(self.network, self.average, self.optimiser)
        save(state, folder / CHECKPOINT_FILE, {"progress": json.dumps(asdict(progress))})
        return progress

    def _train(self, epoch: int, train: Stock, workers: int) -> tuple[float, float]:
        recipe = self.recipe
        steps = recipe.samples // recipe.batch
        losses = []
        self.network.train()
        self.network.freeze(recipe.frozen)
        title = f"epoch {epoch} of {recipe.epochs}"
        batches = _batches(train, recipe, epoch=epoch, stride=self.network.stride, workers=workers)
        for step, batch in enumerate(tqdm(batches, total=steps, desc=title, leave=False, disable=None)):
            rate = rate_at(recipe.learning_rate, recipe.fallen(epoch + step / steps))
            for group in self.optimiser.param_groups:
                group["lr"] = rate * group["share"]
            pixels, heat, known, edges, weight, turns = (part.to(self.device) for part in batch)
            with torch.autocast(self.device.type, torch.bfloat16, enabled=recipe.half):
                logits, found, upright = self.network(pixels.permute(0, 3, 1, 2).float().div(255))
            taught = slice(self.network.taught)
            parts = heat_loss(logits, heat[:, taught], known[:, taught]), edge_loss(found, edges, weight)
            loss = parts[0] + recipe.edge_loss * parts[1]
            if upright is not None:
                loss = loss + recipe.turn_loss * turn_loss(upright, turns)
            self.optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), _LARGEST_GRADIENT)
            self.optimiser.step()
            follow(self.average, self.network, recipe.averaging)
            losses.append([one.item() for one in parts])
        means = np.mean(losses, axis=0) if losses else (math.nan, math.nan)
        return float(means[0]), float(means[1])

    def resume(self, path: Path) -> DetectorProgress:
        """Takes everything from a checkpoint, if there is one, and tells where the run stands."""
        if not path.exists():
            return DetectorProgress(recipe=self.recipe.digest)
        with safe_open(path, "pt") as file:
            facts = json.loads(file.metadata()["progress"])
        progress = DetectorProgress(**facts | {"history": tuple(DetectorEpoch(**line) for line in facts["history"])})
        if progress.recipe != self.recipe.digest:
            raise TrainingError(
                f"{path} belongs to recipe {progress.recipe}, not to {self.recipe.digest}: choose another folder"
            )
        restore(load_file(path), self.network, self.average, self.optimiser)
        return progress


def _batches(stock: Stock, recipe: DetectorRecipe, *, epoch: int, stride: int, workers: int) -> Iterator[Batch]:
    cv2.setNumThreads(0)  # the workers are forked, which OpenCV's own threads would not survive
    order = epoch_order(stock.groups, recipe.shares, samples=recipe.samples, seed=(recipe.seed, epoch))
    loader = DataLoader(
        _Epoch(stock, order, recipe, epoch=epoch, stride=stride),
        recipe.batch,
        num_workers=workers,
        drop_last=True,
        multiprocessing_context="fork" if workers else None,
    )
    yield from loader
