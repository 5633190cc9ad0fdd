"""An archive of drawn contracts, the same with planted mistakes, and the bundled model."""

from __future__ import annotations

from pathlib import Path

import pytest

from backend.dataset.store import Version
from backend.models.serving import Sources, build_pipeline
from backend.settings import Settings
from backend.vision.pipeline import Pipeline
from tests.commands.review.archive import Sheet, draw, frozen

# By the page: what was done to it, and the doubt that should come of it.
PLANTED = {
    "lease-362": ("overlooked", "stamp"),
    "lease-351": ("swapped", "stamp"),
    "lease-327": ("swapped", "signature"),
    "lease-363": ("badly placed", "stamp"),
}


@pytest.fixture(scope="session")
def sheets() -> list[Sheet]:
    return draw()


@pytest.fixture(scope="session")
def planted(sheets: list[Sheet]) -> list[Sheet]:
    """The same pages, four of them with a mistake."""
    by_name = {sheet.name: sheet for sheet in sheets}
    by_name["lease-362"] = by_name["lease-362"].without(0)
    by_name["lease-351"] = by_name["lease-351"].renamed(0, "signature")
    by_name["lease-327"] = by_name["lease-327"].renamed(1, "stamp")
    by_name["lease-363"] = by_name["lease-363"].shifted(1)
    return list(by_name.values())


@pytest.fixture(scope="session")
def folder(planted: list[Sheet], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose `data` holds the planted pages as the frozen version `leases`."""
    made = tmp_path_factory.mktemp("review")
    frozen(planted, made)
    return made


@pytest.fixture(scope="session")
def pipeline() -> Pipeline:
    settings = Settings(model="bundled", model_threads=1)
    return build_pipeline(Sources.of(settings).at_once(), settings)


@pytest.fixture(scope="session")
def honest(sheets: list[Sheet], tmp_path_factory: pytest.TempPathFactory) -> Version:
    """The pages as they are, as a frozen version."""
    return frozen(sheets, tmp_path_factory.mktemp("honest"), "honest")
