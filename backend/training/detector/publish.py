"""A finished run becomes a detector that serves: float16 ONNX, its config, the record of the run, and its card."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from backend.detection.model import ModelDetector
from backend.errors import TrainingError
from backend.geometry import as_boxes, coverage, iou
from backend.nets.config import MARKS, sha256_of
from backend.nets.detector import DetectorConfig, DetectorNetwork
from backend.nets.weights import DETECTOR_CONFIG_FILE, DETECTOR_WEIGHTS_FILE
from backend.registry.candidates import add_documents
from backend.training.detector.card import detector_card
from backend.training.detector.export import export_detector
from backend.training.detector.loop import AVERAGE_FILE, DetectorProgress
from backend.training.detector.network import DetectorNet
from backend.training.detector.recipe import DetectorRecipe
from backend.training.pagestore import LabelledPage, PageStore
from backend.training.publish import versions

__all__ = ["DETECTOR_CARD_FILE", "DETECTOR_RECORD_FILE", "Found", "publish_detector"]

DETECTOR_RECORD_FILE = "detector-training.json"
DETECTOR_CARD_FILE = "DETECTOR_CARD.md"
_IOUS = (0.5, 0.3)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Found:
    """How many marks of a class have a candidate of that class.

    Attributes:
        true: Marks.
        hit: Of them found, at each of IoU .5 and .3.
        best_f1: At IoU .5, with the best threshold of all for this class: what the detector could do by itself.
    """

    true: int
    hit: tuple[int, ...]
    best_f1: float


def publish_detector(
    run: Path, progress: DetectorProgress, recipe: DetectorRecipe, store: PageStore, out: Path
) -> list[str]:
    """Writes the detector and what belongs to it to `out`; gives what was measured on gold pages, a line a set.

    The documents that trained it are added to `documents.txt`, for the gate to ask.

    Raises:
        TrainingError: The run has no whole epoch.
    """
    if not progress.history:
        raise TrainingError(f"{run} has no whole epoch: let the training go on before publishing")
    out.mkdir(parents=True, exist_ok=True)
    network = DetectorNet(recipe.shape)
    network.load_state_dict(load_file(run / AVERAGE_FILE))
    weights = out / DETECTOR_WEIGHTS_FILE
    export_detector(network.eval(), weights)
    facts = {"recipe": recipe.digest, "licence": "Apache-2.0", "base": "random weights"}
    config = DetectorConfig(sha256=sha256_of(weights), provenance=facts)
    config.write(out / DETECTOR_CONFIG_FILE)
    add_documents(out, store.seen())
    detector = ModelDetector(DetectorNetwork(weights, config, threads=torch.get_num_threads()))
    pages = store.read()
    sets = {
        "Drawn pages": [page for page in pages if page.split == "gold" and page.domain == "drawn"],
        "Real pages with every mark boxed (`page_full`)": [
            page for page in pages if page.split == "gold" and page.source == "page_full"
        ],
    }
    measured = {title: _measure(detector, store, members) for title, members in sets.items() if members}
    seconds = sum(line.seconds for line in progress.history)
    record = {
        "recipe": recipe.as_json(),
        "versions": versions(),
        "pages": {
            f"{domain} {split}": sum(page.domain == domain and page.split == split for page in pages)
            for domain in ("drawn", "real")
            for split in ("train", "validation", "gold")
        },
        "seconds": round(seconds),
        "history": [dataclasses.asdict(line) for line in progress.history],
        "measured": {
            title: {name: dataclasses.asdict(one) for name, one in found.items()} for title, found in measured.items()
        },
    }
    (out / DETECTOR_RECORD_FILE).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    card = detector_card(
        megabytes=weights.stat().st_size / 1e6,
        sha256=config.sha256,
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        recipe=recipe,
        minutes=seconds / 60,
        pages=pages,
        measured={
            title: (len(sets[title]), {name: (one.true, one.hit, one.best_f1) for name, one in found.items()})
            for title, found in measured.items()
        },
    )
    (out / DETECTOR_CARD_FILE).write_text(card, encoding="utf-8")
    return [
        f"{title}: " + ", ".join(f"{name} {one.hit[0]} of {one.true}" for name, one in found.items())
        for title, found in measured.items()
    ]


def _measure(detector: ModelDetector, store: PageStore, pages: Sequence[LabelledPage]) -> dict[str, Found]:
    """What is found on pages of which every mark is known, by class."""
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
        name: Found(true=true[name], hit=tuple(map(int, hit[name])), best_f1=_best_f1(rows[name], true[name]))
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
