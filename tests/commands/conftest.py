"""A Label Studio on loopback, and this program's client of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from backend.labelstudio.client import LabelStudio
from tests.commands.import_documents.loopback import Loopback, loopback


@pytest.fixture
def studio() -> Iterator[Loopback]:
    with loopback() as made:
        yield made


@pytest.fixture
def client(studio: Loopback) -> Iterator[LabelStudio]:
    with studio.client() as made:
        yield made
