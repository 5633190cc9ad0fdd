"""Scores that mean what they say have no error; others have the error that was put in."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.evaluation.rates import (
    BINS,
    calibration_error,
    fit_temperature,
    likelihood,
    mass_bins,
    reliability,
    softmax,
)


def test_the_error_is_the_gap_weighted_by_cases() -> None:
    # Four answers at .7, two of them right: a gap of .2. One at .9, right: a gap of .1.
    confidence = np.array([0.7, 0.7, 0.7, 0.7, 0.9])
    right = np.array([True, True, False, False, True])
    assert calibration_error(confidence, right) == pytest.approx((4 * 0.2 + 1 * 0.1) / 5)
    assert [(one.confidence, one.right, one.count) for one in reliability(confidence, right)] == [
        (pytest.approx(0.7), 0.5, 4),
        (pytest.approx(0.9), 1.0, 1),
    ]


def test_bins_hold_equally_many_cases_wherever_the_confidences_crowd() -> None:
    confidence = np.random.default_rng(1).beta(9, 1, 1500)
    assert np.bincount(mass_bins(confidence)).tolist() == [100] * BINS


def test_honest_scores_have_next_to_no_error_and_boasting_ones_have_their_boast() -> None:
    rng = np.random.default_rng(2)
    honest = rng.uniform(0.3, 1, 20_000)
    right = rng.random(20_000) < honest
    assert calibration_error(honest, right) < 0.02
    assert calibration_error(np.minimum(honest + 0.15, 1), right) == pytest.approx(0.13, abs=0.02)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60), st.randoms())
def test_the_order_of_the_cases_does_not_matter(cases: list[tuple[float, bool]], random: object) -> None:
    def error(rows: list[tuple[float, bool]]) -> float:
        return calibration_error(np.array([row[0] for row in rows]), np.array([row[1] for row in rows]))

    shuffled = list(cases)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert error(shuffled) == pytest.approx(error(cases))
    assert 0 <= error(cases) <= 1
    assert mass_bins(np.array([row[0] for row in cases])).max() < BINS


def test_without_a_case_there_is_no_error() -> None:
    assert math.isnan(calibration_error(np.zeros(0), np.zeros(0, bool)))
    assert reliability(np.zeros(0), np.zeros(0, bool)) == []


def gap(probabilities: np.ndarray, truth: np.ndarray) -> float:
    return calibration_error(probabilities.max(axis=1), probabilities.argmax(axis=1) == truth)


def test_temperature_undoes_a_known_overconfidence() -> None:
    rng = np.random.default_rng(1)
    honest = rng.normal(0, 1.5, (4000, 4))
    truth = (softmax(honest).cumsum(axis=1) > rng.random((4000, 1))).argmax(axis=1)
    temperature = fit_temperature(3 * honest, truth)
    assert temperature == pytest.approx(3, rel=0.08)
    assert likelihood(3 * honest, truth, temperature) < likelihood(3 * honest, truth)
    assert gap(softmax(3 * honest, temperature), truth) < 0.5 * gap(softmax(3 * honest), truth)
