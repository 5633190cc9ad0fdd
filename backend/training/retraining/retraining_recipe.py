"""The recipe of a retraining: two stages from the base checkpoint, as in the original training; a file changes it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backend.errors import TrainingError
from backend.training.augment import Augmentation
from backend.training.classifier_recipe import Corrections, Recipe, Stage
from backend.training.detector.changes import Changes
from backend.training.detector.detector_recipe import DetectorRecipe

__all__ = ["RETRAINING", "RetrainingRecipe", "fit_to", "read_recipe"]


@dataclass(frozen=True, kw_only=True)
class RetrainingRecipe(Recipe):
    """How both networks of a candidate are made.

    Its `base` is what MODEL may be, or `imagenet`; empty, the weights at the root of those that serve.

    Attributes:
        detector: How annotators' pages teach the detector; None where it stays as it is.
    """

    detector: DetectorRecipe | None = None

    def as_json(self) -> dict[str, Any]:
        """The recipe as plain JSON; without a detector, as it was before there was any."""
        facts = super().as_json()
        del facts["detector"]
        return facts if self.detector is None else facts | {"detector": self.detector.as_json()}


RETRAINING = RetrainingRecipe(
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
    detector=DetectorRecipe(
        epochs=6,
        samples=960,
        shares={"drawn": 1.0},
        learning_rate=6e-4,
        frozen=2,
        body_rate=1.0,
        dropped=0.0,
        blend=0.9,
        averaging=0.98,
        half=False,
        # A step of the bundled network takes 2.7 GB and 1.5 s on two cores with such windows, and 11 GB and 15 s with
        # windows of 896 x 640 where nothing is frozen.
        changes=Changes(
            window=(448, 320),
            focus=0.5,
            turn=0.08,
            paste=0,
            zoom=1.16,
            stretch=0.08,
            tilt=1.2,
            camera=0,
            fax=0,
            grey=0.1,
            hue=0.1,
        ),
    ),
)
"""The head alone, then the whole net; `samples` are the crops of drawn pages that an epoch shows beside. The detector
goes on with pages, half of them drawn."""
_PARTS = ("corrections", "augmentation", "detector")


def fit_to(recipe: RetrainingRecipe, *, base: str, pool: int) -> RetrainingRecipe:
    """The recipe for weights that average their input over squares of `pool` pixels before anything else."""
    stages = tuple(dataclasses.replace(stage, size=stage.size // pool) for stage in recipe.stages)
    return dataclasses.replace(recipe, base=base, pool=pool, stages=stages)


def read_recipe(path: Path) -> RetrainingRecipe:
    """The recipe of a retraining with the fields that a JSON file names in the place of the defaults.

    Raises:
        TrainingError: The file cannot be read, or a field is unknown or out of range.
    """
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        return dataclasses.replace(RETRAINING, **_changes(facts))
    except OSError as error:
        raise TrainingError(f"{path} cannot be read as a recipe: {error.strerror}") from error
    except (ValueError, TypeError) as error:
        raise TrainingError(f"{path} is no recipe: {error}") from error


def _changes(facts: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(facts, Mapping):
        raise TypeError("it is no object with the recipe's fields")
    if "pool" in facts:
        raise ValueError("pool follows from the weights that are started from")
    if not isinstance(facts.get("base", ""), str):
        raise TypeError("base is no name of weights")
    if facts.get("base") == "auto":
        raise ValueError("base is auto: each training would go on from the last; name weights, or leave it out")
    changes = dict(facts)
    if "stages" in facts:
        changes["stages"] = tuple(Stage(**stage) for stage in facts["stages"])
    for name in [name for name in _PARTS if name in facts and not (name == "detector" and facts[name] is None)]:
        changes[name] = _changed(name, getattr(RETRAINING, name), facts[name])
    return changes


def _changed(name: str, part: Any, facts: Mapping[str, Any]) -> Any:
    """A part of the recipe with some of its fields replaced; a field that is a part itself keeps its other ones."""
    if not isinstance(facts, Mapping):
        raise TypeError(f"{name} is no object with fields to replace")
    if fixed := {"base", "shares", "shape"} & set(facts) & {one.name for one in dataclasses.fields(part)}:
        raise ValueError(f"the detector's {', '.join(sorted(fixed))} follow from what it goes on from, and the pages")
    changes = dict(facts)
    if "changes" in facts:
        changes["changes"] = _changed("changes", part.changes, facts["changes"])
    if "factors" in facts:
        changes["factors"] = {**part.factors, **facts["factors"]}
    return dataclasses.replace(part, **changes)
