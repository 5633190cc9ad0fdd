"""A retraining in two processes: one candidate, judged once, of the same samples as with one."""

from __future__ import annotations

import multiprocessing
import os
import socket
import sys
from pathlib import Path

from backend.cli import main
from backend.registry.models import Models
from backend.settings import Settings
from backend.training.retraining.state import folder_of, last_training

from .ledger import open_ledger, teach

WORDS = ("train", "--threads", "1", "--jobs", "0")


def _train(environment: dict[str, str], output: Path) -> None:
    os.environ.update(environment)
    with output.open("w") as file:
        os.dup2(file.fileno(), 1)
        sys.exit(main(WORDS))


def both(settings: Settings, folder: Path) -> list[int | None]:
    """Exit codes of two processes in an environment as torchrun makes it."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)} | settings.as_environment()
    context = multiprocessing.get_context("spawn")
    started = [
        context.Process(
            target=_train, args=(shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)}, folder / f"said-{rank}")
        )
        for rank in (0, 1)
    ]
    for one in started:
        one.start()
    for one in started:
        one.join()
    return [one.exitcode for one in started]


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
