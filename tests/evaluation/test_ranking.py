"""Average precision is COCO's, and the sums behind its intervals are the same sums."""

from __future__ import annotations

import numpy as np
import pytest

from backend.evaluation.bootstrap import Estimate, weights
from backend.evaluation.ranking import coco_map, curves, map_estimates
from backend.evaluation.study import FoundMarks
from backend.evaluation.truth import TruePage
from tests.evaluation.pages import found, known

A = (100.0, 100.0, 200.0, 200.0)
A_SHIFTED = (100.0, 100.0, 200.0, 160.0)  # IoU .6 with A
B = (500.0, 500.0, 600.0, 600.0)


@pytest.mark.parametrize(
    ("pages", "boxes", "map50", "map50_95"),
    [
        # All found, all exact.
        ([known(("stamp", A))], [found(("stamp", A, 0.9))], 1, 1),
        # Found at IoU .6: right at .5, .55 and .6, wrong at the other seven.
        ([known(("stamp", A))], [found(("stamp", A_SHIFTED, 0.9))], 1, 0.3),
        # Nothing shown.
        ([known(("stamp", A))], [found()], 0, 0),
        # One class perfect, one never found: the mean of the two.
        ([known(("stamp", A), ("thumb", B))], [found(("stamp", A, 0.9))], 0.5, 0.5),
        # A surer box on nothing first: precision 1/2 at every recall.
        ([known(("stamp", A))], [found(("stamp", B, 0.9), ("stamp", A, 0.8))], 0.5, 0.5),
        # The same box after the right one does no harm.
        ([known(("stamp", A))], [found(("stamp", B, 0.7), ("stamp", A, 0.8))], 1, 1),
        # On a region that does not count it does none either.
        ([known(("stamp", A), ignored=[B])], [found(("stamp", B, 0.9), ("stamp", A, 0.8))], 1, 1),
        # Half of the marks found: precision 1 up to recall .5, that is at 51 of 101 recalls.
        ([known(("stamp", A), ("stamp", B))], [found(("stamp", A, 0.9))], 51 / 101, 51 / 101),
    ],
)
def test_by_hand(pages: list[TruePage], boxes: list[FoundMarks], map50: float, map50_95: float) -> None:
    assert coco_map(pages, boxes) == pytest.approx((map50, map50_95))


def test_without_a_mark_there_is_no_figure() -> None:
    pages, boxes = [known(), known(document="other")], [found(("stamp", A, 0.9)), found()]
    assert map_estimates(pages, boxes, weights(2)) == (Estimate(None), Estimate(None))
    assert curves(pages, boxes) == []


def random_pages(seed: int) -> tuple[list[TruePage], list[FoundMarks]]:
    """Marks with boxes near them, boxes on nothing, regions that do not count; scores that often tie."""
    rng = np.random.default_rng(seed)
    pages, boxes = [], []
    for number in range(12):
        marks, shown = [], []
        for _ in range(rng.integers(0, 6)):
            left, top, width, height = rng.integers(0, 700), rng.integers(0, 900), *rng.integers(40, 200, 2)
            name = ("signature", "stamp", "thumb")[rng.integers(3)]
            box = tuple(float(side) for side in (left, top, left + width, top + height))
            marks.append((name, box))
            for _ in range(rng.integers(0, 3)):
                moved = tuple(float(side) for side in np.array(box) + rng.normal(0, 0.12 * width, 4))
                if moved[2] > moved[0] and moved[3] > moved[1]:
                    called = name if rng.random() < 0.8 else "stamp"
                    shown.append((called, moved, float(np.round(rng.random(), 1))))
        ignored = [(300.0, 300.0, 600.0, 500.0)] if number % 3 == 0 else []
        pages.append(known(*marks, document=f"d{number // 2}", ignored=ignored))  # type: ignore[arg-type]
        boxes.append(found(*shown))  # type: ignore[arg-type]
    return pages, boxes


@pytest.mark.parametrize("seed", range(6))
def test_our_sums_are_the_librarys(seed: int) -> None:
    """With every document drawn once, the resample is the whole set: both ways have to say the same."""
    pages, boxes = random_pages(seed)
    once = np.ones((2, 6), np.int64)
    map50, map50_95 = map_estimates(pages, boxes, once)
    assert (map50.low, map50.high) == pytest.approx((map50.value, map50.value))
    assert (map50_95.low, map50_95.high) == pytest.approx((map50_95.value, map50_95.value))
    mean = np.mean([curve.average_precision for curve in curves(pages, boxes)])
    assert mean == pytest.approx(map50.value)


def test_a_document_drawn_twice_is_a_set_with_that_document_twice() -> None:
    pages, boxes = random_pages(7)
    drawn = np.array([[2, 0, 1, 1, 1, 1]] * 2)
    resampled = map_estimates(pages, boxes, drawn)
    places = [0, 1, 0, 1, *range(4, 12)]
    library = coco_map([pages[place] for place in places], [boxes[place] for place in places])
    # Ties between scores of different pages are ranked in the order of pages, which differs between the two.
    assert (resampled[0].low, resampled[1].low) == pytest.approx(library, abs=0.01)


def test_a_curve_starts_at_the_surest_box_and_ends_at_the_recall_of_all() -> None:
    pages = [known(("stamp", A), ("stamp", B))]
    (curve,) = curves(pages, [found(("stamp", A, 0.9), ("stamp", (0.0, 0.0, 50.0, 50.0), 0.8))])
    assert curve.label == "stamp"
    assert curve.recall.tolist() == [0.5, 0.5]
    assert curve.precision == pytest.approx([1, 0.5])
    assert curve.scores.tolist() == [0.9, 0.8]
