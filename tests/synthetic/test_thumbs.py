"""Thumbprints: ridges at a finger's period that follow their flow, true sizes, faded and partial as they say."""

from __future__ import annotations

import numpy as np
import pytest

from backend.synthetic.inked_prints import THUMB_KINDS, ThumbKind, draw_ridges, draw_thumb

MM = 25.4


def ridge_period_mm(pattern: np.ndarray, dpi: float) -> float:
    """Period at the peak of the radial power spectrum."""
    windowed = (pattern - pattern.mean()) * np.outer(np.hanning(pattern.shape[0]), np.hanning(pattern.shape[1]))
    power = np.abs(np.fft.fft2(windowed)) ** 2
    fy = np.fft.fftfreq(pattern.shape[0])[:, None] * dpi / MM
    fx = np.fft.fftfreq(pattern.shape[1])[None, :] * dpi / MM
    frequency = np.hypot(fx, fy)
    edges = np.linspace(0.8, 4.0, 65)
    totals = np.histogram(frequency, edges, weights=power)[0]
    peak = int(np.argmax(totals))
    return 2 / float(edges[peak] + edges[peak + 1])


@pytest.mark.parametrize("kind", THUMB_KINDS)
@pytest.mark.parametrize("period", [0.45, 0.55])
def test_ridges_have_the_asked_period(kind: ThumbKind, period: float) -> None:
    ridges = draw_ridges(np.random.default_rng(1), (200, 150), kind, period_mm=period, dpi=200)
    assert ridge_period_mm(ridges, 200) == pytest.approx(period, rel=0.12)


@pytest.mark.parametrize("dpi", [200, 300])
def test_printed_ridges_keep_their_period(dpi: int) -> None:
    for seed in range(3):
        mark = draw_thumb(np.random.default_rng(seed), dpi=dpi, faded=False, partial=False)
        assert 0.4 < ridge_period_mm(mark.coverage, dpi) < 0.6


def test_a_whorl_turns_round_and_an_arch_runs_across() -> None:
    """Low on the pad an arch is level; left of a whorl's centre the ridges stand upright, above it they lie."""
    arch = draw_ridges(np.random.default_rng(3), (200, 150), "arch", period_mm=0.5, dpi=200)
    whorl = draw_ridges(np.random.default_rng(3), (200, 150), "whorl", period_mm=0.5, dpi=200)

    def uprightness(patch: np.ndarray) -> float:
        down, across = np.gradient(patch)
        return float((across**2).sum() / ((across**2).sum() + (down**2).sum()))

    assert uprightness(arch[170:, 40:110]) < 0.4
    assert uprightness(whorl[75:100, 20:45]) > 0.6
    assert uprightness(whorl[30:50, 60:90]) < 0.4


@pytest.mark.parametrize("kind", THUMB_KINDS)
def test_the_same_seed_gives_the_same_print(kind: ThumbKind) -> None:
    first, second = (draw_thumb(np.random.default_rng(6), dpi=150, kind=kind) for _ in range(2))
    np.testing.assert_array_equal(first.coverage, second.coverage)
    assert first.ink == second.ink
    assert first.kind == kind
    assert first.label == "thumb"


@pytest.mark.parametrize("dpi", [100, 300])
def test_sizes_on_paper_are_millimetres_at_any_resolution(dpi: int) -> None:
    for seed in range(10):
        mark = draw_thumb(np.random.default_rng(seed), dpi=dpi, faded=False, partial=False)
        x0, y0, x1, y1 = mark.box
        assert 13 <= max(x1 - x0, y1 - y0) * MM / dpi <= 30
        assert 8 <= min(x1 - x0, y1 - y0) * MM / dpi <= 28
        height, width = mark.coverage.shape
        assert max(x0, y0, width - x1, height - y1) <= 2


def test_faded_and_partial_mean_what_they_say() -> None:
    for seed in range(6):
        full = draw_thumb(np.random.default_rng(seed), dpi=150, faded=False, partial=False)
        part = draw_thumb(np.random.default_rng(seed), dpi=150, faded=False, partial=True)
        weak = draw_thumb(np.random.default_rng(seed), dpi=150, faded=True, partial=False)
        assert part.partial
        assert weak.faded
        assert not full.partial
        assert not full.faded
        assert (part.coverage > 0.2).sum() < 0.85 * (full.coverage > 0.2).sum()
        assert np.percentile(weak.coverage[weak.coverage > 0.03], 90) < 0.42
        assert np.percentile(full.coverage[full.coverage > 0.1], 90) > 0.45
