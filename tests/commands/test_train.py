"""The command: its steps, and what it says when a step is not ready."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import pytest

from backend.commands.train import STEPS, add_arguments, run
from backend.errors import BadWeights, TrainingError
from backend.settings import Settings
from backend.training.bundled import within
from backend.training.crops import CropFolder
from backend.training.detector.detector_loop import DetectorProgress
from backend.training.detector.detector_recipe import DetectorRecipe
from backend.training.pagestore import LabelledPage, PageStore
from backend.vision.weights import BUNDLED
from tests.models.detectors import random_network, write_detector

SHORT = DetectorRecipe(epochs=3)


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(words)


def test_by_default_all_steps_make_the_bundled_weights() -> None:
    args = parsed("--bundled-recipe")
    assert tuple(args.steps) == STEPS == ("pages", "detector", "refiner", "crops", "classifier", "publish", "fusion")
    assert args.out == BUNDLED


def test_the_bundled_weights_are_made_only_when_they_are_asked_for() -> None:
    assert parsed("--bundled-recipe").bundled_recipe
    assert not parsed().bundled_recipe


def step(name: str, work: Path, *more: str) -> int:
    words = ("--bundled-recipe", "--work", str(work), "--out", str(work / "out"), "--threads", "1", "--steps", name)
    return run(parsed(*words, *more), Settings())


def test_the_first_steps_draw_pages_and_cut_crops_from_them_in_the_work_folder(tmp_path: Path) -> None:
    assert step("pages", tmp_path, "--pages", "2", "--jobs", "2") == 0
    pages = PageStore(tmp_path / "pages").read()
    assert len(pages) == 2
    write_detector(random_network(), tmp_path / "out", least_heat=0.3)
    assert step("crops", tmp_path) == 0
    crops = CropFolder(tmp_path / "crops").read()
    assert {crop.document for crop in crops} == {page.document for page in pages}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("detector", "no pages to train on"),
        ("classifier", "harvest some first"),
        ("publish", "go on before publishing"),
    ],
)
def test_a_step_whose_earlier_step_is_missing_says_what_to_do(name: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=reason):
        step(name, tmp_path)
    assert not (tmp_path / "out").exists()


def test_whole_numbers_are_made_of_the_networks_of_out_when_somebody_asks_for_them(tmp_path: Path) -> None:
    with pytest.raises(BadWeights, match=str(tmp_path / "out")):
        step("quantise", tmp_path, "--networks", "classifier")


def test_a_detector_begins_anew_or_goes_on_and_not_both(tmp_path: Path) -> None:
    args = parsed("--bundled-recipe", "--work", str(tmp_path), "--out", str(tmp_path), "--steps", "detector", "further")
    with pytest.raises(TrainingError, match="two ways of training one network"):
        run(args, Settings())
    with pytest.raises(TrainingError, match="no pages to train on"):
        step("further", tmp_path)


def test_real_pages_have_to_be_where_they_are_said_to_be(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"manifest\.json is no manifest"):
        step("pages", tmp_path, "--real", str(tmp_path / "nowhere"))


def test_what_learns_from_a_data_set_does_not_overwrite_the_bundled_weights(tmp_path: Path) -> None:
    words = ("--bundled-recipe", "--work", str(tmp_path), "--dataset", "leases", "--steps", "pages", "--pages", "1")
    with pytest.raises(TrainingError, match="does not overwrite the bundled weights: name another folder with --out"):
        run(parsed(*words), Settings())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["detector", "refiner", "publish"])
def test_nor_does_a_later_step_that_does_not_name_it(name: str, tmp_path: Path) -> None:
    page = LabelledPage(
        name="p",
        document="d",
        split="train",
        domain="real",
        source="dataset-leases",
        licence="private",
        dpi=None,
    )
    PageStore(tmp_path / "pages").add(page, np.full((40, 30, 3), 255, np.uint8))
    with pytest.raises(TrainingError, match="does not overwrite the bundled weights"):
        run(parsed("--bundled-recipe", "--work", str(tmp_path), "--threads", "1", "--steps", name), Settings())


@pytest.mark.parametrize("words", [("--steps", "fit"), ("--steps", "crops", "dance")])
def test_a_step_that_there_is_not_is_refused(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parsed("--bundled-recipe", *words)
    assert "invalid choice" in capsys.readouterr().err


def test_without_the_extra_it_names_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "backend.training.bundled", raising=False)
    monkeypatch.delattr("backend.training.bundled", raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(TrainingError, match=r"training needs torch.*`train` extra"):
        run(parsed("--bundled-recipe", "--work", str(tmp_path)), Settings())


def test_after_its_minutes_a_training_stops_at_the_end_of_an_epoch_and_goes_on_from_there_later() -> None:
    trained: list[int] = []

    def train_for(*, stop_after: int | None = None) -> DetectorProgress:
        trained.extend(range(len(trained), SHORT.epochs if stop_after is None else len(trained) + stop_after))
        return DetectorProgress(recipe=SHORT.digest, epoch=len(trained))

    assert within(0, train_for, SHORT).epoch == 0, "what is there is published as it is"
    assert within(60, train_for, SHORT).epoch == SHORT.epochs, "an hour is more than it needs"
    assert within(60, train_for, SHORT).epoch == SHORT.epochs
    assert trained == [0, 1, 2]
    trained.clear()
    assert within(None, train_for, SHORT).epoch == SHORT.epochs
