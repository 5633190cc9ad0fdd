"""What a training on corrections ends with: after a kill -9 as if nothing had been, and never worse than the head."""

from __future__ import annotations

import dataclasses
import os
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.optim.swa_utils import AveragedModel

from backend.training import classifier_loop
from backend.training.classifier_loop import BEST_FILE, CHECKPOINT_FILE, fit
from backend.training.classifier_recipe import Corrections, Recipe, Stage
from backend.training.crops import CropFolder
from backend.training.retraining.material import Material, lessons
from tests.training.conftest import tiny
from tests.training.retraining.ledger import open_ledger, teach
from tests.training.torchrun import trainer

RECIPE = Recipe(
    base="tiny",
    stages=(
        Stage(size=16, epochs=1, learning_rate=1e-2, head_only=True),
        Stage(size=16, epochs=3, learning_rate=1e-2),
    ),
    samples=32,
    batch=16,
    averaging=0.5,
    corrections=Corrections(),
)


def material(data: Path, drawn: Path) -> Material:
    store = open_ledger(data)
    found = {one.crop.file: one for one in lessons(store.engine)}
    store.engine.dispose()
    [crops] = drawn.glob("crops-*")
    return Material(found, store.crops, CropFolder(crops))


def _until_killed(data: Path, drawn: Path, folder: Path, steps: int) -> None:
    torch.set_num_threads(1)
    follow, done = AveragedModel.update_parameters, 0

    def dying(average: AveragedModel, network: torch.nn.Module) -> None:
        nonlocal done
        done += 1
        if done == steps:
            os.kill(os.getpid(), signal.SIGKILL)
        follow(average, network)

    AveragedModel.update_parameters = dying  # type: ignore[method-assign, assignment]
    fit(RECIPE, material(data, drawn), folder, build=tiny)


def test_a_killed_training_ends_as_if_nothing_had_been(tmp_path: Path, drawn: Path) -> None:
    store = open_ledger(tmp_path)
    teach(store, 20)
    store.engine.dispose()
    torch.set_num_threads(1)
    whole = fit(RECIPE, material(tmp_path, drawn), tmp_path / "whole", build=tiny)
    assert [(line.stage, line.epoch) for line in whole.history] == [(0, 0), (1, 0), (1, 1), (1, 2)]
    assert set(whole.history[0].by_domain) == {"drawn", "corrected"}
    steps = (
        3
        * len(classifier_loop.shown_in(RECIPE, material(tmp_path, drawn).side("train"), stage=0, epoch=0))
        // RECIPE.batch
    )
    victim = trainer(_until_killed, tmp_path, drawn, tmp_path / "cut", steps - 1)
    victim.start()
    victim.join()
    assert victim.exitcode == -signal.SIGKILL
    cut = load_file(tmp_path / "cut" / CHECKPOINT_FILE)
    after = load_file(tmp_path / "whole" / CHECKPOINT_FILE)
    assert any(not torch.equal(cut[name], after[name]) for name in after)
    fit(RECIPE, material(tmp_path, drawn), tmp_path / "cut", build=tiny)
    for file in (CHECKPOINT_FILE, BEST_FILE):
        one, other = load_file(tmp_path / "cut" / file), load_file(tmp_path / "whole" / file)
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    ("change", "kept"),
    [
        # The whole net, ruined by far too high a rate, does not take the place of the head alone.
        ({}, True),
        # At another resolution, or for other shares, the scores do not compare.
        ({"size": 24}, False),
        ({"shares": {"drawn/none": 1.0, "drawn/stamp": 1.0}}, False),
    ],
)
def test_the_whole_net_has_to_beat_the_head_alone(
    change: dict[str, object], kept: bool, store: CropFolder, tmp_path: Path
) -> None:
    mild = dataclasses.replace(RECIPE.augmentation, tint=0, fade=0, black=0, hue=0, overprint=0)
    head = Stage(size=16, epochs=4, learning_rate=3e-2)
    ruin = dataclasses.replace(Stage(size=16, epochs=1, learning_rate=30.0), **change)  # type: ignore[arg-type]
    recipe = dataclasses.replace(RECIPE, stages=(head, ruin), corrections=None, samples=256, augmentation=mild)
    fit(recipe, store, tmp_path, build=tiny, stop_after=4)
    before = (tmp_path / BEST_FILE).read_bytes()
    progress = fit(recipe, store, tmp_path, build=tiny)
    assert progress.history[-1].score < max(line.score for line in progress.history[:-1])
    assert ((tmp_path / BEST_FILE).read_bytes() == before) is kept
