"""Ink is found wherever it is; black print, shading and empty pages give nothing."""

import dataclasses
import json

import numpy as np
import pytest

from backend.geometry import iou
from backend.vision.colour_detector import ColourDetector
from backend.vision.ink import DetectionConfig
from tests.vision.drawing import BLACK, BLUE, PALE_RED, RED, paper, print_on, ring, shade, stroke, text


def best(boxes, truth):
    return iou(np.array([truth], float), boxes).max(initial=0)


@pytest.mark.parametrize(
    ("tint", "ink"),
    [
        pytest.param((255, 255, 255), BLUE, id="blue on white"),
        pytest.param((255, 255, 255), RED, id="red on white"),
        pytest.param((255, 240, 190), BLUE, id="blue on cream paper"),
        pytest.param((200, 220, 250), BLUE, id="blue on blueish paper"),
        pytest.param((250, 200, 210), RED, id="red on pink paper"),
        pytest.param((120, 120, 120), RED, id="red on a page photographed in the dark"),
        pytest.param((255, 255, 255), PALE_RED, id="a faded print"),
    ],
)
def test_finds_a_stamp_on_any_paper(tint, ink):
    page = paper(tint)
    truth = ring(page, (4, 8), 0.7, ink)
    assert best(ColourDetector()(page).boxes, truth) > 0.8


def test_finds_a_stamp_over_print_in_uneven_light():
    page = paper((250, 245, 235))
    text(page)
    truth = ring(page, (3, 7), 0.7, BLUE)
    shade(page)
    assert best(ColourDetector()(page).boxes, truth) > 0.7


def test_keeps_a_pen_stroke_apart_from_the_faded_stamp_under_it():
    page = paper()
    stamp = ring(page, (4, 8), 0.7, PALE_RED)
    pen = stroke(page, (4.2, 7.8, 6.2, 8.2), (30, 40, 150))
    boxes = ColourDetector()(page).boxes
    assert best(boxes, stamp) > 0.7
    assert best(boxes, pen) > 0.7


def test_keeps_inks_of_different_hue_apart():
    page = paper()
    stamp = ring(page, (4, 8), 0.7, RED)
    pen = stroke(page, (4.2, 7.8, 6.2, 8.2), BLUE)
    boxes = ColourDetector()(page).boxes
    assert best(boxes, stamp) > 0.7
    assert best(boxes, pen) > 0.7


def test_finds_a_black_signature_among_black_print():
    page = paper()
    text(page, bottom=7)
    truth = stroke(page, (2, 8, 4.2, 8.7), BLACK)
    assert best(ColourDetector()(page).boxes, truth) > 0.7


def test_finds_a_black_signature_that_crosses_a_ruled_line():
    page = paper()
    rule = np.zeros(page.shape[:2], np.uint8)
    rule[830:832, 80:700] = 255
    print_on(page, rule, BLACK)
    truth = stroke(page, (2, 8, 4.2, 8.6), BLACK)
    assert best(ColourDetector()(page).boxes, truth) > 0.7


@pytest.mark.parametrize("ink", [BLUE, (90, 90, 90)], ids=["blue", "on a grey scan"])
def test_finds_a_thumbprint_over_print(ink):
    page = paper()
    text(page)
    rows, columns = np.mgrid[: page.shape[0], : page.shape[1]]
    radius = np.hypot((columns - 300) / 33, (rows - 600) / 42)
    ridges = np.where((radius < 1) & (np.sin(radius * 60) > -0.3), 255, 0).astype(np.uint8)
    print_on(page, ridges, ink)
    assert best(ColourDetector()(page).boxes, [267, 558, 333, 642]) > 0.6


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda page: page, id="bare paper"),
        pytest.param(text, id="black print"),
        pytest.param(shade, id="uneven light"),
        pytest.param(lambda page: (text(page), shade(page)), id="black print in uneven light"),
        pytest.param(lambda page: page.fill(0), id="all black"),
    ],
)
@pytest.mark.parametrize("tint", [(255, 255, 255), (255, 240, 190)], ids=["white", "cream"])
def test_a_page_without_marks_has_no_candidates(spoil, tint):
    page = paper(tint)
    spoil(page)
    assert len(ColourDetector()(page)) == 0


@pytest.mark.parametrize("shape", [(1, 1), (1, 400), (400, 1), (2, 3), (7, 5000), (33, 31)])
@pytest.mark.parametrize("value", [0, 127, 255])
def test_odd_sizes_are_no_trouble(shape, value):
    page = np.full((*shape, 3), value, np.uint8)
    assert len(ColourDetector()(page)) == 0


def test_boxes_lie_on_the_page_even_when_a_mark_is_cut_by_its_edge():
    page = paper()
    ring(page, (8.2, 11.6), 0.7, BLUE)
    stroke(page, (-0.5, 3, 1, 3.5), RED)
    boxes = ColourDetector()(page).boxes
    assert len(boxes)
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, 2] <= page.shape[1]).all()
    assert (boxes[:, 3] <= page.shape[0]).all()
    assert (boxes[:, 2:] > boxes[:, :2]).all()


def noisy_page(seed=0):
    page = paper()
    text(page)
    ring(page, (3, 8), 0.7, BLUE)
    stroke(page, (4.2, 7.8, 6.2, 8.2), RED)
    noise = np.random.default_rng(seed).normal(0, 3, page.shape)
    return np.clip(page + noise, 0, 255).astype(np.uint8)


def test_the_same_page_gives_the_same_candidates():
    page = noisy_page()
    first, second = ColourDetector()(page), ColourDetector()(page.copy())
    np.testing.assert_array_equal(first.boxes, second.boxes)
    np.testing.assert_array_equal(first.scores, second.scores)


def test_the_page_itself_is_left_alone():
    page = noisy_page()
    before = page.copy()
    ColourDetector()(page)
    np.testing.assert_array_equal(page, before)


def test_candidates_come_best_first_and_not_too_many():
    candidates = ColourDetector(DetectionConfig(most_candidates=3))(noisy_page())
    assert 0 < len(candidates) <= 3
    assert (np.diff(candidates.scores) <= 0).all()


@pytest.mark.parametrize("dpi", [75, 100, 150, 300])
@pytest.mark.parametrize("known", [True, False], ids=["resolution known", "resolution unknown"])
def test_a_mark_is_found_at_any_resolution(dpi, known):
    page = paper(dpi=dpi)
    stamp = ring(page, (3, 8), 0.7, BLUE, dpi)
    pen = stroke(page, (4.5, 8, 6.5, 8.5), RED, dpi)
    boxes = ColourDetector()(page, dpi if known else None).boxes
    assert best(boxes, stamp) > 0.85
    assert best(boxes, pen) > 0.8


def test_a_page_squashed_to_a_square_keeps_its_marks():
    page = paper()
    x1, y1, x2, y2 = ring(page, (3, 8), 0.7, BLUE)
    rows = np.linspace(0, page.shape[0] - 1, page.shape[1]).astype(int)
    squashed = np.ascontiguousarray(page[rows])
    ratio = page.shape[1] / page.shape[0]
    assert best(ColourDetector()(squashed).boxes, [x1, y1 * ratio, x2, y2 * ratio]) > 0.8


def test_the_config_is_plain_json():
    config = DetectionConfig()
    assert json.loads(json.dumps(dataclasses.asdict(config)))["most_candidates"] == config.most_candidates
