"""Drawn pages for training: the same each time, each on its own side, and drawn once."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from backend.geometry import as_boxes
from backend.training.crops import split_of
from backend.training.pagestore import LabelledPage, PageStore
from backend.training.training_pages import DRAWN_SEED, draw_into
from backend.vision.network_config import MARKS

BLANK = np.full((20, 20, 3), 255, np.uint8)


def blank(seed: int) -> LabelledPage:
    name = f"drawn-{seed}"
    return LabelledPage(
        name=name, document=name, split="train", domain="drawn", source="drawn", licence="MIT", dpi=None
    )


def test_a_process_draws_its_share_of_what_is_missing_and_the_same_page_as_any_other(
    drawn_pages: PageStore, tmp_path: Path
) -> None:
    """Of four pages the second of two processes has the second and the fourth; the fourth is there."""
    store = PageStore(tmp_path)
    store.add(blank(DRAWN_SEED + 3), BLANK)
    draw_into(store, pages=4, step=2, offset=1)
    found = {page.name: page for page in store.read()}
    assert set(found) == {f"drawn-{DRAWN_SEED + 1}", f"drawn-{DRAWN_SEED + 3}"}
    assert found[f"drawn-{DRAWN_SEED + 3}"] == blank(DRAWN_SEED + 3), "what is there is not drawn again"
    again = next(page for page in drawn_pages.read() if page.name == f"drawn-{DRAWN_SEED + 1}")
    assert found[again.name] == again
    np.testing.assert_array_equal(store.pixels(again), drawn_pages.pixels(again))


def test_a_store_that_has_them_all_is_left_alone(drawn_pages: PageStore) -> None:
    before = {file: file.stat().st_mtime_ns for file in drawn_pages.folder.iterdir()}
    draw_into(drawn_pages, pages=2)
    assert {file: file.stat().st_mtime_ns for file in drawn_pages.folder.iterdir()} == before


def test_each_page_is_a_document_of_its_own_and_on_its_side(drawn_pages: PageStore) -> None:
    pages = drawn_pages.read()
    assert {page.name for page in pages} == {f"drawn-{DRAWN_SEED}", f"drawn-{DRAWN_SEED + 1}"}
    for page in pages:
        assert page.document == page.name
        assert page.split == split_of(page.name)
        assert (page.domain, page.source) == ("drawn", "drawn")


def test_all_marks_of_a_drawn_page_are_known_and_lie_on_it(drawn_pages: PageStore) -> None:
    for page in drawn_pages.read():
        assert page.complete == MARKS
        assert len(page.boxes) == len(page.labels)
        assert set(page.labels) <= set(MARKS)
        height, width = drawn_pages.pixels(page).shape[:2]
        boxes = as_boxes(page.boxes)
        assert (boxes >= 0).all()
        assert (boxes <= [width, height, width, height]).all()
        assert (boxes[:, 2:] > boxes[:, :2]).all()
        if width == height:
            assert page.dpi is None, "a squashed page has no resolution to tell"
    assert any(page.boxes for page in drawn_pages.read())


def test_half_of_the_drawn_pages_have_what_is_taken_for_a_mark(tmp_path: Path) -> None:
    store = PageStore(tmp_path)
    draw_into(store, pages=12)
    counts = [len(page.logos) + len(page.handwriting) for page in store.read()]
    assert 3 <= sum(count > 0 for count in counts) <= 9
    assert max(counts) <= 8
    assert any(page.logos for page in store.read())
    assert any(page.handwriting for page in store.read())
