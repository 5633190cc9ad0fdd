"""Figures against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from backend.evaluation.rates import evaluate, softmax

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


def test_softmax_is_a_distribution_even_far_out() -> None:
    rows = softmax(np.array([[1000.0, 0, -1000, 3], [0, 0, 0, 0]]))
    np.testing.assert_allclose(rows.sum(axis=1), 1)
    np.testing.assert_allclose(rows[1], 0.25)


def test_the_interval_is_over_documents_and_not_over_crops() -> None:
    truth = np.zeros(40, int)
    # Every document is all right or all wrong: forty crops say no more than their four documents do.
    said = [0] * 20 + [1] * 20
    four = evaluate(certain(said), truth, CLASSES, documents=[f"contract {index // 10}" for index in range(40)])
    forty = evaluate(certain(said), truth, CLASSES, documents=[f"contract {index}" for index in range(40)])
    assert four.accuracy_interval == (0, 1)
    assert forty.accuracy_interval is not None
    assert 0.3 < forty.accuracy_interval[0] < 0.5 < forty.accuracy_interval[1] < 0.7
    assert evaluate(certain(said), truth, CLASSES, documents=["one"] * 40).accuracy_interval is None
    assert evaluate(certain(said), truth, CLASSES).macro_f1_interval is None
