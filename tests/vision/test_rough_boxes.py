"""A rough box is tightened to the mark in it, never far outside, and never to a mark that is boxed already."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from backend.geometry import Boxes, as_boxes, iou
from backend.vision.rough_boxes import tighten

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
