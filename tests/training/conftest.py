"""A small store of crops that are easy to tell apart, drawn pages, and a small network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from backend.training.classifier_recipe import Recipe, Stage
from backend.training.crops import SPLITS, CropFolder, LabelledBox
from backend.training.pagestore import PageStore
from backend.training.training_pages import draw_into
from backend.vision.network_config import CLASSES


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> CropFolder:
    """Twelve crops of each class and domain, four on each side; each class has its own shade."""
    rng = np.random.default_rng(1)
    made = CropFolder(tmp_path_factory.mktemp("crops"))
    for domain in ("drawn", "real"):
        for number in range(12):
            page = rng.integers(0, 40, (40, 200, 3), dtype=np.uint8)
            boxes = [(50.0 * place + 5, 5.0, 50.0 * place + 45, 35.0) for place in range(len(CLASSES))]
            for place in range(len(CLASSES)):
                page[:, 50 * place : 50 * place + 50] += np.uint8(50 * place)
            found = [
                LabelledBox(box=box, label=label, origin="truth") for box, label in zip(boxes, CLASSES, strict=True)
            ]
            name = f"{domain}-{number}"
            facts = {
                "document": name,
                "split": SPLITS[number % 3],
                "domain": domain,
                "source": domain,
                "licence": "Apache-2.0",
            }
            made.add(name, page, found, facts)
    return made


@pytest.fixture(scope="session")
def drawn_pages(tmp_path_factory: pytest.TempPathFactory) -> PageStore:
    """The first two pages that training draws."""
    made = PageStore(tmp_path_factory.mktemp("pages"))
    draw_into(made, pages=2)
    return made


class TinyNetwork(nn.Module):
    """A convolution, a BatchNorm and a head: every kind of state that a checkpoint has to keep."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten()
        )
        self.fc = nn.Linear(16, len(CLASSES))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.fc(self.body(pixels))
        return out


def tiny(recipe: Recipe) -> TinyNetwork:
    return TinyNetwork()


RECIPE = Recipe(
    stages=(
        Stage(size=16, epochs=1, learning_rate=1e-2, head_only=True),
        Stage(size=16, epochs=2, learning_rate=1e-2),
        Stage(size=24, epochs=2, learning_rate=5e-3),
    ),
    samples=64,
    batch=16,
    averaging=0.5,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "run"
