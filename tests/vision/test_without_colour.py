"""Pages with no colour at all, through the bundled models: back with their marks, or empty and with the reason.

What the bundled weights find, and how well, is measured by benchmarks; any that deserve to serve do this much.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from backend.cli import main
from backend.geometry import as_boxes, iou
from backend.synthetic.drawn_page import draw_page
from backend.synthetic.marks import DrawnPage
from backend.synthetic.scan import ScanStyle

CLEAN = ScanStyle(paper=(0.98, 0.98, 0.96), noise=1.5, blur=0.4)
SEEDS = (1, 5, 8)


def predict(capsys: pytest.CaptureFixture[str], *files: Path) -> list[dict[str, Any]]:
    assert main(["predict", *map(str, files), "--json", "--model", "bundled"]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def named_rightly(region: dict[str, Any], page: DrawnPage) -> bool:
    """Whether a region lies on a drawn mark of its name."""
    value, height, width = region["value"], *page.pixels.shape[:2]
    left, top = value["x"] * width / 100, value["y"] * height / 100
    box = as_boxes([left, top, left + value["width"] * width / 100, top + value["height"] * height / 100])
    [label] = value["rectanglelabels"]
    return bool((iou(box, as_boxes([mark.box for mark in page.marks if mark.label == label])) >= 0.3).any())


@pytest.fixture(autouse=True)
def data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))


def test_marks_without_colour_are_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pages = [draw_page(seed, dpi=150, marks=12, style=CLEAN) for seed in SEEDS]
    files = [tmp_path / f"{seed}.png" for seed in SEEDS]
    for page, file in zip(pages, files, strict=True):
        Image.fromarray(page.pixels).convert("L").save(file, dpi=(page.dpi, page.dpi))
    results = [answer["result"] for answer in predict(capsys, *files)]
    assert all(results)
    rightly = [named_rightly(one, page) for page, regions in zip(pages, results, strict=True) for one in regions]
    assert sum(rightly) > len(rightly) / 2


def test_a_blank_page_comes_back_empty_and_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [tmp_path / "white.png", tmp_path / "grainy.png"]
    grain = np.random.default_rng(1).normal(244, 2, (1754, 1240))
    Image.new("L", (1240, 1754), 255).save(files[0], dpi=(150, 150))
    Image.fromarray(grain.clip(0, 255).astype(np.uint8)).save(files[1], dpi=(150, 150))
    for answer in predict(capsys, *files):
        assert answer["result"] == []
        assert answer["reason"].startswith("no candidate") or ", the best of them a " in answer["reason"]
