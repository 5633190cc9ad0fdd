"""Thresholds on hand-made probabilities: as low as the precision lets them be, never bolder than the data."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as budget
from hypothesis import strategies as st

from backend.training.retraining.candidate import raised, shifts, shown, thresholds
from backend.vision.engine import Fusion
from backend.vision.network_config import CLASSES, MARKS
from backend.vision.pipeline import fuse


def said(*rows: tuple[str, float, str]) -> tuple[np.ndarray, np.ndarray]:
    """Crops as (called, probability, truth)."""
    probabilities = np.zeros((len(rows), len(CLASSES)))
    for place, (called, score, _) in enumerate(rows):
        probabilities[place] = (1 - score) / 3
        probabilities[place, CLASSES.index(called)] = score
    return probabilities, np.array([CLASSES.index(truth) for _, _, truth in rows], np.int64)


SURE = [("stamp", 0.9, "stamp")] * 9


@pytest.mark.parametrize(
    ("rows", "precision", "least", "wanted"),
    [
        # Precise from the first to the last: no bar is needed.
        (SURE, 0.9, 5, 0.0),
        # Wrong ones below .6: the bar is the lowest score that still has the precision.
        ([*SURE, ("stamp", 0.8, "stamp"), *[("stamp", 0.5, "none")] * 5], 0.9, 5, 0.8),
        # One wrong one of ten is allowed at .9 precision.
        ([*SURE, ("stamp", 0.8, "none"), *[("stamp", 0.5, "none")] * 5], 0.9, 5, 0.8),
        # A bar takes all crops of its score: right ones and wrong ones at .9 cannot be told apart.
        ([*SURE, *[("stamp", 0.9, "none")] * 3], 0.9, 5, 0.0),
        # Too few right ones to tell.
        ([*SURE, *[("stamp", 0.5, "none")] * 5], 0.9, 10, 0.0),
        # Never precise.
        ([("stamp", 0.9, "none")] * 20, 0.9, 5, 0.0),
        # Never called so.
        ([("thumb", 0.9, "thumb")] * 20, 0.9, 5, 0.0),
        ([], 0.9, 5, 0.0),
    ],
)
def test_the_lowest_bar_that_has_the_precision(
    rows: list[tuple[str, float, str]], precision: float, least: int, wanted: float
) -> None:
    found = thresholds(*said(*rows), precision=precision, least=least)
    assert found == pytest.approx((0.0, wanted, 0.0))


@given(
    rows=st.lists(st.tuples(st.sampled_from(CLASSES), st.floats(0.3, 1), st.sampled_from(CLASSES)), max_size=60),
    precision=st.floats(0.5, 0.99),
    least=st.integers(1, 10),
)
@budget(max_examples=60, deadline=None)
def test_above_a_bar_the_precision_is_there_and_so_are_enough_crops(
    rows: list[tuple[str, float, str]], precision: float, least: int
) -> None:
    probabilities, truth = said(*rows)
    for place, bar in enumerate(thresholds(probabilities, truth, precision=precision, least=least)):
        assert 0 <= bar <= 1
        if bar:
            above = (probabilities.argmax(axis=1) == place) & (probabilities[:, place] >= bar)
            right = (truth[above] == place).sum()
            assert right >= least
            assert right >= precision * above.sum()
    assert len(MARKS) == 3


def crops(*rows: tuple[float, str]) -> tuple[np.ndarray, np.ndarray]:
    """Crops that are a signature with a probability, or else nothing; and what they are."""
    probabilities = np.array([[p, 0.0, 0.0, 1 - p] for p, _ in rows])
    return probabilities, np.array([CLASSES.index(name) for _, name in rows])


ROWS = [*[(0.9, "signature")] * 6, (0.45, "signature"), (0.4, "signature"), (0.3, "none"), (0.2, "signature")]


@pytest.mark.parametrize(
    ("wanted", "precision", "most_wrong", "now"),
    [
        # As many as serve now are found already.
        (6, 0.8, 9, 6),
        # No further than asked for.
        (7, 0.8, 9, 7),
        (8, 0.8, 9, 8),
        # The last one brings a wrong box with it, which .8 allows and .95 does not; nor do more than were shown before.
        (9, 0.8, 1, 9),
        (9, 0.95, 1, 8),
        (9, 0.8, 0, 8),
    ],
)
def test_odds_grow_until_no_mark_fewer_is_shown(wanted: int, precision: float, most_wrong: int, now: int) -> None:
    probabilities, truth = crops(*ROWS)
    bounds = {"wanted": np.array([wanted, 0, 0]), "most_wrong": np.array([most_wrong, 0, 0])}
    shift = shifts(probabilities, truth, **bounds, precision=precision, confidence=0.5)
    right, wrong = shown(raised(probabilities, shift), truth, confidence=0.5)
    assert right.tolist() == [now, 0, 0]
    assert wrong[0] <= most_wrong
    assert shift[1:].tolist() == [0, 0]


def test_odds_do_not_grow_where_most_of_what_they_bring_is_wrong() -> None:
    probabilities, truth = crops((0.9, "signature"), *[(0.45, "none")] * 4, (0.42, "signature"))
    bounds = {"wanted": np.array([2, 0, 0]), "most_wrong": np.array([9, 9, 9])}
    assert shifts(probabilities, truth, **bounds, precision=0.8, confidence=0.5).tolist() == [0, 0, 0]


@pytest.mark.parametrize(("confidence", "right", "wrong"), [(0.5, 6, 0), (0.35, 8, 0), (0.25, 8, 1), (0.1, 9, 1)])
def test_what_is_shown_hangs_on_the_operators_confidence_alone(confidence: float, right: int, wrong: int) -> None:
    counts = shown(*crops(*ROWS), confidence=confidence)
    assert [count.tolist() for count in counts] == [[right, 0, 0], [wrong, 0, 0]]


def test_odds_need_not_grow_where_the_operator_shows_the_marks_already() -> None:
    probabilities, truth = crops(*ROWS)
    bounds = {"wanted": np.array([8, 0, 0]), "most_wrong": np.array([9, 0, 0])}
    grown = [
        shifts(probabilities, truth, **bounds, precision=0.8, confidence=confidence)[0] for confidence in (0.5, 0.35)
    ]
    assert grown[0] > 0
    assert grown[1] == 0


def test_raised_odds_are_those_of_the_biases() -> None:
    rng = np.random.default_rng(1)
    probabilities, heat = rng.dirichlet(np.ones(4), 50), rng.random((50, 3))
    fusion, shift = Fusion(classified=0.4, seen=1.8, biases=(0.5, 1.0, 0.9)), np.array([0.3, 0.0, 1.1])
    grown = dataclasses.replace(fusion, biases=tuple(np.add(fusion.biases, shift)))
    np.testing.assert_allclose(raised(fuse(probabilities, heat, fusion), shift), fuse(probabilities, heat, grown))
