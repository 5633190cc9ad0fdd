"""A finished run becomes weights that serve: float16 ONNX, calibrated config, the record of the run, the model card.

The model card beside the bundled weights: what they are, how they were made, how good they are, their limits.

The temperature that makes a network's probabilities honest.

What a network says of stored crops, prepared as they are when serving.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torchvision.models import ResNet, resnet18

from backend.errors import TrainingError
from backend.evaluation.rates import ORIGINAL_ACCURACY, ORIGINAL_MACRO_F1, Evaluation, evaluate, softmax
from backend.geometry import Boxes, as_boxes
from backend.models.publishing import add_documents
from backend.training.batches import Crops
from backend.training.classifier_loop import BEST_FILE, Progress
from backend.training.classifier_recipe import Recipe
from backend.training.crops import MARGIN, SPLITS, Crop, CropFolder
from backend.training.export import export_classifier
from backend.training.training_record import seconds_of, versions, write_record
from backend.vision.classifier import network_input
from backend.vision.engine import Network
from backend.vision.network_config import CLASSES, MARKS, NONE, ClassifierConfig, sha256_of
from backend.vision.weights import CONFIG_FILE, WEIGHTS_FILE

__all__ = [
    "CARD_FILE",
    "NONE_SHARE",
    "RECORD_FILE",
    "box_within",
    "fit_temperature",
    "likelihood",
    "logits_of_crops",
    "model_card",
    "publish",
    "truth_of_crops",
]

_HEAD = """# Bundled classifier

A ResNet18 that calls a crop of a scanned page a signature, a stamp, a thumbprint or none of these. It serves where no
better weights are at hand, and says `none` for three-class weights, which cannot.

| | |
|---|---|
| file | `classifier.onnx`, {megabytes:.1f} MB, float16 weights computed in float32 |
| SHA-256 | `{sha256}` |
| input | RGB crop resized to 224 x 224 (Pillow bilinear), [0, 1], not normalised{pooling} |
| outputs | `logits` over {classes}; `embedding` (512) |
| temperature | {temperature:.3f}, fitted on validation documents |
| prior | the bias of `none` is set for {none_share:.0%} of `none` among what detection proposes |
| licence | Apache-2.0; the sources of its real crops stand in `NOTICE` |

## How it was made

```
{command}
```

From {base}, by recipe `{recipe}` ({stages}), in {minutes:.0f} minutes on two cores;
crops with SHA-256 `{data}`. A run that is stopped goes on where it was.
The recipe in full, the versions and every epoch stand in `training.json`.
"""
_MEASURED = f"""## Measured

On crops of documents that training never saw; in brackets 95 % intervals over resampled documents. *Marks alone* are
the crops that are marks, told apart among the three classes as in the original model card, which says
{ORIGINAL_ACCURACY} (accuracy) and {ORIGINAL_MACRO_F1} (macro F1) of its own documents. The other sets have what the
detector proposes and is no mark, too."""
_LIMITS = """

## Limits

- Nobody's thumbprint is in the real crops: thumbs were learned from drawn ones alone, and how well they are told on
  real paper was not measured.
- The real signatures are Latin and Chinese, the real stamps Indian, Russian, German, Chinese; Arabic ones were drawn.
- It judges a box, it does not find one: a mark that detection does not propose is never seen. A tight box around part
  of a mark may be taken for a whole one.
- Handwriting that is no signature (dates, names filled in) and coats of arms are the mistakes to expect.
- The probabilities are calibrated on crops; they say nothing about whose signature it is, or whether it is genuine.
"""
_LOWEST, _HIGHEST = 0.05, 20.0
_GOLDEN = (np.sqrt(5) - 1) / 2
_BATCH = 64
RECORD_FILE = "training.json"
CARD_FILE = "MODEL_CARD.md"
NONE_SHARE = 0.6
"""Share of `none` among what the network proposes: between the .35 of drawn pages and the .80 of real ones, none of
them gold. Training shows less of it, so that the marks are learned; the head's bias is moved to the share of serving
(Saerens et al., 2002). The rules on ink propose more of it, .85; a retraining of a few pages moved that far calls too
many marks none."""


def model_card(facts: Mapping[str, Any], crops: Sequence[Crop], measured: Mapping[str, Evaluation]) -> str:
    """The card as Markdown.

    Args:
        facts: The placeholders of its head.
        crops: All crops of the training data.
        measured: Evaluations by what they were measured on.
    """
    head = _HEAD.format(classes=", ".join(f"`{name}`" for name in CLASSES), **facts)
    parts = [head, _data(crops), _MEASURED]
    parts += [_table(title, report) for title, report in measured.items()]
    return "\n".join(parts) + _LIMITS


def _data(crops: Sequence[Crop]) -> str:
    """The crops by source, side and class, and the licences."""
    counts = Counter((crop.source, crop.split, crop.label) for crop in crops)
    licences = {crop.source: crop.licence for crop in crops}
    lines = [
        "## Data",
        "",
        "`none` is what the detector itself proposed on pages whose marks are all known. Documents are split by the",
        "hash of their name; no image of a real page is part of this repository.",
        "",
        "| source | licence | side | " + " | ".join(CLASSES) + " |",
        "|---|---|---|" + "--:|" * len(CLASSES),
    ]
    for source in sorted(licences):
        names = sorted({crop.licence.split(" (")[0].split(" License")[0] for crop in crops if crop.source == source})
        for split in SPLITS:
            row = [counts[source, split, label] for label in CLASSES]
            if sum(row):
                lines.append(f"| {source} | {', '.join(names)} | {split} | " + " | ".join(map(str, row)) + " |")
    return "\n".join(lines) + "\n"


def _table(title: str, report: Evaluation) -> str:
    lines = [
        "",
        f"### {title}",
        "",
        f"{report.count} crops: accuracy {report.accuracy:.3f}{_interval(report.accuracy_interval)}, "
        f"macro F1 {report.macro_f1:.3f}{_interval(report.macro_f1_interval)}, "
        f"expected calibration error {report.calibration_error:.3f}.",
        "",
        "| | precision | recall | F1 | crops | called " + " | called ".join(report.classes) + " |",
        "|---|" + "--:|" * (4 + len(report.classes)),
    ]
    for row, name in enumerate(report.classes):
        score = report.classes[name]
        if score.support or any(line[row] for line in report.confusion):
            called = " | ".join(str(count) for count in report.confusion[row])
            lines.append(
                f"| {name} | {score.precision:.3f} | {score.recall:.3f} | {score.f1:.3f} | {score.support} | {called} |"
            )
    return "\n".join(lines)


def _interval(bounds: tuple[float, float] | None) -> str:
    return f" [{bounds[0]:.3f}, {bounds[1]:.3f}]" if bounds else ""


def likelihood(logits: NDArray[np.floating], truth: NDArray[np.integer], temperature: float = 1.0) -> float:
    """Mean negative log-likelihood of the truth (nats); lower is better."""
    chosen = softmax(logits, temperature)[np.arange(len(truth)), truth]
    return float(-np.log(np.maximum(chosen, np.finfo(np.float64).tiny)).mean())


def fit_temperature(logits: NDArray[np.floating], truth: NDArray[np.integer], steps: int = 60) -> float:
    """The temperature in [0.05, 20] with the lowest negative log-likelihood, by golden-section search on a log scale.

    The likelihood has one minimum, since it is convex in 1 / temperature.
    """
    low, high = np.log(_LOWEST), np.log(_HIGHEST)
    for _ in range(steps):
        left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
        if likelihood(logits, truth, float(np.exp(left))) <= likelihood(logits, truth, float(np.exp(right))):
            high = right
        else:
            low = left
    return float(np.exp((low + high) / 2))


def box_within(crop: NDArray[np.uint8]) -> Boxes:
    """The box of a stored crop within its pixels, (1, 4)."""
    height, width = crop.shape[:2]
    margin = np.array([width, height, -width, -height]) * MARGIN / (1 + 2 * MARGIN)
    return as_boxes(np.array([0, 0, width, height]) + margin)


def logits_of_crops(engine: Network, store: Crops, crops: Sequence[Crop]) -> NDArray[np.float32]:
    """The served network's outputs (N, C) for the boxes of `crops`, prepared as they are when serving."""
    outputs = [np.zeros((0, len(engine.config.classes)), np.float32)]
    for start in range(0, len(crops), _BATCH):
        pixels = [store.image(crop) for crop in crops[start : start + _BATCH]]
        outputs.append(engine.run(np.concatenate([network_input(one, box_within(one)) for one in pixels]))[0])
    return np.concatenate(outputs)


def truth_of_crops(crops: Sequence[Crop]) -> NDArray[np.int64]:
    """Indices into `CLASSES`, (N,)."""
    return np.array([CLASSES.index(crop.label) for crop in crops], np.int64)


def publish(
    run: Path, progress: Progress, recipe: Recipe, store: CropFolder, out: Path, *, command: str
) -> dict[str, Evaluation]:
    """Writes `classifier.onnx`, `classifier.json`, `training.json`, `MODEL_CARD.md` to `out`; gives what was measured.

    The documents that trained and tuned it are added to `documents.txt`, for the gate to ask.

    Everything is measured on the file that is written, run by the engine that serves. The temperature is fitted on
    validation documents. The figures are of gold documents, drawn and real ones apart.

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
    seconds = seconds_of(progress)
    write_record(
        out / RECORD_FILE,
        progress,
        recipe=recipe.as_json(),
        data={"sha256": data, "crops": len(crops), "documents": len({crop.document for crop in crops})},
        versions=versions(),
        seconds=round(seconds),
        measured={title: report.as_json() for title, report in measured.items()},
    )
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


def _written(network: ResNet, weights: Path, recipe: Recipe) -> Network:
    export_classifier(network, weights, half=True, pool=recipe.pool)
    return Network(weights, ClassifierConfig(sha256=sha256_of(weights)), threads=torch.get_num_threads())


def _prior_shift(recipe: Recipe) -> float:
    """What the log odds of `none` gain when its share goes from that of the last stage to that of serving."""
    shares = recipe.stages[-1].shares or recipe.shares
    trained = sum(share for name, share in shares.items() if name.endswith("/none")) / sum(shares.values())
    return math.log(NONE_SHARE / (1 - NONE_SHARE)) - math.log(trained / (1 - trained))


def _temperature(engine: Network, store: CropFolder, crops: Sequence[Crop]) -> float:
    return fit_temperature(logits_of_crops(engine, store, crops), truth_of_crops(crops))


def _measure(engine: Network, store: CropFolder, crops: Iterable[Crop], temperature: float) -> dict[str, Evaluation]:
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
