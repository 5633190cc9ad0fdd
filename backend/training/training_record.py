"""The record of a training of either network: the digest of its recipe, versions of packages, and its epochs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from backend.training.training_loop import RunProgress
from backend.files import write_private

__all__ = ["digest_of", "seconds_of", "versions", "write_record"]

_PACKAGES = ("torch", "torchvision", "numpy", "opencv-python-headless", "onnx", "onnxruntime")


def digest_of(recipe: Mapping[str, Any]) -> str:
    """Twelve hexadecimal digits that change exactly when the recipe does; in any order of its fields."""
    return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:12]


def versions() -> dict[str, str]:
    """Of the packages that decide what comes out."""
    return {name: version(name) for name in _PACKAGES}


def seconds_of(progress: RunProgress) -> float:
    """How long all epochs of a training took together."""
    return sum(line.seconds for line in progress.history)


def write_record(path: Path, progress: RunProgress, **facts: Any) -> None:
    """Writes the record of a training: what is to be known of it, then every epoch."""
    record = facts | {"history": [asdict(line) for line in progress.history]}  # type: ignore[call-overload]
    write_private(path, json.dumps(record, indent=1) + "\n")
