"""One box answers one mark, the surest first; what is left over is misnamed, background or missed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.evaluation.study import NOBODY, match
from backend.vision.network_config import MARKS
from tests.evaluation.pages import Mark, found, known

A = (100.0, 100.0, 200.0, 200.0)
A_SHIFTED = (100.0, 100.0, 200.0, 160.0)  # IoU .6 with A
A_HALF = (100.0, 100.0, 200.0, 140.0)  # IoU .4 with A
B = (500.0, 500.0, 600.0, 600.0)


@pytest.mark.parametrize(
    ("marks", "boxes", "answered", "misnamed", "confusion"),
    [
        # Nothing there, nothing shown.
        ([], [], [], [], {}),
        # A mark that nobody found.
        ([("stamp", A)], [], [], [], {("stamp", "missed"): 1}),
        # A box on nothing.
        ([], [("thumb", A, 0.9)], [NOBODY], [NOBODY], {("background", "thumb"): 1}),
        # Right name, right place.
        ([("stamp", A)], [("stamp", A_SHIFTED, 0.9)], [0], [NOBODY], {("stamp", "stamp"): 1}),
        # Right name, but too little overlap: a miss and a box on background.
        (
            [("stamp", A)],
            [("stamp", A_HALF, 0.9)],
            [NOBODY],
            [NOBODY],
            {("stamp", "missed"): 1, ("background", "stamp"): 1},
        ),
        # Wrong name in the right place.
        ([("stamp", A)], [("thumb", A, 0.9)], [NOBODY], [0], {("stamp", "thumb"): 1}),
        # Two boxes on one mark: the surer one has it although the other fits better.
        (
            [("stamp", A)],
            [("stamp", A, 0.6), ("stamp", A_SHIFTED, 0.9)],
            [NOBODY, 0],
            [NOBODY, NOBODY],
            {("stamp", "stamp"): 1, ("background", "stamp"): 1},
        ),
        # A signature on a stamp: each has its own box, names decide before overlap does.
        (
            [("stamp", A), ("signature", A_SHIFTED)],
            [("signature", A, 0.9), ("stamp", A_SHIFTED, 0.8)],
            [1, 0],
            [NOBODY, NOBODY],
            {("stamp", "stamp"): 1, ("signature", "signature"): 1},
        ),
        # A box of the right name takes the mark, however unsure, before one of a wrong name can.
        (
            [("stamp", A)],
            [("thumb", A, 0.99), ("stamp", A, 0.5)],
            [NOBODY, 0],
            [NOBODY, NOBODY],
            {("stamp", "stamp"): 1, ("background", "thumb"): 1},
        ),
        # Two marks and one box between them: it takes one.
        (
            [("stamp", A), ("stamp", B)],
            [("stamp", A, 0.9)],
            [0],
            [NOBODY],
            {("stamp", "stamp"): 1, ("stamp", "missed"): 1},
        ),
    ],
)
def test_what_answers_what(
    marks: list[Mark],
    boxes: list[tuple[str, tuple[float, float, float, float], float]],
    answered: list[int],
    misnamed: list[int],
    confusion: dict[tuple[str, str], int],
) -> None:
    verdict = match(known(*marks), found(*boxes), 0.5)
    assert verdict.mark.tolist() == answered
    assert verdict.misnamed.tolist() == misnamed
    rows, columns = (*MARKS, "background"), (*MARKS, "missed")
    expected = [[confusion.get((row, column), 0) for column in columns] for row in rows]
    assert verdict.confusion.tolist() == expected


def test_a_lower_threshold_lets_a_looser_box_answer() -> None:
    page, boxes = known(("stamp", A)), found(("stamp", A_HALF, 0.9))
    assert match(page, boxes, 0.3).right.tolist() == [True]
    assert match(page, boxes, 0.5).right.tolist() == [False]


def test_a_box_on_an_ignored_region_is_neither_right_nor_wrong() -> None:
    page = known(("stamp", A), ignored=[B])
    verdict = match(page, found(("signature", B, 0.9), ("stamp", A, 0.8)), 0.5)
    assert verdict.ignored.tolist() == [True, False]
    assert verdict.confusion.sum() == 1


def test_a_mark_beside_an_ignored_region_still_counts() -> None:
    page = known(("stamp", A), ignored=[(90.0, 90.0, 300.0, 300.0)])
    verdict = match(page, found(("stamp", A, 0.9)), 0.5)
    assert verdict.right.tolist() == [True]
    assert not verdict.ignored.any()


corners = st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(1, 5), st.integers(1, 5)).map(
    lambda box: (float(box[0]), float(box[1]), float(box[0] + box[2]), float(box[1] + box[3]))
)
names = st.sampled_from(MARKS)


@settings(max_examples=40, deadline=None)
@given(
    marks=st.lists(st.tuples(names, corners), max_size=5),
    boxes=st.lists(st.tuples(names, corners, st.floats(0.1, 1)), max_size=6),
    threshold=st.sampled_from([0.3, 0.5, 0.75]),
)
def test_the_matrix_counts_each_mark_once_and_each_box_at_most_once(
    marks: list[Mark], boxes: list[tuple[str, tuple[float, float, float, float], float]], threshold: float
) -> None:
    page, shown = known(*marks), found(*boxes)
    verdict = match(page, shown, threshold)
    assert verdict.confusion[:3].sum() == len(marks)
    assert verdict.confusion[:, :3].sum() == len(boxes)
    assert verdict.confusion[3, 3] == 0
    reached = np.concatenate([verdict.mark, verdict.misnamed])
    reached = reached[reached != NOBODY]
    assert len(set(reached.tolist())) == len(reached)
    assert (shown.labels[verdict.right] == page.labels[verdict.mark[verdict.right]]).all()
