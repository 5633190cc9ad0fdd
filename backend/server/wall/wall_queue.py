"""Which crops hang on the wall: marks of one class as they are called now, the most doubtful first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, and_, exists, func, select

from backend.corrections.outcomes import Outcome
from backend.corrections.tables import annotation, decision, prediction, proposal, sample
from backend.vision.network_config import CLASSES, MARKS

__all__ = ["CropItem", "crops_on_page", "queue", "totals"]

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
        yield CropItem(
            project=project,
            task=row.task,
            page=row.page,
            region=row.region,
            label=row.label,
            box=(row.x1, row.y1, row.x2, row.y2),
            size=(row.page_width, row.page_height),
            doubt=1.0 - row.score,
            annotation=None,
            updated=None,
        )


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
        yield CropItem(
            project=project,
            task=row.task,
            page=row.page,
            region=row.region,
            label=row.label,
            box=(row.x1, row.y1, row.x2, row.y2),
            size=(row.page_width, row.page_height),
            doubt=_UNSURE if not row.probabilities else 1.0 - row.probabilities[CLASSES.index(row.label)],
            annotation=row.annotation,
            updated=row.updated,
        )


def _decided(connection: Connection, project: int) -> set[tuple[int, str]]:
    rows = select(decision.c.task, decision.c.region).where(decision.c.project == project, decision.c.undone.is_(None))
    return {(row.task, row.region) for row in connection.execute(rows)}
