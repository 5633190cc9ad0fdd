"""Inks: multiplicative on paper, named truthfully, mixed as on real pages."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from backend.synthetic.marks import INK_NAMES, Ink, Mark, Use, ink_box, lay, pick_ink, trimmed


def test_ink_multiplies_the_paper_and_leaves_bare_paper_alone() -> None:
    paper = np.full((2, 2, 3), 200, np.float32)
    coverage = np.array([[0, 1], [0.5, 2]], np.float32)
    page = lay(paper, coverage, Ink("test", (1.0, 0.3, 0.0)))
    np.testing.assert_allclose(page[0, 0], [200, 200, 200])
    np.testing.assert_allclose(page[0, 1], [20, 200 * 10**-0.3, 200], rtol=1e-5)
    np.testing.assert_allclose(page[1, 1], [2, 200 * 10**-0.6, 200], rtol=1e-5)
    assert (paper == 200).all()


def test_two_layers_of_ink_add_their_densities() -> None:
    paper = np.full((1, 1, 3), 255, np.float32)
    ink = Ink("test", (0.5, 0.4, 0.1))
    half = np.full((1, 1), 0.5, np.float32)
    np.testing.assert_allclose(lay(lay(paper, half, ink), half, ink), lay(paper, half * 2, ink), rtol=1e-5)


@pytest.mark.parametrize(
    ("word", "strongest"),
    [("red", 0), ("green", 1), ("blue", 2), ("purple", 2)],  # the channel that the ink's colour keeps brightest
)
def test_colours_are_what_their_names_say(word: str, strongest: int) -> None:
    rng = np.random.default_rng(5)
    inks = [pick_ink(rng, for_="stamp") for _ in range(400)]
    named = [ink for ink in inks if ink.name == word]
    assert named
    assert all(int(np.argmax(ink.on_white())) == strongest for ink in named)


@pytest.mark.parametrize(
    ("use", "low", "high"),
    [("signature", 0.35, 0.6), ("stamp", 0.08, 0.25), ("thumb", 0.15, 0.4)],  # nearly black inks, as on real pages
)
def test_the_share_of_black_follows_the_use(use: Use, low: float, high: float) -> None:
    rng = np.random.default_rng(1)
    counts = Counter(pick_ink(rng, for_=use).name for _ in range(1000))
    assert set(counts) <= set(INK_NAMES)
    assert low < sum(n for name, n in counts.items() if "black" in name) / 1000 < high


def test_the_same_seed_gives_the_same_ink() -> None:
    assert pick_ink(np.random.default_rng(9), for_="thumb") == pick_ink(np.random.default_rng(9), for_="thumb")


def test_a_box_bounds_the_visible_ink_only() -> None:
    coverage = np.zeros((20, 30), np.float32)
    coverage[5:9, 7:20] = 0.5
    coverage[15, 25] = 0.01  # nobody sees this
    mark = Mark(label="stamp", coverage=coverage, ink=Ink("blue", (0.8, 0.5, 0.2)), kind="date")
    assert mark.box == (7, 5, 20, 9)
    assert trimmed(coverage, margin=1).shape == (6, 15)
    assert ink_box(np.zeros((4, 4), np.float32)) == (0, 0, 0, 0)
