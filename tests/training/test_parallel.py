"""Several processes train as one: the same weights, written by the first; and what they cannot do is said."""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from backend.commands.train import add_arguments, run
from backend.errors import TrainingError
from backend.settings import Settings
from backend.training.classifier_loop import BEST_FILE, CHECKPOINT_FILE, fit
from backend.training.classifier_recipe import Recipe, Stage
from backend.training.crops import CropFolder
from backend.vision.network_config import CLASSES
from tests.training.torchrun import run_both

RECIPE = Recipe(
    stages=(
        Stage(size=16, epochs=1, learning_rate=1e-2, head_only=True),
        Stage(size=16, epochs=2, learning_rate=1e-2),
    ),
    samples=64,
    batch=16,
    averaging=0.5,
)


class PlainNetwork(nn.Module):
    """Without BatchNorm, whose statistics are those of a process's own part of a batch on processors."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
        self.fc = nn.Linear(16, len(CLASSES))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.fc(self.body(pixels))
        return out


def plain(recipe: Recipe) -> PlainNetwork:
    return PlainNetwork()


def _train(recipe: Recipe, store: CropFolder, folder: Path, environment: dict[str, str]) -> None:
    os.environ.update(environment)
    torch.set_num_threads(1)
    try:
        fit(recipe, store, folder, build=plain)
    except TrainingError as error:
        (folder / f"refused-{environment['RANK']}").write_text(str(error))
        sys.exit(2)


def both(recipe: Recipe, store: CropFolder, folder: Path) -> list[int | None]:
    """Exit codes of two processes that train as one."""
    return run_both(_train, recipe, store, folder)


def test_two_processes_end_with_the_weights_of_one(store: CropFolder, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    alone = fit(RECIPE, store, tmp_path / "one", build=plain)
    assert len(alone.history) == 3
    assert both(RECIPE, store, tmp_path / "two") == [0, 0]
    for file in (BEST_FILE, CHECKPOINT_FILE):
        one, other = load_file(tmp_path / "one" / file), load_file(tmp_path / "two" / file)
        assert one.keys() == other.keys()
        for name in one:
            torch.testing.assert_close(one[name], other[name], rtol=1e-3, atol=1e-5)


def test_a_batch_that_cannot_be_divided_is_refused(store: CropFolder, tmp_path: Path) -> None:
    assert both(dataclasses.replace(RECIPE, batch=15), store, tmp_path) == [2, 2]
    told = "a batch of 15 crops cannot be divided among 2 processes"
    assert all(told in (tmp_path / f"refused-{rank}").read_text() for rank in (0, 1))


@pytest.mark.parametrize(
    "words",
    [
        # Steps that write what the other process would write too.
        ("--bundled-recipe",),
        ("--bundled-recipe", "--steps", "classifier", "publish"),
    ],
)
def test_steps_that_several_processes_cannot_do_are_refused(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    with pytest.raises(TrainingError, match="the step `classifier` alone"):
        run(parser.parse_args(words), Settings())
