"""A serving install can judge models; only `evaluate` needs the COCO library, and says so."""

from __future__ import annotations

import subprocess
import sys

import pytest

from backend.cli import main

WITHOUT = """
import sys
for name in ("torch", "torchvision", "faster_coco_eval"):
    sys.modules[name] = None
import backend.commands.evaluate, backend.evaluation.rates, backend.evaluation.trial
"""


def test_the_gate_needs_neither_torch_nor_the_coco_library() -> None:
    subprocess.run([sys.executable, "-c", WITHOUT], check=True)


def test_evaluating_without_the_coco_library_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("ranking", "measuring", "evaluation_report"):
        monkeypatch.delitem(sys.modules, f"backend.evaluation.{name}", raising=False)
    monkeypatch.setitem(sys.modules, "faster_coco_eval", None)
    assert main(["evaluate", "--coco", "a.json", "--images", "."]) == 2
    assert capsys.readouterr().err == (
        "contract-marks: evaluating needs faster_coco_eval: install this program with its `evaluate` extra\n"
    )
