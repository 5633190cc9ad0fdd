"""The formulas, by hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from backend.commands.review.doubts import badly_placed, overlooked, page_score, similarity, soft_min, swapped
from backend.evaluation.study import NOBODY, FoundMarks
from backend.geometry import as_boxes
from backend.vision.network_config import MARKS
from tests.evaluation.pages import Box, Mark, found

A = (100.0, 100.0, 200.0, 200.0)
A_SHIFTED = (100.0, 100.0, 200.0, 160.0)  # IoU .6 with A, centres 20 apart
A_THIRD = (100.0, 100.0, 200.0, 130.0)  # IoU .3 with A, and a part of it
BESIDE = (180.0, 100.0, 280.0, 200.0)  # IoU 1/9 with A: a fifth of either
B = (500.0, 500.0, 600.0, 600.0)
NOWHERE = as_boxes([])


def boxes_of(marks: Sequence[Mark]) -> np.ndarray:
    return as_boxes([box for _, box in marks])


def labels_of(marks: Sequence[Mark]) -> np.ndarray:
    return np.array([MARKS.index(label) for label, _ in marks], np.intp)


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        # The same.
        (A, A, 1.0),
        # 0.9 · 0.6 + 0.1 · (1 - 20 / (100 · √2))
        (A, A_SHIFTED, 0.54 + 0.1 * (1 - 20 / (100 * 2**0.5))),
        # Nothing shared: 0.1 · (1 - 400 √2 / (500 √2))
        (A, B, 0.1 * (1 - 400 / 500)),
        # Two empty boxes in one place: no IoU, no distance.
        ((5, 5, 5, 5), (5, 5, 5, 5), 0.1),
    ],
)
def test_similarity(one: Box, other: Box, alike: float) -> None:
    assert similarity(as_boxes([one]), as_boxes([other]))[0, 0] == pytest.approx(alike)
    assert similarity(as_boxes([other]), as_boxes([one]))[0, 0] == pytest.approx(alike)
    twice = 2 * as_boxes([one]), 2 * as_boxes([other])
    assert similarity(*twice)[0, 0] == pytest.approx(alike)


@pytest.mark.parametrize(
    ("marks", "score"),
    [
        # Nothing is annotated: 1 - 0.9.
        ([], 0.1),
        # Its own box, well placed or not: whether it is well placed is another question.
        ([("stamp", A)], 1.0),
        ([("stamp", BESIDE)], 1.0),
        # The model has a part of it, or it is a part of what the model has.
        ([("stamp", (0.0, 0.0, 400.0, 400.0))], 1.0),
        ([("stamp", (190.0, 190.0, 200.0, 200.0))], 1.0),
        # A box of another name at its place: its name is the question.
        ([("thumb", A_SHIFTED)], 1.0),
        # A box of another name that only touches it, as a signature touches a stamp.
        ([("signature", A_THIRD)], 0.1),
        # Its name, but elsewhere.
        ([("stamp", B)], 0.1),
    ],
)
def test_a_mark_without_a_box_is_overlooked_as_surely_as_the_model_sees_it(marks: list[Mark], score: float) -> None:
    seen = found(("stamp", A, 0.9))
    [own] = overlooked(seen, boxes_of(marks), labels_of(marks), ignored=NOWHERE)
    assert own == pytest.approx(score)


def test_nothing_is_overlooked_where_the_annotation_says_nothing() -> None:
    seen = found(("stamp", A, 0.9), ("stamp", B, 0.8))
    scores = overlooked(seen, NOWHERE, labels_of([]), ignored=as_boxes([A]))
    np.testing.assert_allclose(scores, [1.0, 0.2])


def test_a_name_is_believed_as_far_as_no_other_is_likelier() -> None:
    words = np.array([[0.1, 0.7, 0.2, 0.0], [0.1, 0.7, 0.2, 0.0], [0.9, 0.05, 0.05, 0.0]])
    labels = labels_of([("signature", A), ("stamp", A), ("signature", B)])
    np.testing.assert_allclose(swapped(labels, words), [0.3, 0.8, 0.95])


@pytest.mark.parametrize(
    ("marks", "seen", "scores", "partners"),
    [
        # The model sees nothing of that name: no reason for a doubt.
        ([("stamp", A)], [], [1.0], [NOBODY]),
        ([("stamp", A)], [("thumb", A_SHIFTED, 0.9)], [1.0], [NOBODY]),
        # It sees the mark somewhere else on the page: that is another one.
        ([("stamp", A)], [("stamp", B, 0.9)], [1.0], [NOBODY]),
        # It is too unsure to say where.
        ([("stamp", A)], [("stamp", A_SHIFTED, 0.4)], [1.0], [NOBODY]),
        # It agrees, more or less.
        ([("stamp", A)], [("stamp", A_SHIFTED, 0.9)], [0.54 + 0.1 * (1 - 0.2 / 2**0.5)], [0]),
        # Two that touch, of which it sees one: the other is not accused.
        ([("stamp", A), ("stamp", BESIDE)], [("stamp", A, 0.9)], [1.0, 1.0], [0, NOBODY]),
        # Two that touch, of which it sees both.
        ([("stamp", A), ("stamp", BESIDE)], [("stamp", BESIDE, 0.8), ("stamp", A, 0.9)], [1.0, 1.0], [1, 0]),
    ],
)
def test_a_place_is_believed_as_far_as_the_model_s_box_agrees(
    marks: list[Mark], seen: list[tuple[str, Box, float]], scores: list[float], partners: list[int]
) -> None:
    own, who = badly_placed(found(*seen), boxes_of(marks), labels_of(marks))
    np.testing.assert_allclose(own, scores)
    assert who.tolist() == partners


@pytest.mark.parametrize(
    ("scores", "pooled"),
    [
        # A page without boxes.
        ([], 1.0),
        # One box.
        ([0.3], 0.3),
        # All alike.
        ([0.4, 0.4, 0.4], 0.4),
        # (0.2 + 1 · e^-8) / (1 + e^-8): the lowest rules.
        ([1.0, 0.2], (0.2 + np.exp(-8)) / (1 + np.exp(-8))),
        # (0.2 + 0.3 · e^-1) / (1 + e^-1)
        ([0.3, 0.2], (0.2 + 0.3 * np.exp(-1)) / (1 + np.exp(-1))),
    ],
)
def test_the_boxes_of_a_page_are_pooled_by_a_soft_minimum(scores: list[float], pooled: float) -> None:
    assert soft_min(np.array(scores)) == pytest.approx(pooled)


def test_the_kinds_come_together_by_their_geometric_mean() -> None:
    one, half, quarter, none = (np.array(scores) for scores in ([1.0], [0.5], [0.25], []))
    assert page_score(one, half, quarter) == pytest.approx(0.5)
    assert page_score(none, none, none) == 1.0
    assert 0 < page_score(np.array([0.0]), one, one) < 0.02


def test_a_page_of_nothing_with_nothing_found() -> None:
    nothing: FoundMarks = found()
    assert overlooked(nothing, NOWHERE, labels_of([]), ignored=NOWHERE).shape == (0,)
    assert swapped(labels_of([]), np.zeros((0, 4))).shape == (0,)
    scores, partners = badly_placed(nothing, NOWHERE, labels_of([]))
    assert (scores.shape, partners.shape) == ((0,), (0,))
