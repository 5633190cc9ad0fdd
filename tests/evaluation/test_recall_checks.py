"""A class that loses recall is refused, but for a loss by chance where annotators have less work with it."""

from __future__ import annotations

import json

import pytest

from backend.evaluation.gate import judge
from backend.evaluation.study import FoundMarks
from tests.evaluation.pages import PLACES, failed, found, known, run, truth

DOCUMENTS = 40
GOLD = truth(*(known(*PLACES.items(), document=f"contract {number}") for number in range(DOCUMENTS)))


@pytest.mark.parametrize(("lost", "passes"), [(0, True), (1, False)])
def test_two_points_of_recall_may_go_and_no_more(lost: int, passes: bool) -> None:
    """Fifty signatures: one is two points."""
    gold = truth(*(known(*PLACES.items(), document=f"d{number}") for number in range(50)))

    def shown(missing: set[tuple[int, str]]) -> list[FoundMarks]:
        return [
            found(*((name, PLACES[name], 0.9) for name in PLACES if (number, name) not in missing))
            for number in range(50)
        ]

    champion = run("old", gold, shown({(number, "stamp") for number in range(10)}))
    challenger = run("new", gold, shown({(number, "signature") for number in range(1 + lost)}))
    one = judge(champion, challenger, trained_on=(), hard=(), attempts=1)
    assert ("signature recall" not in failed(one)) is passes


AWAY = (1000.0, 100.0, 1100.0, 160.0)
"""Where no mark is."""


@pytest.mark.parametrize(
    ("lost", "gained", "false", "passes", "told"),
    [
        (4, 2, (10, 0), True, "4 lost and 2 gained, which chance explains; the work, 2 for a missed mark and 1 for a"),
        (4, 2, (10, 10), False, "4 lost and 2 gained, which chance explains; the work"),  # more is missed for nothing
        (4, 2, (4, 0), False, "8 → 8"),  # as much work as before
        (9, 2, (40, 0), False, "9 lost and 2 gained, which chance does not explain"),
        (2, 0, (40, 0), True, "2 lost and 0 gained, which chance explains"),
    ],
)
def test_a_loss_by_chance_may_be_where_a_class_is_less_work(
    lost: int, gained: int, false: tuple[int, int], passes: bool, told: str
) -> None:
    """Each document has one signature of which the champion misses the first ones."""

    def shown(missed: range, false_boxes: int) -> list[FoundMarks]:
        return [
            found(
                *((name, place, 0.9) for name, place in PLACES.items() if name != "signature" or number not in missed),
                *([("signature", AWAY, 0.9)] if number < false_boxes else []),
            )
            for number in range(DOCUMENTS)
        ]

    champion = run("old", GOLD, shown(range(gained), false[0]))
    challenger = run("new", GOLD, shown(range(gained, gained + lost), false[1]))
    one = judge(champion, challenger, trained_on=(), hard=(), attempts=1)
    [recall] = (check for check in one.checks if check.name == "signature recall")
    assert recall.passed is passes
    assert told in recall.sentence


def test_a_class_that_no_gold_page_has_cannot_be_judged() -> None:
    gold = truth(*(known(("stamp", PLACES["stamp"]), document=f"d{number}") for number in range(4)))
    champion = run("old", gold, [found()] * 4)
    challenger = run("new", gold, [found(("stamp", PLACES["stamp"], 0.9))] * 4)
    one = judge(champion, challenger, trained_on=(), hard=(), attempts=1)
    assert {"signature recall", "thumb recall"} <= failed(one)
    assert any("no gold page has a thumb" in reason for reason in one.reasons)
    json.dumps(one.as_json(), allow_nan=False)
