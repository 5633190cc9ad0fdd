"""What an import remembers of itself: one document, durably, and nobody beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from backend.commands.import_documents.importing import ImportJournal
from backend.errors import DocumentError


def test_what_was_begun_is_known_until_it_ended(tmp_path: Path) -> None:
    journal = ImportJournal(tmp_path)
    assert journal.begun() is None
    journal.begin("ab" * 32)
    begun = ImportJournal(tmp_path).begun()
    assert begun is not None
    assert begun.digest == "ab" * 32
    journal.end()
    assert ImportJournal(tmp_path).begun() is None
    journal.end()  # once more does no harm


def test_each_project_of_each_label_studio_has_its_own(tmp_path: Path) -> None:
    places = [("http://one:8080", 1), ("http://one:8080", 2), ("http://other:8080", 1)]
    journals = [ImportJournal.of(tmp_path, base_url=url, project=project) for url, project in places]
    with journals[0].held():
        journals[0].begin("ab" * 32)
        for journal in journals[1:]:
            with journal.held():
                assert journal.begun() is None


def test_there_is_one_holder(tmp_path: Path) -> None:
    with (
        ImportJournal(tmp_path).held(),
        pytest.raises(DocumentError, match="wait until it has ended"),
        ImportJournal(tmp_path).held(),
    ):
        pass
    with ImportJournal(tmp_path).held():
        pass
