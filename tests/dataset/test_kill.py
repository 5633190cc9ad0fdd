"""Killed while freezing: there is the whole version or none, and what was half-written is cleared away."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from backend.dataset.store import HALF, Datasets
from tests.dataset.stopping import STEPS, publish

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("step", STEPS)
def test_a_kill_leaves_a_whole_version_or_none(step: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.dataset.stopping", step, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "reached\n"
        process.kill()
    held = Datasets(tmp_path)
    assert held.names() == (["first"] if step == "renamed" else [])
    identity = publish(tmp_path)
    version = held.open("first")
    assert version.id == identity
    assert [reason for _, reason in version.damage()] == [None, None]
    assert not list(tmp_path.glob(f"{HALF}*"))
