"""Drawn pages that are made once, data folders that begin with a copy of them, and a recipe of seconds."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from backend.settings import Settings
from backend.training.retraining.material import draw_base
from backend.vision.finders import build_detector

PAGES = 4
TINY: dict[str, Any] = {
    "stages": [
        {"size": 64, "epochs": 1, "learning_rate": 1e-3, "head_only": True},
        {"size": 64, "epochs": 1, "learning_rate": 1e-4},
    ],
    "samples": 32,
    "batch": 16,
    "corrections": {"drawn_pages": PAGES, "replay_pages": 2, "least_samples": 8},
}


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of drawn pages and their crops, some on each side of the split."""
    folder = tmp_path_factory.mktemp("drawn")
    draw_base(folder, pages=PAGES, detector=build_detector("colour"))
    return folder


@pytest.fixture
def settings(tmp_path: Path, drawn: Path) -> Settings:
    """Of a data folder where everything tiny is at hand; nothing listens where Label Studio should be."""
    data = tmp_path / "data"
    shutil.copytree(drawn, data / "training" / "drawn")
    recipe = tmp_path / "recipe.json"
    recipe.write_text(json.dumps(TINY))
    return Settings(
        data_dir=data,
        model="bundled",
        detector="colour",
        retrain_recipe=str(recipe),
        label_studio_url="http://127.0.0.1:9",
        model_threads=1,
    )
