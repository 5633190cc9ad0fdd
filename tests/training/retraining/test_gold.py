"""Gold pages: drawn ones, and annotators' gold documents as they left them; what is disputed does not count."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import select, update

from backend.corrections.crop_store import fingerprint, perceptual
from backend.corrections.database import writing
from backend.corrections.journal import Journal
from backend.corrections.service import Store
from backend.corrections.splits import document_key, split_of
from backend.corrections.tables import annotation, sample
from backend.corrections.tables import document as table
from backend.corrections.worker import Worker
from backend.dataset.gathering import PageLook, sides
from backend.errors import PageUnavailable
from backend.evaluation.verdict import Check, Verdict
from backend.labelstudio.annotations import Annotation
from backend.models.published import Beside
from backend.pages.page import Page
from backend.training.pagestore import PageStore
from backend.training.retraining.gold_trial import as_verdict, gold_pages
from backend.vision.network_config import MARKS
from tests.corrections.annotating import drawn as left
from tests.corrections.annotating import page_of, saved, send
from tests.training.retraining.ledger import open_ledger

A, B = (10.0, 10.0, 110.0, 110.0), (200.0, 300.0, 300.0, 360.0)
TASKS = range(1, 21)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Twenty tasks of two pages, a stamp on the first page and a thumb on the second."""
    opened = open_ledger(tmp_path / "data")
    journal = Journal(opened.engine)
    worker = Worker(engine=opened.engine, journal=journal, crops=opened.crops, page_of=page_of)
    for task in TASKS:
        marks = [left("a", "stamp", A), left("b", "thumb", B, page=1)]
        send(journal, saved(task, task=task, at=900.0 + task, result=marks))
    while worker.work():
        pass
    return opened


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "gold"
    made.mkdir(mode=0o700)
    return made


def gold_tasks(store: Store) -> list[int]:
    with store.engine.connect() as connection:
        wanted = select(sample.c.task).where(sample.c.split == "gold").distinct().order_by(sample.c.task)
        return list(connection.execute(wanted).scalars())


def test_all_pages_of_gold_tasks_and_of_gold_drawings_are_there(store: Store, folder: Path, drawn: Path) -> None:
    tasks = gold_tasks(store)
    assert 0 < len(tasks) < len(TASKS)
    pages = PageStore(drawn / "pages")
    ours = [page for page in pages.read() if page.split == "gold"]
    gold = gold_pages(folder, pages, store.engine, page_of)
    assert (gold.annotated, gold.missing) == (2 * len(tasks), ())
    assert len(gold.truth.pages) == 2 * len(tasks) + len(ours)
    by_name = {page.name: page for page in gold.truth.pages}
    first = by_name[f"task-{tasks[0]}-0.png"]
    assert [MARKS[label] for label in first.labels] == ["stamp"]
    np.testing.assert_allclose(first.boxes[0], A, atol=0.01)
    assert {page.document for page in gold.truth.pages} >= {page.document for page in ours}
    assert f"{2 * len(tasks)} of annotators' documents, {len(ours)} drawn" in str(gold)
    store.engine.dispose()


def test_a_task_that_cannot_be_fetched_is_left_out_and_named(store: Store, folder: Path, drawn: Path) -> None:
    tasks = gold_tasks(store)

    def broken(annotation: Annotation, index: int) -> Page:
        if annotation.task == tasks[0] and index == 1:
            raise PageUnavailable("/data/upload/p1.png", "Label Studio does not answer")
        return page_of(annotation, index)

    gold = gold_pages(folder, PageStore(drawn / "pages"), store.engine, broken)
    assert gold.annotated == 2 * (len(tasks) - 1)
    [reason] = gold.missing
    assert reason == f"task {tasks[0]}: /data/upload/p1.png: Label Studio does not answer"
    assert "1 tasks of gold documents could not be had" in str(gold)
    store.engine.dispose()


@pytest.mark.parametrize(
    ("needs", "told"),
    [
        (
            60,
            "about 60 would be needed to tell: ANNOTATORS; annotate about NUMBER more (15 % of documents become gold)",
        ),
        (9000, "more than 2,000 would be needed to tell: ANNOTATORS; annotate more (15 % of documents become gold)"),
    ],
)
def test_where_gold_documents_are_too_few_the_verdict_says_whose_they_are_and_how_many_to_annotate(
    needs: int, told: str, store: Store, folder: Path, drawn: Path
) -> None:
    gold = gold_pages(folder, PageStore(drawn / "pages"), store.engine, page_of)
    documents, own = len(gold.truth.documents), len(gold_tasks(store))
    lack = Check(name="macro F1 lower bound", figure=-0.1, bound=0.0, passed=False, sentence="not known", needs=needs)
    counts = {"documents": documents, "pages": len(gold.truth.pages), "marks": gold.truth.count(), "attempts": 1}
    judgement = Verdict(promoted=False, champion="old", challenger="new", gold="", checks=(lack,), **counts)
    verdict = as_verdict(judgement, gold, beside=Beside(None))
    more = -(-100 * (needs - documents) // 15)
    told = told.replace("ANNOTATORS", f"annotators' documents: {own}, drawn ones: {documents - own}")
    assert told.replace("NUMBER", str(-(-more // 10) * 10)) in verdict.reasons[0]
    assert f"the gold set has {documents} documents" in verdict.reasons[0]
    assert verdict.reasons[1:] == ("not known",)
    assert (verdict.figures["undecided"], verdict.figures["needs"]) == (True, needs)
    store.engine.dispose()


def test_a_disputed_mark_is_neither_right_nor_wrong_to_find(store: Store, folder: Path, drawn: Path) -> None:
    task = gold_tasks(store)[0]
    with writing(store.engine) as connection:
        connection.execute(update(sample).where(sample.c.id == f"{task}-a").values(quarantine="another says thumb"))
    gold = gold_pages(folder, PageStore(drawn / "pages"), store.engine, page_of)
    [page] = [page for page in gold.truth.pages if page.name == f"task-{task}-0.png"]
    assert len(page) == 0
    np.testing.assert_allclose(page.ignored[0], A, atol=0.01)
    store.engine.dispose()


def test_pages_keep_their_resolution(store: Store, folder: Path, drawn: Path) -> None:
    def scanned(annotation: Annotation, index: int) -> Page:
        return dataclasses.replace(page_of(annotation, index), dpi=150.0)

    gold = gold_pages(folder, PageStore(drawn / "pages"), store.engine, scanned)
    [name, *_] = [page.name for page in gold.truth.pages if page.name.startswith("task-")]
    with Image.open(folder / name) as image:
        assert image.info["dpi"] == pytest.approx((150, 150), abs=0.1)
    store.engine.dispose()


def test_where_a_project_does_not_ask_for_every_class_nothing_is_judged(
    store: Store, folder: Path, drawn: Path
) -> None:
    """An unboxed signature there would be a false box of the model that finds it."""
    config = (
        '<View><Image name="page" valueList="$pages"/><RectangleLabels name="mark" toName="page">'
        '<Label value="Seal" predicted_values="stamp"/></RectangleLabels></View>'
    )
    annotate(store, 99, [], at=2000.0, document=named("gold"), config=config)
    gold = gold_pages(folder, PageStore(drawn / "pages"), store.engine, page_of)
    assert gold.partly == 2
    assert not [page for page in gold.truth.pages if page.name.startswith("task-99-")]
    assert "; 2 left out whose project does not ask for every class" in str(gold)
    store.engine.dispose()


def named(side: str, number: int = 0) -> str:
    """The name of a document that its name puts on a side of the split."""
    names = (f"contract {number}-{attempt}.pdf" for attempt in itertools.count())
    return next(name for name in names if split_of(document_key(name, ())) == side)


def annotate(
    store: Store,
    task: int,
    result: list[dict],
    *,
    at: float,
    document: str | None = None,
    config: str | None = None,
    **facts,
) -> None:
    """An annotator submits a task, and the worker turns what is to be turned."""
    journal = Journal(store.engine)
    payload = saved(facts.pop("annotation", task), task=task, at=at, result=result, **facts)
    if document:
        payload["task"]["data"]["document"] = document
    if config:
        payload["project"]["label_config"] = config
    send(journal, payload)
    worker = Worker(engine=store.engine, journal=journal, crops=store.crops, page_of=page_of)
    while worker.work():
        pass


def test_a_task_without_a_mark_and_with_nothing_shown_on_it_is_gold_by_its_document(
    store: Store, folder: Path, drawn: Path
) -> None:
    annotate(store, 30, [], at=6000.0, document=named("gold"))
    annotate(store, 31, [], at=6001.0, document=named("train"))
    annotate(store, 32, [], at=6002.0, document=named("gold", 1), was_cancelled=True)
    unnamed = range(40, 60)
    for task in unnamed:
        annotate(store, task, [], at=6000.0 + task)
    gold = gold_pages(folder, PageStore(drawn / "pages"), store.engine, page_of)
    tasks = {int(page.name.split("-")[1]): len(page) for page in gold.truth.pages if page.name.startswith("task-")}
    assert tasks[30] == 0
    assert not {31, 32} & tasks.keys(), "on the training side, and skipped"
    assert 0 < len(tasks.keys() & set(unnamed)) < len(unnamed)
    with store.engine.connect() as connection:
        sides = connection.execute(select(table.c.split).where(table.c.key == document_key(named("gold"), ())))
        assert set(sides.scalars()) == {"gold"}, "no later sample of it lands on another side"
    store.engine.dispose()


def test_an_empty_annotation_takes_the_place_of_an_older_one_with_marks(
    store: Store, folder: Path, drawn: Path
) -> None:
    task = gold_tasks(store)[0]
    annotate(store, task, [], annotation=1000, at=5000.0)
    gold = gold_pages(folder, PageStore(drawn / "pages"), store.engine, page_of)
    marks = {page.name: len(page) for page in gold.truth.pages if page.name.startswith(f"task-{task}-")}
    assert marks == {f"task-{task}-0.png": 0, f"task-{task}-1.png": 0}
    store.engine.dispose()


def test_a_page_that_a_training_document_has_too_is_left_out(store: Store, folder: Path, drawn: Path) -> None:
    annotate(store, 30, [left("a", "stamp", A)], at=6000.0, document=named("gold"))

    def shared(annotation: Annotation, index: int) -> Page:
        """Its second page is the first one of another document."""
        if (annotation.task, index) == (30, 1):
            return page_of(dataclasses.replace(annotation, data={"pages": ["/data/upload/1/shared"]}), 0)
        return page_of(annotation, index)

    page = shared(Annotation(**_body(store, 30)), 1)
    look = PageLook(
        document=document_key(named("train"), ()),
        page_sha256=fingerprint(page.pixels),
        page_phash=perceptual(page.pixels),
    )
    assert set(sides(store.engine, [look]).documents.values()) == {"train"}
    gold = gold_pages(folder, PageStore(drawn / "pages"), store.engine, shared)
    assert [page.name for page in gold.truth.pages if page.name.startswith("task-30-")] == ["task-30-0.png"]
    store.engine.dispose()


def _body(store: Store, task: int) -> dict:
    with store.engine.connect() as connection:
        return connection.execute(select(annotation.c.body).where(annotation.c.task == task)).scalar_one()


def test_of_two_annotations_of_a_task_the_newest_counts(store: Store, folder: Path, drawn: Path) -> None:
    task = gold_tasks(store)[0]
    annotate(store, task, [left("c", "stamp", A)], annotation=1000, at=5000.0)
    gold = gold_pages(folder, PageStore(drawn / "pages"), store.engine, page_of)
    marks = {page.name: len(page) for page in gold.truth.pages if page.name.startswith(f"task-{task}-")}
    assert marks == {f"task-{task}-0.png": 1, f"task-{task}-1.png": 0}
    store.engine.dispose()
