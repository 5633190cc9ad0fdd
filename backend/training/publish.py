"""A finished run becomes weights that serve: float16 ONNX, calibrated config, the record of the run, the model card."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torchvision.models import resnet18

from backend.classification.preprocessing import network_input
from backend.errors import TrainingError
from backend.geometry import as_boxes
from backend.nets.config import CLASSES, MARKS, ClassifierConfig, sha256_of
from backend.nets.network import Network
from backend.nets.weights import CONFIG_FILE, WEIGHTS_FILE
from backend.training.card import model_card
from backend.training.crops import MARGIN, Crop, CropStore
from backend.training.evaluation import Evaluation, best_threshold, evaluate, fit_temperature, softmax
from backend.training.export import export_classifier
from backend.training.loop import BEST_FILE, Progress
from backend.training.recipe import Recipe

__all__ = ["CARD_FILE", "RECORD_FILE", "publish"]

RECORD_FILE = "training.json"
CARD_FILE = "MODEL_CARD.md"
_PACKAGES = ("torch", "torchvision", "numpy", "opencv-python-headless", "onnx", "onnxruntime")
_BATCH = 64


def publish(
    run: Path, progress: Progress, recipe: Recipe, store: CropStore, out: Path, *, command: str
) -> dict[str, Evaluation]:
    """Writes `classifier.onnx`, `classifier.json`, `training.json`, `MODEL_CARD.md` to `out`; gives what was measured.

    Everything is measured on the file that is written, run by the engine that serves: the temperature on validation
    documents, the figures on gold documents, drawn and real ones apart.

    Args:
        run: The folder that `fit` wrote.
        progress: What `fit` gave.
        recipe: What was followed.
        store: The crops.
        out: Made when missing.
        command: The command line that makes these weights again.

    Raises:
        TrainingError: The run has not finished an epoch at the resolution that serves.
    """
    serving = len(recipe.stages) - 1
    if not any(line.stage == serving for line in progress.history):
        raise TrainingError(f"{run} has no epoch of the last stage: let `fit` go on before publishing")
    out.mkdir(parents=True, exist_ok=True)
    weights = out / WEIGHTS_FILE
    network = resnet18(num_classes=len(CLASSES))
    network.load_state_dict(load_file(run / BEST_FILE))
    export_classifier(network, weights, half=True, pool=recipe.pool)
    checksum = sha256_of(weights)
    crops, data = store.read(), store.checksum()
    facts = {"recipe": recipe.digest, "data": data, "licence": "Apache-2.0", "base": recipe.base}
    engine = Network(weights, ClassifierConfig(sha256=checksum), threads=torch.get_num_threads())
    temperature, thresholds = _calibrated(engine, store, [crop for crop in crops if crop.split == "validation"])
    config = ClassifierConfig(sha256=checksum, temperature=temperature, thresholds=thresholds, provenance=facts)
    config.write(out / CONFIG_FILE)
    measured = _measure(engine, store, crops, temperature)
    seconds = sum(line.seconds for line in progress.history)
    record = {
        "recipe": recipe.as_json(),
        "data": {"sha256": data, "crops": len(crops), "documents": len({crop.document for crop in crops})},
        "versions": {name: version(name) for name in _PACKAGES},
        "seconds": round(seconds),
        "history": [dataclasses.asdict(line) for line in progress.history],
        "measured": {title: report.as_json() for title, report in measured.items()},
    }
    (out / RECORD_FILE).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    card = {
        "megabytes": weights.stat().st_size / 1e6,
        "sha256": checksum,
        "pooling": f"; its first step averages {recipe.pool} x {recipe.pool} pixels" if recipe.pool > 1 else "",
        "temperature": temperature,
        "thresholds": ", ".join(f"{name} {value:.3f}" for name, value in zip(MARKS, config.thresholds, strict=True)),
        "command": command,
        "base": "random weights" if recipe.base == "scratch" else f"`{recipe.base}`",
        "recipe": recipe.digest,
        "stages": ", then ".join(f"{stage.epochs} epochs at {stage.size} px" for stage in recipe.stages),
        "minutes": seconds / 60,
        "data": data,
    }
    (out / CARD_FILE).write_text(model_card(card, crops, measured), encoding="utf-8")
    return measured


def _calibrated(engine: Network, store: CropStore, crops: Sequence[Crop]) -> tuple[float, tuple[float, ...]]:
    """The temperature, and for each mark the lowest probability that should count, to three digits."""
    logits, truth = _logits(engine, store, crops), _truth(crops)
    temperature = fit_temperature(logits, truth)
    probabilities = softmax(logits, temperature)
    said = probabilities.argmax(axis=1)
    thresholds = (
        best_threshold(
            probabilities[said == mark, mark],
            truth[said == mark] == mark,
            misses=int(np.count_nonzero((truth == mark) & (said != mark))),
        )
        for mark in range(len(MARKS))
    )
    return temperature, tuple(round(threshold, 3) for threshold in thresholds)


def _measure(engine: Network, store: CropStore, crops: Iterable[Crop], temperature: float) -> dict[str, Evaluation]:
    """Evaluations on gold documents by domain, and by itself on the subset that the benchmark uses too."""
    gold = [crop for crop in crops if crop.split == "gold"]
    sets = {
        "Drawn documents": [crop for crop in gold if crop.domain == "drawn"],
        "Real documents": [crop for crop in gold if crop.domain == "real"],
        "Real pages with every mark boxed (`page_full`)": [crop for crop in gold if crop.source == "page_full"],
    }
    return {
        title: evaluate(softmax(_logits(engine, store, members), temperature), _truth(members), CLASSES)
        for title, members in sets.items()
        if members
    }


def _truth(crops: Sequence[Crop]) -> NDArray[np.int64]:
    return np.array([CLASSES.index(crop.label) for crop in crops])


def _logits(engine: Network, store: CropStore, crops: Sequence[Crop]) -> NDArray[np.float32]:
    """The served network's outputs (N, C) for the boxes of `crops`, prepared as they are when serving."""
    outputs = []
    for start in range(0, len(crops), _BATCH):
        batch = [_served(store.image(crop)) for crop in crops[start : start + _BATCH]]
        outputs.append(engine.run(np.concatenate(batch))[0])
    return np.concatenate(outputs)


def _served(crop: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The box of a stored crop as network input, (1, 3, 224, 224)."""
    height, width = crop.shape[:2]
    margin = np.array([width, height, -width, -height]) * MARGIN / (1 + 2 * MARGIN)
    return network_input(crop, as_boxes(np.array([0, 0, width, height]) + margin))
