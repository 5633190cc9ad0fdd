"""Stamps: true sizes, faded and partial as they say, the same from the same seed."""

from __future__ import annotations

import numpy as np
import pytest

from backend.synthetic.inked_prints import STAMP_KINDS, StampKind, draw_stamp
from backend.synthetic.marks import VISIBLE, blotches, cut_by_contact

MM = 25.4


def strength(coverage: np.ndarray) -> float:
    """Coverage of the well inked parts."""
    return float(np.percentile(coverage[coverage > 0.1 * coverage.max()], 90))


@pytest.mark.parametrize("kind", STAMP_KINDS)
def test_the_same_seed_gives_the_same_print(kind: StampKind) -> None:
    first, second = (draw_stamp(np.random.default_rng(4), dpi=150, kind=kind) for _ in range(2))
    np.testing.assert_array_equal(first.coverage, second.coverage)
    assert first.ink == second.ink
    assert first.kind == kind
    assert first.label == "stamp"


def test_stamps_differ_from_seed_to_seed() -> None:
    sums = {float(draw_stamp(np.random.default_rng(seed), dpi=75, kind="round").coverage.sum()) for seed in range(8)}
    assert len(sums) == 8


@pytest.mark.parametrize("dpi", [100, 200, 300])
@pytest.mark.parametrize(
    ("kind", "low", "high"),
    [
        ("round", 22, 50),
        ("oval", 22, 52),
        ("square", 20, 50),  # a turned square is wider than its side
        ("rectangular", 22, 62),  # so is a turned rectangle
        ("date", 14, 46),
    ],
)
def test_sizes_on_paper_are_millimetres_at_any_resolution(kind: StampKind, low: float, high: float, dpi: int) -> None:
    for seed in range(6):
        mark = draw_stamp(np.random.default_rng(seed), dpi=dpi, kind=kind, faded=False, partial=False)
        x0, y0, x1, y1 = mark.box
        across = max(x1 - x0, y1 - y0) * MM / dpi
        assert low <= across <= high


@pytest.mark.parametrize("kind", STAMP_KINDS)
def test_every_print_is_visible_and_trimmed_to_its_ink(kind: StampKind) -> None:
    for seed in range(10):
        mark = draw_stamp(np.random.default_rng(seed), dpi=100, kind=kind)
        x0, y0, x1, y1 = mark.box
        height, width = mark.coverage.shape
        assert mark.coverage.dtype == np.float32
        assert mark.coverage.min() >= 0
        assert min(x1 - x0, y1 - y0) >= 6
        assert max(x0, y0, width - x1, height - y1) <= 2
        seen = mark.coverage >= VISIBLE
        assert seen[y0].any()
        assert seen[y1 - 1].any()
        assert seen[:, x0].any()
        assert seen[:, x1 - 1].any()


def test_faded_means_weak_and_unfaded_means_not() -> None:
    for seed in range(12):
        faded = draw_stamp(np.random.default_rng(seed), dpi=200, faded=True, partial=False)
        plain = draw_stamp(np.random.default_rng(seed), dpi=200, faded=False, partial=False)
        assert faded.faded
        assert not plain.faded
        assert 0.1 < strength(faded.coverage) < 0.42
        assert strength(plain.coverage) > 0.42


@pytest.mark.parametrize("keep", [0.35, 0.55, 0.75])
def test_contact_that_ends_leaves_about_its_share_of_the_ink(keep: float) -> None:
    full = draw_stamp(np.random.default_rng(2), dpi=200, kind="round", faded=False, partial=False).coverage
    cut = cut_by_contact(np.random.default_rng(3), full, keep=keep, dpi=200)
    assert cut.sum() / full.sum() == pytest.approx(keep, abs=0.08)
    assert (cut <= full + 1e-6).all()


def test_a_partial_print_misses_a_side() -> None:
    for seed in range(6):
        full = draw_stamp(np.random.default_rng(seed), dpi=100, kind="round", faded=False, partial=False)
        part = draw_stamp(np.random.default_rng(seed), dpi=100, kind="round", faded=False, partial=True)
        assert part.partial
        assert not full.partial
        assert part.coverage.sum() < 0.85 * full.coverage.sum()


@pytest.mark.parametrize("grain", [1.0, 3.5, 40.0])
def test_blotches_have_unit_spread_and_the_asked_shape(grain: float) -> None:
    noise = blotches(np.random.default_rng(0), (300, 200), grain)
    assert noise.shape == (300, 200)
    assert 0.6 < noise.std() < 1.4
