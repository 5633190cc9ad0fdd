"""A Label Studio on loopback, and files to import."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from backend.commands.import_documents.importing import Importer, ImportJournal
from backend.labelstudio.client import LabelStudio
from backend.labelstudio.labelling import bind
from backend.labelstudio.projects import label_config
from backend.pages.page import Limits
from tests.commands.import_documents.loopback import Loopback
from tests.patience import SECONDS

LIMITS = Limits(max_bytes=2_000_000, max_pixels=1_000_000, max_pages=20, seconds=SECONDS)
MakeImporter = Callable[..., Importer]


@pytest.fixture
def importer(studio: Loopback, client: LabelStudio, tmp_path: Path) -> MakeImporter:
    """Makes importers into one project each of single pages and of documents."""
    projects = {paged: studio.add_project(label_config(paged=paged)) for paged in (False, True)}

    def make(*, paged: bool = True, last: int | None = None, dpi: int = 72, settle: float = 0.0) -> Importer:
        project = projects[paged]
        return Importer(
            client,
            project,
            binding=bind(label_config(paged=paged))[0],
            journal=ImportJournal.of(tmp_path / "data", base_url=client.base_url, project=project),
            limits=LIMITS,
            dpi=dpi,
            last=last,
            settle=settle,
        )

    return make
