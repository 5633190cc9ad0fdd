"""kill -9 in a training: what served serves on, nothing half made can be loaded, and another start goes on there."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from backend.models.promotion import Models
from backend.models.published import Facts, Registry
from backend.models.serving import Sources, build_pipeline
from backend.settings import Settings
from backend.training.classifier_loop import CHECKPOINT_FILE
from backend.training.retraining.starting import (
    PRIVATE,
    REST_SECONDS,
    Situation,
    decide,
    folder_of,
    is_running,
    last_training,
)
from backend.vision.weights import BUNDLED
from tests.forked import Command, load
from tests.patience import SECONDS
from tests.training.retraining.ledger import open_ledger, teach

load("backend.training.retraining.session")


def train(settings: Settings) -> Command:
    environment = os.environ | settings.as_environment()
    return Command("train", "--threads", "1", "--jobs", "0", environment=environment)


def until_an_epoch_has_ended(training: Command, folder: Path) -> None:
    give_up = time.monotonic() + SECONDS
    while not list(folder.glob(f"run-*/{CHECKPOINT_FILE}")):
        assert training.returncode is None, training.communicate(timeout=SECONDS)
        assert time.monotonic() < give_up, "no epoch has ended"
        time.sleep(0.02)


def test_a_killed_training_leaves_the_serving_model_alone_and_goes_on_when_started_again(settings: Settings) -> None:
    settings = Settings(**{**vars(settings), "model": "auto"})
    models = Models(settings.data_dir / "models")
    champion = models.publish(BUNDLED, Facts(source="training")).name
    models.promote(champion, why="a test", by="tests", force=True)
    store = open_ledger(settings.data_dir)
    teach(store, 24)
    store.engine.dispose()
    folder = folder_of(settings.data_dir)

    with train(settings) as victim:
        until_an_epoch_has_ended(victim, folder)
        victim.kill()
        victim.communicate(timeout=SECONDS)
    assert victim.returncode == -signal.SIGKILL
    assert not is_running(folder), "the lock died with it"
    cut = last_training(folder)
    assert cut is not None
    assert cut.ended is None
    assert Registry(models.folder).names() == [champion]
    assert Registry(models.folder).active() == champion
    assert build_pipeline(Sources.of(settings).at_once(), settings).version.startswith(f"{champion}-")

    with train(settings) as again:
        said = "".join(again.communicate(timeout=SECONDS))
    ended = last_training(folder)
    assert ended is not None
    assert ended.result == "refused", (
        f"one drawn gold page is not enough for the gate, so that it comes to its end: {said}"
    )
    assert "stage 0 epoch 0" not in said, "that one was done"
    assert "stage 1 epoch 0" in said
    assert len(models.all()) == 2
    assert Registry(models.folder).active() == champion


def test_a_training_that_is_told_to_stop_keeps_no_page_and_goes_on_later(settings: Settings) -> None:
    settings = Settings(**{**vars(settings), "detector": "model"})
    store = open_ledger(settings.data_dir)
    teach(store, 24)
    store.engine.dispose()
    folder = folder_of(settings.data_dir)
    with train(settings) as told:
        until_an_epoch_has_ended(told, folder)
        assert (folder / PRIVATE / "annotated").is_dir(), "for as long as it takes"
        told.terminate()
        told.communicate(timeout=SECONDS)
    assert told.returncode == 128 + signal.SIGTERM
    assert not (folder / PRIVATE).exists()
    cut = last_training(folder)
    assert cut is not None
    assert (cut.ended, cut.reason) == (None, "it was told to stop"), "by a host that goes down: it shall go on"
    later = Situation(now=cut.began + REST_SECONDS, running=False, last=cut, asked=None, hard=cut.hard)
    assert decide(later, every=100) == "the last training was cut off"
    assert not is_running(folder)
    assert Models(settings.data_dir / "models").all() == []
