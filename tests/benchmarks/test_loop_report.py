"""The table adds up, a missed aim is said with its number, and the plot is one SVG that holds every point."""

from __future__ import annotations

from typing import Any

import defusedxml.ElementTree
import pytest

from benchmarks.loop_report import Round, closing_lines, fall, pages_until, plot, table

SVG = "{http://www.w3.org/2000/svg}"


def measured(work: int, f1: float) -> dict[str, Any]:
    return {"pages": 10, "work": {"deleted": work, "relabelled": 0, "moved": 0, "added": 0}, "macro_f1": f1}


def one(arm: str, number: int, work: int, *, outcome: str = "promoted", reasons: tuple[str, ...] = ()) -> Round:
    kinds = {"deleted": work - 3, "relabelled": 1, "moved": 1, "added": 1}
    return Round(
        arm=arm,
        number=number,
        annotated={"pages": 10, "work": kinds},
        trained={"outcome": outcome, "reasons": list(reasons)},
        measured=measured(work // 2, 0.5 + 0.1 * number),
    )


BEFORE = measured(30, 0.5)


@pytest.mark.parametrize(
    ("first", "last", "share"),
    [
        (3.0, 1.0, pytest.approx(2 / 3)),
        # more than before is a negative fall, not none
        (1.0, 2.0, -1.0),
        # nothing to begin with
        (0.0, 0.0, None),
    ],
)
def test_how_far_a_figure_fell(first: float, last: float, share: float | None) -> None:
    assert fall(first, last) == share


def test_the_kinds_of_a_line_add_up_to_all() -> None:
    text = table(1, [one("full", 1, 30), one("no retraining", 1, 40, outcome="not retrained")], BEFORE)
    lines = text.splitlines()
    assert lines[2].split()[0] == "before"
    for line, arm in zip(lines[3:], ("full", "no retraining"), strict=True):
        all_, *kinds, _, _ = [float(word) for word in line.removeprefix(arm).split()[:7]]
        assert all_ == pytest.approx(sum(kinds))


def test_a_refusal_is_printed_with_its_reasons() -> None:
    refused = one("full", 2, 30, outcome="refused", reasons=("signature lost 3 points", "ECE is worse"))
    _, _, line, *reasons = table(2, [one("full", 1, 30), refused], BEFORE).splitlines()
    assert line.endswith("refused")
    assert [reason.strip() for reason in reasons] == ["- signature lost 3 points", "- ECE is worse"]


@pytest.mark.parametrize(
    ("last", "told"),
    [
        (9, "70 %, reached"),
        # exactly two thirds count
        (10, "67 %, reached"),
        (15, "50 %, MISSED"),
        # it got worse
        (33, "-10 %, MISSED"),
    ],
)
def test_the_aim_is_reached_or_missed_by_its_number(last: int, told: str) -> None:
    rounds = [one("full", 1, 30), one("no retraining", 1, 30), one("full", 2, last), one("no retraining", 2, 29)]
    *arms, aim = closing_lines(rounds, BEFORE)
    assert [line.partition(":")[0] for line in arms] == ["full", "no retraining"]
    assert aim.endswith(told)
    assert "'full'" in aim


def test_the_plot_is_one_svg_with_a_line_for_each_arm_and_a_dot_for_each_figure() -> None:
    rounds = [one(arm, number, 30 - number) for arm in ("full", "<odd> & arm") for number in (1, 2)]
    root = defusedxml.ElementTree.fromstring(plot(rounds, BEFORE))
    assert len(root.findall(f"{SVG}path")) == 2 * 2
    # two rounds of corrections, and F1 before, after one and after two
    assert len(root.findall(f"{SVG}circle")) == 2 * 2 + 2 * 3


def test_an_order_is_told_by_the_pages_that_it_took_until_the_aim() -> None:
    rounds = [one(name, number, 30) for number in range(1, 5) for name in ("random", "select")][:-1]
    # Macro F1 is .6, .7, .8 and .9; select was stopped after the third round.
    assert pages_until("random", rounds, BEFORE) == 40
    assert pages_until("select", rounds, BEFORE) is None
    assert pages_until("select", rounds, measured(5, 0.9)) == 0
    told = list(closing_lines(rounds, BEFORE))
    assert told == [
        "random: corrected pages until F1 0.90: 40; 120 corrections of 40 pages",
        "select: corrected pages until F1 0.90: not reached with 30 (best 0.800); 90 corrections of 30 pages",
    ]


def test_orders_beside_the_loop_leave_its_aim_to_the_first_arm() -> None:
    rounds = [one(name, number, 40 - 10 * number) for number in (1, 2) for name in ("full", "select")]
    first, second, last = closing_lines(rounds, BEFORE)
    assert first.startswith("full: corrections a page 3.00")
    assert second.startswith("select: corrected pages until")
    assert last.startswith("aim, in the arm 'full'")
