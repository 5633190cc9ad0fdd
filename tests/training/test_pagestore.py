"""The store of pages: what goes in comes out, and a page is in it wholly or not at all."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from backend.errors import OutputError, TrainingError
from backend.training.pagestore import JoinedPages, LabelledPage, PageStore
from backend.vision.network_config import MARKS

PAGE = LabelledPage(
    name="folder/a page.png",
    document="a",
    split="gold",
    domain="real",
    source="page_full",
    licence="CC-BY-4.0",
    dpi=200.0,
    boxes=((1.5, 2.0, 30.25, 40.0), (5.0, 6.0, 7.0, 8.0)),
    labels=("stamp", "thumb"),
    ignored=((0.0, 0.0, 3.0, 3.0),),
    complete=MARKS,
    logos=((50.0, 50.0, 60.0, 60.0),),
)
PIXELS = np.full((60, 80, 3), (200, 120, 40), np.uint8)


@pytest.mark.parametrize(
    "page",
    [
        PAGE,
        # A page about which little is known.
        LabelledPage(name="b", document="b", split="train", domain="drawn", source="drawn", licence="MIT", dpi=None),
    ],
    ids=["full", "bare"],
)
def test_what_is_known_comes_out_as_it_went_in(page: LabelledPage, tmp_path: Path) -> None:
    store = PageStore(tmp_path / "pages")
    assert page.name not in store
    store.add(page, PIXELS)
    assert page.name in store
    assert PageStore(tmp_path / "pages").read() == [page]


def test_pixels_come_out_nearly_as_they_went_in_colours_in_their_order(tmp_path: Path) -> None:
    store = PageStore(tmp_path)
    store.add(PAGE, PIXELS)
    found = store.pixels(PAGE)
    assert found.shape == PIXELS.shape
    np.testing.assert_allclose(found.astype(int), PIXELS, atol=3)


def test_a_page_whose_writing_was_cut_off_is_not_in_the_store(tmp_path: Path) -> None:
    store = PageStore(tmp_path)
    store.add(PAGE, PIXELS)
    (facts,) = tmp_path.glob("*.json")
    facts.rename(facts.with_suffix(".part"))  # as a kill before the last step would leave it
    assert PAGE.name not in store
    assert store.read() == []
    store.add(PAGE, PIXELS)
    assert store.read() == [PAGE]


def test_the_order_does_not_depend_on_who_came_first(tmp_path: Path) -> None:
    pages = [dataclasses.replace(PAGE, name=name) for name in "abc"]
    one, other = PageStore(tmp_path / "one"), PageStore(tmp_path / "other")
    for page in pages:
        one.add(page, PIXELS)
    for page in reversed(pages):
        other.add(page, PIXELS)
    assert one.read() == other.read()
    assert {page.name for page in one.read()} == set("abc")


def test_an_empty_folder_has_no_pages(tmp_path: Path) -> None:
    assert PageStore(tmp_path / "none").read() == []


@pytest.mark.parametrize("text", [None, b"no image"])
def test_a_lost_or_damaged_image_is_an_error_that_says_what_to_do(text: bytes | None, tmp_path: Path) -> None:
    store = PageStore(tmp_path)
    store.add(PAGE, PIXELS)
    (image,) = tmp_path.glob("*.jpg")
    image.unlink()
    if text is not None:
        image.write_bytes(text)
    with pytest.raises(TrainingError, match=r"no readable image: delete .*\.json"):
        store.pixels(PAGE)


def test_a_page_that_cannot_be_written_is_an_error_and_not_in_the_store(tmp_path: Path) -> None:
    store = PageStore(tmp_path)
    store.add(PAGE, PIXELS)
    (image,), (facts,) = tmp_path.glob("*.jpg"), tmp_path.glob("*.json")
    image.unlink()
    facts.unlink()
    image.mkdir()
    with pytest.raises(OutputError, match="cannot be written"):
        store.add(PAGE, PIXELS)
    assert PAGE.name not in store


def test_joined_stores_are_read_one_after_the_other_each_page_from_its_own(tmp_path: Path) -> None:
    first, second = PageStore(tmp_path / "first"), PageStore(tmp_path / "second")
    other = dataclasses.replace(PAGE, name="b", domain="drawn")
    second.add(PAGE, PIXELS)
    first.add(other, 255 - PIXELS)
    joined = JoinedPages((first, second))
    assert joined.read() == [other, PAGE]
    np.testing.assert_array_equal(joined.pixels(PAGE), second.pixels(PAGE))
    np.testing.assert_array_equal(joined.pixels(other), first.pixels(other))
    with pytest.raises(TrainingError, match="no store has the page c"):
        joined.pixels(dataclasses.replace(PAGE, name="c"))
