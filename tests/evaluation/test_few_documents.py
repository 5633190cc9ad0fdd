"""Where gold documents are too few to tell, the gate says so, how many would about tell, and what to do."""

from __future__ import annotations

import json
from collections.abc import Collection

import pytest

from backend.evaluation.bootstrap import Estimate
from backend.evaluation.gate import judge
from backend.evaluation.study import FoundMarks
from backend.evaluation.trial import MORE_GOLD, reasons_of
from backend.evaluation.verdict import Check, Verdict, documents_to_tell
from tests.evaluation.pages import Box, found, known, run, truth

PLACES: dict[str, Box] = {
    "signature": (100.0, 100.0, 300.0, 200.0),
    "stamp": (400.0, 400.0, 600.0, 600.0),
    "thumb": (700.0, 800.0, 800.0, 950.0),
}
NOWHERE: Box = (5.0, 5.0, 60.0, 60.0)
Lost = Collection[tuple[int, str]]
"""Marks that are not found: the document's number, and the class."""


def every(name: str, documents: int) -> Lost:
    return {(number, name) for number in range(documents)}


def verdict(
    documents: int,
    before: Lost,
    after: Lost,
    *,
    classes: Collection[str] = tuple(PLACES),
    false: int = 0,
    score: float = 0.9,
) -> Verdict:
    """Of documents with one mark of each class; the challenger boxes nothing that is there on some of them."""
    gold = truth(*(known(*((name, PLACES[name]) for name in classes), document=f"d{n}") for n in range(documents)))

    def shown(number: int, lost: Lost, boxes: int, score: float) -> FoundMarks:
        seen = [(name, PLACES[name], score) for name in classes if (number, name) not in lost]
        return found(*seen, *([("stamp", NOWHERE, score)] if number < boxes else []))

    champion = run("old", gold, [shown(number, before, 0, 0.9) for number in range(documents)])
    challenger = run("new", gold, [shown(number, after, false, score) for number in range(documents)])
    return judge(champion, challenger, trained_on=(), hard=(), attempts=1)


def check(one: Verdict, name: str) -> Check:
    [found] = [check for check in one.checks if check.name == name]
    return found


def failed(one: Verdict) -> set[str]:
    return {check.name for check in one.checks if not check.passed}


@pytest.mark.parametrize(
    ("figure", "bound", "documents", "needed"),
    [
        # The interval is on one side.
        (Estimate(0.04, 0.02, 0.06), 0.0, 40, None),
        # It reaches twice as far as it should: four times as many.
        (Estimate(0.02, -0.02, 0.06), 0.0, 40, 160),
        # It is about the end that is beyond the bound.
        (Estimate(-0.02, -0.08, 0.03), 0.0, 40, 250),
        # A difference of less than one point is taken for one.
        (Estimate(0.0, -0.03, 0.03), 0.0, 40, 360),
        # Never fewer than give an interval that can be believed.
        (Estimate(0.02, -0.001, 0.04), 0.0, 3, 20),
        (Estimate(0.02), 0.0, 1, 20),
        # The same on every document: no number of them would show a difference.
        (Estimate(0.0, 0.0, 0.0), 0.0, 40, None),
    ],
)
def test_an_interval_tells_how_many_documents_would_do(
    figure: Estimate, bound: float, documents: int, needed: int | None
) -> None:
    assert documents_to_tell(figure, bound, documents) == needed


MIXED = ({(0, "stamp"), (1, "signature")}, {(2, "stamp")})
"""Of twelve documents, two are better and one is worse: some points are gained, which may as well be chance."""


def test_a_gain_on_few_documents_is_not_known_and_that_is_said_first() -> None:
    one = verdict(12, *MIXED)
    assert failed(one) >= {"macro F1 lower bound"}
    assert one.undecided
    assert one.needs is not None
    told = reasons_of(one, MORE_GOLD)
    assert told[0].startswith("not shown to be better, and not shown to be worse: the gold set has 12 documents, and ")
    assert told[0].endswith(f"0 would be needed to tell: {MORE_GOLD}")
    assert told[1].endswith("its lower end has to be above -0.5; 12 gold documents cannot tell more")
    said = str(one).splitlines()
    assert "12 documents (fewer than 20: intervals are too narrow), 12 pages" in said[1]
    assert told[0].startswith(said[-1])
    stored = json.loads(json.dumps(one.as_json(), allow_nan=False))
    assert (stored["undecided"], stored["needs"]) == (True, one.needs)


def test_as_many_documents_as_were_named_tell_it() -> None:
    """With the same share of them better, and the same share worse."""
    needs = check(verdict(12, *MIXED), "macro F1 lower bound").needs
    assert needs is not None
    times = needs // 12 + 1
    before, after = ({(12 * turn + number, name) for turn in range(times) for number, name in lost} for lost in MIXED)
    assert check(verdict(12 * times, before, after), "macro F1 lower bound").passed


def test_a_model_that_is_surely_worse_does_not_want_documents() -> None:
    one = verdict(30, (), every("stamp", 30))
    assert {"macro F1 gain", "stamp recall"} <= failed(one)
    assert not one.undecided
    assert (check(one, "stamp recall").needs, one.needs, one.want) == (None, None, "")
    assert reasons_of(one, MORE_GOLD) == one.reasons


def test_what_is_surely_worse_is_said_before_what_cannot_be_told() -> None:
    """Eighteen false boxes on thirty pages are no chance; one signature lost of thirty may be one."""
    one = verdict(30, (), {(0, "signature")}, false=18)
    assert check(one, "false boxes").needs is None
    assert check(one, "signature recall").needs == 50
    assert not one.undecided
    told = reasons_of(one, MORE_GOLD)
    assert told[:-1] == one.reasons
    assert told[-1].startswith("the gold set has 30 documents, and about ")
    assert told[-1].endswith(f" would be needed to tell all: {MORE_GOLD}")


@pytest.mark.parametrize(("documents", "needs"), [(12, 50), (30, 50), (49, 50)])
def test_one_lost_mark_of_few_is_called_that(documents: int, needs: int) -> None:
    one = verdict(documents, every("stamp", documents), {(3, "thumb")})
    recall = check(one, "thumb recall")
    assert not recall.passed
    assert recall.sentence.endswith(
        f"on {documents} marks: one lost mark, which is too much where there are fewer than 50"
    )
    assert recall.needs == needs
    assert one.undecided


def test_the_only_mark_of_a_class_is_not_lost_for_sure() -> None:
    """No sample of documents has it found: its interval knows no chance."""
    pages = [known(*PLACES.items(), document="d0")]
    pages += [known(("stamp", PLACES["stamp"]), document=f"d{number}") for number in range(1, 30)]
    whole, stamp = (found(*((name, PLACES[name], 0.9) for name in names)) for names in (PLACES, ["stamp"]))
    champion, challenger = (
        run(str(number), truth(*pages), [first, *[stamp] * 29]) for number, first in enumerate((whole, stamp))
    )
    recall = check(judge(champion, challenger, trained_on=(), hard=(), attempts=1), "signature recall")
    assert "on 1 mark: one lost mark" in recall.sentence
    assert recall.needs == 1500


def test_a_class_on_no_gold_page_is_a_want_of_documents() -> None:
    one = verdict(30, every("stamp", 30), (), classes=("stamp", "thumb"))
    assert failed(one) == {"signature recall"}
    assert "no gold page has a signature" in check(one, "signature recall").sentence
    assert one.undecided


def test_a_false_box_on_one_of_four_pages_is_chance() -> None:
    one = verdict(4, every("thumb", 4), (), false=1)
    boxes = check(one, "false boxes")
    assert boxes.sentence == "false boxes a page 0.00 → 0.25, more than 0.2 more"
    assert boxes.needs is not None
    assert one.undecided


def test_calibration_is_a_want_of_documents_where_they_differ_and_none_where_they_agree() -> None:
    doubtful = check(verdict(12, every("thumb", 12), (), false=6, score=0.99), "calibration")
    assert not doubtful.passed
    assert doubtful.needs is not None
    unsure = check(verdict(8, every("thumb", 8), (), score=0.6), "calibration")
    assert unsure.sentence.endswith("0.100 → 0.400, more than 0.02 worse, on 24 boxes")
    assert unsure.needs is None


@pytest.mark.parametrize(("documents", "needs"), [(4, 20), (40, None)])
def test_a_model_that_shows_no_box_on_few_documents_may_show_some_on_more(documents: int, needs: int | None) -> None:
    lost = {(number, name) for number in range(documents) for name in PLACES}
    assert check(verdict(documents, lost, ()), "calibration").needs == needs


def test_one_document_tells_nothing_of_others() -> None:
    one = verdict(1, every("stamp", 1), ())
    assert "one document alone gives no interval; 1 gold document cannot tell more" in one.reasons
    assert one.undecided
    assert "the gold set has 1 document, and about 20 would be needed" in one.want


@pytest.mark.parametrize(
    ("documents", "told"),
    [
        (20, "about 20"),
        (21, "about 30"),
        (96, "about 100"),
        (104, "about 110"),
        (1233, "about 1,300"),
        (3000, "more than 2,000"),
    ],
)
def test_a_number_is_no_more_exact_than_it_is_known(documents: int, told: str) -> None:
    lack = Check(name="gain", figure=0.0, bound=0.0, passed=False, sentence="", needs=documents)
    counts = {"documents": 12, "pages": 12, "marks": 1, "attempts": 1}
    one = Verdict(promoted=False, champion="a", challenger="b", gold="", checks=(lack,), **counts)
    assert f"and {told} would be needed to tell" in one.want
