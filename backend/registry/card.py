"""The model card of a pushed model, from what its shared record says; and the two figures that stand for a model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from backend.nets.config import CLASSES
from backend.registry.record import Record, Verdict

__all__ = ["card", "gain", "macro_f1", "measured"]

_GAIN = "macro F1 gain"
"""The gate's name for the check that tells it."""
_TRIAL = ("documents", "pages", "marks", "end_to_end")
"""Parts of its figures that are about the model alone, named as in `evaluate`'s JSON."""

_HEAD = """---
license: apache-2.0
library_name: onnx
pipeline_tag: image-classification
tags:
- document-analysis
- signature-detection
- label-studio
---

# Signatures, stamps and thumbprints on scanned contracts

Model `{name}`, published {published}. It tells {classes} on crops of scanned pages, and serves in a Label Studio ML
backend: `python -m backend models pull <this repository>` publishes it there as a candidate.

| file | SHA-256 |
|---|---|
{files}

No page, no crop and nothing about the people who signed or annotated is part of this repository.
"""
_LIMITS = """
## Limits

- The figures are of the documents of whoever trained it; they were not measured on yours. Evaluate before you promote.
- The probabilities say what a mark is, not whose it is, nor whether it is genuine.
"""


def card(record: Mapping[str, Any]) -> str:
    """The card as Markdown with the Hub's metadata on top.

    Args:
        record: What is shared of the record: numbers, hashes and names of ours.
    """
    files = "\n".join(f"| `{name}` | `{checksum}` |" for name, checksum in record["files"].items())
    names = ", ".join(f"`{name}`" for name in CLASSES)
    head = _HEAD.format(name=record["name"], published=record["published"], classes=names, files=files)
    rows = [
        ("macro F1 on crops (closed set)", _estimate(macro_f1(record["metrics"], "closed_set"))),
        ("macro F1 on pages at IoU .5 (end to end)", _estimate(macro_f1(record["metrics"], "end_to_end"))),
        ("trained on data with SHA-256", f"`{record['dataset']}`" if record["dataset"] else ""),
        ("gate", "" if record["gate"] is None else "passed" if record["gate"]["passed"] else "refused"),
    ]
    told = [f"| {name} | {value} |" for name, value in rows if value]
    measured = ["", "## Measured", "", "| | |", "|---|---|", *told, ""] if told else []
    recipe = ["", "## Recipe", "", "```json", json.dumps(record["recipe"], indent=1), "```", ""]
    return head + "\n".join(measured) + "\n".join(recipe if record["recipe"] else []) + _LIMITS


def macro_f1(metrics: Mapping[str, Any], what: str) -> Mapping[str, float] | None:
    """Macro F1 as `value`, `low` and `high`; None where it was not measured.

    Args:
        metrics: Of a record; in the shape of `evaluate`'s JSON.
        what: `closed_set`, or `end_to_end` for that at IoU .5.
    """
    found: Any = metrics.get(what)
    for key in ("0.5",) * (what == "end_to_end") + ("macro", "f1"):
        found = found.get(key) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) and isinstance(found.get("value"), int | float) else None


def measured(record: Record | None, verdict: Verdict | None) -> dict[str, Any]:
    """Figures of a model: those it was published with, and those of the gate's trial on whole pages.

    Of a model of our own the former count where there are both; of one from the Hub the latter, for others measured the
    former on other pages.

    Args:
        record: The model's; None where it has none.
        verdict: The gate's; None where it was not asked.
    """
    tried = verdict.figures if verdict is not None else {}
    trial = {name: tried[name] for name in _TRIAL if name in tried}
    known = dict(record.metrics) if record else {}
    return known | trial if record and record.source.startswith("huggingface:") else trial | known


def gain(verdict: Verdict | None) -> float | None:
    """What the gate found a model to gain in macro F1 on pages, over the one that served then; None where it did not.

    Args:
        verdict: The gate's; its figures hold `checks`, as its JSON has them.
    """
    checks = verdict.figures.get("checks", ()) if verdict is not None else ()
    return next((check["figure"] for check in checks if check["name"] == _GAIN), None)


def _estimate(found: Mapping[str, float] | None) -> str:
    if found is None:
        return ""
    interval = f" ({found['low']:.3f} to {found['high']:.3f})" if {"low", "high"} <= found.keys() else ""
    return f"{found['value']:.3f}{interval}"
