"""Signatures: true sizes, thin strokes, speed that shows, many hands, the same from the same seed."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from backend.synthetic.letterforms import ARABIC, ARABIC_ENDS, CAPITALS, LETTERS, write
from backend.synthetic.signatures import SIGNATURE_KINDS, SignatureKind, draw_signature

MM = 25.4


@pytest.mark.parametrize("kind", SIGNATURE_KINDS)
def test_the_same_seed_gives_the_same_signature(kind: SignatureKind) -> None:
    first, second = (draw_signature(np.random.default_rng(8), dpi=150, kind=kind) for _ in range(2))
    np.testing.assert_array_equal(first.coverage, second.coverage)
    assert first.ink == second.ink
    assert first.kind == kind
    assert first.label == "signature"
    assert not first.partial


@pytest.mark.parametrize("dpi", [100, 300])
@pytest.mark.parametrize("kind", SIGNATURE_KINDS)
def test_sizes_on_paper_are_millimetres_at_any_resolution(kind: SignatureKind, dpi: int) -> None:
    for seed in range(8):
        mark = draw_signature(np.random.default_rng(seed), dpi=dpi, kind=kind, faded=False)
        x0, y0, x1, y1 = mark.box
        assert 10 <= (x1 - x0) * MM / dpi <= 82
        assert 2.5 <= (y1 - y0) * MM / dpi <= 40
        height, width = mark.coverage.shape
        assert max(x0, y0, width - x1, height - y1) <= 2


def test_strokes_are_as_thin_as_pens_draw() -> None:
    for seed in range(12):
        mark = draw_signature(np.random.default_rng(seed), dpi=300, kind="scrawl", faded=False)
        ink = (mark.coverage > 0.3).astype(np.uint8)
        thickest = 2 * np.percentile(cv2.distanceTransform(ink, cv2.DIST_L2, 5)[ink > 0], 90) * MM / 300
        assert 0.1 < thickest < 2.2


def test_faded_means_weak() -> None:
    for seed in range(8):
        faded = draw_signature(np.random.default_rng(seed), dpi=200, faded=True).coverage
        plain = draw_signature(np.random.default_rng(seed), dpi=200, faded=False).coverage
        assert np.percentile(faded[faded > 0.05], 90) < 0.42
        assert np.percentile(plain[plain > 0.1], 90) > 0.5


def test_a_careful_hand_meets_its_targets_and_a_hasty_one_rounds_them() -> None:
    zigzag = [(0.0, 0.0, 0.0), (0.5, 2.0, 0.0), (1.0, 0.0, 0.0), (1.5, 2.0, 0.0), (2.0, 0.0, 0.0)]
    careful, hasty = (write(zigzag, overlap=overlap).points for overlap in (0.05, 0.6))
    miss = [np.hypot(*(path - (1.0, 0.0)).T).min() for path in (careful, hasty)]
    assert miss[0] < 0.1 < miss[1]
    for path in (careful, hasty):
        np.testing.assert_allclose(path[-1], [2.0, 0.0], atol=0.1)


def test_the_pen_slows_where_it_turns_back() -> None:
    trace = write([(0.0, 0.0, 0.0), (0.0, 3.0, 0.0), (0.3, 0.0, 0.0)], overlap=0.2)
    top = int(np.argmax(trace.points[:, 1]))
    assert trace.speed[top] < 0.4
    assert trace.speed.max() > 1.4
    assert trace.speed.mean() == pytest.approx(1.0)


def test_arcs_turn_the_way_they_are_told() -> None:
    for turning, side in ((2.0, -1), (-2.0, 1)):
        path = write([(0.0, 0.0, 0.0), (2.0, 0.0, turning)], overlap=0.2).points
        middle = path[np.argmin(np.abs(path[:, 0] - 1.0)), 1]
        assert np.sign(middle) == side


def test_letters_go_forward_and_arabic_goes_back() -> None:
    assert all(advance > 0 for _, advance in (*LETTERS.values(), *CAPITALS.values()))
    assert all(advance < 0 for _, advance in (*ARABIC.values(), *ARABIC_ENDS.values()))


def test_hands_are_many() -> None:
    """Proportions and ink of a hundred signatures spread widely, as people's do."""
    marks = [draw_signature(np.random.default_rng(seed), dpi=75) for seed in range(100)]
    proportions = [m.coverage.shape[1] / m.coverage.shape[0] for m in marks]
    assert np.percentile(proportions, 90) / np.percentile(proportions, 10) > 2
    assert len({m.ink.name for m in marks}) >= 6
    assert {m.kind for m in marks} == set(SIGNATURE_KINDS)
