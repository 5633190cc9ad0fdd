"""From events to samples: each correction becomes what the table says, in any order and any number of times."""

from __future__ import annotations

import random
import weakref
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, select

from backend.corrections.journal import Journal
from backend.corrections.remembering import Proposals, ShownPrediction
from backend.corrections.tables import annotation, sample
from backend.corrections.worker import Worker
from backend.labelstudio.annotations import Annotation
from backend.pages.page import Page
from tests.corrections import annotating
from tests.corrections.annotating import (
    HISTORY,
    SHIFTED_B,
    A,
    B,
    C,
    deleted,
    drawn,
    replay,
    samples,
    saved,
    send,
    show,
)


def test_each_correction_becomes_the_sample_that_the_table_says(
    engine: Engine, journal: Journal, worker: Worker
) -> None:
    show(engine)
    new = drawn("n", "thumb", (300.0, 10.0, 380.0, 90.0))
    send(
        journal, saved(1, task=7, at=950, result=[drawn("a", "signature", A), drawn("b", "signature", SHIFTED_B), new])
    )
    worker.work()
    assert samples(engine) == {
        "a": ("relabelled", "signature", "stamp"),
        "b": ("moved", "signature", None),
        "c": ("rejected", "none", "thumb"),
        "n": ("missed", "thumb", None),
    }


def test_a_sample_carries_its_history(engine: Engine, journal: Journal, worker: Worker) -> None:
    show(engine)
    send(journal, saved(1, task=7, at=950, result=[drawn("a", "stamp", A)], lead_time=12.5, completed_by=4))
    worker.work()
    with engine.connect() as connection:
        row = connection.execute(select(sample).where(sample.c.region == "a")).one()
    assert (row.id, row.annotation, row.task, row.project, row.page) == ("1-a", 1, 7, 1, 0)
    assert (row.version, row.annotator, row.lead_time, row.shown, row.annotated) == ("v1", 4, 12.5, 900.0, 950.0)
    assert (row.x1, row.y1, row.x2, row.y2) == pytest.approx(A)
    assert row.margin == [0, 0, 135, 135]
    assert worker.crops.get(row.crop).shape == (135, 135, 3)
    assert row.split in {"train", "validation", "gold"}


def test_an_update_replaces_and_a_deletion_retracts(engine: Engine, journal: Journal, worker: Worker) -> None:
    show(engine)
    send(journal, saved(1, task=7, at=950, result=[drawn("a", "stamp", A)]))
    worker.work()
    again = saved(1, task=7, at=960, created=950, result=[drawn("a", "thumb", A)], action="ANNOTATION_UPDATED")
    send(journal, again)
    worker.work()
    assert samples(engine)["a"] == ("relabelled", "thumb", "stamp")
    send(journal, deleted(1))
    worker.work()
    assert samples(engine) == {}


@pytest.mark.parametrize(
    ("fields", "regions"),
    [
        ({"was_cancelled": True}, set()),  # a skipped task says nothing
        ({"parent_prediction": None}, {"a", "b", "c"}),  # drawn from scratch: what it lacks is weak evidence
    ],
)
def test_what_an_annotation_says_depends_on_how_it_was_made(
    engine: Engine, journal: Journal, worker: Worker, fields: dict[str, Any], regions: set[str]
) -> None:
    show(engine)
    send(journal, saved(1, task=7, at=950, result=[], **fields))
    worker.work()
    assert set(samples(engine)) == regions
    with engine.connect() as connection:
        assert all(connection.execute(select(sample.c.weak)).scalars())


def test_a_rotated_box_counts_with_the_upright_box_around_it(engine: Engine, journal: Journal, worker: Worker) -> None:
    quarter = drawn("n", "stamp", (200.0, 100.0, 300.0, 140.0), rotation=90)
    send(journal, saved(1, task=7, at=950, result=[quarter]))
    worker.work()
    with engine.connect() as connection:
        row = connection.execute(select(sample)).one()
    assert (row.x1, row.y1, row.x2, row.y2) == pytest.approx((160.0, 100.0, 200.0, 200.0))


@pytest.mark.parametrize("view", [90, 180, 270])
def test_a_page_that_was_turned_on_the_screen_is_still_the_upright_page(
    engine: Engine, journal: Journal, worker: Worker, view: int
) -> None:
    """The editor turns the view (`image_rotation`), and keeps percents and size of the page that it did not turn."""
    send(journal, saved(1, task=7, at=950, result=[drawn("n", "stamp", B, image_rotation=view)]))
    worker.work()
    with engine.connect() as connection:
        row = connection.execute(select(sample)).one()
    assert (row.x1, row.y1, row.x2, row.y2) == pytest.approx(B)
    assert (row.page_width, row.page_height) == (annotating.WIDTH, annotating.HEIGHT)


def test_an_annotation_that_says_nothing_needs_no_pages(engine: Engine, journal: Journal, worker: Worker) -> None:
    payload = saved(1, task=7, at=950, result=[])
    payload["task"]["data"] = {}
    send(journal, payload)
    worker.work()
    with engine.connect() as connection:
        row = connection.execute(select(annotation)).one()
    assert (row.parked, row.turned) == (False, 950.0)


def test_a_label_outside_the_three_is_no_mark(engine: Engine, journal: Journal, worker: Worker) -> None:
    show(engine)
    kept = [drawn("b", "signature", B), drawn("c", "thumb", C, page=1)]
    send(journal, saved(1, task=7, at=950, result=[drawn("a", "logo", A), *kept]))
    worker.work()
    assert samples(engine)["a"] == ("rejected", "none", "stamp")


def test_annotators_who_contradict_each_other_are_both_quarantined(
    engine: Engine, journal: Journal, worker: Worker
) -> None:
    show(engine)
    send(
        journal,
        saved(1, task=7, at=950, result=[drawn("a", "stamp", A)], completed_by=1),
        saved(2, task=7, at=960, result=[drawn("a", "thumb", A)], completed_by=2),
    )
    worker.work()
    with engine.connect() as connection:
        reasons = dict(connection.execute(select(sample.c.id, sample.c.quarantine).where(sample.c.region == "a")).all())
    assert reasons == {"1-a": "annotation 2 calls it thumb", "2-a": "annotation 1 calls it stamp"}
    send(journal, deleted(2))
    worker.work()
    with engine.connect() as connection:
        assert set(connection.execute(select(sample.c.quarantine)).scalars()) == {None}


def test_an_empty_prediction_is_what_was_shown_too(engine: Engine, journal: Journal, worker: Worker) -> None:
    show(engine, version="v1", at=800)
    Proposals(engine, clock=lambda: 900.0).remember(ShownPrediction(task=7, project=1, version="v2", proposals=[]))
    send(journal, saved(1, task=7, at=950, result=[drawn("z", "stamp", A)]))
    worker.work()
    assert samples(engine) == {"z": ("missed", "stamp", None)}


def test_secrets_do_not_reach_the_journal(engine: Engine, journal: Journal) -> None:
    send(journal, saved(1, task=7, at=950, result=[]))
    with engine.connect() as connection:
        stored = str(connection.exec_driver_sql("SELECT body FROM event").all())
    assert "secret-token" not in stored


def test_a_region_of_an_id_that_is_no_editors_is_a_mark_like_others(
    engine: Engine, journal: Journal, worker: Worker
) -> None:
    long = drawn("x" * 65, "stamp", A)
    send(journal, saved(1, task=7, at=950, result=[long, drawn("y" * 64, "stamp", B)]))
    worker.work()
    assert set(samples(engine)) == {"#0", "y" * 64}


@pytest.mark.parametrize(
    ("created", "fields", "regions"),
    [
        (880.0, {}, {"a", "b", "c"}),  # shown at 900 by a clock that is ahead of Label Studio's
        (880.0, {"parent_prediction": None}, set()),  # drawn from scratch: it may well have been before
        (900.0 - 4000.0, {}, set()),  # made of what another backend had predicted, an hour and more before
    ],
)
def test_clocks_that_differ_lose_no_rejection(
    engine: Engine, journal: Journal, worker: Worker, *, created: float, fields: dict[str, Any], regions: set[str]
) -> None:
    show(engine, version="v1", at=900)
    show(engine, version="v2", at=940)
    send(journal, saved(1, task=7, at=950, created=created, result=[], **fields))
    worker.work()
    assert set(samples(engine)) == regions
    with engine.connect() as connection:
        assert set(connection.execute(select(sample.c.version)).scalars()) == ({"v1"} if regions else set())


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32), repeats=st.integers(0, 8), chunk=st.integers(1, 9))
def test_any_order_and_any_repetition_give_one_and_the_same_set(
    tmp_path_factory: pytest.TempPathFactory, in_order: list[dict[str, Any]], seed: int, repeats: int, chunk: int
) -> None:
    mixed = random.Random(seed)  # noqa: S311
    payloads = HISTORY + mixed.choices(HISTORY, k=repeats)
    mixed.shuffle(payloads)
    assert replay(tmp_path_factory.mktemp("replay"), payloads, chunk=chunk) == in_order


class Scans:
    """Pages of 18 MB each; it knows how many of them are in memory.

    Attributes:
        most: How many there were at once.
        edition: A number that its files bear; another one is of other files.
    """

    def __init__(self) -> None:
        self.most = self._now = self.edition = 0

    def __call__(self, one: Annotation, index: int) -> Page:
        pixels = np.full((3000, 2000, 3), 250 - index, np.uint8)
        self._now += 1
        self.most = max(self.most, self._now)
        weakref.finalize(pixels, self._gone)
        return Page(pixels=pixels, reference=f"page {index}", digest=f"{index} {self.edition}")

    def _gone(self) -> None:
        self._now -= 1


def test_of_an_annotation_on_many_pages_those_in_memory_have_a_bound(
    engine: Engine, journal: Journal, worker: Worker
) -> None:
    """A hundred pages with initials took gigabytes, and whatever ended the server for that began anew with it."""
    scans = Scans()
    result = [drawn(f"r{page}", "signature", A, page=page) for page in range(16)]
    send(journal, saved(1, task=7, at=950, result=[*result[8:], *result[:8]], pages=16))
    replace(worker, page_of=scans).work()
    assert set(samples(engine)) == {f"r{page}" for page in range(16)}
    assert scans.most <= 8


def test_a_page_that_is_replaced_while_its_marks_are_cut_out_is_looked_at_again(
    engine: Engine, journal: Journal, worker: Worker, clock: list[float]
) -> None:
    scans = Scans()

    def page_of(one: Annotation, index: int) -> Page:
        scans.edition += index == 15
        return scans(one, index)

    result = [drawn(f"r{page}", "signature", A, page=page) for page in range(16)]
    send(journal, saved(1, task=7, at=950, result=result, pages=16))
    replace(worker, page_of=page_of).work()
    assert not samples(engine)
    clock[0] += 60.0
    replace(worker, page_of=scans).work()
    assert len(samples(engine)) == 16
