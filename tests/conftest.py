"""Fixtures that several folders of tests share."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--annotator-edits", type=int, default=150, help="random edits of tests/corrections/test_fuzz.py")
    parser.addoption("--annotator-seed", type=int, default=1, help="of the random edits")


@contextmanager
def _same_threads() -> Iterator[None]:
    """Gives torch its threads back, where a test or a command in this process took some."""
    torch = sys.modules.get("torch")
    before = torch.get_num_threads() if torch else None
    yield
    if torch:
        torch.set_num_threads(before)


@pytest.fixture(scope="module", autouse=True)
def processor_threads_of_a_module() -> Iterator[None]:
    """The same for what a module's own fixtures do, which run before those of its first test."""
    with _same_threads():
        yield


@pytest.fixture(autouse=True)
def processor_threads(processor_threads_of_a_module: None) -> Iterator[None]:
    """Sums come out the same to the last bit only on the same number of threads."""
    with _same_threads():
        yield


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
