"""The detector's loop: it learns, an interruption changes nothing, and a checkpoint stays with its recipe."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from backend.errors import TrainingError
from backend.training.detector.changes import Changes
from backend.training.detector.detector_loop import AVERAGE_FILE, CHECKPOINT_FILE, fit_detector
from backend.training.detector.detector_recipe import DetectorRecipe, Shape, build_network
from backend.training.detector.scenes import Stock
from tests.models.detectors import TINY, TINY_LITE
from tests.training.detector.conftest import STILL, plain_scene
from tests.training.torchrun import run_both

RECIPE = DetectorRecipe(
    shape=TINY,
    frozen=0,
    body_rate=1.0,
    epochs=3,
    samples=4,
    batch=2,
    shares={"drawn": 1.0},
    learning_rate=5e-3,
    averaging=0.5,
    changes=Changes(window=(128, 96)),
)
TRAIN = Stock(
    tuple(plain_scene([("stamp", (60.0 * place, 200.0, 60.0 * place + 80, 280.0))]) for place in range(4)),
    ("drawn",) * 4,
)
JUDGE = Stock(TRAIN.scenes[:1], ("drawn",))
ALIKE = Stock(TRAIN.scenes[:1] * 4, ("drawn",) * 4)


def same(first: Path, second: Path) -> bool:
    one, other = load_file(first), load_file(second)
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    progress = fit_detector(RECIPE, TRAIN, JUDGE, folder)
    assert [line.epoch for line in progress.history] == [0, 1, 2]
    assert all(0 <= line.score["drawn"] <= 1 for line in progress.history)
    return folder


@pytest.mark.parametrize("stops", [(1,), (1, 1)])
def test_a_run_that_was_stopped_ends_with_the_same_weights(stops: tuple[int, ...], whole: Path, tmp_path: Path) -> None:
    for epochs in stops:
        fit_detector(RECIPE, TRAIN, JUDGE, tmp_path, stop_after=epochs)
        assert not same(tmp_path / CHECKPOINT_FILE, whole / CHECKPOINT_FILE)
    progress = fit_detector(RECIPE, TRAIN, JUDGE, tmp_path)
    assert len(progress.history) == 3
    assert same(tmp_path / CHECKPOINT_FILE, whole / CHECKPOINT_FILE)
    assert same(tmp_path / AVERAGE_FILE, whole / AVERAGE_FILE)


def test_blocks_that_are_left_out_by_chance_are_the_same_after_a_stop(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    recipe = dataclasses.replace(RECIPE, shape=TINY_LITE, dropped=0.5)
    fit_detector(recipe, TRAIN, JUDGE, tmp_path / "whole")
    fit_detector(recipe, TRAIN, JUDGE, tmp_path / "cut", stop_after=1)
    torch.rand(5)  # another process begins anywhere
    fit_detector(recipe, TRAIN, JUDGE, tmp_path / "cut")
    assert same(tmp_path / "cut" / CHECKPOINT_FILE, tmp_path / "whole" / CHECKPOINT_FILE)


def test_a_checkpoint_that_does_not_say_what_was_drawn_by_chance_is_gone_on_from(whole: Path, tmp_path: Path) -> None:
    fit_detector(RECIPE, TRAIN, JUDGE, tmp_path, stop_after=2)
    path = tmp_path / CHECKPOINT_FILE
    with safe_open(path, "pt") as file:
        facts = file.metadata()
    save_file({name: value for name, value in load_file(path).items() if not name.startswith("random.")}, path, facts)
    progress = fit_detector(RECIPE, TRAIN, JUDGE, tmp_path)
    assert len(progress.history) == 3
    assert same(tmp_path / AVERAGE_FILE, whole / AVERAGE_FILE)


def _train(recipe: DetectorRecipe, folder: Path, environment: dict[str, str]) -> None:
    os.environ.update(environment)
    torch.set_num_threads(1)
    try:
        fit_detector(recipe, ALIKE, JUDGE, folder)
    except TrainingError as error:
        (folder / f"refused-{environment['RANK']}").write_text(str(error))
        sys.exit(2)


def test_two_processes_take_the_step_of_one(tmp_path: Path) -> None:
    # Of pages that are alike, both parts of a batch have the same marks and the same statistics.
    recipe = dataclasses.replace(RECIPE, changes=STILL, epochs=1, samples=2)
    torch.set_num_threads(1)
    alone = fit_detector(recipe, ALIKE, JUDGE, tmp_path / "one")
    assert run_both(_train, recipe, tmp_path / "two") == [0, 0]
    with safe_open(tmp_path / "two" / CHECKPOINT_FILE, "pt") as file:
        [line] = json.loads(file.metadata()["progress"])["history"]
    assert line["heat_loss"] == pytest.approx(alone.history[0].heat_loss, rel=1e-3)
    one, other = (load_file(tmp_path / name / CHECKPOINT_FILE) for name in ("one", "two"))
    assert one.keys() == other.keys()
    names = [name for name in one if name.endswith(".exp_avg")]
    steps = [torch.cat([tensors[name].flatten() for name in names]) for tensors in (one, other)]
    # BatchNorm divides by hardly anything on white paper, so that the last bits of the sums show.
    assert torch.cosine_similarity(steps[0], steps[1], dim=0) > 0.99
    assert steps[0].norm().item() == pytest.approx(steps[1].norm().item(), rel=0.02)


def test_a_batch_that_cannot_be_divided_is_refused(tmp_path: Path) -> None:
    assert run_both(_train, dataclasses.replace(RECIPE, batch=3), tmp_path) == [2, 2]
    told = "a batch of 3 pages cannot be divided among 2 processes"
    assert all(told in (tmp_path / f"refused-{rank}").read_text() for rank in (0, 1))


def test_more_processes_that_change_pages_change_nothing(whole: Path, tmp_path: Path) -> None:
    fit_detector(RECIPE, TRAIN, JUDGE, tmp_path, workers=1)
    assert same(tmp_path / CHECKPOINT_FILE, whole / CHECKPOINT_FILE)


def test_a_run_with_a_base_goes_on_from_its_weights(whole: Path, tmp_path: Path) -> None:
    base = load_file(whole / AVERAGE_FILE)
    gentle = dataclasses.replace(RECIPE, base="x@cafe", epochs=1, learning_rate=1e-9, weight_decay=0.0, averaging=0.999)
    assert gentle.digest != dataclasses.replace(gentle, base="").digest
    fit_detector(gentle, TRAIN, JUDGE, tmp_path, base=base)
    found = load_file(tmp_path / AVERAGE_FILE)
    for name, values in base.items():
        if name.endswith("weight"):
            torch.testing.assert_close(found[name], values, atol=1e-5, rtol=0)


def test_without_a_base_a_recipe_is_called_as_before_there_were_any() -> None:
    assert not {"base", "blend"} & RECIPE.as_json().keys()


@pytest.mark.parametrize("part", [0.0, 1.5])
def test_a_blend_is_of_both(part: float) -> None:
    with pytest.raises(ValueError, match=f"blend is {part}"):
        dataclasses.replace(RECIPE, blend=part)


def test_a_finished_run_does_nothing_more(whole: Path) -> None:
    before = (whole / CHECKPOINT_FILE).stat().st_mtime_ns
    progress = fit_detector(RECIPE, TRAIN, JUDGE, whole)
    assert len(progress.history) == 3
    assert (whole / CHECKPOINT_FILE).stat().st_mtime_ns == before


@pytest.mark.parametrize(
    "other",
    [
        dataclasses.replace(RECIPE, seed=2),
        dataclasses.replace(RECIPE, changes=dataclasses.replace(RECIPE.changes, paste=0.4)),
        dataclasses.replace(RECIPE, shape=dataclasses.replace(TINY, pyramid=4)),
    ],
    ids=["seed", "changes", "shape"],
)
def test_another_recipe_does_not_go_on_from_a_checkpoint(other: DetectorRecipe, whole: Path) -> None:
    with pytest.raises(TrainingError, match="choose another folder"):
        fit_detector(other, TRAIN, JUDGE, whole)


def test_the_average_is_a_whole_network_and_names_its_recipe(whole: Path) -> None:
    build_network(TINY).load_state_dict(load_file(whole / AVERAGE_FILE))
    with safe_open(whole / AVERAGE_FILE, "pt") as file:
        assert json.loads(file.metadata()["recipe"]) == json.loads(json.dumps(RECIPE.as_json()))


def test_a_restart_begins_as_the_shorter_run_did(whole: Path, tmp_path: Path) -> None:
    longer = dataclasses.replace(RECIPE, epochs=5, restarts=(3,))
    assert longer.digest != RECIPE.digest
    fit_detector(longer, TRAIN, JUDGE, tmp_path, stop_after=3)
    assert same(tmp_path / AVERAGE_FILE, whole / AVERAGE_FILE)


def test_the_learning_rate_falls_anew_from_each_restart() -> None:
    recipe = dataclasses.replace(RECIPE, epochs=8, restarts=(4, 6))
    assert [recipe.fallen(epoch) for epoch in (0, 3, 4, 5, 6, 7.5)] == [0, 0.75, 0, 0.5, 0, 0.75]


@pytest.mark.parametrize("restarts", [(0,), (3,), (4,), (2, 1), (1, 1)])
def test_restarts_rise_and_lie_within(restarts: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="must rise"):
        dataclasses.replace(RECIPE, restarts=restarts)


def test_only_some_epochs_are_judged_and_the_last_one_always(tmp_path: Path) -> None:
    progress = fit_detector(dataclasses.replace(RECIPE, judged=2), TRAIN, JUDGE, tmp_path)
    assert [bool(line.score) for line in progress.history] == [False, True, True]


def test_what_is_frozen_is_what_it_was(whole: Path, tmp_path: Path) -> None:
    base = load_file(whole / AVERAGE_FILE)
    fit_detector(dataclasses.replace(RECIPE, base="x@cafe", frozen=2, epochs=1), TRAIN, JUDGE, tmp_path, base=base)
    found = load_file(tmp_path / AVERAGE_FILE)
    same = {name for name, values in base.items() if torch.equal(found[name], values)}
    assert {name for name in base if name.startswith(("stem.", "levels.1."))} <= same
    assert "levels.2.0.0.weight" not in same


@pytest.mark.parametrize("shape", [TINY, TINY_LITE], ids=["residual", "lite"])
def test_it_learns(shape: Shape, tmp_path: Path) -> None:
    # Pages so small that there is time for many steps: after a few, much still hangs on the last bits of the sums.
    height, width = 128, 160
    marks = ((20.0 * place + 10, 30.0, 20.0 * place + 70, 90.0) for place in range(4))
    scenes = tuple(plain_scene([("stamp", mark)], height=height, width=width) for mark in marks)
    still = dataclasses.replace(STILL, window=(height, width))
    recipe = dataclasses.replace(
        RECIPE, shape=shape, epochs=6, samples=64, batch=4, learning_rate=1e-2, changes=still, dropped=0.0
    )
    progress = fit_detector(recipe, Stock(scenes, ("drawn",) * 4), Stock(scenes[:1], ("drawn",)), tmp_path)
    first, last = progress.history[0], progress.history[-1]
    assert last.heat_loss < first.heat_loss / 2
    assert last.edge_loss < first.edge_loss
