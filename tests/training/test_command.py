"""The command: its steps, and what it says when a step is not ready."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pytest

from backend.errors import TrainingError
from backend.nets.weights import BUNDLED
from backend.training.command import STEPS, add_arguments, run
from backend.training.crops import CropStore


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(words)


def test_by_default_all_steps_make_the_bundled_weights() -> None:
    args = parsed("--bundled-recipe")
    assert tuple(args.steps) == STEPS
    assert args.out == BUNDLED


def test_the_recipe_has_to_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parsed()
    assert "--bundled-recipe" in capsys.readouterr().err


def test_the_first_step_harvests_crops_into_the_work_folder(tmp_path: Path) -> None:
    words = (
        "--bundled-recipe",
        "--work",
        str(tmp_path),
        "--pages",
        "2",
        "--jobs",
        "2",
        "--threads",
        "1",
        "--steps",
        "crops",
    )
    assert run(parsed(*words)) == 0
    assert len({crop.document for crop in CropStore(tmp_path / "crops").read()}) == 2


def test_fitting_without_crops_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="harvest some first"):
        run(parsed("--bundled-recipe", "--work", str(tmp_path), "--threads", "1", "--steps", "fit"))


def test_publishing_before_fitting_says_what_to_do(tmp_path: Path) -> None:
    words = (
        "--bundled-recipe",
        "--work",
        str(tmp_path),
        "--out",
        str(tmp_path / "out"),
        "--threads",
        "1",
        "--steps",
        "publish",
    )
    with pytest.raises(TrainingError, match="let `fit` go on"):
        run(parsed(*words))


def test_without_the_extra_it_names_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "backend.training.bundled", raising=False)
    monkeypatch.delattr("backend.training.bundled", raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(TrainingError, match=r"training needs torch.*`train` extra"):
        run(parsed("--bundled-recipe", "--work", str(tmp_path)))
