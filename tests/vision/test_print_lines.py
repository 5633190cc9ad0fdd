"""Which way lines of print run, on drawn pages and on what has none."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from backend.synthetic.drawn_page import draw_page
from backend.vision.network_detector import page_input
from backend.vision.print_lines import CLEAR, lines_across


def paper(height: int = 800, width: int = 600) -> NDArray[np.uint8]:
    return np.full((height, width, 3), 240, np.uint8)


@pytest.mark.parametrize("seed", range(700, 712))
def test_lines_of_any_script_run_across_and_down_when_the_page_is_turned(seed: int) -> None:
    page = draw_page(seed, dpi=100)
    told = [lines_across(page_input(np.ascontiguousarray(np.rot90(page.pixels, k)), page.dpi)[0]) for k in range(4)]
    assert told[0] > CLEAR
    assert told[2] > CLEAR
    assert told[1] < -CLEAR
    assert told[3] < -CLEAR


def test_an_empty_page_a_single_word_and_a_small_piece_tell_nothing() -> None:
    page = paper()
    assert lines_across(page) == 0
    cv2.putText(page, "word", (200, 300), cv2.FONT_HERSHEY_SIMPLEX, 1, (20, 20, 20), 2)
    assert lines_across(page) == 0
    page = draw_page(700, dpi=100).pixels
    assert lines_across(np.ascontiguousarray(page[200:260, 200:260])) == 0
    assert lines_across(paper(1, 1)) == 0


@pytest.mark.parametrize("turns", [0, 1])
def test_ruled_lines_are_no_print(turns: int) -> None:
    """Else ruled paper would count as lines that run across, whatever is written on it."""
    page = paper()
    page[50::20, 40:-40] = 90
    assert lines_across(np.ascontiguousarray(np.rot90(page, turns))) == 0


def test_print_counts_on_ruled_and_dark_paper() -> None:
    page = draw_page(703, dpi=100)
    small = page_input(page.pixels, page.dpi)[0]
    small = np.asarray(small * 0.6, np.uint8)
    small[:, 30::60] = 40
    assert lines_across(small) > CLEAR
    assert lines_across(np.ascontiguousarray(np.rot90(small))) < -CLEAR


def test_specks_without_a_direction_tell_nothing_clearly() -> None:
    rng = np.random.default_rng(3)
    page = paper()
    for x, y in rng.integers(0, (600, 800), (1500, 2)).tolist():
        cv2.circle(page, (x, y), 3, (20, 20, 20), -1)
    assert abs(lines_across(page)) < CLEAR
