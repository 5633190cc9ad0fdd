"""What the simulated annotator does with each box, what it counts, and that the ledger understands it the same way."""

from __future__ import annotations

from collections import Counter

import pytest

from backend.corrections.outcomes import Outcome, match
from backend.labelstudio.annotations import Region
from backend.labelstudio.projects import label_config
from backend.labelstudio.protocol import read_event
from benchmarks.annotator import KINDS, TrueMark, Work, correct, saved

Box = tuple[float, float, float, float]
WHERE: Box = (100.0, 100.0, 200.0, 200.0)
ELSEWHERE: Box = (400.0, 400.0, 500.0, 480.0)
SIZE = (800, 1000)


def shown(name: str, label: str, box: Box) -> Region:
    return Region(id=name, page=0, label=label, box=box)


def true(label: str, box: Box) -> TrueMark:
    return TrueMark(label=label, box=box)


def shifted(box: Box, by: float) -> Box:
    return box[0] + by, box[1], box[2] + by, box[3]


STAMP = true("stamp", WHERE)


@pytest.mark.parametrize(
    ("boxes", "marks", "work"),
    [
        # nothing shown, nothing there
        ([], [], Work()),
        # a right box is left alone
        ([shown("a", "stamp", WHERE)], [STAMP], Work()),
        # a loose box of at least one half is left alone as well: 70 of 130
        ([shown("a", "stamp", shifted(WHERE, 30))], [STAMP], Work()),
        # below one half it is drawn anew: 60 of 140
        ([shown("a", "stamp", shifted(WHERE, 40))], [STAMP], Work(moved=1)),
        # a wrong name is mended
        ([shown("a", "thumb", WHERE)], [STAMP], Work(relabelled=1)),
        # wrong in both is two actions
        ([shown("a", "thumb", shifted(WHERE, 40))], [STAMP], Work(relabelled=1, moved=1)),
        # a box on nothing is deleted
        ([shown("a", "stamp", ELSEWHERE)], [], Work(deleted=1)),
        # a mark without a box is added
        ([], [STAMP], Work(added=1)),
        # a box that only touches the mark is on nothing: 5 of 195
        ([shown("a", "stamp", shifted(WHERE, 95))], [STAMP], Work(deleted=1, added=1)),
        # the second box on one mark is deleted
        ([shown("a", "stamp", WHERE), shown("b", "stamp", shifted(WHERE, 10))], [STAMP], Work(deleted=1)),
        # of two boxes the one with the right name is kept, though the other lies better
        ([shown("a", "thumb", WHERE), shown("b", "stamp", shifted(WHERE, 20))], [STAMP], Work(deleted=1)),
        # a signature on a stamp: each mark keeps its own box
        (
            [shown("a", "signature", shifted(WHERE, 5)), shown("b", "stamp", WHERE)],
            [STAMP, true("signature", WHERE)],
            Work(),
        ),
        # one box cannot serve two marks
        ([shown("a", "stamp", WHERE)], [STAMP, true("signature", WHERE)], Work(added=1)),
    ],
)
def test_each_action_is_counted_once(boxes: list[Region], marks: list[TrueMark], work: Work) -> None:
    assert correct(boxes, marks, name="new").work == work


PAGE = [
    shown("kept", "stamp", WHERE),
    shown("false", "signature", (600.0, 50.0, 700.0, 90.0)),
    shown("false too", "stamp", (600.0, 150.0, 700.0, 190.0)),
    shown("misnamed", "signature", ELSEWHERE),
    shown("loose", "thumb", (100.0, 700.0, 140.0, 760.0)),
    shown("twice", "stamp", (105.0, 105.0, 180.0, 180.0)),
]
TRUTH = [
    STAMP,
    true("stamp", ELSEWHERE),
    true("thumb", (100.0, 700.0, 180.0, 780.0)),
    true("signature", (300.0, 800.0, 420.0, 840.0)),
    true("signature", (500.0, 800.0, 620.0, 840.0)),
]


def test_a_page_made_by_hand_is_left_true_and_its_actions_add_up() -> None:
    left = correct(PAGE, TRUTH, name="new")
    assert left.work == Work(deleted=3, relabelled=1, moved=1, added=2)
    assert left.work.all == 7
    assert [(one.label, one.box) for one in left.regions] == [(mark.label, mark.box) for mark in TRUTH]
    assert [one.id for one in left.regions] == ["kept", "misnamed", "loose", "new-3", "new-4"]


def test_the_order_of_the_boxes_changes_nothing() -> None:
    assert correct(PAGE[::-1], TRUTH, name="new") == correct(PAGE, TRUTH, name="new")


def test_the_ledger_reads_the_same_corrections_out_of_what_was_left() -> None:
    left = correct(PAGE, TRUTH, name="new")
    outcomes = Counter(row.outcome for row in match(PAGE, left.regions))
    assert outcomes[Outcome.REJECTED] + outcomes[Outcome.DUPLICATE] == left.work.deleted
    assert outcomes[Outcome.RELABELLED] == left.work.relabelled
    assert outcomes[Outcome.MOVED] == left.work.moved
    assert outcomes[Outcome.MISSED] == left.work.added
    assert outcomes[Outcome.ACCEPTED] == 1


def test_work_of_several_pages_is_the_sum_of_each_kind() -> None:
    one, other = Work(deleted=1, relabelled=2), Work(relabelled=3, moved=4, added=5)
    assert one + other == Work(deleted=1, relabelled=5, moved=4, added=5)
    assert KINDS == ("deleted", "relabelled", "moved", "added")


def test_the_webhook_says_what_was_left_to_the_pixel() -> None:
    left = correct(PAGE, TRUTH, name="new")
    task = {"id": 7, "project": 1, "data": {"image": "/data/local-files/?d=a.jpg", "document": "a"}}
    payload = saved(
        left.regions, task=task, size=SIZE, config=label_config(paged=False), moment="2027-01-15T09:00:00+00:00"
    )
    [state] = read_event(payload).saved
    assert (state.id, state.task, state.document, state.skipped, state.began_with_boxes) == (7, 7, "a", False, True)
    read = state.regions({0: SIZE})
    assert [(one.id, one.label) for one in read] == [(one.id, one.label) for one in left.regions]
    for one, other in zip(read, left.regions, strict=True):
        assert one.box == pytest.approx(other.box)
