"""Labelled pages as teachers: what the detector proposes, named by what is known to be there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from backend.geometry import as_boxes
from backend.training.crops import CropFolder
from backend.training.harvest import KnownMarks, finds, found_on, harvest_pages, truth_of
from backend.training.pagestore import LabelledPage, PageStore
from backend.vision.candidates import Candidates
from backend.vision.colour_detector import ColourDetector
from backend.vision.network_config import CLASSES, MARKS
from tests.models.detectors import ink_detector, open_detector

TRUTH = KnownMarks(boxes=as_boxes([(0, 0, 100, 100), (300, 0, 400, 100)]), labels=("stamp", "thumb"))
PAGE = LabelledPage(
    name="a",
    document="a",
    split="train",
    domain="real",
    source="page_full",
    licence="MIT",
    dpi=None,
    boxes=((10.0, 10.0, 90.0, 90.0),),
    labels=("stamp",),
    ignored=((200.0, 200.0, 300.0, 240.0),),
    complete=MARKS,
    logos=((300.0, 10.0, 360.0, 70.0),),
)
WHITE = np.full((500, 500, 3), 255, np.uint8)


def rng() -> np.random.Generator:
    return np.random.default_rng(1)


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
    found = finds(candidates, TRUTH, rng(), most_none=most)
    assert sum(one.label == "none" for one in found) == count


def test_without_candidates_every_mark_gives_its_true_box() -> None:
    found = finds(as_boxes([]), TRUTH, rng())
    assert [(one.label, one.origin) for one in found] == [("stamp", "truth"), ("thumb", "truth")]


@pytest.mark.parametrize(
    ("complete", "whole"),
    [(MARKS, True), (("thumb", "stamp", "signature"), True), (("stamp", "signature"), False), ((), False)],
)
def test_a_page_is_complete_when_all_its_classes_are(complete: tuple[str, ...], whole: bool) -> None:
    truth = truth_of(replace(PAGE, complete=complete))
    assert truth.complete is whole
    assert truth.labels == PAGE.labels
    np.testing.assert_array_equal(truth.boxes, PAGE.boxes)
    np.testing.assert_array_equal(truth.ignored, PAGE.ignored)


ELSEWHERE = (400.0, 400.0, 450.0, 440.0)


@pytest.mark.parametrize(
    ("complete", "labels"),
    [
        (MARKS, ["stamp", "none"]),  # every mark is boxed: what is left is none
        (("signature",), ["stamp"]),  # a stamp may be unboxed
        ((), ["stamp"]),  # anything may be
    ],
)
def test_unmatched_candidates_are_none_only_where_everything_is_boxed(
    complete: tuple[str, ...], labels: list[str]
) -> None:
    page = replace(PAGE, complete=complete, logos=(), ignored=())
    found = found_on(page, WHITE, as_boxes([(10, 10, 88, 90), ELSEWHERE]), rng())
    assert [one.label for one in found if one.origin == "candidate"] == labels
    assert [one.box for one in found if one.origin == "truth"] == [(10, 10, 90, 90)]


def test_handwriting_teaches_nothing_and_a_logo_teaches_none() -> None:
    page = replace(PAGE, boxes=(), labels=())
    found = found_on(page, WHITE, as_boxes([(200, 200, 290, 240), (301, 10, 360, 70)]), rng())
    assert {one.label for one in found} == {"none"}
    assert {one.box for one in found} == {(301, 10, 360, 70), (300, 10, 360, 70)}


def test_of_a_drawn_page_some_places_that_show_something_are_none_too() -> None:
    page = replace(PAGE, domain="drawn", source="drawn", logos=(), ignored=())
    assert {one.origin for one in found_on(page, WHITE, as_boxes([]), rng())} == {"truth"}, "white paper shows nothing"
    noise = np.random.default_rng(2).integers(0, 256, WHITE.shape, dtype=np.uint8)
    patches = [one for one in found_on(page, noise, as_boxes([]), rng()) if one.origin == "patch"]
    assert patches
    assert {one.label for one in patches} == {"none"}


def test_what_was_drawn_to_be_mistaken_for_a_mark_teaches_none() -> None:
    page = replace(PAGE, domain="drawn", source="drawn", ignored=(), handwriting=((20.0, 300.0, 120.0, 330.0),))
    found = {one.box: one.label for one in found_on(page, WHITE, as_boxes([(22, 300, 118, 330)]), rng())}
    assert found[20.0, 300.0, 120.0, 330.0] == found[22.0, 300.0, 118.0, 330.0] == "none"
    assert found[page.logos[0]] == "none"
    assert found[page.boxes[0]] == "stamp"


def test_what_a_drawn_page_teaches_is_the_same_each_time_and_lies_on_it(drawn_pages: PageStore) -> None:
    page = max(drawn_pages.read(), key=lambda one: len(one.boxes))
    pixels = drawn_pages.pixels(page)
    candidates = ColourDetector()(pixels, page.dpi).boxes
    found = found_on(page, pixels, candidates, rng())
    assert found == found_on(page, pixels, candidates, rng())
    assert {one.label for one in found} <= set(CLASSES)
    assert any(one.label != "none" for one in found)
    height, width = pixels.shape[:2]
    boxes = as_boxes([one.box for one in found])
    assert (boxes[:, 2:] > boxes[:, :2]).all()
    assert (boxes[:, :2] < [width, height]).all()
    assert (boxes[:, 2:] > 0).all()


def test_all_crops_of_a_page_are_on_the_side_of_its_document(drawn_pages: PageStore, tmp_path: Path) -> None:
    stores = [CropFolder(tmp_path / name) for name in ("one", "other")]
    for store in stores:
        harvest_pages(store, drawn_pages, ColourDetector())
    crops = stores[0].read()
    assert {(crop.document, crop.split) for crop in crops} == {
        (page.document, page.split) for page in drawn_pages.read()
    }
    assert {(crop.domain, crop.source) for crop in crops} == {("drawn", "drawn")}
    assert stores[0].checksum() == stores[1].checksum(), "the same pages give the same crops"


class Watched(ColourDetector):
    """Remembers which pages it has looked at, by their shade."""

    def __init__(self) -> None:
        super().__init__()
        self.shades: list[int] = []

    def __call__(self, pixels: NDArray[np.uint8], dpi: float | None = None) -> Candidates:
        self.shades.append(int(pixels[0, 0, 0]))
        return super().__call__(pixels, dpi)


def test_harvesting_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    pages = PageStore(tmp_path / "pages")
    plain = replace(PAGE, ignored=(), logos=())
    for place in range(4):
        pages.add(replace(plain, name=str(place)), np.full((100, 100, 3), 100 + 40 * place, np.uint8))
    shades = [int(pages.pixels(page)[0, 0, 0]) for page in pages.read()]
    store, detector = CropFolder(tmp_path / "crops"), Watched()
    harvest_pages(store, pages, detector, step=2, offset=1)
    assert detector.shades == shades[1::2], "of two processes, the second has every second page"
    harvest_pages(store, pages, detector)
    assert detector.shades == shades[1::2] + shades[::2]
    harvest_pages(store, pages, detector)
    assert len(detector.shades) == 4


def test_what_a_network_sees_at_the_edge_of_a_page_can_be_cut_out(tmp_path: Path) -> None:
    """The network looks at the padding too, where there is nothing to cut."""
    ink_detector(tmp_path / "detector", [[3.0, 3.0, 3.0, 3.0]] * 3, least_heat=0.3)
    pixels = np.full((585, 413, 3), 255, np.uint8)
    pixels[570:] = pixels[:, 400:] = 0
    pages, store = PageStore(tmp_path / "pages"), CropFolder(tmp_path / "crops")
    pages.add(replace(PAGE, dpi=50.0, boxes=(), labels=(), ignored=(), logos=()), pixels)
    harvest_pages(store, pages, open_detector(tmp_path / "detector"))
    assert {crop.label for crop in store.read()} == {"none"}
