"""A finished run becomes weights that serve: float16 ONNX, calibrated config, the record of the run, the model card."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torchvision.models import ResNet, resnet18

from backend.errors import TrainingError
from backend.evaluation.closed_set import Evaluation, evaluate, softmax
from backend.nets.config import CLASSES, MARKS, NONE, ClassifierConfig, sha256_of
from backend.nets.network import Network
from backend.nets.weights import CONFIG_FILE, WEIGHTS_FILE
from backend.registry.candidates import add_documents
from backend.training.card import model_card
from backend.training.crops import Crop, CropStore
from backend.training.evaluation import fit_temperature
from backend.training.export import export_classifier
from backend.training.loop import BEST_FILE, Progress
from backend.training.recipe import Recipe
from backend.training.served import logits_of_crops, truth_of_crops

__all__ = ["CARD_FILE", "NONE_SHARE", "RECORD_FILE", "publish", "versions"]

RECORD_FILE = "training.json"
CARD_FILE = "MODEL_CARD.md"
NONE_SHARE = 0.6
"""Share of `none` among what the network proposes: between the .35 of drawn pages and the .80 of real ones, none of
them gold. Training shows less of it, so that the marks are learned; the head's bias is moved to the share of serving
(Saerens et al., 2002). The rules on ink propose more of it, .85; a retraining of a few pages moved that far calls too
many marks none."""
_PACKAGES = ("torch", "torchvision", "numpy", "opencv-python-headless", "onnx", "onnxruntime")


def publish(
    run: Path, progress: Progress, recipe: Recipe, store: CropStore, out: Path, *, command: str
) -> dict[str, Evaluation]:
    """Writes `classifier.onnx`, `classifier.json`, `training.json`, `MODEL_CARD.md` to `out`; gives what was measured.

    The documents that trained and tuned it are added to `documents.txt`, for the gate to ask.

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
        raise TrainingError(f"{run} has no epoch of the last stage: let the training go on before publishing")
    out.mkdir(parents=True, exist_ok=True)
    weights = out / WEIGHTS_FILE
    network = resnet18(num_classes=len(CLASSES))
    network.load_state_dict(load_file(run / BEST_FILE))
    crops, data = store.read(), store.checksum()
    add_documents(out, {crop.document for crop in crops if crop.split != "gold"})
    engine = _written(network, weights, recipe)
    temperature = _temperature(engine, store, [crop for crop in crops if crop.split == "validation"])
    with torch.no_grad():
        network.fc.bias[NONE] += _prior_shift(recipe) * temperature
    engine = _written(network, weights, recipe)
    checksum = engine.config.sha256
    facts = {"recipe": recipe.digest, "data": data, "licence": "Apache-2.0", "base": recipe.base}
    ClassifierConfig(sha256=checksum, temperature=temperature, provenance=facts).write(out / CONFIG_FILE)
    measured = _measure(engine, store, crops, temperature)
    seconds = sum(line.seconds for line in progress.history)
    record = {
        "recipe": recipe.as_json(),
        "data": {"sha256": data, "crops": len(crops), "documents": len({crop.document for crop in crops})},
        "versions": versions(),
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
        "none_share": NONE_SHARE,
        "command": command,
        "base": "random weights" if recipe.base == "scratch" else f"`{recipe.base}`",
        "recipe": recipe.digest,
        "stages": ", then ".join(f"{stage.epochs} epochs at {stage.size} px" for stage in recipe.stages),
        "minutes": seconds / 60,
        "data": data,
    }
    (out / CARD_FILE).write_text(model_card(card, crops, measured), encoding="utf-8")
    return measured


def versions() -> dict[str, str]:
    """Of the packages that decide what comes out."""
    return {name: version(name) for name in _PACKAGES}


def _written(network: ResNet, weights: Path, recipe: Recipe) -> Network:
    export_classifier(network, weights, half=True, pool=recipe.pool)
    return Network(weights, ClassifierConfig(sha256=sha256_of(weights)), threads=torch.get_num_threads())


def _prior_shift(recipe: Recipe) -> float:
    """What the log odds of `none` gain when its share goes from that of the last stage to that of serving."""
    shares = recipe.stages[-1].shares or recipe.shares
    trained = sum(share for name, share in shares.items() if name.endswith("/none")) / sum(shares.values())
    return math.log(NONE_SHARE / (1 - NONE_SHARE)) - math.log(trained / (1 - trained))


def _temperature(engine: Network, store: CropStore, crops: Sequence[Crop]) -> float:
    return fit_temperature(logits_of_crops(engine, store, crops), truth_of_crops(crops))


def _measure(engine: Network, store: CropStore, crops: Iterable[Crop], temperature: float) -> dict[str, Evaluation]:
    """Evaluations on gold documents by domain, of marks alone, and on the subset that the benchmark uses too."""
    gold = [crop for crop in crops if crop.split == "gold"]
    sets = {
        "Drawn documents": [crop for crop in gold if crop.domain == "drawn"],
        "Real documents": [crop for crop in gold if crop.domain == "real"],
        "Real pages with every mark boxed (`page_full`)": [crop for crop in gold if crop.source == "page_full"],
    }
    found = {}
    for title, members in sets.items():
        if members:
            logits = logits_of_crops(engine, store, members)
            found[title] = _report(logits, members, CLASSES, temperature)
            marks = np.array([crop.label != "none" for crop in members])
            if marks.any():
                alone = [crop for crop in members if crop.label != "none"]
                found[f"{title}: marks alone"] = _report(logits[marks][:, : len(MARKS)], alone, MARKS, temperature)
    return found


def _report(
    logits: NDArray[np.float32], crops: Sequence[Crop], classes: Sequence[str], temperature: float
) -> Evaluation:
    documents = [crop.document for crop in crops]
    return evaluate(softmax(logits, temperature), truth_of_crops(crops), classes, documents=documents)
