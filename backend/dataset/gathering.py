"""Annotated tasks → pages in a draft, upright, with their marks; a task is there wholly or not at all.

Which side of the split each document is on: the ledger's, decided once and shared with every copy of a page.

The ledger's samples that belong to the pages of a version.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, Select, create_engine, select

from backend.corrections.crop_store import perceptual
from backend.corrections.database import writing
from backend.corrections.disputes import CONTRADICTION
from backend.corrections.splits import assign_split, document_key
from backend.corrections.tables import document as table
from backend.corrections.tables import metadata, sample
from backend.dataset.manifest import Corners, FrozenMark, FrozenPage, FrozenSample, Origin, corners
from backend.errors import RequestError
from backend.geometry import as_boxes, iou
from backend.labelstudio.connections import Pages, first_page
from backend.labelstudio.project_annotations import Ruling, turned_page, turns
from backend.labelstudio.vocabulary import UNKNOWN
from backend.vision.network_config import MARKS

if TYPE_CHECKING:
    from backend.dataset.store import VersionDraft
    from backend.labelstudio.annotations import Annotation, Region
    from backend.labelstudio.tasks import TaskPage
    from backend.pages.page import Page

__all__ = ["Gathered", "PageLook", "Sides", "gather", "known_documents", "samples_of", "sides", "sides_without_ledger"]

_PORTION = 500
_SAME_MOMENT = 1e-3


@dataclass(frozen=True, kw_only=True)
class PageLook:
    """How a page of a document is known again.

    Attributes:
        document: The document's key.
        page_sha256: Of the page's upright pixels.
        page_phash: Perceptual hash of the page.
    """

    document: str
    page_sha256: str
    page_phash: str


@dataclass(frozen=True, kw_only=True)
class Sides:
    """Where documents and their pages are.

    Attributes:
        documents: The side of each document, by its key.
        pages: The side of each page that another document has on another side, by document and SHA-256 of its pixels.
    """

    documents: Mapping[str, str]
    pages: Mapping[tuple[str, str], str]

    def of(self, document: str, page_sha256: str) -> str:
        """The side of a page: that of its document, or of the one whose page it is."""
        return self.pages.get((document, page_sha256), self.documents[document])


def sides(engine: Engine, looks: Sequence[PageLook]) -> Sides:
    """The side of each document and page; documents that the ledger did not know are on theirs from now on.

    Args:
        engine: The ledger's database.
        looks: The pages that tell a document, in an order that does not depend on chance.
    """
    with writing(engine) as connection:
        return _assigned(connection, looks)


def sides_without_ledger(looks: Sequence[PageLook]) -> Sides:
    """As `sides`, by the same rules, for documents that no ledger knows."""
    engine = create_engine("sqlite://")
    with engine.begin() as connection:
        metadata.create_all(connection, tables=[table, sample])
        found = _assigned(connection, looks)
    engine.dispose()
    return found


def known_documents(engine: Engine, tasks: Iterable[int]) -> dict[int, str]:
    """The key that the ledger has for the document of each task that it has samples of."""
    wanted = sorted(set(tasks))
    found: dict[int, str] = {}
    with engine.connect() as connection:
        for start in range(0, len(wanted), _PORTION):
            here = sample.c.task.in_(wanted[start : start + _PORTION])
            rows = connection.execute(select(sample.c.task, sample.c.document).where(here).order_by(sample.c.id))
            for row in rows:
                found.setdefault(row.task, row.document)
    return found


def _assigned(connection: Connection, looks: Sequence[PageLook]) -> Sides:
    documents = dict.fromkeys(look.document for look in looks)
    for look in looks:
        assign_split(connection, [look])
    # Only now: a later page may have brought an earlier document to another side.
    pages = {
        (look.document, sha256): side
        for look in looks
        for sha256, side in assign_split(connection, [look]).elsewhere.items()
    }
    return Sides(documents={key: str(connection.execute(_side_of(key)).scalar_one()) for key in documents}, pages=pages)


def _side_of(key: str) -> Select[tuple[str]]:
    return select(table.c.split).where(table.c.key == key).limit(1)


@dataclass(frozen=True, kw_only=True)
class Gathered:
    """A task's pages before their side is known.

    Attributes:
        task: Label Studio's id.
        annotation: Id of the annotation that rules.
        updated: When it was saved, seconds since the epoch.
        document: Key of the document, as the ledger would make it.
        pages: In order; their document and split are still empty.
        unknown: Labels of regions that nobody knows; their places are neither right nor wrong.
        looks: (SHA-256, perceptual hash) of the pages that tell the document: those with marks, if there are any.
    """

    task: int
    annotation: int
    updated: float
    document: str
    pages: tuple[FrozenPage, ...]
    looks: tuple[tuple[str, str], ...]
    unknown: tuple[str, ...] = ()

    def looks_of(self, document: str) -> list[PageLook]:
        return [PageLook(document=document, page_sha256=sha, page_phash=phash) for sha, phash in self.looks]


def _page_name(task: int, page: int) -> str:
    """The name of a page of a task."""
    return f"task-{task}-{page}"


def gather(ruling: Ruling, source: Pages, draft: VersionDraft) -> Gathered:
    """Fetches all pages of a task into a draft, and reads its marks.

    Raises:
        PageError: A page cannot be had.
        RequestError: The annotation does not fit its pages.
        LabelConfigError: The label config offers nothing that marks could be read from.
    """
    left = ruling.annotation
    stored, sizes, looks = [], {}, []
    for index, task_page in enumerate(left.task_pages):
        page = first_page(source, task_page.reference, task=left.task)
        if reason := turned_page(left, index, width=page.width, height=page.height):
            raise RequestError(f"page {index + 1} was {reason}")
        sizes[index] = page.width, page.height
        looks.append((draft.add(page.pixels), perceptual(page.pixels)))
        stored.append(_blank(page, task_page, ruling, index, looks[-1][0]))
    regions = left.read(sizes)
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
        unknown=left.unknown_names(),
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


def _blank(page: Page, task_page: TaskPage, ruling: Ruling, index: int, sha256: str) -> FrozenPage:
    left, item = ruling.annotation, task_page.item or 0
    meant = {mark for binding in task_page.bindings for marks in binding.meanings.values() for mark in marks}
    return FrozenPage(
        name=_page_name(left.task, index),
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
        if one.id in disputed or one.label == UNKNOWN:
            ignored.append(box)
        else:
            marks.append(FrozenMark(id=one.id, label=one.label, box=box, rotation=round(rotations.get(one.id, 0.0), 2)))
    return FrozenPage(**vars(page) | {"marks": tuple(marks), "ignored": tuple(ignored)})


def samples_of(engine: Engine, gathered: Sequence[Gathered]) -> Iterator[FrozenSample]:
    """Samples of the annotations that rule, in the very state that was frozen; disputed ones are left out.

    Two kinds of sample do not fit the version's pages and are left out. The first is of an older state that a worker
    has not replaced yet. The second is of a page whose pixels have changed since.
    """
    states = {one.annotation: one for one in gathered}
    ids = sorted(states)
    with engine.connect() as connection:
        for start in range(0, len(ids), _PORTION):
            here = sample.c.annotation.in_(ids[start : start + _PORTION])
            for row in connection.execute(select(sample).where(here, sample.c.quarantine.is_(None))):
                one = states[row.annotation]
                pixels = {index: page.sha256 for index, page in enumerate(one.pages)}
                if abs(row.annotated - one.updated) > _SAME_MOMENT or pixels.get(row.page) != row.page_sha256:
                    continue
                yield FrozenSample(
                    id=row.id,
                    page=_page_name(row.task, row.page),
                    outcome=row.outcome,
                    label=row.label,
                    wrong=row.wrong,
                    weak=row.weak,
                    version=row.version,
                    box=corners((row.x1, row.y1, row.x2, row.y2)),
                )
