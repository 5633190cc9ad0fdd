"""A finished run becomes a refiner that serves: ONNX, its config, the record of the run, and its card."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import load_file

from backend.errors import TrainingError
from backend.geometry import iou
from backend.training.detector.scenes import load_stock
from backend.training.export import export_refiner
from backend.training.network_publishing import (
    EarlierNetwork,
    Publication,
    PublishedWeights,
    blended,
    publish_run,
    told_blend,
)
from backend.training.pagestore import PageStore
from backend.training.refiner.refiner_loop import AVERAGE_FILE, RefinerProgress, RefinerRecipe
from backend.training.refiner.refiner_network import RefinerNet
from backend.training.refiner.refiner_samples import jittered, overlapping_marks, whole_marks
from backend.training.training_record import versions
from backend.vision.box_refiner import BoxRefiner, RefinerConfig
from backend.vision.network_config import MARKS, sha256_of
from backend.vision.weights import REFINER_CONFIG_FILE, REFINER_WEIGHTS_FILE

__all__ = ["REFINER_CARD_FILE", "REFINER_RECORD_FILE", "publish_refiner"]

REFINER_RECORD_FILE = "refiner-training.json"
REFINER_CARD_FILE = "REFINER_CARD.md"
_AGAIN = 0.5
"""See `RefinerConfig`; chosen on validation pages, for signatures that are looked for from the box of a stamp."""
_TRUST = 0.2
"""See `RefinerConfig`; chosen on validation pages."""
_EACH = 4
"""Candidates of a mark that are measured."""

_HEAD = """# Bundled refiner

A small network that takes a second look at each candidate of the detector: it sees the box with what lies around it,
and says where the mark's edges are, and how likely it is that there is such a mark. It adds no candidate.

| | |
|---|---|
| file | `refiner.onnx`, {megabytes:.1f} MB, float16 kernels computed in float32; {parameters:.1f} M parameters |
| SHA-256 | `{sha256}` |
| input | a candidate and {margin:.0%} of its sides around it, {side} x {side} RGB, uint8, from the detector's input |
| outputs | for each class left, top, right and bottom edge, as shares of what is seen, and the chance of this box |
| licence | Apache-2.0; the sources of its real pages stand in `NOTICE` |

## How it was made

From {base} by recipe `{digest}`: {done} of its {epochs} epochs, {views} candidates on changed
windows of pages, in {minutes:.0f} minutes.{blend}
Half of the candidates are marks' boxes that were moved and resized by chance. They may also be the boxes of overlapping
marks of another class, changed in the same way. The others are what the detector proposes there, and places chosen by
lot: so it learns what is no mark. The pages are those of the detector. The recipe in full, the versions and every epoch
stand in `refiner-training.json`. What the chances are worth on whole pages stands in `docs/detector.md`, under "The
second look".

## Measured

On whole marks of pages of documents that training never saw, mean IoU with the true box:

| pages and marks | candidates | as they came, by chance | refined |
|---|--:|--:|--:|
"""
_LIMITS = """

## Limits

- It learns nothing from corrections.
- It sees what the detector sees, 75 dpi: thinner strokes than a pixel are lost.
- Thumbprints were learned from drawn pages.
"""


@dataclass(frozen=True, kw_only=True)
class _Fit:
    """How well candidates fit before and after: how many, and their mean IoU with the true boxes."""

    candidates: int
    before: float
    refined: float


def publish_refiner(
    run: Path,
    progress: RefinerProgress,
    recipe: RefinerRecipe,
    store: PageStore,
    out: Path,
    *,
    earlier: EarlierNetwork | None = None,
) -> list[str]:
    """Writes the refiner and what belongs to it to `out`; gives what was measured on gold pages, a line a set.

    Args:
        run: The folder of the run.
        progress: What the training gave.
        recipe: Of the run.
        store: Its pages.
        out: Made when missing.
        earlier: What it went on from; the recipe's `blend` says how much of that stays.

    Raises:
        TrainingError: The run has no whole epoch.
    """
    if not progress.history:
        raise TrainingError(f"{run} has no whole epoch: let the training go on before publishing")
    network = RefinerNet(recipe.side, recipe.shape)
    trained = load_file(run / AVERAGE_FILE)
    network.load_state_dict(trained if earlier is None else blended(earlier.weights, trained, recipe.blend))
    measured = publish_run(_Publication(network, progress, recipe, store, earlier), out)
    return [
        f"{title}: {one.candidates} candidates, mean IoU {one.before:.3f}, refined {one.refined:.3f}"
        for title, one in measured.items()
    ]


def _base(recipe: RefinerRecipe, earlier: EarlierNetwork | None) -> str:
    """What it began with, in words."""
    if earlier is None:
        return f"`{recipe.base}`" if recipe.base else "random weights"
    before, own = earlier.record, earlier.record["recipe"]
    done = len(before["history"])
    return (
        f"`{own['base']}`, which learnt on for {done} epochs, {done * own['samples'] * own['each']} candidates, "
        f"in {before['seconds'] / 60:.0f} minutes, and became\n`{recipe.base}`. From that one"
    )


class _Publication(Publication[_Fit]):
    """The refiner's own part of being published."""

    weights_file, record_file, card_file = REFINER_WEIGHTS_FILE, REFINER_RECORD_FILE, REFINER_CARD_FILE
    limits = _LIMITS

    def __init__(
        self,
        network: RefinerNet,
        progress: RefinerProgress,
        recipe: RefinerRecipe,
        store: PageStore,
        earlier: EarlierNetwork | None,
    ) -> None:
        self.progress = progress
        self._done, self._earlier = progress.epoch, earlier
        self._network, self._recipe, self._store = network.eval(), recipe, store

    def documents(self) -> Iterable[str]:
        return self._store.seen()

    def write(self, out: Path) -> None:
        weights = out / REFINER_WEIGHTS_FILE
        export_refiner(self._network, weights)
        facts = {"recipe": self._recipe.digest, "licence": "Apache-2.0", "base": self._recipe.base or "random weights"}
        RefinerConfig(
            sha256=sha256_of(weights),
            side=self._recipe.side,
            margin=self._recipe.margin,
            again=_AGAIN,
            trust=_TRUST,
            provenance=facts,
        ).write(out / REFINER_CONFIG_FILE)

    def measure(self, out: Path) -> dict[str, _Fit]:
        refiner = BoxRefiner.open(out)
        gold = [page for page in self._store.read() if page.split == "gold" and page.boxes]
        stock = load_stock(self._store, gold)
        rows: dict[str, list[tuple[float, float]]] = {}
        for number, (scene, group) in enumerate(zip(stock.scenes, stock.groups, strict=True)):
            rng = np.random.default_rng([self._recipe.seed, 3, number])
            marks = np.repeat(whole_marks(scene), _EACH)
            if not len(marks):
                continue
            boxes, labels, domain = scene.knowledge.boxes, scene.knowledge.labels, group.split("/")[0]
            pairs = [(mark, mark, "") for mark in marks] + [
                (mark, other, f" from the box of an overlapping {MARKS[labels[other]]}")
                for mark in whole_marks(scene)
                for other in overlapping_marks(scene, int(mark), margin=self._recipe.margin)
            ]
            came = np.stack([jittered(boxes[start], rng) for _, start, _ in pairs])
            own = np.array([mark for mark, _, _ in pairs])
            refined, _ = refiner(scene.pixels, came, labels[own])
            fits = zip(np.diagonal(iou(came, boxes[own])), np.diagonal(iou(refined, boxes[own])), strict=True)
            for (mark, _, how), fit in zip(pairs, fits, strict=True):
                rows.setdefault(f"{domain} {MARKS[labels[mark]]}{how}", []).append(fit)
        return {
            title: _Fit(
                candidates=len(fits),
                before=float(np.mean([before for before, _ in fits])),
                refined=float(np.mean([after for _, after in fits])),
            )
            for title, fits in sorted(rows.items())
        }

    def as_json(self, found: _Fit) -> Any:
        return dataclasses.asdict(found)

    def facts(self) -> dict[str, Any]:
        known = {} if self._earlier is None else {"earlier": self._earlier.record}
        return {"recipe": self._recipe.as_json(), "versions": versions()} | known

    def head(self, written: PublishedWeights) -> list[str]:
        recipe = self._recipe
        head = _HEAD.format(
            megabytes=written.megabytes,
            parameters=sum(parameter.numel() for parameter in self._network.parameters()) / 1e6,
            sha256=written.sha256,
            margin=recipe.margin,
            side=recipe.side,
            base=_base(recipe, self._earlier),
            digest=recipe.digest,
            done=self._done,
            epochs=recipe.epochs,
            views=self._done * recipe.samples * recipe.each,
            minutes=written.minutes,
            blend=told_blend(recipe.blend),
        )
        return [head.rstrip()]

    def table(self, title: str, found: _Fit) -> str:
        return f"| {title} | {found.candidates} | {found.before:.3f} | {found.refined:.3f} |"
