"""Wear leaves traces on a sheet, the same ones from the same generator state."""

from __future__ import annotations

import numpy as np

from backend.synthetic.paper import show_through, wear
from backend.synthetic.sheet import BLACK, Rect, Sheet


def test_the_same_generator_state_wears_a_sheet_alike() -> None:
    first, second = Sheet(72), Sheet(72)
    for sheet in (first, second):
        wear(sheet, np.random.default_rng(4))
    np.testing.assert_array_equal(first.density, second.density)


def test_some_sheets_are_worn_and_many_stay_clean() -> None:
    sheets = [Sheet(30) for _ in range(60)]
    for seed, sheet in enumerate(sheets):
        wear(sheet, np.random.default_rng(seed))
    worn = [sheet for sheet in sheets if np.abs(sheet.density).max() > 0]
    assert 15 < len(worn) < 55


def test_wear_never_hides_much_of_the_page() -> None:
    for seed in range(30):
        sheet = Sheet(30)
        wear(sheet, np.random.default_rng(seed))
        assert (sheet.density > 0.5).mean() < 0.02


def test_print_of_the_other_side_shows_faintly_and_mirrored() -> None:
    sheet = Sheet(100)
    sheet.fill(Rect(20, 140, 30, 20), BLACK)
    printed = sheet.density.copy()
    show_through(sheet, np.random.default_rng(0))
    added = (sheet.density - printed).mean(axis=2)
    left, right = added[:, : added.shape[1] // 2], added[:, added.shape[1] // 2 :]
    assert right.sum() > 50 * max(float(left.sum()), 1e-3)
    assert 0 < added.max() < 0.2
