"""The `train` extra: whether this program can retrain where it runs."""

from __future__ import annotations

import importlib.util
from collections.abc import Collection

from backend.doctor.findings import Checked, doubtful, well

__all__ = ["TRAINING_MODULES", "check_training"]

NAME = "training"
TRAINING_MODULES = (
    "torch",
    "torchvision",
    "onnx",
    "onnxscript",
    "safetensors",
    "faster_coco_eval",
    "arabic_reshaper",
    "bidi",
)
"""What the `train` extra brings."""


def check_training(retrain_after: int, *, modules: Collection[str] = TRAINING_MODULES) -> Checked[bool]:
    """Whether the modules that a training needs are installed.

    Args:
        retrain_after: The setting: whether trainings are to start by themselves.
        modules: Names of the modules.
    """
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if not missing:
        return well(NAME, "the `train` extra is installed", value=True)
    if not retrain_after:
        return well(NAME, "the `train` extra is not installed, and RETRAIN_AFTER=0 asks for none", value=False)
    return doubtful(
        NAME,
        f"no training can start here: {', '.join(missing)} are missing",
        remedy="pip install --require-hashes -r requirements.txt; or RETRAIN_AFTER=0 where another machine trains",
        value=False,
    )
