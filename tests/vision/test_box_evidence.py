"""What is measured of the boxes that a mark in a rough box could have."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from backend.geometry import Boxes, as_boxes, iou
from backend.vision.rough_boxes import EVIDENCE, SECOND_LOOK, WEIGHTS, box_evidence
from backend.vision.rough_ink import RoughInk, possible_boxes

ROUGH = np.array([100.0, 100.0, 400.0, 300.0])
MARK = (180.0, 140.0, 320.0, 240.0)
PEN = 4.0


@pytest.fixture
def pixels() -> NDArray[np.uint8]:
    """A ring that is the mark, a line of print that the rough box cuts, and a ruled line across."""
    page = np.full((600, 600, 3), 250, np.uint8)
    cv2.ellipse(page, (250, 190), (66, 46), 0, 0, 360, (150, 40, 40), 3)
    cv2.rectangle(page, (60, 110), (160, 118), (20, 20, 20), -1)
    cv2.line(page, (0, 280), (599, 280), (20, 20, 20), 1)
    return page


def measured(pixels: NDArray[np.uint8], boxes: Boxes) -> dict[str, NDArray[np.float64]]:
    ink = RoughInk.read(pixels, ROUGH, pen=PEN)
    found = box_evidence(boxes, ROUGH, ink=ink, candidates=as_boxes([MARK]), probabilities=np.array([0.8]))
    return dict(zip(EVIDENCE, found.T, strict=True))


def test_there_is_a_weight_for_all_that_is_measured(pixels: NDArray[np.uint8]) -> None:
    assert len(WEIGHTS) == len(SECOND_LOOK) == len(EVIDENCE) == len(measured(pixels, as_boxes([MARK])))


def test_a_line_that_is_ruled_across_is_no_ink_of_the_mark(pixels: NDArray[np.uint8]) -> None:
    ink = RoughInk.read(pixels, ROUGH, pen=PEN)
    row = 280 - ink.corner[1]
    assert ink.every[row].all()
    assert not ink.plain[row].any()
    assert ink.coloured[:, ROUGH.astype(int)[0] - ink.corner[0] :].any()


def test_the_boxes_hold_one_that_fits_and_none_beyond_a_pens_width(pixels: NDArray[np.uint8]) -> None:
    ink = RoughInk.read(pixels, ROUGH, pen=PEN)
    boxes = possible_boxes(ink, ROUGH, as_boxes([]), pen=PEN)
    assert iou(boxes, as_boxes([MARK])).max() > 0.9
    assert (boxes[:, :2] >= ROUGH[:2] - PEN).all()
    assert (boxes[:, 2:] <= ROUGH[2:] + PEN).all()


def test_evidence_tells_the_mark_from_what_the_rough_box_cuts(pixels: NDArray[np.uint8]) -> None:
    found = measured(pixels, as_boxes([MARK, ROUGH, (100, 105, 165, 122)]))
    assert found["IoU with the detector's candidates, by their probability"][0] == pytest.approx(0.8)
    assert found["its share of the ink that the rough box does not cut"].tolist() == pytest.approx([1, 1, 0])
    cut = found["share of its ink that the rough box cuts"]
    assert cut[0] == 0
    assert cut[2] == 1
    assert 0 < cut[1] < 1
    assert found["share of its edges without ink inside"][0] == 0
