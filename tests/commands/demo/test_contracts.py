"""The demo's contracts are drawn once."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from backend.commands.demo import demo_projects
from backend.models.serving import build_pipeline
from backend.pages.source import from_path
from backend.settings import Settings
from backend.vision.weights import BUNDLED, Weights


def test_only_missing_pages_are_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_projects, "_SINGLES", (("en", 1), ("ar", 0)))
    monkeypatch.setattr(demo_projects, "_DOCUMENT", (("mixed", 2),))
    kept = demo_projects.single_pages(tmp_path)[1]
    kept.write_bytes(b"drawn earlier")
    told: list[tuple[int, int]] = []
    demo_projects.draw_contracts(tmp_path, drawn=lambda done, total: told.append((done, total)))

    assert told == [(1, 3), (2, 3), (3, 3)]
    assert kept.read_bytes() == b"drawn earlier"
    with Image.open(demo_projects.document_pages(tmp_path)[0]) as page:
        assert page.format == "JPEG"
        assert page.height > page.width > 1000
    assert len(list(tmp_path.iterdir())) == 3


def test_those_that_are_boxed_best_come_first_and_none_is_lost(tmp_path: Path) -> None:
    pages = demo_projects.single_pages(tmp_path)
    shown = demo_projects.best_first(pages)
    assert shown[0] == pages[3]
    assert sorted(shown) == sorted(pages)
    assert demo_projects.best_first(pages[:2]) == pages[:2]


def test_each_mark_of_the_first_two_contracts_is_boxed_and_named(tmp_path: Path) -> None:
    """What a newcomer sees first, and what the README shows."""
    pages = demo_projects.single_pages(tmp_path)
    shown = demo_projects.best_first(pages)[:2]
    for page in {*pages, *demo_projects.document_pages(tmp_path)} - set(shown):
        page.touch()
    demo_projects.draw_contracts(tmp_path, drawn=lambda *_: None)
    settings = Settings(data_dir=tmp_path, model_threads=1)
    pipeline = build_pipeline(Weights.open(BUNDLED, name="bundled"), settings)
    found = [pipeline.marks(next(from_path(page, settings))) for page in shown]
    assert [sorted(marks.names) for marks in found] == [
        ["signature", "stamp", "stamp", "thumb"],
        ["signature", "signature"],
    ]
