"""Boxes: overlap, suppression and units, checked on small cases by hand and on any boxes by their laws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.geometry import Boxes, areas, as_boxes, clip, coverage, iou, suppress, to_percent, turned_left, union

SIDE = 1000
coordinates = st.floats(0, SIDE, allow_nan=False, width=32)
boxes_of_any_kind = st.lists(
    st.tuples(coordinates, coordinates, coordinates, coordinates).map(
        lambda box: (min(box[0], box[2]), min(box[1], box[3]), max(box[0], box[2]), max(box[1], box[3]))
    ),
    max_size=8,
).map(as_boxes)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        # The same box.
        ((0, 0, 10, 10), (0, 0, 10, 10), 1.0),
        # Half of each.
        ((0, 0, 10, 10), (5, 0, 15, 10), 50 / 150),
        # A quarter inside.
        ((0, 0, 10, 10), (0, 0, 5, 5), 0.25),
        # Touching.
        ((0, 0, 10, 10), (10, 0, 20, 10), 0.0),
        # Apart.
        ((0, 0, 10, 10), (50, 50, 60, 60), 0.0),
        # Two empty boxes at one place.
        ((5, 5, 5, 5), (5, 5, 5, 5), 0.0),
    ],
)
def test_iou_by_hand(a: tuple[float, ...], b: tuple[float, ...], expected: float) -> None:
    assert iou(as_boxes(a), as_boxes(b))[0, 0] == pytest.approx(expected)


@given(boxes_of_any_kind, boxes_of_any_kind)
def test_iou_laws(a: Boxes, b: Boxes) -> None:
    overlap = iou(a, b)
    assert overlap.shape == (len(a), len(b))
    assert ((overlap >= 0) & (overlap <= 1 + 1e-9)).all()
    np.testing.assert_allclose(overlap, iou(b, a).T)


@given(boxes_of_any_kind, boxes_of_any_kind)
def test_coverage_is_never_below_iou(a: Boxes, b: Boxes) -> None:
    assert (coverage(a, b) >= iou(a, b) - 1e-9).all()


def test_coverage_of_a_box_inside_another() -> None:
    small, large = as_boxes((2, 2, 4, 4)), as_boxes((0, 0, 10, 10))
    assert coverage(small, large)[0, 0] == 1
    assert coverage(large, small)[0, 0] == pytest.approx(0.04)


@given(boxes_of_any_kind)
def test_suppressed_boxes_overlap_a_kept_one_and_kept_ones_do_not(boxes: Boxes) -> None:
    scores = np.linspace(0, 1, len(boxes))
    kept = suppress(boxes, scores, threshold=0.5)
    among = iou(boxes[kept], boxes[kept])
    assert (among[~np.eye(len(kept), dtype=bool)] <= 0.5).all()
    gone = np.setdiff1d(np.arange(len(boxes)), kept)
    assert (iou(boxes[gone], boxes[kept]).max(axis=1, initial=0) > 0.5).all()


def test_suppression_keeps_the_better_and_then_the_earlier() -> None:
    boxes = as_boxes([(0, 0, 10, 10), (0, 0, 10, 9), (100, 0, 110, 10), (100, 0, 110, 10)])
    np.testing.assert_array_equal(suppress(boxes, np.array([0.5, 0.9, 0.7, 0.7]), threshold=0.5), [1, 2])


def test_suppression_agrees_with_torchvision() -> None:
    torch = pytest.importorskip("torch")
    from torchvision.ops import nms

    generator = np.random.default_rng(0)
    corners = generator.uniform(0, 200, (60, 2))
    boxes = np.hstack([corners, corners + generator.uniform(20, 100, (60, 2))])
    scores = generator.permutation(60) / 60
    expected = nms(torch.from_numpy(boxes), torch.from_numpy(scores), 0.4).numpy()
    np.testing.assert_array_equal(suppress(boxes, scores, threshold=0.4), expected)


def test_inverted_boxes_have_no_area() -> None:
    np.testing.assert_array_equal(areas(as_boxes([(10, 0, 0, 10), (0, 0, 3, 4)])), [0, 12])


def test_clip_copies() -> None:
    boxes = as_boxes([(-5, -5, 500, 50)])
    np.testing.assert_array_equal(clip(boxes, width=100, height=40), [[0, 0, 100, 40]])
    np.testing.assert_array_equal(boxes, [[-5, -5, 500, 50]])


def test_union() -> None:
    np.testing.assert_array_equal(union(as_boxes([(5, 6, 7, 8), (1, 7, 2, 20)])), [[1, 6, 7, 20]])
    with pytest.raises(ValueError, match="no boxes"):
        union(as_boxes([]))


def test_percent_of_the_page() -> None:
    np.testing.assert_allclose(to_percent(as_boxes([(50, 100, 150, 300)]), width=200, height=400), [[25, 25, 50, 50]])
    assert to_percent(as_boxes([]), width=200, height=400).shape == (0, 4)


@pytest.mark.parametrize("quarters", [-3, -1, 0, 1, 2, 3, 4])
def test_turned_boxes_lie_where_their_pixels_do(quarters: int) -> None:
    page = np.zeros((40, 70), bool)
    page[5:15, 20:50] = True
    turned = np.rot90(page, quarters)
    rows, columns = np.nonzero(turned)
    expected = [[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]]
    np.testing.assert_allclose(turned_left(as_boxes([(20, 5, 50, 15)]), quarters, width=70, height=40), expected)


def test_no_box_turned_is_no_box() -> None:
    assert turned_left(as_boxes([]), 1, width=5, height=7).shape == (0, 4)
