"""Pages of one size that were put in another order, or replaced: what was shown on one says nothing about another."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from flask import Flask
from PIL import Image
from sqlalchemy import Engine, select

from backend.corrections.counts import count
from backend.corrections.crop_store import CropStore
from backend.corrections.database import writing
from backend.corrections.imprints import Imprint, other_pages
from backend.corrections.journal import Journal
from backend.corrections.leases import forget, unpark
from backend.corrections.remembering import Proposals, ShownPrediction
from backend.corrections.tables import sample
from backend.corrections.worker import Worker
from backend.labelstudio.annotations import Annotation
from backend.labelstudio.protocol import without_secrets
from backend.pages.page import Page
from backend.pages.source import ENOUGH_DPI, from_path
from backend.server.status_pages import feedback_pages
from backend.settings import Settings
from tests.corrections.annotating import HEIGHT, WIDTH, A, B, C, drawn, saved, shown
from tests.corrections.conftest import opened_copy
from tests.patience import SECONDS

FIRST, SECOND, THIRD = "contract-1.png", "contract-2.png", "contract-3.png"
BOXES = (shown("a", "stamp", A), shown("b", "signature", B), shown("c", "thumb", C, page=1))
ON_FIRST = {"a": ("rejected", "none", "stamp"), "b": ("rejected", "none", "signature")}
ON_SECOND = {"c": ("rejected", "none", "thumb")}


def page(picture: int, *, file: str = "") -> Page:
    """A page of large grey fields; of one number, the same ones."""
    fields = np.random.default_rng(picture).integers(0, 256, (12, 8), np.uint8)
    grey = cv2.resize(fields, (WIDTH, HEIGHT), interpolation=cv2.INTER_NEAREST)
    pixels = np.repeat(grey[:, :, None], 3, axis=2)
    return Page(pixels=pixels, reference="page", digest=hashlib.sha256(file.encode()).hexdigest() if file else "")


BEFORE = {FIRST: page(1, file="one"), SECOND: page(2, file="two")}
EXCHANGED = {SECOND: BEFORE[SECOND], FIRST: BEFORE[FIRST]}
ALIKE = {FIRST: page(1, file="one"), SECOND: page(1, file="two")}
"""Two sheets of one form."""


@pytest.fixture
def engine(migrated_file: Path, tmp_path: Path) -> Iterator[Engine]:
    yield from opened_copy(migrated_file, tmp_path)


def show(
    engine: Engine, files: Mapping[str, Page], *, noted: bool = True, version: str = "v1", at: float = 900.0
) -> None:
    pages = {index: Imprint.of(one) for index, one in enumerate(files.values())} if noted else {}
    made = ShownPrediction(task=7, project=1, version=version, proposals=BOXES, pages=pages)
    Proposals(engine, clock=lambda: at).remember(made)


def worker(engine: Engine, folder: Path, files: Mapping[str, Page]) -> Worker:
    """One that finds these files under the names of a task's pages."""

    def page_of(annotation: Annotation, index: int) -> Page:
        return files[annotation.references[index]]

    return Worker(engine=engine, journal=Journal(engine), crops=CropStore(str(folder)), page_of=page_of)


def outcomes(engine: Engine, folder: Path, files: Mapping[str, Page], result: list[dict[str, Any]]) -> dict[str, Any]:
    """What the samples are after somebody left `result` on a task whose pages are these, in their order."""
    event = saved(1, task=7, at=950, result=result)
    event["task"]["data"] = {"pages": list(files)}
    Journal(engine).append(event["action"], project=1, body=without_secrets(event))
    worker(engine, folder, files).work()
    with engine.connect() as connection:
        return {row.region: (row.outcome, row.label, row.wrong) for row in connection.execute(select(sample))}


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        (BEFORE, BEFORE, ON_FIRST | ON_SECOND),
        # put in another order, and moved on by a page between them
        (BEFORE, EXCHANGED, {}),
        (BEFORE, {FIRST: BEFORE[FIRST], THIRD: page(3, file="three"), SECOND: BEFORE[SECOND]}, ON_FIRST),
        # two sheets of one form, which nobody can tell apart by their look
        (ALIKE, {SECOND: ALIKE[SECOND], FIRST: ALIKE[FIRST]}, {}),
        # another scan under the same name
        (BEFORE, BEFORE | {SECOND: page(5, file="five")}, ON_FIRST),
        # the same pictures, written anew
        (BEFORE, {FIRST: page(1, file="one, smaller"), SECOND: page(2)}, ON_FIRST | ON_SECOND),
        # moved to another folder
        (BEFORE, {"s3://bucket/1": BEFORE[FIRST], "s3://bucket/2": BEFORE[SECOND]}, ON_FIRST | ON_SECOND),
    ],
)
def test_only_what_was_shown_on_the_very_page_can_be_deleted_from_it(
    engine: Engine, tmp_path: Path, before: Mapping[str, Page], now: Mapping[str, Page], expected: dict[str, Any]
) -> None:
    show(engine, before)
    assert outcomes(engine, tmp_path, now, []) == expected


def test_what_is_left_or_drawn_on_another_page_teaches_nothing_either(engine: Engine, tmp_path: Path) -> None:
    """It may have been left before the pages were exchanged: then its crop would show something else."""
    show(engine, BEFORE)
    taken = drawn("a", "stamp", A, origin="prediction")
    result = [taken, drawn("x", "signature", C, origin="manual"), drawn("c", "thumb", C, page=1, origin="prediction")]
    now = BEFORE | {FIRST: page(5, file="five")}
    assert outcomes(engine, tmp_path, now, result) == {"c": ("accepted", "thumb", None)}


def test_a_task_that_was_predicted_anew_is_compared_with_its_new_pages(engine: Engine, tmp_path: Path) -> None:
    show(engine, BEFORE)
    show(engine, EXCHANGED, at=920.0)
    assert outcomes(engine, tmp_path, EXCHANGED, []) == ON_FIRST | ON_SECOND


def test_of_pages_that_nobody_took_note_of_the_place_is_all_that_is_known(engine: Engine, tmp_path: Path) -> None:
    """Such as a ledger of an earlier program."""
    show(engine, BEFORE, noted=False)
    assert outcomes(engine, tmp_path, EXCHANGED, []) == ON_FIRST | ON_SECOND


def test_a_page_is_known_again_at_any_size_that_it_is_decoded_at(tmp_path: Path) -> None:
    paper = Image.fromarray(cv2.GaussianBlur(page(4).pixels, (0, 0), 3)).resize((1240, 1754))
    paper.save(tmp_path / "page.jpg", dpi=(300, 300))
    paper.save(tmp_path / "page.png", dpi=(300, 300))
    patient = Settings(fetch_timeout=SECONDS)
    seen = next(from_path(tmp_path / "page.jpg", patient, enough=ENOUGH_DPI))
    whole = next(from_path(tmp_path / "page.jpg", patient))
    written_anew = next(from_path(tmp_path / "page.png", patient))
    assert seen.pixels.shape != whole.pixels.shape
    assert seen.digest == whole.digest != written_anew.digest
    assert not other_pages({0: Imprint.of(seen)}, {0: whole})
    assert not other_pages({0: replace(Imprint.of(seen), file="")}, {0: whole})
    assert not other_pages({0: Imprint.of(seen)}, {0: written_anew})
    assert other_pages({0: Imprint.of(seen)}, {0: page(5)}) == {0}


def test_a_person_is_told_of_exchanged_pages_and_the_right_ones_are_learnt_from_once_they_are_back(
    engine: Engine, tmp_path: Path
) -> None:
    show(engine, BEFORE)
    assert outcomes(engine, tmp_path, {FIRST: BEFORE[FIRST], SECOND: page(5, file="five")}, []) == ON_FIRST
    [told] = count(engine).exchanged_such
    assert (told.project, told.task, told.annotation, told.pages) == (1, 7, 1, (2,))
    app = Flask(__name__)
    app.register_blueprint(feedback_pages(engine, state=lambda: {"model_version": "v2", "model_state": "ready"}))
    client = app.test_client()
    status = client.get("/status", headers={"Accept": "text/html"}).text
    assert "project 1, task 7, annotation 1: page 2 is not the one that boxes were shown on" in status
    assert "worker --unpark" in status
    assert "prelabel --project 1 --refresh" in status
    as_json = client.get("/status", headers={"Accept": "application/json"}).json or {}
    assert [one["task"] for one in as_json["exchanged_pages"]] == [7]
    assert "contract_marks_exchanged_pages 1.0" in client.get("/metrics").text
    assert unpark(engine) == 1
    worker(engine, tmp_path, BEFORE).work()
    assert count(engine).exchanged == 0
    with engine.connect() as connection:
        assert set(connection.execute(select(sample.c.region)).scalars()) == {"a", "b", "c"}


def test_of_exchanged_pages_nothing_is_told_once_their_annotation_is_gone(engine: Engine, tmp_path: Path) -> None:
    show(engine, BEFORE)
    outcomes(engine, tmp_path, EXCHANGED, [])
    assert count(engine).exchanged == 1
    with writing(engine) as connection:
        forget(connection, 1)
    assert count(engine).exchanged == 0


@pytest.mark.parametrize(
    ("size", "origin", "expected"),
    [
        # What was left was left on a longer page, so its crop would be cut out of another place.
        ((WIDTH, 2 * HEIGHT), "manual", ON_SECOND),
        # A program that is no editor makes sizes up.
        ((WIDTH, 2 * HEIGHT), None, ON_SECOND | {"n": ("missed", "stamp", None)}),
        # The same page in other pixels, and a size that says nothing.
        ((2 * WIDTH, 2 * HEIGHT), "manual", ON_SECOND | {"n": ("missed", "stamp", None)}),
        ((0, HEIGHT), "manual", ON_SECOND | {"n": ("missed", "stamp", None)}),
    ],
)
def test_what_was_left_on_a_page_of_another_shape_teaches_nothing(
    engine: Engine, tmp_path: Path, size: tuple[int, int], origin: str | None, expected: dict[str, Any]
) -> None:
    """Also where nobody took note of what the page looked like."""
    show(engine, BEFORE, noted=False)
    kept = [drawn("a", "stamp", A), drawn("b", "signature", B), drawn("n", "stamp", C)]
    if origin is not None:
        kept = [one | {"origin": origin} for one in kept]
    result = [one | {"original_width": size[0], "original_height": size[1]} for one in kept]
    found = outcomes(engine, tmp_path, BEFORE, result)
    assert {name: row for name, row in found.items() if row[0] != "accepted"} == expected
    assert {one.pages for one in count(engine).exchanged_such} == ({(1,)} if expected == ON_SECOND else set())
