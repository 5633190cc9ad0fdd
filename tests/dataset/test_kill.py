"""Killed while freezing: there is the whole version or none, and what was half-written is cleared away."""

from __future__ import annotations

from pathlib import Path

import pytest

from backend.dataset.store import HALF, Datasets
from tests.dataset.stopping import STEPS, publish, run
from tests.forked import kill_at_its_step, load

load("tests.dataset.stopping")


@pytest.mark.parametrize("step", STEPS)
def test_a_kill_leaves_a_whole_version_or_none(step: str, tmp_path: Path) -> None:
    kill_at_its_step(run, step, tmp_path)
    held = Datasets(tmp_path)
    assert held.names() == (["first"] if step == "renamed" else [])
    identity = publish(tmp_path)
    version = held.open("first")
    assert version.id == identity
    assert [reason for _, reason in version.damage()] == [None, None]
    assert not list(tmp_path.glob(f"{HALF}*"))
