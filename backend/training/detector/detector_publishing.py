"""A trained detector becomes weights that serve, measured by itself on gold pages."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from backend.errors import TrainingError
from backend.geometry import as_boxes, coverage, iou
from backend.training.convert import LITE0_FILE, LITE0_SHA256
from backend.training.crops import SPLITS
from backend.training.detector.detector_loop import AVERAGE_FILE, DetectorProgress
from backend.training.detector.detector_network import DetectorNet
from backend.training.detector.detector_recipe import BUNDLED_DETECTOR, DetectorRecipe, build_network
from backend.training.export import export_detector
from backend.training.network_publishing import (
    EarlierNetwork,
    Publication,
    PublishedWeights,
    blended,
    publish_run,
    told_blend,
)
from backend.training.pagestore import LabelledPage, PageStore
from backend.training.training_record import versions
from backend.vision.engine import PIXEL_MM, DetectorConfig, DetectorNetwork
from backend.vision.network_config import MARKS, sha256_of
from backend.vision.network_detector import ModelDetector
from backend.vision.weights import DETECTOR_CONFIG_FILE, DETECTOR_WEIGHTS_FILE

__all__ = [
    "DETECTOR_CARD_FILE",
    "DETECTOR_RECORD_FILE",
    "ClassRecall",
    "publish_detector",
]

_HEAD = """# Bundled detector

A small network with a feature pyramid that finds signatures, stamps and thumbprints on whole pages, whatever the colour
of their ink. It proposes; the classifier names each crop and may say `none`.

| | |
|---|---|
| file | `detector.onnx`, {megabytes:.1f} MB, float16 kernels computed in float32; {parameters:.1f} M parameters |
| SHA-256 | `{sha256}` |
| input | RGB page at {pixel_mm:.3f} mm a pixel ({dpi:.0f} dpi), sides padded to multiples of 32, uint8 |
| outputs | at every {stride}th pixel a heat for each of {classes}, and the distances to the edges of a box of each |
| licence | Apache-2.0; the sources of its real pages stand in `NOTICE` |

## How it was made

From {base} by recipe `{digest}`: {done} of its {epochs} epochs, {views} windows of pages,
in {minutes:.0f} minutes{restarts}.{blend}
What came in after the first epoch, where something did, stands in `docs/detector.md`, under "The network".
Windows are changed each time as scanners, cameras and pens change pages (never mirrored, never cut together), and
single real marks are printed onto them, also over each other. It also learns what only looks like a mark: other
handwriting, logos and print. Of pages on which only stamps are boxed, nothing is learned beyond those boxes; what lies
in them is no signature. A run that is stopped goes on where it was. The recipe in full, the versions and every epoch
stand in `detector-training.json`.

| pages | {splits} |
|---|--:|--:|--:|
{rows}

## Measured

By itself, on pages of documents that training never saw: marks that have a candidate of their class, and the F1 that
the best threshold for the class would give. These are its own boxes, to which the refiner (`REFINER_CARD.md`) has not
given their edges. What the networks do together is in `docs/figures.md`.
"""
_LIMITS = """
## Limits

- Two thumbprints are on the real pages: thumbs were learned from drawn ones.
- The real signatures are Latin, Cyrillic, Indian and Chinese, the real stamps Indian, Russian, German, Chinese; Arabic
  ones were drawn.
- A mark below some 3 mm is two cells at this resolution: it may be missed, and its box is coarse.
- Few photographs of pages were among what it learned from.
"""

DETECTOR_RECORD_FILE = "detector-training.json"
DETECTOR_CARD_FILE = "DETECTOR_CARD.md"
_IOUS = (0.5, 0.3)
_MOST = 40
"""Marks of one class on a page at most: an attendance sheet has two dozen."""
_LEAST_HEAT = 0.15
_LEAST_TURN = 0.9
_BOX_REACH = 0.15
"""The cells that learn a mark's edges reach about as far (`targets.py`)."""


_IMAGENET = f"EfficientNet-Lite0's weights on ImageNet (`{LITE0_FILE}`, Apache-2.0,\nSHA-256 `{LITE0_SHA256}`)"


def _base(recipe: DetectorRecipe, earlier: EarlierNetwork | None) -> str:
    """What it began with, in words; weights from outside with their whole checksum."""
    if recipe.base == BUNDLED_DETECTOR.base:
        return _IMAGENET
    if earlier is None:
        return recipe.base or "random weights"
    before = earlier.record
    done, views = len(before["history"]), len(before["history"]) * before["recipe"]["samples"]
    begun = _IMAGENET if before["recipe"].get("base") == BUNDLED_DETECTOR.base else before["recipe"].get("base", "")
    minutes = before["seconds"] / 60
    return (
        f"{begun}. These learnt for {done} epochs, {views} windows of pages, in {minutes:.0f} minutes, and became\n"
        f"`{recipe.base}`. From that one"
    )


def _restarts(recipe: DetectorRecipe, done: int) -> str:
    passed = [epoch for epoch in recipe.restarts if epoch < done]
    if not passed:
        return ""
    return f"; the learning rate started at its top again after epoch {' and '.join(map(str, passed))}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassRecall:
    """How many marks of a class have a candidate of that class.

    Attributes:
        true: Marks.
        hit: Of them found, at each of IoU .5 and .3.
        best_f1: At IoU .5, with the best threshold of all for this class: what the detector could do by itself.
    """

    true: int
    hit: tuple[int, ...]
    best_f1: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class _SetRecall:
    """What was found on a set of pages, by class."""

    pages: int
    classes: Mapping[str, ClassRecall]


def publish_detector(
    run: Path,
    progress: DetectorProgress,
    recipe: DetectorRecipe,
    store: PageStore,
    out: Path,
    *,
    earlier: EarlierNetwork | None = None,
) -> list[str]:
    """Writes the detector and what belongs to it to `out`; gives what was measured on gold pages, a line a set.

    Args:
        run: Folder of the training.
        progress: Where it stands.
        recipe: By which it learnt.
        store: Of the pages.
        out: Where the detector goes.
        earlier: What it went on from; the recipe's `blend` says how much of that stays.

    Raises:
        TrainingError: The run has no whole epoch.
    """
    if not progress.history:
        raise TrainingError(f"{run} has no whole epoch: let the training go on before publishing")
    network = build_network(recipe.shape)
    trained = load_file(run / AVERAGE_FILE)
    network.load_state_dict(trained if earlier is None else blended(earlier.weights, trained, recipe.blend))
    measured = publish_run(_Publication(network, progress, recipe, store, earlier), out)
    return [
        f"{title}: " + ", ".join(f"{name} {one.hit[0]} of {one.true}" for name, one in found.classes.items())
        for title, found in measured.items()
    ]


class _Publication(Publication[_SetRecall]):
    """The detector's own part of being published."""

    weights_file, record_file, card_file = DETECTOR_WEIGHTS_FILE, DETECTOR_RECORD_FILE, DETECTOR_CARD_FILE
    limits = _LIMITS

    def __init__(
        self,
        network: DetectorNet,
        progress: DetectorProgress,
        recipe: DetectorRecipe,
        store: PageStore,
        earlier: EarlierNetwork | None,
    ) -> None:
        self.progress = progress
        self._done = progress.epoch
        self._network = network
        self._recipe = recipe
        self._earlier = earlier
        self._store = store
        self._pages = store.read()

    def documents(self) -> Iterable[str]:
        return self._store.seen()

    def write(self, out: Path) -> None:
        weights = out / DETECTOR_WEIGHTS_FILE
        export_detector(self._network.eval(), weights)
        base = self._recipe.base or "random weights"
        config = DetectorConfig(
            sha256=sha256_of(weights),
            stride=self._network.stride,
            most=_MOST,
            least_heat=_LEAST_HEAT,
            least_turn=_LEAST_TURN if self._network.tells_turns else None,
            box_reach=_BOX_REACH,
            refined=True,
            provenance={"recipe": self._recipe.digest, "licence": "Apache-2.0", "base": base},
        )
        config.write(out / DETECTOR_CONFIG_FILE)

    def measure(self, out: Path) -> dict[str, _SetRecall]:
        config = DetectorConfig.read(out / DETECTOR_CONFIG_FILE)
        detector = ModelDetector(DetectorNetwork(out / DETECTOR_WEIGHTS_FILE, config, threads=torch.get_num_threads()))
        gold = [page for page in self._pages if page.split == "gold"]
        sets = {
            "Drawn pages": [page for page in gold if page.domain == "drawn"],
            "Real pages with every mark boxed (`page_full`)": [page for page in gold if page.source == "page_full"],
        }
        return {
            title: _SetRecall(pages=len(members), classes=_measure(detector, self._store, members))
            for title, members in sets.items()
            if members
        }

    def as_json(self, found: _SetRecall) -> Any:
        return {name: dataclasses.asdict(one) for name, one in found.classes.items()}

    def facts(self) -> dict[str, Any]:
        counts = Counter(f"{page.domain} {page.split}" for page in self._pages)
        return {
            "recipe": self._recipe.as_json(),
            "versions": versions(),
            "pages": {
                f"{domain} {split}": counts[f"{domain} {split}"] for domain in ("drawn", "real") for split in SPLITS
            },
        } | ({} if self._earlier is None else {"earlier": self._earlier.record})

    def head(self, written: PublishedWeights) -> list[str]:
        counts = Counter((page.source, page.split) for page in self._pages)
        rows = [
            f"| {source} | " + " | ".join(str(counts[source, split]) for split in SPLITS) + " |"
            for source in sorted({page.source for page in self._pages})
        ]
        head = _HEAD.format(
            megabytes=written.megabytes,
            sha256=written.sha256,
            parameters=sum(parameter.numel() for parameter in self._network.parameters()) / 1e6,
            base=_base(self._recipe, self._earlier),
            stride=self._network.stride,
            classes=", ".join(f"`{name}`" for name in MARKS),
            pixel_mm=PIXEL_MM,
            dpi=25.4 / PIXEL_MM,
            digest=self._recipe.digest,
            done=self._done,
            epochs=self._recipe.epochs,
            views=self._done * self._recipe.samples,
            minutes=written.minutes,
            restarts=_restarts(self._recipe, self._done),
            blend=told_blend(self._recipe.blend),
            splits=" | ".join(SPLITS),
            rows="\n".join(rows),
        )
        return [head]

    def table(self, title: str, found: _SetRecall) -> str:
        lines = [
            f"### {title}",
            "",
            f"{found.pages} pages.",
            "",
            "| | marks | found, IoU .5 | found, IoU .3 | best F1, IoU .5 |",
            "|---|--:|--:|--:|--:|",
        ]
        for name, one in found.classes.items():
            shares = " | ".join(f"{hit / one.true:.3f}" for hit in one.hit)
            lines.append(f"| {name} | {one.true} | {shares} | {one.best_f1:.3f} |")
        return "\n".join(lines) + "\n"


def _measure(detector: ModelDetector, store: PageStore, pages: Sequence[LabelledPage]) -> dict[str, ClassRecall]:
    """Figures by class, on pages whose marks are all known."""
    rows: dict[str, list[tuple[float, bool]]] = {name: [] for name in MARKS}
    true = dict.fromkeys(MARKS, 0)
    hit = {name: np.zeros(len(_IOUS), int) for name in MARKS}
    for page in pages:
        candidates = detector(store.pixels(page), page.dpi)
        ignored = coverage(candidates.boxes, as_boxes(page.ignored)).max(axis=1, initial=0) >= _IOUS[0]
        for label, name in enumerate(MARKS):
            marks = as_boxes([box for box, of in zip(page.boxes, page.labels, strict=True) if of == name])
            own = candidates.heat[:, label] > 0
            overlap = iou(candidates.boxes[own], marks)
            true[name] += len(marks)
            hits = _paired(overlap)
            for place, bar in enumerate(_IOUS):
                hit[name][place] += int((overlap >= bar).any(axis=0).sum())
            heat = candidates.heat[own, label]
            rows[name] += [
                (float(score), bool(good))
                for score, good, doubtful in zip(heat, hits, ignored[own], strict=True)
                if good or not doubtful
            ]
    return {
        name: ClassRecall(true=true[name], hit=tuple(map(int, hit[name])), best_f1=_best_f1(rows[name], true[name]))
        for name in MARKS
        if true[name]
    }


def _paired(overlap: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which candidates, best first, are the first to hit a mark at IoU .5."""
    taken, hits = np.zeros(overlap.shape[1], bool), np.zeros(len(overlap), bool)
    for row, values in enumerate(overlap):
        free = np.where(taken, 0, values)
        if free.max(initial=0) >= _IOUS[0]:
            taken[int(free.argmax())] = hits[row] = True
    return hits


def _best_f1(rows: Sequence[tuple[float, bool]], true: int) -> float:
    """The highest F1 that a threshold on the scores gives."""
    good = np.array([hit for _, hit in sorted(rows, key=lambda row: -row[0])], float)
    shown = np.arange(1, len(good) + 1)
    return float((2 * good.cumsum() / (shown + true)).max(initial=0.0))
