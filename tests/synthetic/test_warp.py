"""A warp moves the page and the marks on it alike."""

from __future__ import annotations

import numpy as np
import pytest

from backend.synthetic.paper import Warp, draw_warp, flat


def bent(seed: int) -> Warp:
    return draw_warp(np.random.default_rng(seed), 600, 800, skew=1.0, perspective=0.04, curl=0.004)


def test_a_flat_warp_changes_nothing() -> None:
    sheet = np.random.default_rng(0).random((80, 60, 3), np.float32)
    np.testing.assert_allclose(flat(60, 80).page(sheet, outside=0.0), sheet, atol=1e-6)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(
    ("x", "y"),
    [
        # in the middle
        (250, 400),
        # cut by the upper left corner
        (-30, -20),
        # at the lower right edge
        (540, 730),
    ],
)
def test_a_patch_lands_where_the_page_shows_it(seed: int, x: int, y: int) -> None:
    patch = np.random.default_rng(1).random((90, 110)).astype(np.float32)
    sheet = np.zeros((800, 600, 3), np.float32)
    top, left = max(y, 0), max(x, 0)
    part = patch[top - y : min(800 - y, 90), left - x : min(600 - x, 110)]
    sheet[top : top + part.shape[0], left : left + part.shape[1]] = part[..., None]
    warp = bent(seed)
    warped, column, row = warp.patch(patch, x, y)
    alone = np.zeros((800, 600), np.float32)
    alone[row : row + warped.shape[0], column : column + warped.shape[1]] = warped
    shown = warp.page(sheet, outside=0.0)[..., 0]
    # Where the patch is cut by the sheet's own edge, interpolation with what lies beyond differs by one pixel's share.
    inside = (warp.x > 1) & (warp.y > 1) & (warp.x < 598) & (warp.y < 798)
    np.testing.assert_allclose(alone[inside], shown[inside], atol=0.05)


def test_a_patch_off_the_sheet_is_nowhere() -> None:
    warped, _, _ = bent(0).patch(np.ones((20, 20), np.float32), 5000, 5000)
    assert warped.size == 0


def test_a_small_zoom_shows_what_lies_around_the_sheet() -> None:
    warp = draw_warp(np.random.default_rng(0), 200, 300, skew=0, perspective=0, curl=0, zoom=0.8)
    shown = warp.page(np.zeros((300, 200, 3), np.float32), outside=1.0)
    assert 0.3 < shown.mean() < 0.42
    assert shown[150, 100, 0] == 0
