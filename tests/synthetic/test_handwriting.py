"""Handwriting is the words in a pen, wavering: near the printed letters and never quite the same."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from backend.synthetic.blocks import PEN_COLOURS, pick_hand_font, write_by_hand
from backend.synthetic.sheet import Sheet


def written(text: str, seed: int) -> NDArray[np.float32]:
    sheet, rng = Sheet(150, (120, 30)), np.random.default_rng(seed)
    write_by_hand(sheet, rng, text, pick_hand_font(np.random.default_rng(0)), points=14, pen=PEN_COLOURS[0], at=(10, 8))
    return sheet.density


@pytest.mark.parametrize("text", ["Read and approved", "قرئ وصودق عليه"])
def test_one_hand_writes_the_same_words_differently_each_time(text: str) -> None:
    first, again, other = written(text, 1), written(text, 1), written(text, 2)
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.3
    assert 0.7 < first.sum() / other.sum() < 1.4


def test_the_pen_keeps_its_colour() -> None:
    density = written("Seen and agreed", 3)
    darkest = density[np.unravel_index(density[..., 0].argmax(), density.shape[:2])]
    np.testing.assert_allclose(darkest / darkest[0], np.array(PEN_COLOURS[0]) / PEN_COLOURS[0][0], rtol=1e-4)


def test_the_width_is_told() -> None:
    sheet = Sheet(150, (120, 30))
    rng = np.random.default_rng(0)
    width = write_by_hand(
        sheet, rng, "Received one copy", pick_hand_font(rng), points=14, pen=PEN_COLOURS[0], at=(10, 8)
    )
    columns = np.flatnonzero(sheet.density.max(axis=(0, 2)) > 0.05) / sheet.scale
    assert columns[0] >= 10
    assert columns[-1] <= 10 + width
    assert columns[-1] - columns[0] > 0.5 * width
