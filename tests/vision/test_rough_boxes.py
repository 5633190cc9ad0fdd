"""A rough box is tightened to the mark in it, never far outside, and never to a mark that is boxed already."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from backend.geometry import Boxes, as_boxes, iou
from backend.vision.candidates import Candidates
from backend.vision.colour_detector import ColourDetector
from backend.vision.network_config import MARKS
from backend.vision.pipeline import Pipeline
from backend.vision.rough_boxes import likeliest, tighten, ventured
from tests.vision.test_pipeline import Answers, stamped_page

SEAL, NAME = (300.0, 300.0, 500.0, 440.0), (120.0, 500.0, 420.0, 560.0)
PEN = 5.0


@pytest.fixture
def page() -> NDArray[np.uint8]:
    """A seal, a name under it, and a line of print over it."""
    pixels = np.full((1000, 800, 3), 252, np.uint8)
    cv2.ellipse(pixels, (400, 370), (98, 68), 0, 0, 360, (40, 40, 170), 4)
    cv2.putText(pixels, "SEAL", (345, 385), cv2.FONT_HERSHEY_SIMPLEX, 1.4, (40, 40, 170), 3)
    cv2.polylines(pixels, [np.array([[122, 556], [200, 504], [280, 556], [417, 504]])], False, (20, 20, 20), 4)
    cv2.putText(pixels, "agreed between the parties", (250, 270), cv2.FONT_HERSHEY_SIMPLEX, 0.7, (30, 30, 30), 1)
    return pixels


def tightened(
    page: NDArray[np.uint8], rough: list[float], *, sure: tuple[float, float] = (0.9, 0.9), taken: Boxes | None = None
) -> NDArray[np.float64]:
    """The answer where the detector saw both marks, a little off."""
    candidates = as_boxes([SEAL, NAME]) + np.array([4, -3, 5, 3])
    there = as_boxes([]) if taken is None else taken
    drawn = as_boxes([rough])
    [found] = tighten(page, drawn, candidates=candidates, probabilities=np.array(sure), taken=there, inside=0.7)
    return np.asarray(found)


def overlap(found: NDArray[np.float64], truth: tuple[float, ...]) -> float:
    return float(iou(as_boxes([found]), as_boxes([truth]))[0, 0])


@pytest.mark.parametrize("room", [8, 30, 60, 120])
@pytest.mark.parametrize("mark", [SEAL, NAME])
def test_rough_boxes_of_several_sizes_come_back_tight(
    page: NDArray[np.uint8], mark: tuple[float, ...], room: int
) -> None:
    rough = [mark[0] - room, mark[1] - room / 2, mark[2] + room / 2, mark[3] + room / 3]
    # A box around a mark is meant for it, whatever else of less probability it reaches.
    sure = (0.9, 0.01) if mark == SEAL else (0.01, 0.9)
    assert overlap(tightened(page, rough, sure=sure), mark) >= 0.9


@pytest.mark.parametrize("cut", [0.05, 0.1, 0.15])
@pytest.mark.parametrize("mark", [SEAL, NAME])
def test_a_rough_box_that_cuts_the_mark_is_not_made_smaller_still(
    page: NDArray[np.uint8], mark: tuple[float, ...], cut: float
) -> None:
    """The pieces that are left in it are no marks: a candidate of the class goes around the whole."""
    sides = np.tile(np.subtract(mark[2:], mark[:2]), 2)
    rough = np.array(mark) + np.array([1.0, 1.2, -0.8, -1.0]) * cut * sides
    sure = (0.9, 0.01) if mark == SEAL else (0.01, 0.9)
    found = tightened(page, rough.tolist(), sure=sure)
    assert overlap(found, mark) >= overlap(rough, mark) - 0.05
    assert (found[:2] >= rough[:2] - PEN).all()
    assert (found[2:] <= rough[2:] + PEN).all()


def test_a_mark_within_one_of_another_class_is_tightened_all_the_same(page: NDArray[np.uint8]) -> None:
    """What holds the rough box is of another class, so it says nothing about where this mark ends."""
    around = as_boxes([[80, 260, 560, 600], np.add(NAME, [4, -3, 5, 3])])
    drawn, sure = as_boxes([[100, 480, 450, 580]]), np.array([0.02, 0.9])
    [found] = tighten(page, drawn, candidates=around, probabilities=sure, taken=as_boxes([]), inside=0.7)
    assert overlap(found, NAME) > 0.9


def test_the_answer_is_within_the_rough_box_and_a_pens_width(page: NDArray[np.uint8]) -> None:
    rough = [340.0, 320.0, 520.0, 450.0]
    found = tightened(page, rough)
    assert (found[:2] >= np.array(rough[:2]) - PEN).all()
    assert (found[2:] <= np.array(rough[2:]) + PEN).all()


def test_a_mark_that_is_boxed_already_is_not_boxed_again(page: NDArray[np.uint8]) -> None:
    rough = [290.0, 290.0, 510.0, 450.0]
    assert overlap(tightened(page, rough), SEAL) > 0.9
    again = tightened(page, rough, taken=as_boxes([SEAL]))
    assert overlap(again, SEAL) <= 0.87
    np.testing.assert_array_equal(again, rough)


@pytest.mark.parametrize("rough", [[600, 700, 700, 760], [600, 700, 600, 760], [-50, -50, -20, -20]])
def test_a_box_without_ink_stays_as_it_was(page: NDArray[np.uint8], rough: list[float]) -> None:
    np.testing.assert_array_equal(tightened(page, rough), rough)


def test_what_the_detector_did_not_see_is_tightened_to_its_ink(page: NDArray[np.uint8]) -> None:
    assert overlap(tightened(page, [100, 490, 450, 580], sure=(0.0, 0.0)), NAME) > 0.9


def test_a_rough_box_is_tightened_and_named() -> None:
    pipeline = Pipeline(ColourDetector(), Answers((0.1, 0.3, 0.1, 0.5)))
    mark = pipeline.refine(stamped_page(), as_boxes([300, 400, 720, 800]))
    np.testing.assert_allclose(mark.boxes, [[380, 480, 621, 721]], atol=6)
    assert mark.names == ["stamp"]
    assert mark.scores[0] == pytest.approx(0.6), "the annotator said that it is a mark: `none` is out"


def test_a_rough_box_around_no_ink_stays_where_it_is() -> None:
    pipeline = Pipeline(ColourDetector(), Answers((0.1, 0.3, 0.1, 0.5)))
    drawn = as_boxes([10, 10, 200, 200])
    mark = pipeline.refine(stamped_page(), drawn)
    np.testing.assert_array_equal(mark.boxes, drawn)
    assert mark.names == ["stamp"]


class SecondLook(ColourDetector):
    """Proposes nothing, and sees on a second look where the stamp is; notes what it was asked."""

    asked: list[tuple[tuple[int, ...], int]]

    def __call__(self, pixels: NDArray[np.uint8], dpi: float | None = None) -> Candidates:
        del pixels, dpi
        return Candidates(as_boxes([]), np.zeros(0), np.zeros((0, len(MARKS))))

    def second_look(
        self, pixels: NDArray[np.uint8], boxes: Boxes, labels: NDArray[np.intp], *, dpi: float | None, times: int
    ) -> Boxes:
        del pixels, dpi
        self.asked = [*self.asked, (tuple(map(int, labels)), times)]
        return as_boxes([(381, 481, 620, 720)] * len(boxes))


@pytest.mark.parametrize(("meant", "labels"), [([1], (1, 1, 1)), ([], (0, 0, 0, 1, 1, 1, 2, 2, 2))])
def test_a_second_look_begins_with_the_rough_box_and_smaller_ones(meant: list[int], labels: tuple[int, ...]) -> None:
    detector = SecondLook()
    detector.asked = []
    pipeline = Pipeline(detector, Answers((0.1, 0.3, 0.1, 0.5)))
    mark = pipeline.refine(stamped_page(), as_boxes([300, 400, 720, 800]), meant=meant)
    np.testing.assert_allclose(mark.boxes, [[381, 481, 620, 721]], atol=3)
    assert detector.asked == [(labels, 2)]


def test_where_there_is_no_ink_there_is_no_second_look() -> None:
    detector = SecondLook()
    detector.asked = []
    drawn = as_boxes([10, 10, 200, 200])
    mark = Pipeline(detector, Answers((0.1, 0.3, 0.1, 0.5))).refine(stamped_page(), drawn)
    np.testing.assert_array_equal(mark.boxes, drawn)
    assert detector.asked == [((), 2)]


def test_a_classifier_that_is_sure_of_none_still_names_what_was_drawn() -> None:
    mark = Pipeline(ColourDetector(), Answers((0.0, 0.0, 0.0, 1.0))).refine(stamped_page(), as_boxes([0, 0, 900, 900]))
    assert mark.names[0] in MARKS
    assert np.isfinite(mark.scores).all()


def test_between_two_boxes_that_are_as_good_the_answer_lies_and_never_between_two_marks() -> None:
    narrow, wide, elsewhere = (20.0, 20.0, 80.0, 80.0), (10.0, 10.0, 90.0, 90.0), (200.0, 10.0, 280.0, 90.0)
    boxes = as_boxes([narrow, wide, elsewhere])
    np.testing.assert_allclose(likeliest(boxes, np.array([1.0, 1.0, 1.0])), (15.0, 15.0, 85.0, 85.0))
    np.testing.assert_allclose(likeliest(boxes, np.array([9.0, 1.0, 9.0])), narrow, atol=0.01)
    np.testing.assert_allclose(likeliest(boxes, np.array([0.0, 0.0, 1.0])), elsewhere)


@pytest.mark.parametrize(
    ("worth", "way"),
    [
        ((6.0, 0.0, 0.0), 1.0),  # nothing speaks against what was chosen
        ((1.0, 2.0, 0.0), 0.5),  # it may be too small
        ((0.5, 0.0, 0.5), 0.0),  # what was drawn may be right
    ],
)
def test_an_answer_goes_as_far_from_what_was_drawn_as_the_other_boxes_allow(
    worth: tuple[float, ...], way: float
) -> None:
    chosen, middle, drawn = (np.array([inset, inset, 100 - inset, 100 - inset]) for inset in (20.0, 10.0, 0.0))
    found = ventured(chosen, drawn, boxes=as_boxes([chosen, middle, drawn]), worth=np.array(worth))
    assert found.tolist() == (drawn + way * (chosen - drawn)).tolist()
