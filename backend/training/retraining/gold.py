"""The pages that judge a candidate: drawn ones, and those of annotators' gold documents, fetched anew for the trial."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image
from sqlalchemy import Engine

from backend.evaluation.truth import Truth, read_coco
from backend.nets.config import MARKS
from backend.training.retraining.annotated import KnownPage, annotated_pages, first_and_last

if TYPE_CHECKING:
    from backend.training.pagestore import PageStore
    from backend.training.retraining.annotated import PageOf

__all__ = ["Gold", "gold_pages"]

_GOLD = "gold"
_MOST_TASKS = 200
_MOST_PAGES = 600
"""Of annotators: at 300 dpi some 3 GB, for the time of a trial."""
_COCO_FILE = "gold.json"


@dataclass(frozen=True, kw_only=True)
class Gold:
    """Gold pages and where they come from.

    Attributes:
        truth: The pages.
        annotated: How many of them annotators marked; the others are drawn.
        missing: Why tasks of gold documents could not be had, one sentence a task.
        partly: Pages that were left out, since their project does not ask for every class: what is not boxed there may
            be a mark all the same.
    """

    truth: Truth
    annotated: int
    missing: tuple[str, ...]
    partly: int

    def __str__(self) -> str:
        drawn = len(self.truth.pages) - self.annotated
        lost = (
            f"; {len(self.missing)} tasks of gold documents could not be had, {first_and_last(self.missing)}"
            if self.missing
            else ""
        )
        partly = f"; {self.partly} left out whose project does not ask for every class" if self.partly else ""
        return f"gold pages: {self.annotated} of annotators' documents, {drawn} drawn{partly}{lost}"


def gold_pages(folder: Path, drawn: PageStore, engine: Engine, page_of: PageOf, *, insist: bool = False) -> Gold:
    """Writes the gold pages to `folder`, which only its owner may read and the caller removes after the trial.

    Of each task of a gold document the newest submitted annotation counts, with the task's pages; the newest tasks come
    first, to six hundred pages.

    Args:
        folder: Exists, and is empty.
        drawn: Drawn pages; those of gold documents are taken.
        engine: The ledger's database.
        page_of: Fetches a page.
        insist: Whether it is an error that nothing can be had for now: drawn pages alone would judge.

    Raises:
        PagesAway: That is so.
        EvaluationError: A box lies off its page.
        OSError: The disk is full.
    """
    missing: list[str] = []
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    annotated = partly = 0
    found = annotated_pages(
        engine, page_of, sides={_GOLD}, most=_MOST_TASKS, spool=folder, missing=missing, insist=insist
    )
    for known in found:
        if not set(MARKS) <= set(known.complete):
            partly += 1
            continue
        _add(known, folder, images, annotations)
        annotated += 1
        if annotated == _MOST_PAGES:
            break
    for known in _drawn(drawn):
        _add(known, folder, images, annotations)
    coco = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": number, "name": name} for number, name in enumerate(MARKS, 1)],
    }
    (folder / _COCO_FILE).write_text(json.dumps(coco), encoding="utf-8")
    return Gold(
        truth=read_coco(folder / _COCO_FILE, folder), annotated=annotated, missing=tuple(missing), partly=partly
    )


def _drawn(store: PageStore) -> Iterator[KnownPage]:
    for page in store.read():
        if page.split == _GOLD:
            marks = tuple(zip(page.labels, page.boxes, strict=True))
            yield KnownPage(
                name=page.name,
                document=page.document,
                side=_GOLD,
                pixels=store.pixels(page),
                marks=marks,
                dpi=page.dpi,
            )


def _add(known: KnownPage, folder: Path, images: list[dict[str, Any]], annotations: list[dict[str, Any]]) -> None:
    height, width = known.pixels.shape[:2]
    file = f"{known.name}.png"
    resolution: dict[str, Any] = {} if known.dpi is None else {"dpi": (known.dpi, known.dpi)}
    Image.fromarray(known.pixels).save(folder / file, compress_level=1, **resolution)
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
