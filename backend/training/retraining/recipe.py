"""The recipe of a retraining: two stages from the base checkpoint, as the seed did; a file may change it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from backend.errors import TrainingError
from backend.training.augment import Augmentation
from backend.training.recipe import Corrections, Recipe, Stage

__all__ = ["RETRAINING", "fit_to", "read_recipe"]

RETRAINING = Recipe(
    base="",
    stages=(
        Stage(size=224, epochs=3, learning_rate=2e-3, head_only=True),
        Stage(size=224, epochs=10, learning_rate=3e-4),
    ),
    samples=1600,
    shares={"drawn/signature": 0.24, "drawn/stamp": 0.24, "drawn/thumb": 0.2, "drawn/none": 0.32},
    averaging=0.98,
    patience=3,
    augmentation=Augmentation(overlap=0.2),
    corrections=Corrections(),
)
"""The head alone, then the whole net; `samples` are the crops of drawn pages that an epoch shows beside."""
_PARTS: Mapping[str, type] = {"corrections": Corrections, "augmentation": Augmentation}


def fit_to(recipe: Recipe, *, base: str, pool: int) -> Recipe:
    """The recipe for weights that average their input over squares of `pool` pixels before anything else."""
    stages = tuple(dataclasses.replace(stage, size=stage.size // pool) for stage in recipe.stages)
    return dataclasses.replace(recipe, base=base, pool=pool, stages=stages)


def read_recipe(path: Path) -> Recipe:
    """The recipe of a retraining with the fields that a JSON file names in the place of the defaults.

    Raises:
        TrainingError: The file cannot be read, or a field is unknown or out of range.
    """
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        return dataclasses.replace(RETRAINING, **_changes(facts))
    except (OSError, ValueError, TypeError) as error:
        raise TrainingError(f"{path} is no recipe: {error}") from error


def _changes(facts: dict[str, Any]) -> dict[str, Any]:
    if fixed := {"base", "pool"} & set(facts):
        raise ValueError(f"{', '.join(sorted(fixed))} follow from the weights that are started from")
    changes = dict(facts)
    if "stages" in facts:
        changes["stages"] = tuple(Stage(**stage) for stage in facts["stages"])
    for name in _PARTS.keys() & facts.keys():
        changes[name] = dataclasses.replace(getattr(RETRAINING, name), **facts[name])
    return changes
