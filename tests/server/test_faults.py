"""What is broken, what waits for a person, and the remedy of each."""

from __future__ import annotations

import pytest

from backend.corrections.counts import LedgerCounts
from backend.corrections.unsettled import Parked, Unread
from backend.server.faults import faults

READY = {"model_state": "ready", "model_version": "v1"}
LOST_PAGE = Parked(kind="annotation", id=5, reason="no page", task=7, project=3)


@pytest.mark.parametrize(
    ("facts", "model", "training", "refused", "words"),
    [
        (LedgerCounts(), READY, None, 0, []),
        (LedgerCounts(), READY | {"model_state": "failed", "model_error": "torn"}, None, 0, ["No model serves: torn"]),
        (LedgerCounts(), READY | {"model_error": "torn"}, None, 0, ["could not take the serving one’s place"]),
        (LedgerCounts(), READY, None, 3, ["3 webhooks"]),
        (LedgerCounts(oldest_open=1200.0), READY, None, 0, ["waited for 20 minutes"]),
        (LedgerCounts(oldest_open=500.0), READY, None, 0, []),  # a worker needs its time
        (
            LedgerCounts(parked=(Parked(kind="event", id=1, reason="no config"),)),
            READY,
            None,
            0,
            ["1 correction waits for a person, such as event 1: no config"],
        ),
        (
            LedgerCounts(parked=(LOST_PAGE,), annotations={"parked": 2}),
            READY,
            None,
            0,
            ["2 corrections wait for a person, such as project 3, task 7, annotation 5: no page"],
        ),
        (LedgerCounts(quarantined=2), READY, None, 0, ["2 training examples are in dispute"]),
        (
            LedgerCounts(),
            READY,
            {"running": False, "unable": "no torch", "due": "9 new hard examples"},
            0,
            ["A training is due (9 new hard examples), and this process cannot start it."],
        ),
        (LedgerCounts(), READY, {"running": False, "unable": "no torch", "due": None}, 0, []),  # as in a fresh demo
        (LedgerCounts(), READY, {"running": False, "result": "failed", "reason": "disk"}, 0, ["failed: disk"]),
        (LedgerCounts(), READY, {"running": False, "result": "cut off"}, 0, ["The last training was cut off."]),
        (LedgerCounts(), READY, {"running": True, "result": "cut off"}, 0, []),
        (LedgerCounts(), READY, {"running": False, "result": "refused", "reason": "worse"}, 0, []),
    ],
)
def test_each_fault_comes_with_a_remedy(
    facts: LedgerCounts, model: dict, training: dict, refused: int, words: list
) -> None:
    found = list(faults(facts, model=model, training=training, refused=refused, remedy="in Label Studio, do this"))
    assert len(found) == len(words)
    for fault, word in zip(found, words, strict=True):
        assert word in fault.what
        assert fault.remedy


def test_red_is_what_is_broken_and_what_waits_for_a_person_is_not() -> None:
    facts = LedgerCounts(
        parked=(Parked(kind="event", id=1, reason="no config"),),
        quarantined=2,
        unread=1,
        oldest_open=1200.0,
    )
    training = {"running": False, "result": "cut off", "unable": "in DATA_DIR no torch", "due": "it was cut off"}
    found = list(
        faults(facts, model=READY, training=training, refused=3, remedy="give IT the header", troubles=["full"])
    )
    assert [one.broken for one in found] == [True, True, True, False, False, False, False, False]
    assert found[0].remedy == "Give IT the header."
    assert any("In DATA_DIR no torch." in one.remedy for one in found), "names of settings keep their letters"


def test_what_could_not_be_looked_at_and_what_the_storage_lacks_is_a_fault() -> None:
    facts = LedgerCounts(unread=3, unread_such=(Unread(task=7, project=1, reason="the file is cut short"),))
    found = list(faults(facts, model=READY, training=None, refused=0, remedy="", troubles=["the disk is full"]))
    assert [one.what for one in found] == [
        "Storage: the disk is full.",
        "3 tasks could not be looked at yet, such as project 1, task 7: the file is cut short",
    ]


def test_a_registry_that_cannot_be_read_is_a_fault() -> None:
    [found] = faults(LedgerCounts(), model=READY, training=None, refused=0, remedy="", registry="line 3: take it out")
    assert found.remedy == "line 3: take it out"
