"""A registry with room for models, and candidates to fill it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from backend.models.promotion import Models
from backend.models.published import Facts
from tests.models.tiny import says

Publish = Callable[..., str]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def models(folder: Path) -> Models:
    return Models(folder)


@pytest.fixture
def published(models: Models, tmp_path: Path) -> Publish:
    """Publishes a model that calls everything by one name, and gives the model's own name."""

    def publish(label: str = "stamp", **facts: object) -> str:
        candidate = says(label, tmp_path / f"candidate-{label}")
        return models.publish(candidate, Facts(**{"source": "training", **facts})).name

    return publish


def leftovers(folder: Path) -> list[str]:
    """Names of what a publication that failed left in the folder of models."""
    return [path.name for path in folder.iterdir() if path.name not in (".lock", "history.jsonl")]
