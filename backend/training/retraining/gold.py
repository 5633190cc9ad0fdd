"""The pages that judge a candidate: drawn ones, and those of annotators' gold documents, fetched anew for the trial."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Engine, select

from backend.errors import BackendError
from backend.evaluation.truth import Truth, read_coco
from backend.feedback.tables import annotation, sample
from backend.labelstudio.annotations import Annotation
from backend.nets.config import MARKS

if TYPE_CHECKING:
    from backend.pages.page import Page
    from backend.training.pagestore import PageStore

__all__ = ["Gold", "gold_pages"]

_MOST_TASKS = 200
_COCO_FILE = "gold.json"
PageOf = Callable[[Annotation, int], "Page"]


@dataclass(frozen=True, kw_only=True)
class Gold:
    """Gold pages and where they come from.

    Attributes:
        truth: The pages.
        annotated: How many of them annotators marked; the others are drawn.
        missing: Why tasks of gold documents could not be had, one sentence a task.
    """

    truth: Truth
    annotated: int
    missing: tuple[str, ...]

    def __str__(self) -> str:
        drawn = len(self.truth.pages) - self.annotated
        lost = f"; {len(self.missing)} tasks of gold documents could not be had" if self.missing else ""
        return f"gold pages: {self.annotated} of annotators' documents, {drawn} drawn{lost}"


@dataclass(frozen=True, kw_only=True)
class _Known:
    """A page with its marks, before it is a file; boxes of `disputed` are neither right nor wrong."""

    name: str
    document: str
    pixels: NDArray[np.uint8]
    marks: tuple[tuple[str, tuple[float, ...]], ...]
    disputed: tuple[tuple[float, ...], ...] = ()


def gold_pages(folder: Path, drawn: PageStore, engine: Engine, page_of: PageOf) -> Gold:
    """Writes the gold pages to `folder`, which only its owner may read and the caller removes after the trial.

    Of each task of a gold document the newest annotation counts, with all of the task's pages.

    Args:
        folder: Exists, and is empty.
        drawn: Drawn pages; those of gold documents are taken.
        engine: The ledger's database.
        page_of: Fetches a page.

    Raises:
        EvaluationError: A box lies off its page.
    """
    missing: list[str] = []
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    annotated = 0
    for known in _annotated(engine, page_of, missing):
        _add(known, folder, images, annotations)
        annotated += 1
    for known in _drawn(drawn):
        _add(known, folder, images, annotations)
    coco = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": number, "name": name} for number, name in enumerate(MARKS, 1)],
    }
    (folder / _COCO_FILE).write_text(json.dumps(coco), encoding="utf-8")
    return Gold(truth=read_coco(folder / _COCO_FILE, folder), annotated=annotated, missing=tuple(missing))


def _drawn(store: PageStore) -> Iterator[_Known]:
    for page in store.read():
        if page.split == "gold":
            marks = tuple(zip(page.labels, page.boxes, strict=True))
            yield _Known(name=page.name, document=page.document, pixels=store.pixels(page), marks=marks)


def _annotated(engine: Engine, page_of: PageOf, missing: list[str]) -> Iterator[_Known]:
    """Pages of tasks whose samples are on the gold side, the newest tasks first; a task is there wholly or not."""
    with engine.connect() as connection:
        rows = connection.execute(select(sample).where(sample.c.split == "gold").order_by(sample.c.id)).all()
        documents = {row.annotation: row.document for row in rows}
        wanted = select(annotation).where(annotation.c.id.in_(documents), annotation.c.deleted.is_(False))
        states = connection.execute(wanted.order_by(annotation.c.updated.desc(), annotation.c.id)).all()
    newest = {state.task: state for state in reversed(states)}
    for state in sorted(newest.values(), key=lambda row: -row.updated)[:_MOST_TASKS]:
        disputed = {row.region: row for row in rows if row.task == state.task and row.quarantine is not None}
        try:
            yield from _pages_of(Annotation(**state.body), documents[state.id], disputed, page_of)
        except BackendError as error:
            missing.append(f"task {state.task}: {error}")


def _pages_of(left: Annotation, document: str, disputed: dict[str, Any], page_of: PageOf) -> list[_Known]:
    pages = {index: page_of(left, index) for index in range(len(left.sheets))}
    regions = left.regions({index: (page.width, page.height) for index, page in pages.items()})
    return [
        _Known(
            name=f"task-{left.task}-{index}",
            document=document,
            pixels=page.pixels,
            marks=tuple((one.label, one.box) for one in regions if one.page == index and one.id not in disputed),
            disputed=tuple((row.x1, row.y1, row.x2, row.y2) for row in disputed.values() if row.page == index),
        )
        for index, page in pages.items()
    ]


def _add(known: _Known, folder: Path, images: list[dict[str, Any]], annotations: list[dict[str, Any]]) -> None:
    height, width = known.pixels.shape[:2]
    file = f"{known.name}.png"
    path = folder / file
    options = [cv2.IMWRITE_PNG_COMPRESSION, 1]
    if not cv2.imwrite(str(path), np.ascontiguousarray(known.pixels[..., ::-1]), options):
        raise OSError(f"{path} could not be written: check the folder's permissions and the space left")
    image = len(images) + 1
    images.append({"id": image, "file_name": file, "width": width, "height": height, "document": known.document})
    boxes = [(box, MARKS.index(label) + 1, 0) for label, box in known.marks]
    boxes += [(box, 1, 1) for box in known.disputed]
    for (left, top, right, bottom), category, crowd in boxes:
        annotations.append(
            {
                "id": len(annotations) + 1,
                "image_id": image,
                "category_id": category,
                "bbox": [left, top, right - left, bottom - top],
                "iscrowd": crowd,
            }
        )
