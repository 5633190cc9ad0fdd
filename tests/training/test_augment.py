"""Augmentation: shape and range hold, writing is never mirrored, the same chance gives the same crop."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest

from backend.training.augment import Augmentation, augment, centre, square
from backend.vision.network_config import CLASSES

SIZE = 64
STILL = Augmentation(
    **{row.name: 0.0 for row in dataclasses.fields(Augmentation)} | {"weakest": 0.2, "coarsest": 0.3}  # type: ignore[arg-type]
)


def letter_f() -> np.ndarray:
    """An F: neither a turn nor a shift makes it its mirror image."""
    crop = np.full((100, 100, 3), 245, np.uint8)
    cv2.line(crop, (35, 20), (35, 80), (150, 20, 40), 8)
    cv2.line(crop, (35, 22), (70, 22), (150, 20, 40), 8)
    cv2.line(crop, (35, 48), (58, 48), (150, 20, 40), 8)
    return crop


@pytest.mark.parametrize("label", CLASSES)
@pytest.mark.parametrize("shape", [(20, 200, 3), (300, 40, 3), (1, 1, 3), (80, 80, 3)])
def test_shape_and_kind_hold_for_every_class_and_crop(label: str, shape: tuple[int, ...]) -> None:
    crop = square(np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8), SIZE)
    always = Augmentation(
        **{row.name: 1.0 for row in dataclasses.fields(Augmentation)}
        | {"shift": 0.125, "weakest": 0.1, "coarsest": 0.2}
    )  # type: ignore[arg-type]
    for strength in (Augmentation(), always, STILL):
        for seed in range(4):
            changed = augment(crop, label, size=SIZE, strength=strength, rng=np.random.default_rng(seed), overlay=crop)
            assert changed.shape == (SIZE, SIZE, 3)
            assert changed.dtype == np.uint8


def test_without_strength_little_changes() -> None:
    crop = square(letter_f(), SIZE)
    changed = augment(crop, "stamp", size=SIZE, strength=STILL, rng=np.random.default_rng(1))
    # Only the overall strength of the ink may vary a little.
    paper = centre(crop, SIZE) > 230
    assert np.abs(changed.astype(int) - centre(crop, SIZE))[paper].max() <= 1
    assert np.abs(changed.astype(int) - centre(crop, SIZE)).mean() < 4


def test_the_same_chance_gives_the_same_crop_and_another_chance_another() -> None:
    crop = square(letter_f(), SIZE)
    first, again, other = (
        augment(crop, "signature", size=SIZE, strength=Augmentation(), rng=np.random.default_rng(seed))
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@pytest.mark.parametrize("label", CLASSES)
def test_nothing_is_mirrored(label: str) -> None:
    """Every changed F looks more like some turned F than like any turned mirror image of it."""
    crop = square(letter_f(), SIZE)
    strength = dataclasses.replace(STILL, turn=1.0, tilt=4.0, shift=0.05)
    upright, mirrored = _turned(crop), _turned(crop[:, ::-1])
    for seed in range(12):
        changed = _ink(augment(crop, label, size=SIZE, strength=strength, rng=np.random.default_rng(seed)))
        assert max(_likeness(changed, one) for one in upright) > max(_likeness(changed, one) for one in mirrored)


def _turned(crop: np.ndarray) -> list[np.ndarray]:
    middle = crop.shape[0] / 2
    matrices = [cv2.getRotationMatrix2D((middle, middle), angle, 1) for angle in range(0, 360, 5)]
    sides = crop.shape[1], crop.shape[0]
    return [_ink(centre(cv2.warpAffine(crop, matrix, sides, borderValue=(245, 245, 245)), SIZE)) for matrix in matrices]


def _ink(pixels: np.ndarray) -> np.ndarray:
    return cv2.GaussianBlur(245 - pixels[..., 1].astype(np.float32), (0, 0), 2)


def _likeness(a: np.ndarray, b: np.ndarray) -> float:
    """Highest normalised correlation over small shifts."""
    padded = np.pad(a, 8)
    return float(cv2.matchTemplate(padded, b, cv2.TM_CCORR_NORMED).max())


def test_signatures_stay_upright_while_stamps_turn() -> None:
    crop = square(letter_f(), SIZE)
    strength = dataclasses.replace(STILL, turn=1.0)
    for label, moved in (("signature", False), ("none", False), ("stamp", True), ("thumb", True)):
        changed = [
            augment(crop, label, size=SIZE, strength=strength, rng=np.random.default_rng(seed)).astype(int)
            for seed in range(8)
        ]
        far = max(float(np.abs(one - centre(crop, SIZE)).mean()) for one in changed)
        assert (far > 10) == moved


def test_black_ink_takes_the_colour_away_and_fading_the_strength() -> None:
    crop = square(letter_f(), SIZE)
    black = augment(
        crop, "stamp", size=SIZE, strength=dataclasses.replace(STILL, black=1.0), rng=np.random.default_rng(1)
    )
    assert int(np.ptp(black.astype(int), axis=2).max()) <= 2
    faded = augment(
        crop, "stamp", size=SIZE, strength=dataclasses.replace(STILL, fade=1.0), rng=np.random.default_rng(3)
    )
    assert faded.min() > crop.min() + 30


def test_a_mark_that_is_printed_over_keeps_the_upper_hand() -> None:
    """Inks multiply, and the ink of the other mark is on average never more than its own, however faint it is."""
    faint, heavy = (
        square(np.full((100, 100, 3), 250, np.uint8), SIZE),
        square(np.full((100, 100, 3), 240, np.uint8), SIZE),
    )
    cv2.line(faint, (20, 40), (60, 40), (200, 200, 230), 3)
    cv2.circle(heavy, (40, 40), 24, (40, 40, 160), -1)
    for seed in range(8):
        plain, printed = (
            augment(faint, "signature", size=SIZE, strength=STILL, rng=np.random.default_rng(seed), other=other)
            for other in (None, heavy)
        )
        own, both = (-np.log(np.maximum(one, 1) / 250) for one in (plain, printed))
        assert (printed.astype(int) <= plain.astype(int) + 1).all(), "it only darkens"
        assert own.mean() < both.mean() <= 2 * own.mean() + 0.01


def test_an_overprint_only_darkens() -> None:
    crop = square(np.full((100, 100, 3), 250, np.uint8), SIZE)
    over = square(letter_f(), SIZE)
    strength = dataclasses.replace(STILL, overprint=1.0)
    printed = augment(crop, "stamp", size=SIZE, strength=strength, rng=np.random.default_rng(2), overlay=over)
    assert printed.max() <= 251
    assert printed.min() < 200
