"""The same page in two tasks: who deletes there what is confirmed here teaches nothing before a person has looked."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from sqlalchemy import Engine, select

from backend.corrections import disputes
from backend.corrections.crop_store import CropStore
from backend.corrections.journal import Journal
from backend.corrections.samples import MOST_REGIONS, teaches_hard
from backend.corrections.tables import annotation, sample
from backend.corrections.worker import Worker
from backend.labelstudio.annotations import Annotation
from backend.pages.page import Page
from tests.corrections import annotating
from tests.corrections.annotating import A, B, deleted, drawn, saved, send, show

TAKEN = {"origin": "prediction"}
BOTH = (drawn("a", "stamp", A, **TAKEN), drawn("b", "signature", B, **TAKEN))
WITHOUT = BOTH[1:]
BY_HAND = (drawn("a", "stamp", (14.0, 10.0, 114.0, 110.0), origin="prediction-changed"), BOTH[1])


class Ledger:
    """Tasks of which some are of one document, imported again."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self.engine = engine
        self.worker = Worker(
            engine=engine, journal=Journal(engine), crops=CropStore(str(folder)), page_of=annotating.page_of
        )

    def save(self, number: int, *left: dict[str, Any], pages: str = "same", at: float = 950.0, **more: Any) -> None:
        """Annotation n, of task n."""
        show(self.engine, task=number)
        event = saved(number, task=number, at=at, result=left, **more)
        event["task"]["data"] = {"pages": [f"/data/upload/1/{pages}p0"], "document": pages}
        send(self.worker.journal, event)
        self.worker.work()

    def quarantined(self) -> dict[str, str]:
        with self.engine.connect() as connection:
            wanted = select(sample.c.id, sample.c.quarantine).where(sample.c.quarantine.is_not(None))
            return {row.id: row.quarantine for row in connection.execute(wanted)}

    def hard(self) -> set[str]:
        with self.engine.connect() as connection:
            return set(connection.execute(select(sample.c.id).where(teaches_hard())).scalars())


@pytest.fixture
def ledger(engine: Engine, tmp_path: Path) -> Ledger:
    return Ledger(engine, tmp_path)


@pytest.mark.parametrize("first", [1, 2])
def test_who_deletes_on_a_copy_what_somebody_corrected_here_waits_for_a_person(ledger: Ledger, first: int) -> None:
    for number in (first, 3 - first):
        ledger.save(number, *(BY_HAND if number == 1 else WITHOUT), drawn("n", "stamp", (300.0, 10.0, 380.0, 90.0)))
    # A box that was shifted a little and kept is strong only where it was drawn.
    assert ledger.quarantined() == {
        "1-a": "annotation 2 of task 2, which has a copy of the page, calls it none",
    }
    assert ledger.hard() == {"2-a"}


def drawn_anew(number: int) -> dict[str, Any]:
    """A stamp that somebody drew where nothing was shown: strong evidence."""
    return drawn(f"n{number}", "stamp", (10.0, 200.0, 110.0, 280.0), origin="manual")


def test_strong_evidence_on_both_sides_leaves_both_open(ledger: Ledger) -> None:
    ledger.save(1, *BOTH, drawn_anew(1))
    ledger.save(2, *BOTH, drawn("n2", "thumb", (10.0, 200.0, 110.0, 280.0), origin="manual"))
    assert ledger.quarantined() == {
        "1-n1": "annotation 2 of task 2, which has a copy of the page, calls it thumb",
        "2-n2": "annotation 1 of task 1, which has a copy of the page, calls it stamp",
    }
    ledger.save(3, *BOTH, drawn_anew(3))
    assert set(ledger.quarantined()) == {"2-n2"}
    send(ledger.worker.journal, deleted(2))
    ledger.worker.work()
    assert ledger.quarantined() == {}


def test_two_who_left_a_box_weigh_as_much_as_one_who_deleted_it(ledger: Ledger) -> None:
    ledger.save(1, *WITHOUT)
    ledger.save(2, *BOTH)
    assert ledger.hard() == {"1-a"}
    assert set(ledger.quarantined()) == {"2-a"}
    ledger.save(3, *BOTH)
    assert ledger.hard() == set()
    assert set(ledger.quarantined()) == {"1-a", "2-a", "3-a"}
    ledger.save(4, *WITHOUT)
    assert ledger.hard() == {"1-a", "4-a"}


def test_what_somebody_does_on_another_page_of_the_task_settles_nothing(ledger: Ledger) -> None:
    pages = {"pages": ["/data/upload/1/samep0", "/data/upload/1/otherp1"], "document": "same"}
    for number, task, label, page in ((1, 1, "stamp", 0), (2, 2, "thumb", 0), (3, 1, "stamp", 1)):
        by_hand = drawn(f"n{number}", label, A, page=page, origin="manual")
        event = saved(number, task=task, at=950, result=[by_hand], parent_prediction=None)
        event["task"]["data"] = pages
        send(ledger.worker.journal, event)
        ledger.worker.work()
    assert set(ledger.quarantined()) == {"1-n1", "2-n2"}


def test_other_pages_contradict_nobody(ledger: Ledger) -> None:
    ledger.save(1, *WITHOUT, pages="one")
    ledger.save(2, *BOTH, pages="two")
    ledger.save(3, *BOTH, pages="three")
    assert ledger.quarantined() == {}


def test_a_form_that_many_tasks_have_is_no_copy(ledger: Ledger) -> None:
    ledger.save(20, *WITHOUT)
    for number in range(1, 10):
        ledger.save(number, *BOTH)
        assert ledger.hard() == ({"20-a"} if number in (1, 9) else set()), "two of them weigh as much, nine are a form"
    assert ledger.quarantined() == {}
    ledger.save(21, *WITHOUT)
    assert ledger.hard() == {"20-a", "21-a"}


def test_a_document_whose_pages_were_imported_one_by_one_as_well_is_weighed_page_by_page(ledger: Ledger) -> None:
    pages = [f"page{number}" for number in range(12)]
    regions = [drawn(f"r{number}", "stamp", A, page=number, origin="manual") for number in range(12)]
    event = saved(50, task=50, at=950, result=regions)
    event["task"]["data"] = {"pages": [f"/data/upload/1/{page}p0" for page in pages], "document": "whole"}
    send(ledger.worker.journal, event)
    for number, page in enumerate(pages):
        ledger.save(number + 1, drawn("z", "thumb", A, origin="manual"), pages=page)
    assert set(ledger.quarantined()) == {*(f"50-r{number}" for number in range(12)), *(f"{n}-z" for n in range(1, 13))}


def test_all_of_a_crowd_that_contradicts_another_waits(ledger: Ledger) -> None:
    """More boxes than are compared at once."""
    for number, name in ((1, "stamp"), (2, "signature")):
        crowd = [drawn(f"n{place}", name, (300.0, 10.0, 380.0, 90.0)) for place in range(100)]
        alone = drawn("far", name, (100.0 * number, 150.0, 100.0 * number + 60.0, 190.0))
        event = saved(number, task=7, at=950.0, result=[*crowd, alone])
        send(ledger.worker.journal, event)
        ledger.worker.work()

    reasons = {"1-n": "annotation 2 calls it signature", "2-n": "annotation 1 calls it stamp"}
    found = ledger.quarantined()
    assert len(found) == 200
    assert all(reasons[name[:3]] == reason for name, reason in found.items())


def test_an_annotation_of_regions_without_end_is_parked(ledger: Ledger) -> None:
    """Each might be a crop as large as its page, or on another page, and all are compared with each other."""
    fetched: list[int] = []

    def page_of(one: Annotation, index: int) -> Page:
        fetched.append(index)
        return annotating.page_of(one, index)

    crowd = [drawn(f"n{place}", "stamp", (300.0, 10.0, 380.0, 90.0)) for place in range(MOST_REGIONS + 1)]
    send(ledger.worker.journal, saved(1, task=7, at=950.0, result=crowd))
    replace(ledger.worker, page_of=page_of).work()

    with ledger.engine.connect() as connection:
        row = connection.execute(select(annotation)).one()
        made = connection.execute(select(sample)).all()
    assert not fetched
    assert row.parked
    assert row.reason == "annotation 1 has 1001 regions, more than 1000"
    assert not made


def test_what_many_regions_cost_grows_with_their_number_and_not_with_its_square(ledger: Ledger) -> None:
    """Four annotations of 900 regions held the ledger for 22 seconds, each time one of them was saved."""
    some = [drawn(f"r{n}", "stamp", (6.0 * n, 10.0, 6.0 * n + 5, 20.0), origin="manual") for n in range(60)]
    ledger.save(1, *some)
    other = saved(2, task=1, at=960, result=[{**one, "id": f"o{one['id']}"} for one in some])
    other["task"]["data"] = {"pages": ["/data/upload/1/samep0"], "document": "same"}
    send(ledger.worker.journal, other)
    lines = 0

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal lines
        if frame.f_code.co_filename != disputes.__file__:
            return None
        lines += event == "line"
        return trace

    sys.settrace(trace)
    try:
        ledger.worker.work()
    finally:
        sys.settrace(None)
    assert lines < 40 * 2 * len(some)
