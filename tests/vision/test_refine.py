"""A rough box is tightened to the ink in it."""

import numpy as np
import pytest

from backend.geometry import iou
from backend.vision.refine import refine
from tests.vision.drawing import BLACK, BLUE, paper, ring, stroke, text


def overlap(found, truth):
    return iou(found, np.array([truth], float))[0, 0]


@pytest.mark.parametrize("dpi", [100, 200, None])
def test_tightens_to_the_coloured_ink(dpi):
    page = paper(dpi=dpi or 150)
    truth = ring(page, (3, 8), 0.7, BLUE, dpi or 150)
    rough = np.add(truth, [-60, -50, 70, 40])
    found = refine(page, rough, dpi)
    assert found.shape == (1, 4)
    assert overlap(found, truth) > 0.9


def test_coloured_ink_goes_before_print():
    page = paper()
    text(page)
    truth = ring(page, (3, 8), 0.5, BLUE)
    assert overlap(refine(page, np.add(truth, [-60, -50, 70, 40])), truth) > 0.9


def test_without_colour_it_tightens_to_dark_ink():
    page = paper()
    truth = stroke(page, (2, 8, 4.2, 8.7), BLACK)
    assert overlap(refine(page, np.add(truth, [-30, -40, 50, 30])), truth) > 0.85


def test_ink_that_reaches_in_from_outside_does_not_hold_a_side_back():
    page = paper()
    truth = ring(page, (3, 8), 0.5, BLUE)
    stroke(page, (3.8, 7.5, 6.5, 8.5), BLUE)
    assert overlap(refine(page, np.add(truth, [-20, -20, 60, 20])), truth) > 0.85


@pytest.mark.parametrize(
    "rough",
    [
        pytest.param([100, 100, 300, 200], id="no ink inside"),
        pytest.param([100, 100, 100, 200], id="no width"),
        pytest.param([-500, -500, -400, -400], id="outside the page"),
    ],
)
def test_a_box_without_ink_stays_as_it_was(rough):
    np.testing.assert_array_equal(refine(paper(), np.array(rough)), [rough])


def test_the_refined_box_stays_within_the_rough_one():
    page = paper()
    ring(page, (3, 8), 0.7, BLUE)
    rough = np.array([250.0, 740, 340, 860])
    found = refine(page, rough)[0]
    assert (found[:2] >= rough[:2]).all()
    assert (found[2:] <= rough[2:]).all()
