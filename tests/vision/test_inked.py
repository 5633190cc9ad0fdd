"""The ink of marks: masks, outlines and turned boxes hold what was drawn, and little else."""

import cv2
import numpy as np
import pytest

from backend.pages.page import Page
from backend.vision.ink import Inked, ink_in, outline, turned_box
from tests.vision.drawing import BLACK, BLUE, RED, paper, print_on, ring, stroke, text


def drawn_rectangle(page, centre, size, degrees, ink):
    """A rectangular stamp's frame, turned; gives its corners, (4, 2)."""
    corners = cv2.boxPoints((centre, size, degrees))
    mask = np.zeros(page.shape[:2], np.uint8)
    cv2.polylines(mask, [corners.round().astype(np.int32)], True, 255, 4, cv2.LINE_AA)
    print_on(page, mask, ink)
    return corners


def of(pixels, dpi=100):
    return Page(pixels=pixels, reference="drawn", dpi=float(dpi))


def around(points):
    return np.array([[*points.min(axis=0) - 3, *points.max(axis=0) + 3]])


@pytest.mark.parametrize("dpi", [100, 200])
def test_the_mask_is_the_stamps_own_ink_and_not_the_print_under_it(dpi):
    page, alone = paper(dpi=dpi), paper(dpi=dpi)
    text(page, dpi)
    box = np.array([ring(page, (3, 8), 0.7, BLUE, dpi)])
    ring(alone, (3, 8), 0.7, BLUE, dpi)
    [ink] = ink_in(of(page, dpi), box)
    height, width = ink.mask.shape
    true = (alone < 200).any(axis=2)[ink.top : ink.top + height, ink.left : ink.left + width]
    assert (ink.mask & true).sum() / true.sum() > 0.9
    # A working pixel about the strokes, which are two or three wide, is ink as well.
    near = cv2.dilate(true.astype(np.uint8), np.ones((2 * (dpi // 50) + 1,) * 2)) > 0
    assert (ink.mask & ~near).sum() / ink.mask.sum() < 0.1


def test_a_black_signature_is_found_though_a_stamps_corner_reaches_into_its_box():
    page = paper()
    signature = stroke(page, (3, 8, 5.5, 8.7), BLACK)
    ring(page, (2.7, 7.7), 0.5, RED)
    [ink] = ink_in(of(page, 100), np.array([signature]))
    columns = np.flatnonzero(ink.mask.any(axis=0))
    assert np.ptp(columns) > 0.95 * (signature[2] - signature[0])


def test_a_box_without_ink_is_taken_whole_and_no_box_is_nothing():
    [ink] = ink_in(of(paper(), 100), np.array([[100.0, 200, 140, 220]]))
    assert (ink.left, ink.top, ink.mask.shape, ink.mask.all()) == (100, 200, (20, 40), True)
    assert ink_in(of(paper()), np.zeros((0, 4))) == ()


@pytest.mark.parametrize(
    "box", [[-50, -50, 30, 30], [820, 1160, 900, 1300], [10, 10, 10.2, 10.2], [900, 1300, 950, 1400]]
)
def test_boxes_at_and_over_the_edge_give_a_mask_on_the_page(box):
    [ink] = ink_in(of(paper(), 100), np.array([box], float))
    height, width = ink.mask.shape
    assert 0 <= ink.left < ink.left + width <= 827
    assert 0 <= ink.top < ink.top + height <= 1169


def test_an_outline_holds_all_ink_of_a_mark_in_pieces():
    page = paper()
    first, second = stroke(page, (3, 8, 4, 8.6), BLUE), stroke(page, (4.6, 8.1, 5.4, 8.5), BLUE)
    box = np.array([[first[0], first[1], second[2], first[3]]])
    [ink] = ink_in(of(page, 100), box)
    line = outline(ink)
    canvas = np.zeros(page.shape[:2], np.uint8)
    cv2.fillPoly(canvas, [line.round().astype(np.int32)], 1)
    height, width = ink.mask.shape
    covered = canvas[ink.top : ink.top + height, ink.left : ink.left + width] > 0
    assert (covered & ink.mask).sum() / ink.mask.sum() > 0.97
    assert len(line) < 200


def test_the_outline_of_a_single_dot_is_an_area():
    mask = np.zeros((9, 9), bool)
    mask[4, 4] = True
    line = outline(Inked(10, 20, mask, 0.25))
    assert len(line) >= 3
    assert np.abs(line - [14.5, 24.5]).max() < 6


def test_masks_are_of_the_pages_size_where_its_pixels_are_fewer():
    pixels = paper(dpi=100)
    box = np.array([ring(pixels, (3, 8), 0.7, BLUE)])
    half = Page(pixels=pixels, reference="drawn", dpi=200.0, size=(2 * pixels.shape[1], 2 * pixels.shape[0]))
    [ink], [small] = ink_in(half, 2 * box), ink_in(of(pixels), box)
    assert np.abs(np.array(ink.mask.shape) - 2 * np.array(small.mask.shape)).max() <= 2
    assert ink.mask.mean() == pytest.approx(small.mask.mean(), rel=0.1)
    assert ink.pixel_mm == pytest.approx(small.pixel_mm / 2, rel=0.01)


@pytest.mark.parametrize("degrees", [-30, -12, 12, 30, 40])
def test_a_turned_stamp_gets_a_turned_box(degrees):
    page = paper()
    corners = drawn_rectangle(page, (400, 500), (200, 60), degrees, RED)
    [ink] = ink_in(of(page, 100), around(corners))
    found = turned_box(ink)
    assert found is not None
    assert found.degrees == pytest.approx(degrees, abs=1)
    assert found.size == pytest.approx((204, 64), abs=8)
    # Label Studio turns about the top left corner, clockwise.
    angle = np.radians(found.degrees)
    right, down = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
    centre = np.array(found.corner) + right * found.size[0] / 2 + down * found.size[1] / 2
    np.testing.assert_allclose(centre, (400, 500), atol=3)


@pytest.mark.parametrize(
    "draw",
    [
        pytest.param(lambda page: drawn_rectangle(page, (400, 500), (200, 60), 2, RED), id="hardly turned"),
        pytest.param(lambda page: np.array(ring(page, (4, 5), 0.7, RED)).reshape(2, 2), id="round"),
    ],
)
def test_a_stamp_that_gains_nothing_by_turning_keeps_its_upright_box(draw):
    page = paper()
    points = draw(page)
    [ink] = ink_in(of(page, 100), around(points))
    assert turned_box(ink) is None
