"""Gold pages: drawn ones, and annotators' gold documents as they left them; what is disputed does not count."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import select, update

from backend.errors import PageUnavailable
from backend.feedback.database import writing
from backend.feedback.journal import Journal
from backend.feedback.service import Store
from backend.feedback.tables import sample
from backend.feedback.worker import Worker
from backend.labelstudio.annotations import Annotation
from backend.nets.config import MARKS
from backend.pages.page import Page
from backend.training.pagestore import PageStore
from backend.training.retraining.gold import gold_pages
from tests.feedback.annotating import drawn as left
from tests.feedback.annotating import page_of, saved
from tests.feedback.test_worker import send

from .ledger import open_ledger

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


def test_a_disputed_mark_is_neither_right_nor_wrong_to_find(store: Store, folder: Path, drawn: Path) -> None:
    task = gold_tasks(store)[0]
    with writing(store.engine) as connection:
        connection.execute(update(sample).where(sample.c.id == f"{task}-a").values(quarantine="another says thumb"))
    gold = gold_pages(folder, PageStore(drawn / "pages"), store.engine, page_of)
    [page] = [page for page in gold.truth.pages if page.name == f"task-{task}-0.png"]
    assert len(page) == 0
    np.testing.assert_allclose(page.ignored[0], A, atol=0.01)
    store.engine.dispose()


def test_of_two_annotations_of_a_task_the_newest_counts(store: Store, folder: Path, drawn: Path) -> None:
    task = gold_tasks(store)[0]
    journal = Journal(store.engine)
    send(journal, saved(1000, task=task, at=5000.0, result=[left("c", "stamp", A)]))
    worker = Worker(engine=store.engine, journal=journal, crops=store.crops, page_of=page_of)
    while worker.work():
        pass
    gold = gold_pages(folder, PageStore(drawn / "pages"), store.engine, page_of)
    marks = {page.name: len(page) for page in gold.truth.pages if page.name.startswith(f"task-{task}-")}
    assert marks == {f"task-{task}-0.png": 1, f"task-{task}-1.png": 0}
    store.engine.dispose()
