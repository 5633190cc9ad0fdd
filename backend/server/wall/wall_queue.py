"""Which crops hang on the wall: marks of one class as they are called now, the most doubtful first; and how they look.

Small pictures of them, and how alike they are, are made when they are asked for and kept for a while.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Engine, Row, and_, exists, func, select

from backend.corrections.history_tables import decision
from backend.corrections.outcomes import Outcome
from backend.corrections.tables import annotation, prediction, proposal, sample
from backend.errors import PageUnavailable, RequestError
from backend.geometry import as_boxes
from backend.labelstudio.connections import first_page
from backend.labelstudio.labelling import bind
from backend.labelstudio.tasks import task_pages
from backend.pages.encoding import thumbnail
from backend.vision.network_config import CLASSES, MARKS

if TYPE_CHECKING:
    from backend.labelstudio.connections import Connections

__all__ = ["CropItem", "Looks", "alike_first", "crops_on_page", "in_likeness", "queue", "totals"]

_MOST_LOOKED_AT = 5000
_UNSURE = 0.5
"""Doubt of a mark that the model has no word about: a person drew it where nothing was shown."""

Box = tuple[float, float, float, float]


@dataclass(frozen=True, kw_only=True)
class CropItem:
    """One mark.

    Attributes:
        project: Label Studio's project.
        task: Its task.
        page: Index of the page within the task.
        region: The region's id.
        label: What it is called now: signature, stamp or thumb.
        box: x1, y1, x2, y2 in pixels of the upright page.
        size: Width and height of the page in pixels.
        doubt: From 0 to 1, how much the model believes that it is something else.
        annotation: The annotation that it stands in; None where it is predicted and nobody annotated the task.
        updated: When that annotation was saved last.
    """

    project: int
    task: int
    page: int
    region: str
    label: str
    box: Box
    size: tuple[int, int]
    doubt: float
    annotation: int | None
    updated: float | None

    @property
    def key(self) -> str:
        return f"{self.task}.{self.page}.{self.region}"

    def as_json(self) -> dict[str, Any]:
        told = {name: value for name, value in vars(self).items() if name not in {"box", "size"}}
        percent = [round(100 * side / of, 2) for side, of in zip(self.box, self.size * 2, strict=True)]
        return told | {"key": self.key, "doubt": round(self.doubt, 4), "percent": percent}


def queue(engine: Engine, *, project: int, label: str, every: bool = False) -> list[CropItem]:
    """The marks of a class, the most doubtful first.

    Args:
        engine: The ledger's database.
        project: Label Studio's project.
        label: The class.
        every: Also those that were decided on here already.
    """
    with engine.connect() as connection:
        found = [*_predicted(connection, project, label), *_annotated(connection, project, label)]
        known = set() if every else _decided(connection, project)
    left = [one for one in found if (one.task, one.region) not in known]
    return sorted(left, key=lambda one: (-one.doubt, one.task, one.page, one.region))


def totals(engine: Engine, *, project: int) -> dict[str, int]:
    """How many crops wait, by class."""
    return {label: len(queue(engine, project=project, label=label)) for label in MARKS}


def crops_on_page(engine: Engine, *, project: int, task: int, page: int) -> list[CropItem]:
    """All marks on one page, of any class, decided on or not."""
    with engine.connect() as connection:
        return [
            one
            for label in MARKS
            for one in (
                *_predicted(connection, project, label, task=task),
                *_annotated(connection, project, label, task=task),
            )
            if one.page == page
        ]


def _predicted(connection: Connection, project: int, label: str, *, task: int | None = None) -> Iterator[CropItem]:
    """Of tasks that nobody annotated: what was shown last. Blind tasks stay blind."""
    living = exists().where(annotation.c.task == prediction.c.task, annotation.c.deleted.is_(False))
    other = prediction.alias("other")
    blind = exists().where(other.c.task == prediction.c.task, other.c.blind)
    of_project = (prediction.c.project == project, prediction.c.drawn.is_(False))
    newest = (
        select(prediction.c.task, func.max(prediction.c.shown).label("shown"))
        .where(*of_project, ~living, ~blind, *(() if task is None else (prediction.c.task == task,)))
        .group_by(prediction.c.task)
        .subquery()
    )
    same = (proposal.c[name] == prediction.c[name] for name in ("task", "version", "edition"))
    rows = (
        select(proposal)
        .join(prediction, and_(*same))
        .join(newest, and_(newest.c.task == prediction.c.task, newest.c.shown == prediction.c.shown))
        .where(proposal.c.label == label, prediction.c.drawn.is_(False))
        .order_by(proposal.c.score, proposal.c.task, proposal.c.region)
        .limit(_MOST_LOOKED_AT)
    )
    for row in connection.execute(rows):
        yield _item(row, project, doubt=1.0 - row.score)


def _annotated(connection: Connection, project: int, label: str, *, task: int | None = None) -> Iterator[CropItem]:
    """Of annotated tasks: what the annotation that rules has, once the ledger has learnt from its newest state."""
    other = annotation.alias("other")
    newer = exists().where(
        other.c.task == annotation.c.task, other.c.deleted.is_(False), other.c.updated > annotation.c.updated
    )
    current = (annotation.c.deleted.is_(False), annotation.c.turned == annotation.c.updated, ~newer)
    drawn = sample.c.outcome.not_in([Outcome.REJECTED, Outcome.DUPLICATE])
    rows = (
        select(sample, annotation.c.updated)
        .join(annotation, annotation.c.id == sample.c.annotation)
        .where(sample.c.project == project, sample.c.label == label, drawn, *current)
        .where(*(() if task is None else (sample.c.task == task,)))
        .order_by(sample.c.annotated.desc(), sample.c.id)
        .limit(_MOST_LOOKED_AT)
    )
    for row in connection.execute(rows):
        doubt = 1.0 - row.probabilities[CLASSES.index(row.label)] if row.probabilities else _UNSURE
        yield _item(row, project, doubt=doubt, annotation=row.annotation, updated=row.updated)


def _item(
    row: Row[Any], project: int, *, doubt: float, annotation: int | None = None, updated: float | None = None
) -> CropItem:
    return CropItem(
        project=project,
        task=row.task,
        page=row.page,
        region=row.region,
        label=row.label,
        box=(row.x1, row.y1, row.x2, row.y2),
        size=(row.page_width, row.page_height),
        doubt=doubt,
        annotation=annotation,
        updated=updated,
    )


def _decided(connection: Connection, project: int) -> set[tuple[int, str]]:
    rows = select(decision.c.task, decision.c.region).where(decision.c.project == project, decision.c.undone.is_(None))
    return {(row.task, row.region) for row in connection.execute(rows)}


_WIDTH, _HEIGHT = 200, 120
_AROUND_WIDTH, _AROUND_HEIGHT = 1100, 576
_AROUND = 1.5
"""Of a crop's sides, on each side of it: the words before a field, and the line that is signed on."""
_MOST_LOOKS = 6000
"""Of some 8 kB each."""
_MOST_CONFIGS = 200
_AT_ONCE = 2
"""Pages that are decoded at once, beside those of predictions: an A4 page at 300 dpi is 26 MB."""

Embed = Callable[[NDArray[np.uint8], NDArray[np.float64]], NDArray[np.float32]]


@dataclass(frozen=True, eq=False)
class CropLook:
    """A crop as a JPEG, and its embedding of unit length."""

    jpeg: bytes
    embedding: NDArray[np.float32]


class Looks:
    """Makes the looks of all crops of a page at once, for its pixels are the dear part.

    Args:
        connections: Ways into Label Studio, by project.
        on_page: Gives all crops on a page, by project, task and page.
        embed: Embeds boxes of a page's pixels.
    """

    def __init__(
        self, connections: Connections, *, on_page: Callable[[int, int, int], Sequence[CropItem]], embed: Embed
    ) -> None:
        self._connections = connections
        self._on_page = on_page
        self._embed = embed
        self._kept: OrderedDict[tuple[str, str], CropLook] = OrderedDict()
        self._references: OrderedDict[tuple[int, int], tuple[str, ...]] = OrderedDict()
        self._making: dict[tuple[int, int, int], threading.Lock] = {}
        self._lock = threading.Lock()
        self._decoding = threading.BoundedSemaphore(_AT_ONCE)

    def get(self, item: CropItem) -> CropLook:
        """How a crop looks.

        Raises:
            PageError: Its page cannot be had.
            RequestError: The task no longer names it.
            LabelStudioError: Label Studio refused or did not answer.
        """
        found = self._known(item)
        if found is not None:
            return found
        page = (item.project, item.task, item.page)
        with self._lock:
            turn = self._making.setdefault(page, threading.Lock())
        with turn:
            found = self._known(item)
            if found is None:
                made = self._make(item)
                with self._lock:
                    self._keep(made)
                    self._making.pop(page, None)
                found = made[_name(item)]
        return found

    def around(self, item: CropItem) -> bytes:
        """A JPEG of a crop's surroundings on its page, with a line around the crop; it is not kept.

        Raises:
            PageError: Its page cannot be had.
            RequestError: The task no longer names it.
            LabelStudioError: Label Studio refused or did not answer.
        """
        reference = self._reference(item)
        with self._decoding:
            page = first_page(self._connections.pages(str(item.project)), reference, task=item.task)
            return thumbnail(
                page.pixels, item.box, width=_AROUND_WIDTH, height=_AROUND_HEIGHT, margin=_AROUND, framed=True
            )

    def _known(self, item: CropItem) -> CropLook | None:
        with self._lock:
            found = self._kept.get(_name(item))
            if found is not None:
                self._kept.move_to_end(_name(item))
            return found

    def _keep(self, made: dict[tuple[str, str], CropLook]) -> None:
        for name, look in made.items():
            self._kept[name] = look
            self._kept.move_to_end(name)
        while len(self._kept) > _MOST_LOOKS:
            self._kept.popitem(last=False)

    def _make(self, item: CropItem) -> dict[tuple[str, str], CropLook]:
        reference = self._reference(item)
        items = list({_name(one): one for one in (*self._on_page(item.project, item.task, item.page), item)}.values())
        with self._decoding:
            page = first_page(self._connections.pages(str(item.project)), reference, task=item.task)
            embeddings = self._embed(page.pixels, as_boxes([one.box for one in items])).astype(np.float32)
            jpegs = [thumbnail(page.pixels, one.box, width=_WIDTH, height=_HEIGHT) for one in items]
        length = np.linalg.norm(embeddings, axis=1, keepdims=True)
        unit = (embeddings / np.where(length > 0, length, 1)).astype(np.float32)
        return {_name(one): CropLook(jpeg, row) for one, jpeg, row in zip(items, jpegs, unit, strict=True)}

    def _reference(self, item: CropItem) -> str:
        place = (item.project, item.task)
        with self._lock:
            found = self._references.get(place)
        if found is None:
            studio = self._connections.studio(str(item.project))
            task = studio.call("GET", f"/api/tasks/{item.task}/")
            config = str(studio.project(item.project).get("label_config") or "")
            found = tuple(task_page.reference for task_page in task_pages(0, task, bind(config)))
            with self._lock:
                self._references[place] = found
                while len(self._references) > _MOST_CONFIGS:
                    self._references.popitem(last=False)
        if item.page >= len(found):
            raise RequestError(f"task {item.task} has {len(found)} pages by now, and no page {item.page + 1}")
        return found[item.page]


def in_likeness(items: Sequence[CropItem], looks: Looks) -> list[CropItem]:
    """Crops in an order in which neighbours look alike; those that cannot be looked at come last.

    Average linkage over cosine distance, its leaves in optimal order (Bar-Joseph et al., 2001), so that the same
    mistake made a hundred times hangs together.
    """
    # A serving process would load them as it starts; most never show the wall.
    from scipy.cluster.hierarchy import leaves_list, linkage  # noqa: PLC0415
    from scipy.spatial.distance import pdist  # noqa: PLC0415

    seen, unseen, embeddings = _looked(items, looks)
    if len(seen) < 3:
        return [*seen, *unseen]
    tree = linkage(pdist(embeddings, "cosine").clip(min=0), "average", optimal_ordering=True)
    return [*(seen[place] for place in leaves_list(tree)), *unseen]


def alike_first(items: Sequence[CropItem], looks: Looks, *, to: CropItem) -> list[CropItem]:
    """Crops by how much they look like one of them, which comes first; those that cannot be looked at come last."""
    seen, unseen, embeddings = _looked(items, looks)
    if not seen:
        return unseen
    order = np.argsort(-(embeddings @ looks.get(to).embedding), kind="stable")
    return [*(seen[place] for place in order.tolist()), *unseen]


def _looked(items: Iterable[CropItem], looks: Looks) -> tuple[list[CropItem], list[CropItem], NDArray[np.float64]]:
    seen, unseen, embeddings = [], [], []
    for one in items:
        try:
            embeddings.append(looks.get(one).embedding)
        except (PageUnavailable, RequestError):
            unseen.append(one)
        else:
            seen.append(one)
    return seen, unseen, np.array(embeddings, np.float64).reshape(len(seen), -1)


def _name(item: CropItem) -> tuple[str, str]:
    """A crop by its place and its box: moved, it looks otherwise."""
    return f"{item.project}.{item.key}", ",".join(f"{side:.1f}" for side in item.box)
