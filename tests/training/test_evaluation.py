"""Figures against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from backend.training.evaluation import (
    calibration_error,
    evaluate,
    fit_temperature,
    likelihood,
    softmax,
)

CLASSES = ("signature", "stamp", "thumb", "none")


def certain(said: list[int]) -> np.ndarray:
    return np.eye(4)[said]


def test_rates_confusion_and_accuracy() -> None:
    truth = np.array([0, 0, 0, 1, 1, 3])
    report = evaluate(certain([0, 0, 1, 1, 1, 0]), truth, CLASSES)
    signature, stamp, thumb, none = (report.classes[name] for name in CLASSES)
    assert (signature.precision, signature.recall, signature.f1) == pytest.approx((2 / 3, 2 / 3, 2 / 3))
    assert (stamp.precision, stamp.recall, stamp.f1) == pytest.approx((2 / 3, 1.0, 0.8))
    assert (none.precision, none.recall, none.f1, none.support) == (0, 0, 0, 1)
    assert thumb.support == 0
    assert report.accuracy == pytest.approx(4 / 6)
    # No thumb occurs, so that it does not count; `none` occurs and is missed.
    assert report.macro_f1 == pytest.approx((2 / 3 + 0.8 + 0) / 3)
    assert report.confusion == [[2, 1, 0, 0], [0, 2, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0]]
    assert report.count == 6


def test_perfect_answers_are_perfect() -> None:
    report = evaluate(certain([0, 1, 2, 3]), np.arange(4), CLASSES)
    assert (report.accuracy, report.macro_f1, report.calibration_error) == (1, 1, 0)


def test_nothing_to_evaluate_is_an_error() -> None:
    with pytest.raises(ValueError, match="no crops"):
        evaluate(np.zeros((0, 4)), np.zeros(0, int), CLASSES)


def test_calibration_error_is_the_weighted_gap_between_confidence_and_accuracy() -> None:
    # Four answers at .7, two of them right: a gap of .2. One at .9, right: a gap of .1.
    rows = [[0.7, 0.1, 0.1, 0.1]] * 4 + [[0.9, 0.1, 0.0, 0.0]]
    assert calibration_error(np.array(rows), np.array([0, 0, 1, 2, 0])) == pytest.approx(0.2 * 4 / 5 + 0.1 / 5)


def test_temperature_undoes_a_known_overconfidence() -> None:
    rng = np.random.default_rng(1)
    honest = rng.normal(0, 1.5, (4000, 4))
    truth = (softmax(honest).cumsum(axis=1) > rng.random((4000, 1))).argmax(axis=1)
    temperature = fit_temperature(3 * honest, truth)
    assert temperature == pytest.approx(3, rel=0.08)
    assert likelihood(3 * honest, truth, temperature) < likelihood(3 * honest, truth)
    assert calibration_error(softmax(3 * honest, temperature), truth) < 0.5 * calibration_error(
        softmax(3 * honest), truth
    )


def test_softmax_is_a_distribution_even_far_out() -> None:
    rows = softmax(np.array([[1000.0, 0, -1000, 3], [0, 0, 0, 0]]))
    np.testing.assert_allclose(rows.sum(axis=1), 1)
    np.testing.assert_allclose(rows[1], 0.25)
