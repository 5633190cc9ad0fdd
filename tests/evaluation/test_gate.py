"""A better model passes; a worse, a forgetful, a leaked and a merely lucky one are refused, and told why."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from backend.errors import EvaluationError
from backend.evaluation.bootstrap import mcnemar
from backend.evaluation.gate import judge
from backend.evaluation.study import FoundMarks, Run
from backend.evaluation.truth import TruePage
from backend.evaluation.verdict import Verdict
from tests.evaluation.pages import PLACES, failed, found, known, page_hash, run, truth

DOCUMENTS = 40
GOLD = truth(*(known(*PLACES.items(), document=f"contract {number}") for number in range(DOCUMENTS)))

Right = Callable[[int, str], bool]


def always(number: int, name: str) -> bool:
    return True


def model(version: str, right: Right, *, score: float = 0.9, milliseconds: float = 100.0) -> Run:
    """A model that boxes a mark where `right(document, class)`, and calls it by no other name."""

    def shown(number: int, page: TruePage) -> FoundMarks:
        return found(*((name, PLACES[name], score) for name in PLACES if right(number, name)))

    return run(version, GOLD, [shown(*one) for one in enumerate(GOLD.pages)], milliseconds)


def every(step: int) -> Right:
    """All but one in `step` documents, class by class shifted."""
    return lambda number, name: (number + len(name)) % step != 0


CHAMPION = model("champion", every(5))


def verdict(challenger: Run, *, trained_on: tuple[str, ...] | None = (), hard: tuple[bool, ...] = ()) -> Verdict:
    return judge(CHAMPION, challenger, trained_on=trained_on, hard=hard, attempts=1)


def test_a_better_model_passes() -> None:
    one = verdict(model("better", every(20)), trained_on=("another contract",), hard=(True,) * 9 + (False,))
    assert one.promoted
    assert one.reasons == ()
    assert failed(one) == set()
    assert str(one).startswith("better takes the place of champion\n")


def test_a_worse_model_is_refused() -> None:
    one = verdict(model("worse", every(3)))
    assert not one.promoted
    assert {"macro F1 gain", "macro F1 lower bound"} <= failed(one)
    assert any(re.search(r"macro F1 0\.8\d\d → 0\.\d+, -\d+\.\d points: no gain", reason) for reason in one.reasons)
    assert str(one).startswith("worse does not replace champion\n")


def test_a_model_that_forgets_one_class_is_refused_for_that_class() -> None:
    """It is much better on the others, so that few thumbs lost hardly show in the mean."""
    forgetful = model("forgetful", lambda number, name: name != "thumb" or (number % 5 != 0 and number % 20 != 1))
    one = verdict(forgetful)
    assert failed(one) == {"thumb recall"}
    assert re.search(r"recall of thumb 0\.800 → 0\.750, -5\.0 points", one.reasons[0])


def test_a_model_that_forgets_a_class_altogether_is_refused() -> None:
    one = verdict(model("forgetful", lambda _, name: name != "stamp"))
    assert "stamp recall" in failed(one)


def test_a_model_trained_on_gold_documents_is_refused_and_the_documents_are_named() -> None:
    leaked = (*(f"contract {number}" for number in (3, 7, 11, 13)), "another contract")
    one = verdict(model("leaked", always), trained_on=leaked)
    assert failed(one) == {"documents unseen"}
    assert one.reasons == ("it was trained on 4 of the 40 gold documents: contract 11, contract 13, contract 3, …",)


def test_a_model_of_which_nobody_knows_what_it_was_trained_on_is_refused() -> None:
    one = verdict(model("better", every(20)), trained_on=None)
    assert failed(one) == {"documents unseen"}
    assert "nobody says which documents it was trained on" in one.reasons[0]


def test_an_equal_but_noisy_model_is_refused_for_want_of_a_gain() -> None:
    """As many right as before, but others: the mean is the same."""
    noisy = model("noisy", lambda number, name: (number + len(name) + 2) % 5 != 0)
    one = verdict(noisy)
    assert not one.promoted
    assert "macro F1 gain" in failed(one)
    assert not any(check.name.endswith("recall") for check in one.checks if not check.passed)


def test_the_same_model_is_refused_for_want_of_a_gain() -> None:
    assert failed(verdict(model("same", every(5)))) == {"macro F1 gain"}


@pytest.mark.parametrize(
    ("milliseconds", "passes"),
    [
        # A fifth less is a reason to change.
        (80.0, True),
        # This may be the machine's mood.
        (81.0, False),
    ],
)
def test_as_good_and_much_faster_is_a_gain_as_well(milliseconds: float, passes: bool) -> None:
    one = verdict(model("faster", every(5), milliseconds=milliseconds))
    assert one.promoted is passes
    assert any("no gain, but much faster" in check.sentence for check in one.checks) is passes


def test_faster_does_not_buy_a_loss() -> None:
    one = verdict(model("worse", every(3), milliseconds=10.0))
    assert {"macro F1 gain", "macro F1 lower bound"} <= failed(one)


NOTHING = ("stamp", (5.0, 5.0, 60.0, 60.0), 0.6)


@pytest.mark.parametrize(
    ("pages", "passes"),
    [
        # One page in five.
        (8, True),
        # One more.
        (9, False),
    ],
)
def test_a_false_box_on_every_fifth_page_may_come_and_no_more(pages: int, passes: bool) -> None:
    """All marks are found now, so that the mean of the classes is better in spite of the boxes on nothing."""
    marks = [(name, PLACES[name], 0.9) for name in PLACES]
    shown = [found(*marks, *([NOTHING] if number < pages else [])) for number in range(DOCUMENTS)]
    one = verdict(run("eager", GOLD, shown))
    assert ("false boxes" not in failed(one)) is passes
    assert f"false boxes a page 0.00 → {pages / DOCUMENTS:.2f}" in str(one)


def test_a_box_on_what_does_not_count_is_no_false_box() -> None:
    ignored = NOTHING[1]
    gold = truth(*(known(*PLACES.items(), document=f"d{number}", ignored=[ignored]) for number in range(DOCUMENTS)))
    marks = [(name, PLACES[name], 0.9) for name in PLACES]
    champion = run("old", gold, [found(*marks[1:])] * DOCUMENTS)
    challenger = run("new", gold, [found(*marks, NOTHING)] * DOCUMENTS)
    one = judge(champion, challenger, trained_on=(), hard=(), attempts=1)
    assert "false boxes a page 0.00 → 0.00" in str(one)


def test_a_lucky_gain_is_refused_by_its_lower_bound() -> None:
    """Some marks more over many changes to and fro: a gain, but it might as well have been a loss."""
    rng = np.random.default_rng(8)
    flips = {(number, name): bool(rng.random() < 0.8) for number in range(DOCUMENTS) for name in PLACES}
    lucky = model("lucky", lambda number, name: flips[number, name])
    one = verdict(lucky)
    gain = next(check for check in one.checks if check.name == "macro F1 gain")
    assert gain.figure is not None
    assert 0 < gain.figure < 0.05
    assert "macro F1 gain" not in failed(one)
    assert "macro F1 lower bound" in failed(one)


def test_a_gain_counts_by_what_differs_and_not_by_what_is_hard_for_both() -> None:
    """Both miss every other mark of the same documents: by themselves neither F1 is known to ten points."""
    hard = {number for number in range(DOCUMENTS) if number % 2}
    champion = model("champion", lambda number, _name: number not in hard and number % 8 != 0)
    better = model("better", lambda number, _name: number not in hard)
    one = judge(champion, better, trained_on=(), hard=(), attempts=1)
    assert "macro F1 lower bound" not in failed(one)
    bound = next(check for check in one.checks if check.name == "macro F1 lower bound")
    assert bound.figure is not None
    assert bound.figure >= 0, "in no sample of documents is it worse"


@pytest.mark.parametrize(
    ("score", "passes"),
    [
        # Every shown box is right: the surer, the better calibrated.
        (0.95, True),
        (0.88, True),
        # More than .02 less honest than .90.
        (0.86, False),
    ],
)
def test_calibration_may_worsen_by_two_points(score: float, passes: bool) -> None:
    one = verdict(model("better", every(20), score=score))
    assert ("calibration" not in failed(one)) is passes


@pytest.mark.parametrize(
    ("hard", "passes"),
    [
        # There were none.
        ((), True),
        # Exactly nine in ten.
        ((True,) * 9 + (False,), True),
        # Fewer, which one classifier in four that has nine in ten right would have.
        ((True,) * 28 + (False,) * 5, True),
        ((True,) * 8 + (False,) * 2, True),
        # The same share of more examples is no chance any longer.
        ((True,) * 84 + (False,) * 16, False),
        # Nor are far fewer.
        ((True,) * 6 + (False,) * 4, False),
        ((False,) * 2, False),
    ],
)
def test_fewer_than_nine_in_ten_of_the_earlier_hard_examples_beyond_chance_refuse(
    hard: tuple[bool, ...], passes: bool
) -> None:
    one = verdict(model("better", every(20)), hard=hard)
    assert one.promoted is passes
    assert ("hard examples" not in failed(one)) is passes
    assert not hard or f"the classifier by itself has {sum(hard)} of {len(hard)} earlier hard examples" in str(one)


@pytest.mark.parametrize(("milliseconds", "passes"), [(60.0, True), (114.0, True), (120.0, False)])
def test_a_slower_model_is_refused(milliseconds: float, passes: bool) -> None:
    one = verdict(model("better", every(20), milliseconds=milliseconds))
    assert ("latency" not in failed(one)) is passes


def test_a_model_in_floating_point_is_raced_beside_floating_point() -> None:
    slower = model("better", every(20), milliseconds=150.0)
    assert "latency" in failed(verdict(slower))
    plain = replace(CHAMPION, milliseconds=np.full((len(CHAMPION.shown), 1), 145.0))
    one = judge(CHAMPION, slower, pace=(plain, slower), trained_on=(), hard=(), attempts=1)
    assert one.promoted
    assert "a page takes 1.03 times as long: 145 ms with the champion in floating point, as this one is" in str(one)


@pytest.mark.parametrize(
    ("slow", "races", "passes"),
    [
        # Four pages of five, or three of three: a busy machine does that.
        (4, 5, True),
        (3, 3, True),
        # The same share of more races is no chance any longer.
        (16, 20, False),
        (5, 5, False),
        # Less than half: the median does not see it.
        (9, 20, True),
    ],
)
def test_a_busy_machine_is_not_a_slower_model(slow: int, races: int, passes: bool) -> None:
    gold = truth(*(known(*PLACES.items(), document=f"d{number}") for number in range(races)))
    shown = [found(*((name, box, 0.9) for name, box in PLACES.items())) for _ in gold.pages]
    champion, even = run("champion", gold, shown), run("challenger", gold, shown)
    times = np.where(np.arange(races) < slow, 130.0, 100.0)[:, np.newaxis]
    one = judge(champion, replace(even, milliseconds=times), trained_on=(), hard=(), attempts=1)
    assert ("latency" not in failed(one)) is passes
    told = (
        f"in {slow} of {races} races more than 1.15 times, which chance {'explains' if passes else 'does not explain'}"
    )
    assert (told in str(one)) is (2 * slow > races)


def test_one_document_is_not_enough() -> None:
    gold = truth(known(*PLACES.items()))
    champion, challenger = run("old", gold, [found()]), run("new", gold, [found(("stamp", PLACES["stamp"], 0.9))])
    one = judge(champion, challenger, trained_on=(), hard=(), attempts=1)
    assert "macro F1 lower bound" in failed(one)


def test_runs_on_other_pages_are_not_compared() -> None:
    other = run("other", truth(*GOLD.pages, sha256="b" * 64), CHAMPION.shown)
    with pytest.raises(EvaluationError, match="not run on the same pages"):
        judge(CHAMPION, other, trained_on=(), hard=(), attempts=1)


def test_the_verdict_is_plain_json_and_a_table_with_every_check() -> None:
    one = judge(CHAMPION, model("better", every(20)), trained_on=(), hard=(), attempts=3)
    stored = json.loads(json.dumps(one.as_json(), allow_nan=False))
    assert (stored["promoted"], stored["attempts"], stored["marks"], stored["gold"]) == (True, 3, 120, "a" * 64)
    fields = {"name", "figure", "bound", "passed", "sentence", "needs"}
    assert [set(check) for check in stored["checks"]] == [fields] * 11
    assert (stored["undecided"], stored["needs"]) == (False, None)
    lines = str(one).splitlines()
    assert "attempt 3 on these or most of them" in lines[1]
    for check, line in zip(one.checks, lines[2:], strict=True):
        assert check.name in line
        assert check.sentence in line


def test_what_the_challenger_reaches_is_told_as_evaluate_tells_it() -> None:
    one = verdict(model("better", every(20)))
    found = one.end_to_end["0.5"]
    f1 = found["macro"]["f1"]
    assert f1["low"] < f1["value"] < f1["high"] < 1
    assert np.sum(found["confusion"]) == one.marks
    assert found["confusion"][0][0] + found["confusion"][0][3] == DOCUMENTS


def test_a_gold_page_that_was_trained_on_is_known_by_its_pixels_under_whatever_name() -> None:
    pages = [page_hash(number) for number in range(DOCUMENTS)]
    better = model("better", every(20))
    seen = {"another contract", pages[3]}
    one = judge(CHAMPION, better, trained_on=seen, pages=pages, hard=(), attempts=1)
    assert failed(one) == {"documents unseen"}
    assert one.reasons == (f"it was trained on 1 of the {DOCUMENTS} gold documents: contract 3",)
    assert judge(CHAMPION, better, trained_on={"another contract"}, pages=pages, hard=(), attempts=1).promoted


def test_mcnemar_is_reported() -> None:
    one = verdict(model("better", always))
    check = one.checks[-1]
    assert (check.name, check.bound) == ("McNemar", None)
    assert check.figure == mcnemar(0, 24)
    assert check.sentence == "of 120 marks it alone finds 24, the champion alone 0: p = 1.19e-07"


@pytest.mark.parametrize(
    ("first", "second", "p"),
    [
        # No difference at all.
        (0, 0, 1.0),
        # As many one way as the other.
        (4, 4, 1.0),
        # 2 · (1/2)^5 and 2 · (1 + 6) / 2^6.
        (0, 5, 0.0625),
        (5, 1, 0.21875),
        # scipy.stats.binomtest(6, 22) and binomtest(59, 180).
        (6, 16, 0.052478790283203125),
        (59, 121, 4.434449263755165e-06),
        # More than a float could count.
        (0, 2000, 0.0),
    ],
)
def test_mcnemar_against_known_values(first: int, second: int, p: float) -> None:
    assert mcnemar(first, second) == pytest.approx(p, rel=1e-9)
    assert mcnemar(second, first) == mcnemar(first, second)
