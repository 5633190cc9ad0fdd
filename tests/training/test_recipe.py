"""Recipes are values with a name of their own."""

from __future__ import annotations

import dataclasses
import json

import pytest

from backend.training.classifier_recipe import BUNDLED, Recipe, Stage
from backend.training.retraining.retraining_recipe import RETRAINING


def test_the_digest_follows_every_field() -> None:
    changed = [
        dataclasses.replace(BUNDLED, seed=2),
        dataclasses.replace(BUNDLED, shares={"drawn/none": 1.0}),
        dataclasses.replace(BUNDLED, stages=BUNDLED.stages * 2),
        dataclasses.replace(BUNDLED, augmentation=dataclasses.replace(BUNDLED.augmentation, jpeg=0.1)),
    ]
    assert len({recipe.digest for recipe in (BUNDLED, *changed)}) == 5
    assert dataclasses.replace(BUNDLED).digest == BUNDLED.digest


def test_without_overlaps_a_recipe_is_called_as_before_there_were_any() -> None:
    assert "overlap" not in BUNDLED.as_json()["augmentation"]
    over = dataclasses.replace(BUNDLED, augmentation=dataclasses.replace(BUNDLED.augmentation, overlap=0.1))
    assert over.as_json()["augmentation"]["overlap"] == 0.1
    assert over.digest != BUNDLED.digest


def test_retraining_learns_marks_on_marks() -> None:
    assert RETRAINING.augmentation.overlap > 0


def test_a_recipe_is_plain_json() -> None:
    assert json.loads(json.dumps(BUNDLED.as_json()))["stages"][-1]["size"] == 112


def test_the_bundled_recipe_trains_at_the_resolution_that_it_serves_and_largely_on_real_crops() -> None:
    assert BUNDLED.stages[-1].size * BUNDLED.pool == 224
    real = sum(share for name, share in BUNDLED.shares.items() if name.startswith("real/"))
    assert 0.35 <= real / sum(BUNDLED.shares.values()) <= 0.45


@pytest.mark.parametrize("field", [{"stages": ()}, {"label_smoothing": 0.2}])
def test_what_makes_no_sense_is_refused(field: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"stage|label_smoothing"):
        Recipe(**({"stages": (Stage(size=64, epochs=1, learning_rate=0.1),)} | field))  # type: ignore[arg-type]
