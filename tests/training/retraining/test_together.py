"""A retraining in two processes: one candidate, judged once, of the same samples as with one."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from backend.cli import main
from backend.models.promotion import Models
from backend.settings import Settings
from backend.training.retraining.starting import folder_of, last_training
from tests.training.retraining.ledger import open_ledger, teach
from tests.training.torchrun import run_both

WORDS = ("train", "--threads", "1", "--jobs", "0")


def _train(settings: Settings, folder: Path, environment: dict[str, str]) -> None:
    os.environ.update(settings.as_environment() | environment)
    with (folder / f"said-{environment['RANK']}").open("w") as file:
        os.dup2(file.fileno(), 1)
        sys.exit(main(WORDS))


def both(settings: Settings, folder: Path) -> list[int | None]:
    """Exit codes of two processes that retrain as one."""
    return run_both(_train, settings, folder)


def test_two_processes_make_one_candidate(settings: Settings, tmp_path: Path) -> None:
    store = open_ledger(settings.data_dir)
    teach(store, 24)
    store.engine.dispose()
    assert both(settings, tmp_path) == [1, 0], "the gate refuses what learnt for a moment, and the other one is done"
    [model] = Models(settings.data_dir / "models").all()
    assert model.record is not None
    assert model.verdict is not None
    ended = last_training(folder_of(settings.data_dir))
    assert ended is not None
    assert (ended.result, ended.model) == ("refused", model.name)
    assert f"refused: {model.name}" in (tmp_path / "said-0").read_text()
    assert (tmp_path / "said-1").read_text() == "", "one speaks for both"
    # Of the same samples and pages nothing new is made, and nobody waits for ever.
    assert both(settings, tmp_path) == [0, 0]
    assert "nothing new" in (tmp_path / "said-0").read_text()


def test_where_the_first_cannot_the_other_does_not_wait(settings: Settings, tmp_path: Path) -> None:
    store = open_ledger(settings.data_dir)
    teach(store, 3)
    store.engine.dispose()
    first, other = both(settings, tmp_path)
    assert first == 2
    assert other != 0
