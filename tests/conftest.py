"""Fixtures that several folders of tests share."""

from __future__ import annotations

from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--annotator-edits", type=int, default=150, help="random edits of tests/corrections/test_fuzz.py")
    parser.addoption("--annotator-seed", type=int, default=1, help="of the random edits")


@pytest.fixture(scope="session")
def four_class_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of four classes, as the bundled ones have, but random."""
    from tests.models.models import random_model, write_weights

    folder = tmp_path_factory.mktemp("four")
    write_weights(random_model(outputs=4, seed=1), folder, half=True)
    return folder


@pytest.fixture(scope="session")
def three_class_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of three classes, as the original checkpoint has, but random."""
    from tests.models.models import random_model, write_weights

    folder = tmp_path_factory.mktemp("three")
    write_weights(random_model(outputs=3, seed=2), folder)
    return folder
