"""Annotators' pages teach the detector: which pages, on which side, how often; and what comes of it serves."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onnxruntime import InferenceSession
from safetensors.torch import load_file
from sqlalchemy import delete, insert, update

from backend.corrections.database import writing
from backend.corrections.journal import Journal
from backend.corrections.outcomes import Outcome
from backend.corrections.service import Store
from backend.corrections.tables import prediction, sample
from backend.corrections.worker import Worker
from backend.errors import PagesAway, PageUnavailable
from backend.evaluation.study import fingerprints
from backend.labelstudio.annotations import Annotation
from backend.pages.page import Page
from backend.settings import Settings
from backend.training.classifier_recipe import Corrections
from backend.training.detector.changes import Changes
from backend.training.detector.detector_loop import AVERAGE_FILE
from backend.training.detector.detector_publishing import DETECTOR_RECORD_FILE
from backend.training.detector.detector_recipe import DetectorRecipe
from backend.training.detector.lite_network import LITE0, LiteNet
from backend.training.export import state_dict_from_onnx
from backend.training.pagestore import PageStore
from backend.training.retraining.annotators_pages import first_and_last
from backend.training.retraining.base_weights import DetectorBase
from backend.training.retraining.detector_retraining import (
    DETECTOR_TENSORS_FILE,
    PageLessons,
    page_lessons,
    teach,
    write_taught,
)
from backend.training.retraining.gold_trial import gold_pages
from backend.training.retraining.material import collect_pages
from backend.vision.engine import DetectorConfig
from backend.vision.finders import build_detector
from backend.vision.network_config import MARKS, sha256_of
from backend.vision.weights import BUNDLED, DETECTOR_CONFIG_FILE, DETECTOR_WEIGHTS_FILE
from tests.corrections.annotating import drawn as left
from tests.corrections.annotating import page_of, saved, send
from tests.models.detectors import TINY, random_network
from tests.models.detectors import write_detector as written
from tests.training.retraining.ledger import open_ledger
from tests.training.retraining.test_gold import named

A, B = (10.0, 10.0, 110.0, 110.0), (200.0, 300.0, 300.0, 360.0)
SIDES = ("train", "train", "validation", "gold")
RECIPE = DetectorRecipe(
    shape=TINY,
    epochs=2,
    samples=8,
    batch=4,
    shares={"drawn": 1.0},
    learning_rate=2e-3,
    blend=0.5,
    averaging=0.5,
    half=False,
    changes=Changes(paste=0),
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Tasks of two pages on each side of the split: a stamp on the first page, nothing on the second."""
    opened = open_ledger(tmp_path / "data")
    for task, side in enumerate(SIDES, start=1):
        annotate(opened, task, [left("a", "stamp", A)], document=named(side, task))
    return opened


def annotate(
    store: Store,
    task: int,
    result: Sequence[dict[str, Any]],
    *,
    document: str,
    config: str | None = None,
    pages: int = 2,
) -> None:
    journal = Journal(store.engine)
    payload = saved(task, task=task, at=900.0 + task, result=list(result), pages=pages)
    payload["task"]["data"]["document"] = document
    if config is not None:
        payload["project"]["label_config"] = config
    send(journal, payload)
    worker = Worker(engine=store.engine, journal=journal, crops=store.crops, page_of=page_of)
    while worker.work():
        pass


def outcome(store: Store, task: int, value: Outcome) -> None:
    with writing(store.engine) as connection:
        connection.execute(update(sample).where(sample.c.task == task).values(outcome=value))


def base_of(folder: Path) -> DetectorBase:
    config = DetectorConfig.read(folder / DETECTOR_CONFIG_FILE)
    return DetectorBase(name="x@cafe", folder=folder, path=folder / DETECTOR_WEIGHTS_FILE, config=config, shape=TINY)


@pytest.fixture
def base(tmp_path: Path) -> DetectorBase:
    written(random_network(), tmp_path / "base", least_heat=0.3)
    return base_of(tmp_path / "base")


def test_pages_that_tell_a_document_teach_but_those_that_judge(store: Store, tmp_path: Path) -> None:
    outcome(store, 1, Outcome.ACCEPTED)
    outcome(store, 2, Outcome.MOVED)
    pages, missing = collect_pages(tmp_path / "pages", store.engine, page_of)
    assert missing == ()
    found = {page.name: page for page in pages.read()}
    assert {name: (page.split, page.source, page.labels) for name, page in found.items()} == {
        "task-1-0": ("train", "accepted", ("stamp",)),
        "task-2-0": ("train", "corrected", ("stamp",)),
        "task-3-0": ("validation", "corrected", ("stamp",)),
    }
    np.testing.assert_allclose(found["task-1-0"].boxes[0], A, atol=0.01)
    assert found["task-1-0"].complete == MARKS
    assert (tmp_path / "pages").stat().st_mode & 0o077 == 0, "they are confidential"
    assert pages.seen() == {page.sha256 for page in found.values()} | {page.document for page in found.values()}
    store.engine.dispose()


def test_a_page_that_a_gold_document_has_too_judges_or_teaches_and_never_both(store: Store, tmp_path: Path) -> None:
    """The second pages of all documents are the same: of gold ones they judge, of none do they teach."""

    def boilerplate(annotation: Annotation, index: int) -> Page:
        return page_of(
            dataclasses.replace(annotation, data={"pages": ["/data/upload/same"]}) if index else annotation, 0
        )

    pages, _ = collect_pages(tmp_path / "pages", store.engine, boilerplate)
    gold = tmp_path / "gold"
    gold.mkdir(mode=0o700)
    judging = gold_pages(gold, PageStore(tmp_path / "none"), store.engine, boilerplate)
    judges = set(fingerprints(judging.truth, Settings(data_dir=tmp_path)))
    assert len(judges) == 2
    assert pages.seen()
    assert not judges & pages.seen()
    store.engine.dispose()


def test_what_a_project_does_not_ask_for_may_be_there_unboxed(store: Store, tmp_path: Path) -> None:
    config = (
        '<View><Image name="page" valueList="$pages"/><RectangleLabels name="mark" toName="page">'
        '<Label value="Seal" predicted_values="stamp"/></RectangleLabels></View>'
    )
    annotate(store, 9, [], document=named("train", 9), config=config)
    pages, missing = collect_pages(tmp_path / "pages", store.engine, page_of)
    assert missing == ()
    assert [page.complete for page in pages.read() if page.name.startswith("task-9-")] == [("stamp",)] * 2
    store.engine.dispose()


def test_of_a_document_without_a_mark_two_pages_teach(store: Store, tmp_path: Path) -> None:
    annotate(store, 9, [], document=named("train", 9), pages=6)
    pages, _ = collect_pages(tmp_path / "pages", store.engine, page_of)
    assert {page.name for page in pages.read() if page.name.startswith("task-9-")} == {"task-9-0", "task-9-1"}
    store.engine.dispose()


def test_blind_tasks_do_not_teach(store: Store, tmp_path: Path) -> None:
    with writing(store.engine) as connection:
        facts = {"version": "v", "edition": "e", "shown": 1.0, "drawn": False}
        connection.execute(
            insert(prediction), [facts | {"task": 1, "blind": True}, facts | {"task": 2, "blind": False}]
        )
    pages, missing = collect_pages(tmp_path / "pages", store.engine, page_of)
    assert missing == ()
    assert {page.name.split("-")[1] for page in pages.read()} == {"2", "3"}
    store.engine.dispose()


def test_where_nothing_can_be_had_ten_tasks_are_asked_for(store: Store, tmp_path: Path) -> None:
    for task in range(10, 25):
        annotate(store, task, [], document=named("train", task))
    asked: list[int] = []

    def away(annotation: Annotation, index: int) -> Page:
        asked.append(annotation.task)
        raise PageUnavailable("/data/upload/p1.png", "Label Studio does not answer")

    pages, missing = collect_pages(tmp_path / "pages", store.engine, away)
    assert asked == list(range(24, 14, -1)), "the newest first"
    assert len(missing) == 10
    assert missing[-1].startswith("task 15: ")
    assert missing[-1].endswith("Label Studio does not answer (the last of 10 in a row: no more were asked for)")
    assert first_and_last(missing) == f"the first of them: {missing[0]}; the last: {missing[-1]}"
    assert first_and_last(missing[:1]) == f"the first of them: {missing[0]}"
    assert pages.read() == []
    with pytest.raises(PagesAway, match="none of the newest 10 tasks can be fetched, the first of them: task 24: "):
        collect_pages(tmp_path / "insisting", store.engine, away, insist=True)
    store.engine.dispose()


def test_tasks_that_answer_at_once_do_not_end_the_asking(store: Store, tmp_path: Path) -> None:
    """Their pages were replaced: the older tasks below them are asked for all the same."""
    for task in range(10, 25):
        annotate(store, task, [left("a", "stamp", A)], document=named("train", task))

    def replaced(annotation: Annotation, index: int) -> Page:
        page = page_of(annotation, index)
        return dataclasses.replace(page, pixels=page.pixels // 2) if annotation.task >= 10 else page

    pages, missing = collect_pages(tmp_path / "pages", store.engine, replaced)
    assert len(missing) == 15
    assert {reason.partition(": ")[2] for reason in missing} == {"page 1 was replaced since its marks were boxed"}
    assert {page.name.split("-")[1] for page in pages.read()} == {"1", "2", "3"}
    store.engine.dispose()


def test_disputed_marks_teach_nothing_and_pages_that_are_gone_are_named(store: Store, tmp_path: Path) -> None:
    with writing(store.engine) as connection:
        connection.execute(update(sample).where(sample.c.task == 1).values(quarantine="another says thumb"))

    def broken(annotation: Annotation, index: int) -> Page:
        if annotation.task == 2:
            raise PageUnavailable("/data/upload/p1.png", "Label Studio does not answer")
        return page_of(annotation, index)

    pages, missing = collect_pages(tmp_path / "pages", store.engine, broken)
    [page] = [page for page in pages.read() if page.name == "task-1-0"]
    assert page.labels == ()
    np.testing.assert_allclose(page.ignored[0], A, atol=0.01)
    assert missing == ("task 2: /data/upload/p1.png: Label Studio does not answer",)
    assert not [page for page in pages.read() if page.name.startswith("task-2-")]
    store.engine.dispose()


def test_a_page_that_was_replaced_or_turned_since_teaches_nothing(store: Store, tmp_path: Path) -> None:
    def turned(annotation: Annotation, index: int) -> Page:
        page = page_of(annotation, index)
        return dataclasses.replace(page, pixels=np.rot90(page.pixels).copy()) if annotation.task == 1 else page

    _, missing = collect_pages(tmp_path / "pages", store.engine, turned)
    assert missing == ("task 1: page 1 was replaced since its marks were boxed",)
    with writing(store.engine) as connection:
        connection.execute(delete(sample).where(sample.c.task == 1))
    _, [reason] = collect_pages(tmp_path / "again", store.engine, turned)
    assert reason.startswith("task 1: page 1 was annotated at ")
    store.engine.dispose()


def test_corrected_pages_are_shown_more_often_and_too_few_not_at_all(
    store: Store, base: DetectorBase, tmp_path: Path
) -> None:
    for task, value in ((1, Outcome.ACCEPTED), (2, Outcome.MISSED)):
        outcome(store, task, value)
    pages, _ = collect_pages(tmp_path / "pages", store.engine, page_of)
    said: list[str] = []
    plan = Corrections(hard_times=2.0, least_pages=2, replay_pages=1)
    found = page_lessons(pages, dataclasses.replace(RECIPE, samples=1000), plan, base, folder=tmp_path, say=said.append)
    assert found is not None
    assert said == ["the detector learns from 2 annotated pages, 1 of them corrected: 1 % of an epoch"]
    shares = found.recipe.shares
    assert shares["real/corrected"] == pytest.approx(2 * shares["real/accepted"])
    assert found.recipe.base == "x@cafe"
    assert (
        page_lessons(pages, RECIPE, dataclasses.replace(plan, least_pages=3), base, folder=tmp_path, say=said.append)
        is None
    )
    assert said[-1] == "the detector stays as it is: 2 annotated pages to learn from, 3 are needed"
    store.engine.dispose()


@pytest.fixture
def taught(store: Store, base: DetectorBase, drawn: Path, tmp_path: Path) -> tuple[PageLessons, PageStore]:
    pages, _ = collect_pages(tmp_path / "pages", store.engine, page_of)
    store.engine.dispose()
    found = page_lessons(
        pages, RECIPE, Corrections(least_pages=1, replay_pages=2), base, folder=tmp_path, say=lambda _: None
    )
    assert found is not None
    return found, PageStore(drawn / "pages")


def test_it_goes_on_from_its_base_and_what_comes_of_it_can_serve(
    taught: tuple[PageLessons, PageStore], tmp_path: Path
) -> None:
    lessons, ours = taught
    progress = teach(lessons, ours, tmp_path / "run")
    assert [set(line.score) for line in progress.history] == [{"drawn", "real"}] * 2
    write_taught(tmp_path / "run", progress, lessons, ours, tmp_path / "out", whole_numbers=False)
    config = DetectorConfig.read(tmp_path / "out" / DETECTOR_CONFIG_FILE)
    assert config.sha256 == sha256_of(tmp_path / "out" / DETECTOR_WEIGHTS_FILE)
    assert config.provenance == {"base": "x@cafe", "recipe": lessons.recipe.digest}
    assert config.least_heat == 0.3, "of the base"
    before, after = (state_dict_from_onnx(one / DETECTOR_WEIGHTS_FILE) for one in (tmp_path / "base", tmp_path / "out"))
    change = max(float((before[name] - after[name]).abs().max()) for name in before if name.endswith("weight"))
    assert 0 < change < 0.1, "two epochs of two steps"
    average = load_file(tmp_path / "run" / AVERAGE_FILE)
    kept = load_file(tmp_path / "out" / DETECTOR_TENSORS_FILE)
    for name in before:
        if average[name].is_floating_point():
            torch.testing.assert_close(kept[name], 0.5 * before[name] + 0.5 * average[name])
    record = json.loads((tmp_path / "out" / DETECTOR_RECORD_FILE).read_text())
    assert record["pages"] == {"annotated train": 2, "annotated validation": 1}
    build_detector("model", tmp_path / "out", threads=1)
    # The same again does nothing more.
    assert teach(lessons, ours, tmp_path / "run") == progress


def test_beside_whole_numbers_it_is_of_whole_numbers(taught: tuple[PageLessons, PageStore], tmp_path: Path) -> None:
    lessons, ours = taught
    progress = teach(lessons, ours, tmp_path / "run")
    for name, whole in (("whole", True), ("plain", False)):
        write_taught(tmp_path / "run", progress, lessons, ours, tmp_path / name, whole_numbers=whole)
    weights = tmp_path / "whole" / DETECTOR_WEIGHTS_FILE
    assert b"QuantizeLinear" in weights.read_bytes()
    config = DetectorConfig.read(tmp_path / "whole" / DETECTOR_CONFIG_FILE)
    train = sum(page.split == "train" for page in (*ours.read(), *lessons.pages.read()))
    assert config.provenance["numbers"] == f"int8, calibrated on {train} pages"
    pixels = np.random.default_rng(1).integers(0, 256, (1, 448, 320, 3), np.uint8)
    weights_of = (tmp_path / name / DETECTOR_WEIGHTS_FILE for name in ("plain", "whole"))
    plain, other = (InferenceSession(path).run(["heat"], {"pixels": pixels})[0] for path in weights_of)
    assert np.corrcoef(plain.ravel(), other.ravel())[0, 1] > 0.9, "the same network"


def test_the_bundled_detector_is_a_base() -> None:
    state = state_dict_from_onnx(BUNDLED / DETECTOR_WEIGHTS_FILE)
    LiteNet(LITE0).load_state_dict(state)
