"""A trained classifier becomes weights that serve: calibrated on validation documents, measured on gold ones."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torchvision.models import ResNet, resnet18

from backend.errors import TrainingError
from backend.evaluation.rates import (
    ORIGINAL_ACCURACY,
    ORIGINAL_MACRO_F1,
    Evaluation,
    evaluate,
    fit_temperature,
    softmax,
)
from backend.training.batches import Crops
from backend.training.classifier_loop import BEST_FILE, ClassifierProgress
from backend.training.classifier_recipe import Recipe
from backend.training.crops import SPLITS, Crop, CropFolder, box_within, truth_of_crops
from backend.training.export import export_classifier
from backend.training.network_publishing import Publication, PublishedWeights, publish_run
from backend.training.training_record import versions
from backend.vision.classifier import network_input
from backend.vision.engine import Network
from backend.vision.network_config import CLASSES, MARKS, NONE, ClassifierConfig, sha256_of
from backend.vision.weights import CONFIG_FILE, WEIGHTS_FILE

__all__ = [
    "CARD_FILE",
    "NONE_SHARE",
    "RECORD_FILE",
    "logits_of_crops",
    "none_shift",
    "publish",
    "trained_network",
    "write_classifier",
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
_BATCH = 64
RECORD_FILE = "training.json"
CARD_FILE = "MODEL_CARD.md"
NONE_SHARE = 0.6
"""The share of `none` that serving expects. It lies between what the network proposes on drawn pages, .35, and on real
ones, .80 (none of them gold). Training shows less of it, so that the marks are learned. Publishing then moves the
head's bias to this share (Saerens et al., 2002). The rules on ink propose more of it, .85. Moved that far, a model
retrained on a few pages calls too many marks none."""


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


def logits_of_crops(engine: Network, store: Crops, crops: Sequence[Crop]) -> NDArray[np.float32]:
    """The served network's outputs (N, C) for the boxes of `crops`, prepared as they are when serving."""
    outputs = [np.zeros((0, len(engine.config.classes)), np.float32)]
    for start in range(0, len(crops), _BATCH):
        pixels = [store.image(crop) for crop in crops[start : start + _BATCH]]
        outputs.append(engine.run(np.concatenate([network_input(one, box_within(one)) for one in pixels]))[0])
    return np.concatenate(outputs)


def trained_network(run: Path, progress: ClassifierProgress, recipe: Recipe) -> ResNet:
    """The best weights of the run that `fit` wrote to a folder.

    Raises:
        TrainingError: The run has not finished an epoch at the resolution that serves.
    """
    serving = len(recipe.stages) - 1
    if not any(line.stage == serving for line in progress.history):
        raise TrainingError(f"{run} has no epoch of the last stage: let the training go on before publishing")
    network = resnet18(num_classes=len(CLASSES))
    network.load_state_dict(load_file(run / BEST_FILE))
    return network


def write_classifier(network: ResNet, out: Path, recipe: Recipe) -> Network:
    """Writes a network to `out` as it serves, and opens what was written."""
    export_classifier(network, out / WEIGHTS_FILE, half=True, pool=recipe.pool)
    config = ClassifierConfig(sha256=sha256_of(out / WEIGHTS_FILE))
    return Network(out / WEIGHTS_FILE, config, threads=torch.get_num_threads())


def none_shift(trained: float) -> float:
    """What the log odds of `none` gain when its share goes from `trained` to that of serving."""
    return math.log(NONE_SHARE / (1 - NONE_SHARE)) - math.log(trained / (1 - trained))


def publish(
    run: Path, progress: ClassifierProgress, recipe: Recipe, store: CropFolder, out: Path, *, command: str
) -> dict[str, Evaluation]:
    """Writes `classifier.onnx`, `classifier.json`, `training.json`, `MODEL_CARD.md` to `out`; gives what was measured.

    The temperature is fitted on validation documents. The figures are of gold documents, drawn and real ones apart.

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
    network = trained_network(run, progress, recipe)
    return publish_run(_Publication(network, progress, recipe, store, command=command), out)


class _Publication(Publication[Evaluation]):
    """The classifier's own part of being published."""

    weights_file, record_file, card_file, limits = WEIGHTS_FILE, RECORD_FILE, CARD_FILE, _LIMITS

    def __init__(
        self, network: ResNet, progress: ClassifierProgress, recipe: Recipe, store: CropFolder, *, command: str
    ) -> None:
        self.progress = progress
        self._network = network
        self._recipe = recipe
        self._store = store
        self._command = command
        self._crops, self._data = store.read(), store.checksum()

    def documents(self) -> set[str]:
        return {crop.document for crop in self._crops if crop.split != "gold"}

    def write(self, out: Path) -> None:
        judges = [crop for crop in self._crops if crop.split == "validation"]
        logits = logits_of_crops(write_classifier(self._network, out, self._recipe), self._store, judges)
        temperature = fit_temperature(logits, truth_of_crops(judges))
        with torch.no_grad():
            self._network.fc.bias[NONE] += none_shift(_share_of_none(self._recipe)) * temperature
        engine = write_classifier(self._network, out, self._recipe)
        facts = {
            "recipe": self._recipe.digest,
            "data": self._data,
            "licence": "Apache-2.0",
            "base": self._recipe.base,
        }
        config = ClassifierConfig(sha256=engine.config.sha256, temperature=temperature, provenance=facts)
        config.write(out / CONFIG_FILE)

    def measure(self, out: Path) -> dict[str, Evaluation]:
        """On gold documents by domain, of marks alone, and on the subset that the benchmark uses too."""
        config = ClassifierConfig.read(out / CONFIG_FILE)
        engine = Network(out / WEIGHTS_FILE, config, threads=torch.get_num_threads())
        gold = [crop for crop in self._crops if crop.split == "gold"]
        sets = {
            "Drawn documents": [crop for crop in gold if crop.domain == "drawn"],
            "Real documents": [crop for crop in gold if crop.domain == "real"],
            "Real pages with every mark boxed (`page_full`)": [crop for crop in gold if crop.source == "page_full"],
        }
        found = {}
        for title, members in sets.items():
            if members:
                logits = logits_of_crops(engine, self._store, members)
                found[title] = _report(logits, members, CLASSES, config.temperature)
                marks = np.array([crop.label != "none" for crop in members])
                if marks.any():
                    alone = [crop for crop in members if crop.label != "none"]
                    of_marks = _report(logits[marks][:, : len(MARKS)], alone, MARKS, config.temperature)
                    found[f"{title}: marks alone"] = of_marks
        return found

    def as_json(self, found: Evaluation) -> Any:
        return found.as_json()

    def facts(self) -> dict[str, Any]:
        documents = {crop.document for crop in self._crops}
        return {
            "recipe": self._recipe.as_json(),
            "data": {"sha256": self._data, "crops": len(self._crops), "documents": len(documents)},
            "versions": versions(),
        }

    def head(self, written: PublishedWeights) -> list[str]:
        recipe = self._recipe
        head = _HEAD.format(
            megabytes=written.megabytes,
            sha256=written.sha256,
            classes=", ".join(f"`{name}`" for name in CLASSES),
            pooling=f"; its first step averages {recipe.pool} x {recipe.pool} pixels" if recipe.pool > 1 else "",
            temperature=ClassifierConfig.read(written.folder / CONFIG_FILE).temperature,
            none_share=NONE_SHARE,
            command=self._command,
            base="random weights" if recipe.base == "scratch" else f"`{recipe.base}`",
            recipe=recipe.digest,
            stages=", then ".join(f"{stage.epochs} epochs at {stage.size} px" for stage in recipe.stages),
            minutes=written.minutes,
            data=self._data,
        )
        return [head, _data(self._crops), _MEASURED]

    def table(self, title: str, found: Evaluation) -> str:
        return _table(title, found)


def _share_of_none(recipe: Recipe) -> float:
    """The part of the last stage's crops that are `none`."""
    shares = recipe.stages[-1].shares or recipe.shares
    return sum(share for name, share in shares.items() if name.endswith("/none")) / sum(shares.values())


def _report(
    logits: NDArray[np.float32], crops: Sequence[Crop], classes: Sequence[str], temperature: float
) -> Evaluation:
    documents = [crop.document for crop in crops]
    return evaluate(softmax(logits, temperature), truth_of_crops(crops), classes, documents=documents)
