"""Drawn pages as teachers: what the detector proposes, labelled by what was drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from backend.detection import ColourDetector
from backend.geometry import as_boxes
from backend.nets.config import CLASSES
from backend.training.crops import CropStore, split_of
from backend.training.harvest import DRAWN_SEED, drawn_crops, finds, harvest_drawn
from backend.training.labelling import Truth

TRUTH = Truth(boxes=as_boxes([(0, 0, 100, 100), (300, 0, 400, 100)]), labels=("stamp", "thumb"))


def test_a_mark_gives_its_best_two_candidates_and_a_missed_one_its_true_box() -> None:
    candidates = as_boxes([(0, 0, 60, 100), (0, 0, 95, 100), (0, 0, 80, 100), (600, 600, 700, 700)])
    found = finds(candidates, TRUTH, np.random.default_rng(3))
    stamps = [one.box for one in found if one.label == "stamp" and one.origin == "candidate"]
    assert stamps == [(0, 0, 95, 100), (0, 0, 80, 100)]
    assert [(one.box, one.origin) for one in found if one.label == "thumb"] == [((300, 0, 400, 100), "truth")]
    assert [one.box for one in found if one.label == "none"] == [(600, 600, 700, 700)]


@pytest.mark.parametrize(("most", "count"), [(0, 0), (5, 5), (50, 20)])
def test_a_page_gives_no_more_none_than_asked_for(most: int, count: int) -> None:
    candidates = as_boxes([(500 + 20 * place, 500, 515 + 20 * place, 520) for place in range(20)])
    found = finds(candidates, TRUTH, np.random.default_rng(1), most_none=most)
    assert sum(one.label == "none" for one in found) == count


def test_without_candidates_every_mark_gives_its_true_box() -> None:
    found = finds(as_boxes([]), TRUTH, np.random.default_rng(1))
    assert [(one.label, one.origin) for one in found] == [("stamp", "truth"), ("thumb", "truth")]


def test_a_drawn_page_is_the_same_each_time_and_its_crops_lie_on_it() -> None:
    detector = ColourDetector()
    pixels, found = drawn_crops(DRAWN_SEED + 1, detector)
    again, found_again = drawn_crops(DRAWN_SEED + 1, detector)
    np.testing.assert_array_equal(pixels, again)
    assert found == found_again
    assert {one.label for one in found} <= set(CLASSES)
    assert any(one.label != "none" for one in found)
    height, width = pixels.shape[:2]
    boxes = as_boxes([one.box for one in found])
    assert (boxes[:, 2:] > boxes[:, :2]).all()
    assert (boxes[:, :2] < [width, height]).all()
    assert (boxes[:, 2:] > 0).all()


def test_harvesting_goes_on_where_it_was_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []

    def plain(seed: int, detector: ColourDetector) -> tuple[np.ndarray, list[object]]:
        drawn.append(seed)
        return np.full((20, 20, 3), 200, np.uint8), []

    monkeypatch.setattr("backend.training.harvest.drawn_crops", plain)
    store = CropStore(tmp_path)
    harvest_drawn(store, pages=2)
    harvest_drawn(store, pages=4, step=2, offset=1)
    harvest_drawn(store, pages=4)
    assert drawn == [DRAWN_SEED, DRAWN_SEED + 1, DRAWN_SEED + 3, DRAWN_SEED + 2]


def test_all_crops_of_a_page_are_on_the_side_of_its_document(tmp_path: Path) -> None:
    store = CropStore(tmp_path)
    harvest_drawn(store, pages=1)
    crops = store.read()
    assert crops
    assert {(crop.document, crop.split) for crop in crops} == {(f"drawn-{DRAWN_SEED}", split_of(f"drawn-{DRAWN_SEED}"))}
