"""The detector within a whole retraining: killed in its training it goes on, and no page is left behind."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.optim.swa_utils import AveragedModel

from backend.cli import main
from backend.models.promotion import Models
from backend.models.publishing import documents_of
from backend.models.serving import Sources
from backend.settings import Settings
from backend.training.detector.detector_loop import CHECKPOINT_FILE
from backend.training.detector.detector_network import DetectorNet
from backend.training.retraining.retraining_recipe import read_recipe
from backend.training.retraining.retraining_run import Result, Retraining
from backend.training.retraining.starting import PRIVATE, folder_of
from backend.training.training_loop import nobody
from backend.vision.engine import DetectorConfig
from backend.vision.network_config import sha256_of
from backend.vision.weights import BUNDLED, DETECTOR_CONFIG_FILE, DETECTOR_WEIGHTS_FILE
from tests.corrections.annotating import drawn as left
from tests.corrections.annotating import page_of
from tests.training.retraining.conftest import TINY
from tests.training.retraining.ledger import open_ledger
from tests.training.retraining.test_detector import annotate
from tests.training.retraining.test_gold import named
from tests.training.torchrun import trainer

STEPS = 2
"""Of an epoch of the detector."""
DETECTOR = {"epochs": 2, "samples": 8, "batch": 4, "learning_rate": 1e-5}
BOXES = ((10.0, 10.0, 110.0, 110.0), (200.0, 300.0, 300.0, 360.0))


@pytest.fixture
def corrected(settings: Settings) -> Settings:
    """A data folder with corrected pages, and a recipe that teaches the detector by them."""
    recipe = TINY | {"detector": DETECTOR, "corrections": TINY["corrections"] | {"least_pages": 2}}
    Path(settings.retrain_recipe).write_text(json.dumps(recipe))
    store = open_ledger(settings.data_dir)
    for task in range(1, 7):
        marks = [left("a", "stamp", BOXES[0]), left("b", "thumb", BOXES[1], page=1)]
        annotate(store, task, marks, document=named("validation" if task == 1 else "train", task))
    store.engine.dispose()
    return Settings(**{**vars(settings), "detector": "model"})


def retrain(settings: Settings, say: Callable[[object], None] = print, tell: Callable[[str], None] = nobody) -> Result:
    store = open_ledger(settings.data_dir)
    retraining = Retraining(
        settings=settings,
        store=store,
        page_of=page_of,
        folder=folder_of(settings.data_dir),
        recipe=read_recipe(Path(settings.retrain_recipe)),
        threads=1,
        say=say,
        tell=tell,
    )
    try:
        return retraining.run(promote=True)
    finally:
        store.engine.dispose()


def _until_killed(settings: Settings) -> None:
    torch.set_num_threads(1)
    follow, done = AveragedModel.update_parameters, 0

    def dying(average: AveragedModel, network: torch.nn.Module) -> None:
        nonlocal done
        done += isinstance(network, DetectorNet)
        if done > STEPS:
            os.kill(os.getpid(), signal.SIGKILL)
        follow(average, network)

    AveragedModel.update_parameters = dying  # type: ignore[method-assign, assignment]
    retrain(settings)


def test_killed_in_the_detectors_training_it_goes_on_and_keeps_no_page(
    corrected: Settings, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = folder_of(corrected.data_dir)
    victim = trainer(_until_killed, corrected)
    victim.start()
    victim.join()
    assert victim.exitcode == -signal.SIGKILL
    assert list((folder / PRIVATE / "annotated").glob("*.*")), "what it learnt from, for the next one to remove"
    assert (folder / PRIVATE).stat().st_mode & 0o077 == 0, "they are confidential"
    [checkpoint] = folder.glob(f"run-*/detector/{CHECKPOINT_FILE}")
    assert checkpoint.is_file()
    assert Models(corrected.data_dir / "models").all() == []
    assert Sources.of(corrected).at_once().name == "bundled"
    capfd.readouterr()

    said: list[str] = []
    far: list[str] = []
    result = retrain(corrected, lambda text: said.append(str(text)), far.append)
    trained = capfd.readouterr().err
    assert "epoch 1: heat" in trained
    assert "epoch 0: heat" not in trained, "that one was done"
    assert far == [
        "samples and pages are brought together",
        "detector: all 2 epochs are over",  # the classifier's, and one of these, were over before
        "both networks are weighed against each other",
        "the gate is asked",
    ]
    assert any(line.startswith("the detector learns from 10 annotated pages") for line in said)
    assert not (folder / PRIVATE).exists()
    assert not list(folder.glob("run-*"))

    [model] = Models(corrected.data_dir / "models").all()
    place = corrected.data_dir / "models" / model.name
    assert model.name == result.model
    assert model.record is not None
    assert model.record.recipe["detector"]["base"].startswith("bundled@")
    config = DetectorConfig.read(place / DETECTOR_CONFIG_FILE)
    assert config.sha256 == sha256_of(place / DETECTOR_WEIGHTS_FILE) == model.record.files[DETECTOR_WEIGHTS_FILE]
    assert config.sha256 != sha256_of(BUNDLED / DETECTOR_WEIGHTS_FILE)
    seen = documents_of(place)
    assert seen is not None
    assert set(documents_of(BUNDLED) or ()) < seen, "and what the base has seen"

    # The same pages and samples are not learnt from twice, nor when the detector made of them proposes other crops.
    assert retrain(corrected).outcome == "nothing new"
    Models(corrected.data_dir / "models").promote(model.name, why="a test", by="tests", force=True)
    serving = Settings(**{**vars(corrected), "model": "auto"})
    assert Sources.of(serving).at_once().name == model.name
    assert retrain(serving).outcome == "nothing new"


def test_pages_that_cannot_be_had_leave_the_detector_alone(
    corrected: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing listens where Label Studio should be; the classifier learns from the ledger's crops."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in corrected.as_environment().items():
            patch.setenv(name, value)
        assert main(("train", "--threads", "1", "--jobs", "0")) == 1
    said = capsys.readouterr().out
    assert "6 tasks teach the detector nothing, the first of them: task 6: " in said
    assert "the detector stays as it is: 0 annotated pages to learn from, 2 are needed" in said
    [model] = Models(corrected.data_dir / "models").all()
    place = corrected.data_dir / "models" / model.name
    assert sha256_of(place / DETECTOR_WEIGHTS_FILE) == sha256_of(BUNDLED / DETECTOR_WEIGHTS_FILE)
