"""What the detector saw is weighed against what the classifier says: probabilities come out, moved the right way."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from backend.vision.engine import Fusion
from backend.vision.network_config import CLASSES, MARKS, NONE
from backend.vision.pipeline import evidence, fuse

SHARES = st.floats(0, 1)
WEIGHTS = st.floats(0, 4)


def rows(columns: int) -> st.SearchStrategy[NDArray[np.float64]]:
    return st.integers(0, 5).flatmap(lambda count: arrays(np.float64, (count, columns), elements=SHARES))


@st.composite
def probabilities(draw: st.DrawFn) -> NDArray[np.float64]:
    """(N, 4), each row with the sum of 1."""
    values = draw(rows(len(CLASSES)))
    assume((values.sum(axis=1) > 0.1).all())
    return np.asarray(values / values.sum(axis=1, keepdims=True))


@st.composite
def fusions(draw: st.DrawFn) -> Fusion:
    bias = st.floats(-5, 5)
    return Fusion(classified=draw(WEIGHTS), seen=draw(WEIGHTS), biases=(draw(bias), draw(bias), draw(bias)))


@given(said=probabilities(), fusion=fusions(), data=st.data())
def test_the_result_is_a_probability(said: NDArray[np.float64], fusion: Fusion, data: st.DataObject) -> None:
    heat = data.draw(arrays(np.float64, (len(said), len(MARKS)), elements=SHARES))
    both = fuse(said, heat, fusion)
    assert both.shape == said.shape
    np.testing.assert_allclose(both.sum(axis=1), 1, atol=1e-9)
    assert (both >= 0).all()


@given(said=probabilities(), data=st.data())
def test_a_neutral_fusion_leaves_the_classifiers_word_alone(said: NDArray[np.float64], data: st.DataObject) -> None:
    heat = data.draw(arrays(np.float64, (len(said), len(MARKS)), elements=SHARES))
    np.testing.assert_allclose(fuse(said, heat, Fusion()), said, atol=1e-5)


@given(
    said=probabilities(),
    mark=st.integers(0, len(MARKS) - 1),
    heats=st.tuples(SHARES, SHARES).map(sorted),
    seen=st.floats(0.1, 3),
    data=st.data(),
)
def test_more_heat_of_a_mark_makes_it_likelier_and_all_else_less(
    said: NDArray[np.float64], mark: int, heats: list[float], seen: float, data: st.DataObject
) -> None:
    heat = data.draw(arrays(np.float64, (len(said), len(MARKS)), elements=SHARES))
    cold, hot = heat.copy(), heat.copy()
    cold[:, mark], hot[:, mark] = heats
    before, after = (fuse(said, one, Fusion(seen=seen)) for one in (cold, hot))
    assert (after[:, mark] >= before[:, mark] - 1e-12).all()
    others = [column for column in range(len(CLASSES)) if column != mark]
    assert (after[:, others] <= before[:, others] + 1e-12).all()


@pytest.mark.parametrize(
    ("said", "heat", "fusion", "expected"),
    [
        # Even odds of heat say nothing.
        ([0.1, 0.6, 0.1, 0.2], [0.5, 0.5, 0.5], Fusion(seen=1.0), [0.1, 0.6, 0.1, 0.2]),
        # Odds of 4 for a stamp: (.1, .4 x 4, .1, .4) over their sum of 2.2.
        ([0.1, 0.4, 0.1, 0.4], [0.5, 0.8, 0.5], Fusion(seen=1.0), [1 / 22, 16 / 22, 1 / 22, 4 / 22]),
        # At half the weight, their root.
        ([0.1, 0.4, 0.1, 0.4], [0.5, 0.8, 0.5], Fusion(seen=0.5), [1 / 14, 8 / 14, 1 / 14, 4 / 14]),
        # A classifier of twice the weight is squared: .01, .16, .01, .16.
        ([0.1, 0.4, 0.1, 0.4], [0.0, 0.0, 0.0], Fusion(classified=2.0), [1 / 34, 16 / 34, 1 / 34, 16 / 34]),
        # A bias of log 3 for thumbs.
        ([0.2, 0.2, 0.2, 0.4], [0.0, 0.0, 0.0], Fusion(biases=(0, 0, np.log(3))), [1 / 7, 1 / 7, 3 / 7, 2 / 7]),
        # No word from the detector counts as a heat of .03, for certain as .97: odds of 3 / 97, and of 97 / 3.
        (
            [0.25, 0.25, 0.25, 0.25],
            [0.0, 1.0, 0.5],
            Fusion(seen=1.0),
            np.array([3 / 97, 97 / 3, 1, 1]) / (3 / 97 + 97 / 3 + 2),
        ),
    ],
)
def test_against_values_worked_out_by_hand(
    said: list[float], heat: list[float], fusion: Fusion, expected: list[float]
) -> None:
    np.testing.assert_allclose(fuse(np.array([said]), np.array([heat]), fusion)[0], expected, atol=1e-9)


def test_evidence_is_finite_where_probabilities_and_heat_are_not_between_0_and_1() -> None:
    said, seen = evidence(np.array([[0.0, 1.0, 0.0, 0.0]]), np.array([[0.0, 1.0, 0.5]]))
    assert np.isfinite(said).all()
    assert np.isfinite(seen).all()
    assert seen[0, 2] == 0


def test_a_class_that_the_classifier_rules_out_can_be_brought_back_by_the_detector_alone() -> None:
    said = np.array([[0.001, 0.001, 0.001, 0.997]])
    both = fuse(said, np.array([[0.0, 0.99, 0.0]]), Fusion(seen=3.0))
    assert both[0].argmax() == MARKS.index("stamp")
    assert fuse(said, np.array([[0.0, 0.99, 0.0]]), Fusion(seen=0.5))[0].argmax() == NONE


def test_the_arguments_stay_as_they_are() -> None:
    said, heat = np.full((2, 4), 0.25), np.full((2, 3), 0.9)
    fuse(said, heat, Fusion(seen=1.0, biases=(1, 1, 1)))
    assert (said == 0.25).all()
    assert (heat == 0.9).all()
