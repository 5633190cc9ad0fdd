"""Killed while freezing: there is the whole version or none, and what was half-written is cleared away."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest

from backend.dataset.store import HALF, Datasets
from tests.dataset.stopping import STEPS, publish, run
from tests.forked import copy, load
from tests.patience import SECONDS

load("tests.dataset.stopping")


@pytest.mark.parametrize("step", STEPS)
def test_a_kill_leaves_a_whole_version_or_none(step: str, tmp_path: Path) -> None:
    heard, said = multiprocessing.Pipe(duplex=False)
    process = copy(run, step, tmp_path, said)
    process.start()
    said.close()
    with heard:
        assert heard.poll(SECONDS), "nothing was said"
        assert heard.recv() == "reached"
    process.kill()
    process.join()
    held = Datasets(tmp_path)
    assert held.names() == (["first"] if step == "renamed" else [])
    identity = publish(tmp_path)
    version = held.open("first")
    assert version.id == identity
    assert [reason for _, reason in version.damage()] == [None, None]
    assert not list(tmp_path.glob(f"{HALF}*"))
