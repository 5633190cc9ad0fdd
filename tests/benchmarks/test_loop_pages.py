"""Pages of the new style: the same from the same numbers, truly boxed, in shapes and inks that training never draws."""

from __future__ import annotations

import numpy as np
import pytest

from backend.synthetic.marks import INK_NAMES, Label
from backend.synthetic.stamp_faces import STAMP_KINDS
from backend.synthetic.stamp_parts import pick_words
from backend.vision.network_config import MARKS
from benchmarks.loop_marks import NEW_INKS, NEW_STAMPS, draw_new_mark
from benchmarks.loop_pages import new_page

DPI = 72


def test_the_same_numbers_give_the_same_page() -> None:
    one, again = new_page(1, 2, dpi=DPI), new_page(1, 2, dpi=DPI)
    assert np.array_equal(one.pixels, again.pixels)
    assert one.marks == again.marks


@pytest.mark.parametrize("other", [(1, 3), (2, 2)])
def test_other_numbers_give_another_page(other: tuple[int, int]) -> None:
    assert not np.array_equal(new_page(1, 2, dpi=DPI).pixels, new_page(*other, dpi=DPI).pixels)


def test_marks_lie_on_their_page() -> None:
    for number in range(4):
        page = new_page(3, number, dpi=DPI)
        height, width = page.pixels.shape[:2]
        for mark in page.marks:
            left, top, right, bottom = mark.box
            assert 0 <= left < right <= width
            assert 0 <= top < bottom <= height
            assert mark.label in MARKS


def test_no_shape_and_no_ink_is_one_of_those_that_training_draws() -> None:
    assert not set(NEW_STAMPS) & set(STAMP_KINDS)
    assert not set(NEW_INKS) & set(INK_NAMES)


@pytest.mark.parametrize("label", MARKS)
def test_a_mark_is_of_its_label_in_a_new_ink(label: Label) -> None:
    mark = draw_new_mark(np.random.default_rng(5), label, dpi=DPI)
    assert mark.label == label
    assert mark.ink.name in NEW_INKS
    assert mark.coverage.max() > 0.1


@pytest.mark.parametrize("kind", NEW_STAMPS)
def test_every_shape_leaves_ink_and_paper(kind: str) -> None:
    rng = np.random.default_rng(6)
    face = NEW_STAMPS[kind](rng, pick_words(rng), 150.0)
    assert face.min() >= 0
    assert 0.02 < float((face > 0.5).mean()) < 0.98
