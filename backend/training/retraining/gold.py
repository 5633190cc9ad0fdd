"""The pages that judge a candidate: drawn ones, and those of annotators' gold documents, fetched anew for the trial."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Engine, select

from backend.dataset.sides import Look, known_documents, sides
from backend.errors import BackendError
from backend.evaluation.truth import Truth, read_coco
from backend.feedback.crops import fingerprint, perceptual
from backend.feedback.splits import document_key, split_of
from backend.feedback.tables import annotation, sample
from backend.feedback.tables import document as table
from backend.labelstudio.annotations import Annotation
from backend.nets.config import MARKS

if TYPE_CHECKING:
    from backend.pages.page import Page
    from backend.training.pagestore import PageStore

__all__ = ["Gold", "gold_pages"]

_GOLD = "gold"
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

    Of each task of a gold document the newest submitted annotation counts, with all of the task's pages.

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
        if page.split == _GOLD:
            marks = tuple(zip(page.labels, page.boxes, strict=True))
            yield _Known(name=page.name, document=page.document, pixels=store.pixels(page), marks=marks)


def _annotated(engine: Engine, page_of: PageOf, missing: list[str]) -> Iterator[_Known]:
    """Pages of tasks whose document is on the gold side, the newest tasks first; a task is there wholly or not.

    Tasks without a mark, and with nothing shown on them, are among them: on those false boxes show. A page that another
    document has on another side is left out, for a training may have seen it.
    """
    found = 0
    for left in _newest(engine):
        if found == _MOST_TASKS:
            return
        try:
            key = known_documents(engine, [left.task]).get(left.task) or document_key(left.document, left.references)
            if _side(engine, key) != _GOLD:
                continue
            pages = {index: page_of(left, index) for index in range(len(left.sheets))}
            known = _pages_of(left, key, pages, _disputed(engine, left.task))
        except BackendError as error:
            missing.append(f"task {left.task}: {error}")
            continue
        found += 1
        elsewhere = _elsewhere(engine, left, key, pages)
        yield from (page for index, page in enumerate(known) if index not in elsewhere)


def _newest(engine: Engine) -> list[Annotation]:
    """Of each task its newest submitted annotation, the newest first."""
    with engine.connect() as connection:
        rows = connection.execute(
            select(annotation).where(annotation.c.deleted.is_(False)).order_by(annotation.c.updated, annotation.c.id)
        ).all()
    left = [Annotation(**row.body) for row in rows if row.body]
    newest = {one.task: one for one in left if not one.skipped}
    return sorted(newest.values(), key=lambda one: (-one.updated, one.task))


def _side(engine: Engine, key: str) -> str:
    """The side of a document; of one that the ledger has no page of, the one that it will be on."""
    with engine.connect() as connection:
        side = connection.execute(select(table.c.split).where(table.c.key == key).limit(1)).scalar()
    return str(side or split_of(key))


def _elsewhere(engine: Engine, left: Annotation, key: str, pages: Mapping[int, Page]) -> set[int]:
    """Indices of a document's pages that are on another side than gold, which is all of them where the document is.

    Its side is noted, so that no later sample of it lands on another.
    """
    hashes = {index: (fingerprint(page.pixels), perceptual(page.pixels)) for index, page in pages.items()}
    # What tells a document are its pages with marks, if there are any: so its samples and data sets have it.
    telling = [hashes[index] for index in sorted(left.pages() & hashes.keys()) or sorted(hashes)]
    decided = sides(engine, [Look(document=key, page_sha256=one, page_phash=other) for one, other in telling])
    if decided.get(key) != _GOLD:
        return set(pages)
    others = select(table.c.page_sha256).where(
        table.c.page_sha256.in_([sha256 for sha256, _ in hashes.values()]), table.c.split != _GOLD
    )
    with engine.connect() as connection:
        found = set(connection.execute(others).scalars())
    return {index for index, (sha256, _) in hashes.items() if sha256 in found}


def _disputed(engine: Engine, task: int) -> dict[str, Any]:
    """A task's samples that annotators contradict each other about, by their region."""
    wanted = select(sample).where(sample.c.task == task, sample.c.quarantine.is_not(None))
    with engine.connect() as connection:
        return {row.region: row for row in connection.execute(wanted.order_by(sample.c.id))}


def _pages_of(left: Annotation, document: str, pages: Mapping[int, Page], disputed: Mapping[str, Any]) -> list[_Known]:
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
