"""Scans: tone, noise, and which ink they leave visible."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from backend.synthetic.scan import ScanStyle, develop, draw_style
from backend.synthetic.sheet import Density

BLUE = (0.8, 0.5, 0.15)
YELLOW = (0.02, 0.05, 0.9)


def printed() -> NDArray[np.float32]:
    """Half bare paper, half blue ink."""
    density = np.zeros((160, 160, 3), np.float32)
    density[:, 80:] = BLUE
    return density


def scan(style: ScanStyle) -> NDArray[np.uint8]:
    return develop(printed(), np.random.default_rng(0), style, dpi=100)


def test_a_plain_scan_shows_paper_white_and_ink_in_its_colour() -> None:
    pixels = scan(ScanStyle(quality=100, subsampled=False)).astype(float)
    assert pixels[20:140, 10:60].mean() > 250
    np.testing.assert_allclose(pixels[20:140, 100:150].mean(axis=(0, 1)), 255 * 10.0 ** -np.array(BLUE), atol=4)


def test_a_grey_scan_has_no_colour() -> None:
    pixels = scan(ScanStyle(tone="grey", quality=90)).astype(int)
    assert np.ptp(pixels, axis=2).max() <= 2


def test_a_fax_is_black_and_white() -> None:
    pixels = scan(ScanStyle(tone="bilevel", threshold=0.6, quality=100, subsampled=False))
    assert ((pixels < 12) | (pixels > 243)).mean() > 0.99
    assert pixels[20:140, 100:150].max() < 12


def test_paper_takes_its_tint() -> None:
    pixels = scan(ScanStyle(paper=(1.0, 0.9, 0.7), quality=95)).astype(float)
    red, green, blue = pixels[20:140, 10:60].mean(axis=(0, 1))
    assert red > green + 15 > blue + 50


def test_noise_has_the_strength_that_was_asked_for() -> None:
    style = ScanStyle(paper=(0.7, 0.7, 0.7), quality=100, subsampled=False)
    quiet, noisy = scan(style), scan(replace(style, noise=6.0))
    assert quiet[20:140, 10:60].std() < 2
    assert 4.5 < noisy[20:140, 10:60].std() < 7.5


def test_the_same_generator_state_gives_the_same_scan() -> None:
    style = ScanStyle(noise=5, shade=0.3, spine=0.4, blur=1)
    assert scan(style).tobytes() == scan(style).tobytes()


@pytest.mark.parametrize(
    ("style", "density", "coverage", "visible"),
    [
        # full ink in colour
        (ScanStyle(), BLUE, 1.0, True),
        # a faint print in colour
        (ScanStyle(), BLUE, 0.1, True),
        # next to nothing
        (ScanStyle(), BLUE, 0.02, False),
        # pale yellow shows in colour
        (ScanStyle(), YELLOW, 0.3, True),
        # and is lost in grey
        (ScanStyle(tone="grey"), YELLOW, 0.3, False),
        # a fax keeps strong ink
        (ScanStyle(tone="bilevel", threshold=0.6), BLUE, 1.0, True),
        # and drops a faint print
        (ScanStyle(tone="bilevel", threshold=0.6), BLUE, 0.2, False),
        # a white point under the paper's level burns a faint print out
        (ScanStyle(white=225), BLUE, 0.08, False),
    ],
)
def test_ink_counts_as_visible_where_the_scan_shows_it(
    style: ScanStyle, density: Density, coverage: float, visible: bool
) -> None:
    seen = style.visible(np.full((2, 2), coverage, np.float32), density)
    assert seen.tolist() == [[visible] * 2] * 2


def test_styles_cover_what_offices_have() -> None:
    rng = np.random.default_rng(0)
    styles = [draw_style(rng) for _ in range(2000)]
    tones = [style.tone for style in styles]
    assert 0.08 < tones.count("grey") / 2000 < 0.22
    assert 0.005 < tones.count("bilevel") / 2000 < 0.04
    assert {style.photo for style in styles} == {True, False}
    assert min(style.quality for style in styles) == 40
    assert max(style.quality for style in styles) == 95
