"""Annotated tasks → pages in a draft, upright, with their marks; a task is there wholly or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from backend.dataset.manifest import Corners, FrozenMark, FrozenPage, Origin, corners
from backend.dataset.sides import Look
from backend.errors import RequestError
from backend.feedback.crops import perceptual
from backend.feedback.samples import CONTRADICTION
from backend.feedback.splits import document_key
from backend.geometry import as_boxes, iou
from backend.labelstudio.annotated import Ruling, turned_page, turns
from backend.labelstudio.connections import Pages, first_page
from backend.nets.config import MARKS

if TYPE_CHECKING:
    from backend.dataset.store import Draft
    from backend.labelstudio.annotations import Annotation, Region
    from backend.labelstudio.tasks import Sheet
    from backend.pages.page import Page

__all__ = ["Gathered", "gather", "page_name"]


@dataclass(frozen=True, kw_only=True)
class Gathered:
    """A task's pages before their side is known.

    Attributes:
        task: Label Studio's id.
        annotation: Id of the annotation that rules.
        updated: When it was saved, seconds since the epoch.
        document: Key of the document, as the ledger would make it.
        pages: In order; their document and split are still empty.
        looks: (SHA-256, perceptual hash) of the pages that tell the document: those with marks, if there are any.
    """

    task: int
    annotation: int
    updated: float
    document: str
    pages: tuple[FrozenPage, ...]
    looks: tuple[tuple[str, str], ...]

    def looks_of(self, document: str) -> list[Look]:
        return [Look(document=document, page_sha256=sha, page_phash=phash) for sha, phash in self.looks]


def page_name(task: int, page: int) -> str:
    """The name of a page of a task."""
    return f"task-{task}-{page}"


def gather(ruling: Ruling, source: Pages, draft: Draft) -> Gathered:
    """Fetches all pages of a task into a draft, and reads its marks.

    Raises:
        PageError: A page cannot be had.
        RequestError: The annotation does not fit its pages.
        LabelConfigError: The label config offers nothing that marks could be read from.
    """
    left = ruling.annotation
    stored, sizes, looks = [], {}, []
    for index, sheet in enumerate(left.sheets):
        page = first_page(source, sheet.reference, task=left.task)
        if reason := turned_page(left, index, width=page.width, height=page.height):
            raise RequestError(f"page {index + 1} was {reason}")
        sizes[index] = page.width, page.height
        looks.append((draft.add(page.pixels), perceptual(page.pixels)))
        stored.append(_blank(page, sheet, ruling, index, looks[-1][0]))
    regions = left.regions(sizes)
    disputed = _disputed(regions, [one.regions(sizes) for one in _readable(ruling.others, sizes)])
    rotations = turns(left)
    pages = [
        _with_marks(page, [one for one in regions if one.page == index], disputed, rotations)
        for index, page in enumerate(stored)
    ]
    marked = [look for index, look in enumerate(looks) if index in left.pages()] or looks
    return Gathered(
        task=left.task,
        annotation=left.id,
        updated=left.updated,
        document=document_key(left.document, left.references),
        pages=tuple(pages),
        looks=tuple(marked),
    )


def _readable(others: Sequence[Annotation], sizes: dict[int, tuple[int, int]]) -> list[Annotation]:
    """Older annotations that can be read: one of theirs that cannot says nothing against the one that rules."""
    found = []
    for one in others:
        try:
            one.regions(sizes)
        except RequestError:
            continue
        found.append(one)
    return found


def _disputed(regions: Sequence[Region], others: Sequence[Sequence[Region]]) -> frozenset[str]:
    """Ids of regions at a place that another annotation calls by another name, as the ledger's quarantine has it."""
    against = [one for each in others for one in each]
    overlaps = iou(as_boxes([one.box for one in regions]), as_boxes([one.box for one in against]))
    return frozenset(
        one.id
        for row, one in enumerate(regions)
        for column, other in enumerate(against)
        if one.page == other.page and one.label != other.label and overlaps[row, column] >= CONTRADICTION
    )


def _blank(page: Page, sheet: Sheet, ruling: Ruling, index: int, sha256: str) -> FrozenPage:
    left, item = ruling.annotation, sheet.item or 0
    meant = {mark for binding in sheet.bindings for marks in binding.meanings.values() for mark in marks}
    return FrozenPage(
        name=page_name(left.task, index),
        document="",
        split="",
        sha256=sha256,
        width=page.width,
        height=page.height,
        dpi=None if page.dpi is None else round(page.dpi, 2),
        language=ruling.language,
        classes=tuple(mark for mark in MARKS if mark in meant),
        origin=Origin(
            project=left.project or 0,
            task=left.task,
            item=index,
            annotation=left.id,
            updated=datetime.fromtimestamp(left.updated, UTC).isoformat(),
            shown=ruling.shown,
            number=ruling.numbers[item] if item < len(ruling.numbers) else None,
        ),
    )


def _with_marks(
    page: FrozenPage, regions: Sequence[Region], disputed: frozenset[str], rotations: dict[str, float]
) -> FrozenPage:
    marks: list[FrozenMark] = []
    ignored: list[Corners] = []
    for one in regions:
        box = corners(one.box)
        if box[2] <= box[0] or box[3] <= box[1]:
            continue  # less than a hundredth of a pixel wide: a click, not a mark
        if one.id in disputed:
            ignored.append(box)
        else:
            marks.append(FrozenMark(id=one.id, label=one.label, box=box, rotation=round(rotations.get(one.id, 0.0), 2)))
    return FrozenPage(**vars(page) | {"marks": tuple(marks), "ignored": tuple(ignored)})
