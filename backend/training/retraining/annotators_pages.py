"""Fetches pages as annotators left them, of documents on given sides of the split: to judge by, or to learn from.

Until all pages of a task are known, they wait in a file without a name, and not in memory.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import cv2
import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Engine, select

from backend.corrections.crop_store import fingerprint, perceptual
from backend.corrections.label_history import with_past
from backend.corrections.splits import document_key, split_of
from backend.corrections.tables import annotation, sample
from backend.corrections.tables import document as table
from backend.dataset.gathering import PageLook, known_documents
from backend.dataset.gathering import sides as assigned
from backend.errors import BackendError, LabelStudioError, PageError, PagesAway, RequestError
from backend.labelstudio.annotations import Annotation
from backend.labelstudio.project_annotations import turned_page
from backend.pages.encoding import png_bytes
from backend.vision.network_config import MARKS

if TYPE_CHECKING:
    from backend.pages.page import Page

__all__ = ["KnownPage", "PageOf", "PageSpool", "SpooledPage", "annotated_pages", "first_and_last"]

_COMPRESSION = 1
PageOf = Callable[[Annotation, int], "Page"]
_PATIENCE = 10
"""After so many tasks in a row that cannot be fetched, no more are: each may take FETCH_TIMEOUT."""


@dataclass(frozen=True, kw_only=True)
class SpooledPage:
    """What is known of a page while its pixels are elsewhere.

    Attributes:
        width: In pixels.
        height: In pixels.
        dpi: Its resolution, where the file says it.
        sha256: Of its pixels.
        phash: Its perceptual hash.
        start: Where its pixels begin in the file.
        size: Bytes there.
    """

    width: int
    height: int
    dpi: float | None
    sha256: str
    phash: str
    start: int
    size: int


class PageSpool:
    """Pages on disk, without loss; when the process ends, however that may be, they are gone.

    Args:
        folder: On the disk that is to have them.
    """

    def __init__(self, folder: Path) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  closed by __exit__

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, page: Page) -> SpooledPage:
        """Takes a page.

        Raises:
            OSError: The disk is full.
        """
        encoded = png_bytes(page.pixels, compression=_COMPRESSION)
        start = self._file.seek(0, 2)
        self._file.write(encoded)
        return SpooledPage(
            width=page.width,
            height=page.height,
            dpi=page.dpi,
            sha256=fingerprint(page.pixels),
            phash=perceptual(page.pixels),
            start=start,
            size=len(encoded),
        )

    def pixels(self, page: SpooledPage) -> NDArray[np.uint8]:
        """A page's pixels: (H, W, 3) RGB, as they were."""
        self._file.seek(page.start)
        data = np.frombuffer(self._file.read(page.size), np.uint8)
        return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR_RGB), np.uint8)


@dataclass(frozen=True, kw_only=True, eq=False)
class KnownPage:
    """A page with its marks, before it is a file.

    Attributes:
        name: Unique among all pages.
        document: The key of its document.
        side: Of the split.
        pixels: (H, W, 3) RGB.
        marks: The class and xyxy pixels of each.
        disputed: Boxes about which annotators disagree: neither right nor wrong.
        dpi: Its resolution, where the file says it.
        complete: The classes that the label config of its project asks for, so that all of their marks are there.
        sha256: Of its pixels.
    """

    name: str
    document: str
    side: str
    pixels: NDArray[np.uint8]
    marks: tuple[tuple[str, tuple[float, ...]], ...]
    disputed: tuple[tuple[float, ...], ...] = ()
    dpi: float | None = None
    complete: tuple[str, ...] = MARKS
    sha256: str = ""


def annotated_pages(
    engine: Engine,
    page_of: PageOf,
    *,
    sides: Collection[str],
    most: int,
    spool: Path,
    missing: list[str],
    without: Collection[int] = (),
    insist: bool = False,
) -> Iterator[KnownPage]:
    """Pages of tasks whose document is on one of `sides`, the newest tasks first; a task is there wholly or not.

    Of each task the newest submitted annotation counts. Tasks without a mark, and with nothing shown on them, are among
    them: they tell what is no mark. A page that another document has on another side, pixel for pixel, is left out, for
    what is learnt there must not be judged here.

    Args:
        engine: The ledger's database.
        page_of: Fetches a page.
        sides: Of the split.
        most: Tasks, after which no more are fetched; fewer where ten in a row cannot be fetched.
        spool: Folder for a task's pages until all of them are known, in a file without a name.
        missing: Gets a sentence for each task that could not be fetched.
        without: Tasks that are passed over.
        insist: Whether it is an error that of ten in a row, the newest ones, none can be fetched.

    Raises:
        PagesAway: That is so.
    """
    found = in_vain = 0
    for left in _newest(engine):
        if found == most:
            return
        if in_vain == _PATIENCE:
            if insist and not found:
                told = first_and_last(missing)
                raise PagesAway(
                    f"none of the newest {_PATIENCE} tasks can be fetched, {told}: the training can go on when Label "
                    "Studio gives them again"
                )
            missing[-1] += f" (the last of {_PATIENCE} in a row: no more were asked for)"
            return
        if left.task in without:
            continue
        with PageSpool(spool) as kept:
            try:
                key = known_documents(engine, [left.task]).get(left.task) or document_key(
                    left.document, left.references
                )
                if _side(engine, key) not in sides:
                    continue
                pages = {index: kept.add(page_of(left, index)) for index in range(len(left.task_pages))}
                _ask_for_the_same(engine, left, pages)
                known = _pages_of(left, pages, _disputed(engine, left.task))
            except BackendError as error:
                missing.append(f"task {left.task}: {error}")
                in_vain += isinstance(error, PageError | LabelStudioError)
                continue
            found, in_vain = found + 1, 0
            side = _decided(engine, left, key, pages)
            if side is not None and side in sides:
                elsewhere = _elsewhere(engine, side, pages)
                for index, facts in known.items():
                    if index not in elsewhere:
                        yield KnownPage(**facts, document=key, side=side, pixels=kept.pixels(pages[index]))


def first_and_last(missing: Sequence[str]) -> str:
    """Names the first and the last of the tasks that could not be fetched; there is at least one."""
    first, *others = missing
    return f"the first of them: {first}" + (f"; the last: {others[-1]}" if others else "")


def _newest(engine: Engine) -> list[Annotation]:
    """Of each task its newest submitted annotation, the newest first; of two of one moment the earlier one rules."""
    wanted = select(annotation).where(annotation.c.deleted.is_(False))
    wanted = wanted.order_by(annotation.c.updated, annotation.c.id.desc())
    with engine.connect() as connection:
        rows = connection.execute(wanted).all()
        left = [Annotation(**row.body) for row in rows if row.body]
        newest = {one.task: one for one in left if not one.skipped}
        return sorted(with_past(connection, newest.values()), key=lambda one: (-one.updated, one.task))


def _side(engine: Engine, key: str) -> str:
    """The side of a document; of one that the ledger has no page of, the one that it will be on."""
    with engine.connect() as connection:
        side = connection.execute(select(table.c.split).where(table.c.key == key).limit(1)).scalar()
    return str(side or split_of(key))


def _decided(engine: Engine, left: Annotation, key: str, pages: Mapping[int, SpooledPage]) -> str | None:
    """The side that a document is on now that its pages are known; noted, so that no later sample lands on another."""
    # What tells a document are its pages with marks, if there are any: so its samples and data sets have it.
    telling = [pages[index] for index in sorted(left.pages() & pages.keys()) or sorted(pages)]
    looks = [PageLook(document=key, page_sha256=page.sha256, page_phash=page.phash) for page in telling]
    return assigned(engine, looks).documents.get(key)


def _elsewhere(engine: Engine, side: str, pages: Mapping[int, SpooledPage]) -> set[int]:
    """Indices of a document's pages that are on another side as well, as pages of other documents."""
    others = select(table.c.page_sha256).where(
        table.c.page_sha256.in_([page.sha256 for page in pages.values()]), table.c.split != side
    )
    with engine.connect() as connection:
        found = set(connection.execute(others).scalars())
    return {index for index, page in pages.items() if page.sha256 in found}


def _ask_for_the_same(engine: Engine, left: Annotation, pages: Mapping[int, SpooledPage]) -> None:
    """Refuses a page that is another picture than the one that its samples were cut from.

    Raises:
        RequestError: A page was replaced.
    """
    with engine.connect() as connection:
        rows = connection.execute(select(sample.c.page, sample.c.page_sha256).where(sample.c.task == left.task)).all()
    for index, page in pages.items():
        cut_from = {row.page_sha256 for row in rows if row.page == index}
        if cut_from and page.sha256 not in cut_from:
            raise RequestError(f"page {index + 1} was replaced since its marks were boxed")


def _disputed(engine: Engine, task: int) -> dict[str, Any]:
    """A task's samples about which annotators disagree, by their region."""
    wanted = select(sample).where(sample.c.task == task, sample.c.quarantine.is_not(None))
    with engine.connect() as connection:
        return {row.region: row for row in connection.execute(wanted.order_by(sample.c.id))}


def _pages_of(
    left: Annotation, pages: Mapping[int, SpooledPage], disputed: Mapping[str, Any]
) -> dict[int, dict[str, Any]]:
    """What is known about each page of a task.

    Raises:
        RequestError: A page was turned since, so that the boxes are not where they were drawn.
    """
    for index, page in pages.items():
        if reason := turned_page(left, index, width=page.width, height=page.height):
            raise RequestError(f"page {index + 1} was {reason}")
    sizes = {index: (page.width, page.height) for index, page in pages.items()}
    regions, unread = left.regions(sizes), left.unread(sizes)
    return {
        index: {
            "name": f"task-{left.task}-{index}",
            "dpi": page.dpi,
            "sha256": page.sha256,
            "complete": _asked_for(left, index),
            "marks": tuple((one.label, one.box) for one in regions if one.page == index and one.id not in disputed),
            "disputed": tuple((row.x1, row.y1, row.x2, row.y2) for row in disputed.values() if row.page == index)
            + tuple(one.box for one in unread if one.page == index),
        }
        for index, page in pages.items()
    }


def _asked_for(left: Annotation, index: int) -> tuple[str, ...]:
    bindings = left.task_pages[index].bindings
    meant = {mark for binding in bindings for marks in binding.meanings.values() for mark in marks}
    return tuple(mark for mark in MARKS if mark in meant)
