"""Crops: cut with their context, kept page by page, split by document."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from backend.errors import TrainingError
from backend.geometry import as_boxes
from backend.training.crops import MARGIN, SPLITS, CropFolder, LabelledBox, cut, split_of

FACTS = {"document": "contract-1", "split": "train", "domain": "drawn", "source": "drawn", "licence": "Apache-2.0"}


@pytest.fixture
def page() -> np.ndarray:
    rows, columns = np.mgrid[:120, :200]
    return np.stack([rows, columns, (rows + columns) % 256], axis=2).astype(np.uint8)


def test_a_crop_has_its_box_in_the_middle_and_the_margin_around_it(page: np.ndarray) -> None:
    crop = cut(page, as_boxes([40, 40, 80, 80])[0])
    margin = round(40 * MARGIN)
    np.testing.assert_array_equal(crop, page[40 - margin : 80 + margin, 40 - margin : 80 + margin])


def test_beyond_the_page_its_edge_goes_on(page: np.ndarray) -> None:
    crop = cut(page, as_boxes([0, 0, 40, 40])[0])
    assert crop.shape == (50, 50, 3)
    assert (crop[:5, 5:, 0] == 0).all()
    np.testing.assert_array_equal(crop[:5, 5:, 1], np.tile(np.arange(45), (5, 1)))


def test_large_crops_are_shrunk_and_keep_their_shape() -> None:
    crop = cut(np.full((1000, 2000, 3), 7, np.uint8), as_boxes([0, 0, 2000, 1000])[0])
    assert crop.shape == (160, 320, 3)
    assert (crop == 7).all()


def test_a_box_off_the_page_is_an_error_that_names_it(page: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"500.*lies outside a page of 200 x 120"):
        cut(page, as_boxes([500, 500, 540, 540])[0])


def test_what_is_added_is_read_back_whatever_the_order(tmp_path: Path, page: np.ndarray) -> None:
    found = [
        LabelledBox(box=(10, 10, 60, 60), label="stamp", origin="candidate"),
        LabelledBox(box=(80, 20, 150, 60), label="none", origin="patch"),
    ]
    stores = [CropFolder(tmp_path / name) for name in ("forth", "back")]
    for store, names in zip(stores, (["a", "b"], ["b", "a"]), strict=True):
        for name in names:
            store.add(name, page, found, FACTS | {"document": name})
    assert [crop.label for crop in stores[0].read()] == ["stamp", "none"] * 2
    assert stores[0].read() == stores[1].read()
    assert stores[0].checksum() == stores[1].checksum()
    assert "a" in stores[0]
    assert "c" not in stores[0]
    expected = cut(page, np.array(found[0].box)).astype(int)
    assert np.abs(stores[0].image(stores[0].read()[0]).astype(int) - expected).mean() < 2


def test_a_page_whose_harvest_was_cut_short_is_not_in_the_store(tmp_path: Path, page: np.ndarray) -> None:
    store = CropFolder(tmp_path)
    broken = [
        LabelledBox(box=(10, 10, 60, 60), label="stamp", origin="candidate"),
        LabelledBox(box=(900, 900, 950, 950), label="none", origin="patch"),
    ]
    with pytest.raises(ValueError, match="lies outside"):
        store.add("a", page, broken, FACTS)
    assert "a" not in store
    assert store.read() == []


def test_the_checksum_follows_pixels_and_labels(tmp_path: Path, page: np.ndarray) -> None:
    sums = set()
    for name, pixels, label in (("1", page, "stamp"), ("2", page, "none"), ("3", 255 - page, "stamp")):
        store = CropFolder(tmp_path / name)
        store.add("a", pixels, [LabelledBox(box=(10, 10, 60, 60), label=label, origin="candidate")], FACTS)
        sums.add(store.checksum())
    assert len(sums) == 3


def test_a_missing_image_is_an_error_that_names_the_file(tmp_path: Path, page: np.ndarray) -> None:
    store = CropFolder(tmp_path)
    store.add("a", page, [LabelledBox(box=(10, 10, 60, 60), label="stamp", origin="candidate")], FACTS)
    crop = store.read()[0]
    (tmp_path / crop.file).unlink()
    with pytest.raises(TrainingError, match=crop.file):
        store.image(crop)


def test_a_document_is_always_on_the_same_side() -> None:
    # Written down once: a change would move documents between training and gold.
    assert [split_of(f"document-{number}") for number in range(8)] == [
        split_of(f"document-{number}") for number in range(8)
    ]
    assert split_of("contract-0") == "train"
    assert split_of("contract-7") == "gold"


def test_sides_have_their_shares() -> None:
    sides = Counter(split_of(f"document-{number}", (0.4, 0.0, 0.6)) for number in range(4000))
    assert sides["validation"] == 0
    assert sides["train"] / 4000 == pytest.approx(0.4, abs=0.03)
    assert set(sides) < set(SPLITS)
