"""Coloured ink is found wherever it is; black print, shading and empty pages give nothing."""

import cv2
import numpy as np
import pytest

from backend.detection import ColourDetector
from backend.geometry import iou

BLUE = (40, 60, 200)
RED = (210, 40, 50)
PALE_RED = (240, 200, 200)


def paper(colour=(255, 255, 255), dpi=100):
    return np.full((round(11.69 * dpi), round(8.27 * dpi), 3), colour, np.uint8)


def print_on(page, mask, ink):
    """Multiplies the ink onto the page, as real ink does."""
    alpha = (mask / 255.0)[..., None]
    shade = 1 - alpha * (1 - np.array(ink) / 255.0)
    page[:] = np.round(page * shade)


def ring(page, centre, radius, ink, dpi=100):
    """A round stamp: two rings and a bar, positions in inches."""
    mask = np.zeros(page.shape[:2], np.uint8)
    at = tuple(round(v * dpi) for v in centre)
    for share in (1.0, 0.7):
        cv2.circle(mask, at, round(radius * share * dpi), 255, max(1, round(0.025 * dpi)), cv2.LINE_AA)
    half = round(radius * 0.5 * dpi)
    cv2.rectangle(mask, (at[0] - half, at[1] - half // 4), (at[0] + half, at[1] + half // 4), 255, -1)
    print_on(page, mask, ink)
    edge = (radius + 0.0125) * dpi
    return [at[0] - edge, at[1] - edge, at[0] + edge, at[1] + edge]


def stroke(page, box, ink, dpi=100):
    """A pen's zigzag that fills a box given in inches."""
    x1, y1, x2, y2 = (v * dpi for v in box)
    steps = np.linspace(0, 1, 9)
    points = np.column_stack([x1 + (x2 - x1) * steps, np.where(np.arange(9) % 2, y1, y2)]).astype(np.int32)
    mask = np.zeros(page.shape[:2], np.uint8)
    cv2.polylines(mask, [points], False, 255, max(1, round(0.025 * dpi)), cv2.LINE_AA)
    print_on(page, mask, ink)
    return [x1, y1, x2, y2]


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


def test_keeps_a_pen_stroke_apart_from_the_faded_stamp_under_it():
    page = paper()
    stamp = ring(page, (4, 8), 0.7, PALE_RED)
    pen = stroke(page, (4.2, 7.8, 6.2, 8.2), (30, 40, 150))
    boxes = ColourDetector()(page).boxes
    assert best(boxes, stamp) > 0.7
    assert best(boxes, pen) > 0.7
