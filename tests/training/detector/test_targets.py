"""What the network should say: full heat in the middle of marks, edges that reach their boxes, no word on guesses."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.training.detector.detector_network import TAUGHT
from backend.training.detector.scenes import Knowledge, Targets, targets_of
from backend.vision.network_config import MARKS
from backend.vision.network_detector import peaks_of
from tests.training.detector.conftest import Corners, known

HEIGHT, WIDTH = 128, 192
STRIDE = 8
SIGNATURE, STAMP, THUMB = range(len(MARKS))


def targets(knowledge: Knowledge) -> Targets:
    return targets_of(knowledge, height=HEIGHT, width=WIDTH, stride=STRIDE)


def test_shapes() -> None:
    found = targets(known())
    assert found.heat.shape == found.known.shape == (5, 16, 24)
    assert found.weight.shape == (3, 16, 24)
    assert found.edges.shape == (12, 16, 24)
    assert {one.dtype for one in (found.heat, found.known, found.weight, found.edges)} == {np.dtype(np.float32)}


def test_an_empty_page_is_cold_and_known_to_be() -> None:
    found = targets(known())
    assert (found.heat == 0).all()
    assert (found.known[: len(MARKS)] == 1).all()
    assert (found.known[len(MARKS) :] == 0).all(), "nobody has boxed handwriting and logos"
    assert (found.weight == 0).all()


@pytest.mark.parametrize(
    ("box", "row", "column"),
    [
        # The middle, (60, 44), lies in this cell.
        ((20, 20, 100, 68), 5, 7),
        # A mark of a cell.
        ((32, 40, 40, 48), 5, 4),
        # A mark at the corner.
        ((150, 100, 192, 128), 14, 21),
        # A long thin one.
        ((0, 60, 192, 66), 7, 12),
    ],
)
def test_the_cell_in_the_middle_of_a_mark_has_full_heat(box: Corners, row: int, column: int) -> None:
    found = targets(known([("stamp", box)]))
    assert np.argwhere(found.heat[STAMP] > 0.999).tolist() == [[row, column]]
    assert (found.heat[[SIGNATURE, THUMB]] == 0).all()


@st.composite
def marks(draw: st.DrawFn) -> Corners:
    """A mark of at least two cells each way."""
    left, top = draw(st.floats(0, WIDTH - 20)), draw(st.floats(0, HEIGHT - 20))
    width, height = draw(st.floats(17, 90)), draw(st.floats(17, 60))
    return left, top, min(left + width, WIDTH), min(top + height, HEIGHT)


@settings(deadline=None)
@given(box=marks(), label=st.integers(0, 2))
def test_edges_reach_the_box_from_every_cell_that_teaches_them(box: Corners, label: int) -> None:
    found = targets(known([(MARKS[label], box)]))
    rows, columns = np.nonzero(found.weight[label])
    assert len(rows)
    left, top, right, bottom = found.edges[4 * label : 4 * label + 4, rows, columns]
    x, y = (columns + 0.5) * STRIDE, (rows + 0.5) * STRIDE
    reached = np.stack([x - left, y - top, x + right, y + bottom], axis=1)
    np.testing.assert_allclose(reached, np.tile(box, (len(rows), 1)), atol=1e-3)


@settings(deadline=None)
@given(box=marks(), label=st.integers(0, 2))
def test_a_network_that_says_just_this_would_find_just_this(box: Corners, label: int) -> None:
    found = targets(known([(MARKS[label], box)]))
    peaks = peaks_of(found.heat[: len(MARKS)], found.edges, stride=STRIDE, least=0.5, most=20, same=0.5)
    assert peaks.labels.tolist() == [label]
    np.testing.assert_allclose(peaks.boxes, [box], atol=1e-3)


@settings(deadline=None)
@given(box=marks())
def test_each_mark_teaches_its_edges_once_in_all(box: Corners) -> None:
    assert targets(known([("thumb", box)])).weight.sum() == pytest.approx(1, abs=1e-3)


def test_a_larger_mark_teaches_further_around() -> None:
    small, large = (targets(known([("stamp", box)])) for box in ((80, 56, 100, 70), (20, 10, 170, 120)))
    assert (large.weight > 0).sum() > (small.weight > 0).sum()


def test_a_small_mark_keeps_its_cells_on_a_large_one() -> None:
    large, small = (16.0, 8.0, 176.0, 120.0), (84.0, 52.0, 108.0, 76.0)
    for order in ([("stamp", large), ("stamp", small)], [("stamp", small), ("stamp", large)]):
        found = targets(known(order))
        left, top, right, bottom = found.edges[4 * STAMP : 4 * STAMP + 4, 8, 12]
        assert (100 - left, 68 - top, 100 + right, 68 + bottom) == small


def test_marks_of_two_classes_in_one_place_have_edges_of_their_own() -> None:
    found = targets(known([("signature", (60, 40, 140, 80)), ("stamp", (80, 40, 120, 80))]))
    assert found.edges[0, 7, 12] - found.edges[4, 7, 12] == 20
    assert found.heat[SIGNATURE].max() > 0.999
    assert found.heat[STAMP].max() > 0.999


def test_of_a_class_that_is_not_complete_nothing_is_known_beyond_the_boxes() -> None:
    found = targets(known([("stamp", (80, 40, 120, 80))], complete=["signature"]))
    assert (found.known[SIGNATURE] == 1).all()
    assert found.known[STAMP, 0, 0] == found.known[THUMB, 0, 0] == 0
    # The box, and .3 of its sides around it: 68 to 132 across, 28 to 92 down.
    for label in (STAMP, THUMB):
        expected = np.zeros((16, 24))
        expected[28 // 8 : 92 // 8 + 1, 68 // 8 : 132 // 8 + 1] = 1
        np.testing.assert_array_equal(found.known[label], expected)


def test_nothing_is_said_where_something_is_ignored_but_for_the_marks_there() -> None:
    ignored = (40, 40, 111, 79)
    found = targets(known(ignored=[ignored]))
    expected = np.ones((16, 24))
    expected[5:10, 5:14] = 0
    for label in range(3):
        np.testing.assert_array_equal(found.known[label], expected)
    marked = targets(known([("thumb", (60, 48, 84, 72))], ignored=[ignored]))
    assert marked.known[THUMB, 7, 9] == 1
    assert marked.known[STAMP, 7, 9] == 0


def test_what_looks_like_a_mark_is_learnt_as_itself_and_has_no_edges() -> None:
    found = targets(known([("handwriting", (60, 40, 140, 80)), ("print", (10, 90, 60, 120))], complete=TAUGHT))
    handwriting, printed = TAUGHT.index("handwriting"), TAUGHT.index("print")
    assert found.heat[handwriting, 7, 12] > 0.999
    assert found.heat[printed].max() > 0.999
    assert (found.heat[: len(MARKS)] == 0).all()
    assert (found.known == 1).all()
    assert (found.weight == 0).all()


def test_finer_cells_know_a_place_better() -> None:
    box = (61.0, 41.0, 70.0, 52.0)
    coarse, fine = (targets_of(known([("stamp", box)]), height=HEIGHT, width=WIDTH, stride=stride) for stride in (8, 4))
    assert fine.heat.shape == (5, 32, 48)
    assert np.argwhere(coarse.heat[STAMP] > 0.999).tolist() == [[5, 8]]
    assert np.argwhere(fine.heat[STAMP] > 0.999).tolist() == [[11, 16]]
