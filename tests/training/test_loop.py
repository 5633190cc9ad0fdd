"""The loop: an interruption changes nothing, and what is kept is what judged best."""

from __future__ import annotations

import dataclasses
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.optim.swa_utils import AveragedModel
from torchvision.models import resnet18

from backend.errors import BadWeights, TrainingError
from backend.training.batches import CropArrays
from backend.training.classifier_loop import BEST_FILE, CHECKPOINT_FILE, first_network, fit, logits_of
from backend.training.classifier_recipe import Recipe, Stage
from backend.training.crops import CropFolder
from backend.training.export import export_classifier
from backend.vision.network_config import CLASSES
from tests.training.conftest import RECIPE, TinyNetwork, tiny
from tests.training.torchrun import trainer


def same(first: Path, second: Path) -> bool:
    one, other = load_file(first), load_file(second)
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def whole(store: CropFolder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    progress = fit(RECIPE, store, folder, build=tiny)
    assert [(line.stage, line.epoch) for line in progress.history] == [(0, 0), (1, 0), (1, 1), (2, 0), (2, 1)]
    return folder


@pytest.mark.parametrize("stops", [(1,), (2,), (3, 1)])
def test_a_run_that_was_stopped_ends_with_the_same_weights(
    stops: tuple[int, ...], store: CropFolder, whole: Path, folder: Path
) -> None:
    for epochs in stops:
        fit(RECIPE, store, folder, build=tiny, stop_after=epochs)
        assert not same(folder / CHECKPOINT_FILE, whole / CHECKPOINT_FILE)
    progress = fit(RECIPE, store, folder, build=tiny)
    assert len(progress.history) == 5
    assert same(folder / CHECKPOINT_FILE, whole / CHECKPOINT_FILE)
    assert same(folder / BEST_FILE, whole / BEST_FILE)


def _run_until_killed(store: CropFolder, folder: Path, threads: int) -> None:
    """Kills its own process in the middle of the third epoch."""
    torch.set_num_threads(threads)  # on another number, sums differ in their last bits
    follow, steps = AveragedModel.update_parameters, 0

    def dying(average: AveragedModel, network: nn.Module) -> None:
        nonlocal steps
        steps += 1
        if steps == 10:
            os.kill(os.getpid(), signal.SIGKILL)
        follow(average, network)

    AveragedModel.update_parameters = dying  # type: ignore[method-assign, assignment]
    fit(RECIPE, store, folder, build=tiny)


def test_a_killed_process_loses_only_its_last_epoch(store: CropFolder, whole: Path, folder: Path) -> None:
    victim = trainer(_run_until_killed, store, folder, torch.get_num_threads())
    victim.start()
    victim.join()
    assert victim.exitcode == -signal.SIGKILL
    assert not same(folder / CHECKPOINT_FILE, whole / CHECKPOINT_FILE)
    fit(RECIPE, store, folder, build=tiny)
    assert same(folder / CHECKPOINT_FILE, whole / CHECKPOINT_FILE)


def test_more_processes_that_augment_change_nothing(store: CropFolder, whole: Path, folder: Path) -> None:
    fit(RECIPE, store, folder, build=tiny, workers=1)
    assert same(folder / CHECKPOINT_FILE, whole / CHECKPOINT_FILE)


def test_a_finished_run_does_nothing_more(store: CropFolder, folder: Path) -> None:
    recipe = dataclasses.replace(RECIPE, stages=RECIPE.stages[:1])
    first = fit(recipe, store, folder, build=tiny)
    before = (folder / CHECKPOINT_FILE).stat().st_mtime_ns
    assert fit(recipe, store, folder, build=tiny) == first
    assert (folder / CHECKPOINT_FILE).stat().st_mtime_ns == before


def test_another_recipe_does_not_go_on_from_a_checkpoint(store: CropFolder, folder: Path) -> None:
    fit(RECIPE, store, folder, build=tiny, stop_after=1)
    with pytest.raises(TrainingError, match="choose another folder"):
        fit(dataclasses.replace(RECIPE, seed=2), store, folder, build=tiny)


def test_a_stage_of_the_head_leaves_the_rest_alone(store: CropFolder, folder: Path) -> None:
    recipe = dataclasses.replace(RECIPE, stages=(Stage(size=16, epochs=1, learning_rate=0.1, head_only=True),))
    torch.manual_seed(recipe.seed)
    first = {f"network.{name}": value for name, value in TinyNetwork().state_dict().items()}
    fit(recipe, store, folder, build=tiny)
    after = load_file(folder / CHECKPOINT_FILE)
    moved = {name for name in first if not torch.equal(first[name], after[name])}
    assert moved == {"network.fc.weight", "network.fc.bias"}


def test_it_learns_and_keeps_its_best_epoch(store: CropFolder, folder: Path) -> None:
    mild = dataclasses.replace(RECIPE.augmentation, tint=0, fade=0, black=0, hue=0, overprint=0)
    stages = (Stage(size=16, epochs=8, learning_rate=3e-2),)
    recipe = dataclasses.replace(RECIPE, stages=stages, patience=8, samples=256, augmentation=mild)
    progress = fit(recipe, store, folder, build=tiny)
    network = TinyNetwork()
    network.load_state_dict(load_file(folder / BEST_FILE))
    judge = CropArrays.load(store, "validation", 16)
    right = (logits_of(network, judge).argmax(axis=1) == judge.labels).mean()
    best = max(line.score for line in progress.history)
    assert best > 0.8
    assert right == pytest.approx(best, abs=0.15)


def test_patience_ends_a_stage(store: CropFolder, folder: Path) -> None:
    still = Stage(size=16, epochs=9, learning_rate=0.0)
    progress = fit(dataclasses.replace(RECIPE, stages=(still,), patience=2, averaging=1.0), store, folder, build=tiny)
    assert len(progress.history) == 3
    assert progress.stage == 1


def test_a_base_of_three_classes_keeps_its_marks_and_grows_none(tmp_path: Path) -> None:
    torch.manual_seed(3)
    seed = resnet18(num_classes=3)
    export_classifier(seed, tmp_path / "base.onnx")
    recipe = Recipe(base=str(tmp_path / "base.onnx"), stages=(Stage(size=64, epochs=1, learning_rate=1e-3),))
    grown = first_network(recipe).eval()
    with torch.inference_mode():
        outputs = grown(torch.ones(1, 3, 64, 64)).numpy()
        np.testing.assert_allclose(outputs[:, :3], seed.eval()(torch.ones(1, 3, 64, 64)).numpy(), rtol=1e-5, atol=1e-6)
    assert outputs.shape == (1, len(CLASSES))
    assert outputs[0, 3] == 0


def test_a_base_of_another_shape_is_refused(tmp_path: Path) -> None:
    save_file({"fc.weight": torch.zeros(4, 7), "fc.bias": torch.zeros(4)}, tmp_path / "base.safetensors")
    recipe = Recipe(base=str(tmp_path / "base.safetensors"), stages=(Stage(size=64, epochs=1, learning_rate=1e-3),))
    with pytest.raises(BadWeights, match=r"base\.safetensors"):
        first_network(recipe)
