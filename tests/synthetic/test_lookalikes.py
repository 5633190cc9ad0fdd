"""What is taken for a mark: the same from the same seed, in sizes of paper, in ink, and none of it a mark's look."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from backend.synthetic.lookalikes import LOOKALIKES, Lookalike, draw_lookalike

MM = 25.4
SEEDS = range(12)


def drawn(kind: Lookalike, seed: int, dpi: float = 150) -> np.ndarray:
    return draw_lookalike(np.random.default_rng(seed), kind, dpi=dpi)


@pytest.mark.parametrize("kind", LOOKALIKES)
def test_the_same_seed_gives_the_same_and_another_seed_another(kind: Lookalike) -> None:
    np.testing.assert_array_equal(drawn(kind, 3), drawn(kind, 3))
    assert len({drawn(kind, seed).tobytes() for seed in SEEDS}) == len(SEEDS)


@pytest.mark.parametrize("dpi", [100, 300])
@pytest.mark.parametrize(
    ("kind", "tall", "wide"),
    [("entry", (1.5, 16.0), (5.0, 165.0)), ("brand", (4.0, 36.0), (12.0, 130.0)), ("smudge", (2.0, 60.0), (2.0, 90.0))],
)
def test_sizes_on_paper_are_millimetres_at_any_resolution(
    kind: Lookalike, tall: tuple[float, float], wide: tuple[float, float], dpi: int
) -> None:
    for seed in SEEDS:
        height, width, _ = drawn(kind, seed, dpi).shape
        assert tall[0] <= height * MM / dpi <= tall[1]
        assert wide[0] <= width * MM / dpi <= wide[1]


@pytest.mark.parametrize("kind", LOOKALIKES)
def test_there_is_ink_on_white_paper(kind: Lookalike) -> None:
    for seed in SEEDS:
        pixels = drawn(kind, seed)
        assert pixels.dtype == np.uint8
        assert pixels.max() == 255
        assert pixels.min() < 215
        edges = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
        assert np.median(edges) > 235, "trimmed to its ink, and not cut off"


def test_a_smudge_has_no_strokes() -> None:
    """Of its ink, little is as sharp as the edge of a pen's stroke is; a brand's is."""
    for seed in SEEDS:
        sharp = [_sharpness(drawn(kind, seed)) for kind in ("smudge", "brand")]
        assert sharp[0] < sharp[1]


def _sharpness(pixels: np.ndarray) -> float:
    """The steepest hundredth of the slopes, as a share of the whole contrast."""
    grey = pixels.mean(axis=2).astype(np.float32)
    slopes = np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1))
    return float(np.percentile(slopes, 95) / np.ptp(grey))
