"""What the model finds and misses, as people say who saw no boxes, and as people say who saw them; from the ledger.

People who are shown boxes overlook marks without one. So recall on their pages is too high; on blind pages it is not.

Blind pages and pages with boxes side by side, for a terminal.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Engine, select

from backend.corrections.label_history import with_past
from backend.corrections.shown import Prediction, origin_of, shown_before
from backend.corrections.tables import annotation
from backend.errors import EvaluationError
from backend.evaluation.bootstrap import RESAMPLES, SEED, by_document, weights
from backend.evaluation.figures import IOUS, Rates, by_class
from backend.evaluation.study import BACKGROUND, FoundMarks, match
from backend.evaluation.truth import TruePage
from backend.geometry import as_boxes
from backend.labelstudio.annotations import Annotation, Region
from backend.vision.network_config import MARKS

__all__ = ["AtIou", "BlindFigures", "Group", "Reading", "blind_table", "compare", "readings"]

_NOTES = (
    "on blind pages what people overlook counts against the box, so that its precision is at least this; on pages with",
    "boxes people overlook what the boxes lack, so that its recall is at most this",
)
_ANY_SIZE = (1000, 1000)
"""Size of a page on which nothing was found: there is no box to compare its marks with."""


def blind_table(figures: BlindFigures) -> str:
    """All figures with their 95 % intervals, as lines of text."""
    return "\n".join(_lines(figures))


def _lines(figures: BlindFigures) -> Iterator[str]:
    for version, tasks in figures.versions.items():
        yield f"{version}: {tasks} blind tasks"
    yield f"[ ] are 95 % intervals, {figures.resamples} resamples of documents"
    for iou, blind in figures.blind.end_to_end.items():
        shown = figures.shown.end_to_end[iou]
        yield ""
        yield f"IoU {iou:<9}{'blind: ' + _size(figures.blind):<56}shown: {_size(figures.shown)}"
        yield f"  {'':<11}" + "".join(f"{'marks':>5}  {'recall':<23}{'precision':<26}" for _ in (0, 1)).rstrip()
        for (name, left), (_, right) in zip(_rows(blind), _rows(shown), strict=True):
            yield f"  {name:<11}{_cells(left):<56}{_cells(right)}".rstrip()
    yield ""
    yield from _NOTES


def _rows(part: AtIou) -> list[tuple[str, Rates]]:
    return [*part.classes.items(), ("macro", part.macro)]


def _cells(one: Rates) -> str:
    return f"{one.marks:>5}  {one.recall!s:<23}{one.precision!s:<26}"


def _size(group: Group) -> str:
    return f"{group.documents} documents, {group.tasks} tasks"


@dataclass(frozen=True, kw_only=True, eq=False)
class Reading:
    """One annotated task: what people left on it, and what the model had found.

    Attributes:
        document: The document that the task belongs to.
        version: Of the model.
        blind: Whether its boxes were kept from the annotators.
        pages: The marks that they left and the boxes that it found, page by page.
    """

    document: str
    version: str
    blind: bool
    pages: tuple[tuple[TruePage, FoundMarks], ...]


@dataclass(frozen=True, kw_only=True)
class AtIou:
    """Rates at one IoU; rows of the confusion are the truth, columns what was found, the last of each background."""

    classes: dict[str, Rates]
    macro: Rates
    confusion: list[list[int]]


@dataclass(frozen=True, kw_only=True)
class Group:
    """What annotations of one sort say of the boxes; `end_to_end` is by IoU, such as "0.5"."""

    documents: int
    tasks: int
    end_to_end: dict[str, AtIou]


@dataclass(frozen=True, kw_only=True)
class BlindFigures:
    """Both sorts of pages.

    Attributes:
        versions: How many blind tasks there are of each model version.
        blind: Figures of pages whose annotators saw no boxes.
        shown: Figures of pages whose annotators saw the boxes of the same versions.
    """

    versions: dict[str, int]
    blind: Group
    shown: Group
    resamples: int
    seed: int

    def as_json(self) -> dict[str, Any]:
        """The figures as plain JSON."""
        return dataclasses.asdict(self)


def readings(engine: Engine) -> list[Reading]:
    """Every annotated task whose prediction is remembered; of several annotations of one the newest counts.

    Parked annotations, and those not yet turned into samples, are left out. So are annotations drawn from scratch where
    boxes were shown: nobody knows whether their annotators saw the boxes.
    """
    done = (annotation.c.deleted.is_(False), annotation.c.turned.is_not(None), annotation.c.parked.is_(False))
    with engine.connect() as connection:
        rows = connection.execute(
            select(annotation.c.task, annotation.c.body).where(*done).order_by(annotation.c.updated, annotation.c.id)
        )
        states = [Annotation(**row.body) for row in rows]
        newest = {state.task: state for state in states if not state.skipped}
        ruling = with_past(connection, [newest[task] for task in sorted(newest)])
        return [found for state in ruling for found in _reading(connection, state)]


def compare(
    found: Sequence[Reading], *, version: str = "", resamples: int = RESAMPLES, seed: int = SEED
) -> BlindFigures:
    """Precision and recall on blind pages, and on pages of the same model versions that were shown with their boxes.

    Args:
        found: As `readings` gives them.
        version: Only versions that begin with this.
        resamples: Of the bootstrap over documents.
        seed: Of the bootstrap.

    Raises:
        EvaluationError: No blind page is annotated yet.
    """
    blind = [one for one in found if one.blind and one.version.startswith(version)]
    if not blind:
        of = f" of a version that begins with {version!r}" if version else ""
        raise EvaluationError(
            f"no annotated task{of} was served blind: set BLIND_SHARE, such as 0.1, and let people annotate"
        )
    versions = Counter(one.version for one in blind)
    shown = [one for one in found if not one.blind and one.version in versions]
    return BlindFigures(
        versions=dict(versions.most_common()),
        blind=_group(blind, resamples=resamples, seed=seed),
        shown=_group(shown, resamples=resamples, seed=seed),
        resamples=resamples,
        seed=seed,
    )


def _reading(connection: Connection, state: Annotation) -> Iterator[Reading]:
    kept = state.region_ids()
    prediction = shown_before(
        connection,
        task=state.task,
        regions=kept,
        moment=state.created,
        began_with_boxes=state.began_with_boxes,
    )
    if prediction is None:
        return
    own = {one.region.id for one in prediction.proposals}
    if not (prediction.blind or state.began_with_boxes or own.intersection(kept)):
        return
    yield Reading(
        document=origin_of(state.data, state.references),
        version=prediction.version,
        blind=prediction.blind,
        pages=tuple(_pages(state, prediction)),
    )


def _pages(state: Annotation, prediction: Prediction) -> Iterator[tuple[TruePage, FoundMarks]]:
    sizes = {one.region.page: one.page_size for one in prediction.proposals}
    numbers = sorted(state.pages() | sizes.keys())
    marks = state.regions({number: sizes.get(number, _ANY_SIZE) for number in numbers})
    for number in numbers:
        boxes = [one for one in prediction.proposals if one.region.page == number]
        yield (
            _true_page(state, number, [one for one in marks if one.page == number], sizes.get(number)),
            FoundMarks(
                boxes=as_boxes([one.region.box for one in boxes]),
                labels=np.array([MARKS.index(one.region.label) for one in boxes], np.intp),
                scores=np.array([one.score for one in boxes], np.float64),
            ),
        )


def _true_page(state: Annotation, number: int, marks: Sequence[Region], size: tuple[int, int] | None) -> TruePage:
    reference = state.references[number]
    return TruePage(
        name=reference,
        path=Path(reference),  # where Label Studio has it; the pixels are not asked for
        document=origin_of(state.data, state.references),
        size=size,
        boxes=as_boxes([one.box for one in marks]),
        labels=np.array([MARKS.index(one.label) for one in marks], np.intp),
        traits=(frozenset(),) * len(marks),
        ignored=as_boxes([]),
    )


def _group(found: Sequence[Reading], *, resamples: int, seed: int) -> Group:
    documents = [one.document for one in found]
    # Where there is no document, one without a mark stands in: its figures are unknown, as they should be.
    drawn = weights(max(len(set(documents)), 1), resamples=resamples, seed=seed)
    return Group(
        documents=len(set(documents)),
        tasks=len(found),
        end_to_end={str(iou): _at(iou, found, documents, drawn) for iou in IOUS},
    )


def _at(iou: float, found: Sequence[Reading], documents: Sequence[str], drawn: NDArray[np.int64]) -> AtIou:
    nothing = np.zeros((BACKGROUND + 1, BACKGROUND + 1), np.int64)
    tasks = [sum((match(*page, iou).confusion for page in one.pages), nothing) for one in found]
    confusion = by_document(tasks, documents) if tasks else nothing[None].astype(np.float64)
    classes, means = by_class(confusion, drawn)
    return AtIou(classes=classes, macro=means, confusion=confusion.sum(axis=0).astype(int).tolist())
