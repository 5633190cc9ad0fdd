"""The model card beside the bundled weights: what they are, how they were made, how good they are, their limits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from backend.evaluation.closed_set import SEED_ACCURACY, SEED_MACRO_F1, Evaluation
from backend.nets.config import CLASSES
from backend.training.crops import SPLITS, Crop

__all__ = ["model_card"]

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
the crops that are marks, told apart among the three classes as in the seed's card, which says {SEED_ACCURACY}
(accuracy) and {SEED_MACRO_F1} (macro F1) of its own documents. The other sets have what the detector proposes and is no
mark, too."""
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
