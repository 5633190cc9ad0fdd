"""What a box teaches: the rules, one row each."""

from __future__ import annotations

import pytest

from backend.geometry import as_boxes
from backend.training.harvest import KnownMarks, label_boxes

STAMP = (100, 100, 200, 200)
PEN = (300, 100, 400, 140)


@pytest.mark.parametrize(
    ("box", "label"),
    [
        ((100, 100, 200, 200), "stamp"),  # the mark itself
        ((105, 95, 210, 205), "stamp"),  # a good guess
        ((300, 100, 360, 140), "signature"),  # IoU .6
        ((100, 100, 200, 145), None),  # IoU .45: between a hit and a miss
        ((500, 500, 600, 560), "none"),  # elsewhere
        ((195, 195, 260, 260), "none"),  # touches a corner only
        ((110, 110, 140, 150), "none"),  # a fragment: 12 % of the stamp, nothing else
        ((110, 110, 160, 160), None),  # a quarter of the stamp: might be taken for one
        ((300, 100, 315, 140), "none"),  # one stroke of the signature
        ((150, 150, 230, 170), None),  # half on the stamp, half beside it
        ((50, 50, 300, 160), None),  # a loose box around much else, but IoU .18 with the stamp
        ((0, 0, 600, 600), "none"),  # nearly the whole page
        ((100, 100, 400, 200), None),  # both marks in one box, IoU .33 with the stamp
    ],
)
def test_a_box_is_labelled_by_its_relation_to_the_marks(box: tuple[float, ...], label: str | None) -> None:
    truth = KnownMarks(boxes=as_boxes([STAMP, PEN]), labels=("stamp", "signature"))
    assert label_boxes(as_boxes([box]), truth) == [label]


def test_of_two_marks_that_are_both_hit_the_better_one_names_the_box() -> None:
    truth = KnownMarks(boxes=as_boxes([(0, 0, 100, 100), (0, 0, 100, 80)]), labels=("stamp", "signature"))
    assert label_boxes(as_boxes([(0, 0, 100, 82), (0, 0, 100, 99)]), truth) == ["signature", "stamp"]


def test_where_marks_may_be_unboxed_nothing_is_called_none() -> None:
    truth = KnownMarks(boxes=as_boxes([STAMP]), labels=("stamp",), complete=False)
    assert label_boxes(as_boxes([STAMP, (500, 500, 600, 560)]), truth) == ["stamp", None]


@pytest.mark.parametrize(("complete", "label"), [(True, "none"), (False, None)])
def test_a_page_without_marks_teaches_none_when_that_is_known(complete: bool, label: str | None) -> None:
    truth = KnownMarks(boxes=as_boxes([]), labels=(), complete=complete)
    assert label_boxes(as_boxes([STAMP]), truth) == [label]


def test_places_about_which_nothing_is_said_teach_nothing_unless_a_mark_is_there() -> None:
    truth = KnownMarks(boxes=as_boxes([STAMP]), labels=("stamp",), ignored=as_boxes([(100, 100, 700, 700)]))
    assert label_boxes(as_boxes([STAMP, (500, 500, 600, 560)]), truth) == ["stamp", None]


def test_no_boxes_have_no_labels() -> None:
    assert label_boxes(as_boxes([]), KnownMarks(boxes=as_boxes([STAMP]), labels=("stamp",))) == []
