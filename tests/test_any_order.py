"""Tests leave their process as they found it, so that they pass in any order."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest
import torch

LEFT = "A_TEST_WAS_HERE"


@pytest.mark.parametrize("_", ["before", "after"])
def test_what_a_test_changes_for_its_process_ends_with_it(_: str, tmp_path: Path) -> None:
    ours = logging.getLogger("backend.server.predictor")
    state = (os.environ.get(LEFT), Path.cwd() == tmp_path, ours.level, torch.get_num_threads() == 7)
    assert state == (None, False, logging.NOTSET, False)
    assert torch.rand(1).item() == torch.rand(1, generator=torch.Generator().manual_seed(0)).item()
    os.environ[LEFT] = str(tmp_path)
    os.chdir(tmp_path)
    ours.setLevel(logging.ERROR)
    torch.set_num_threads(7)
