"""Tasks whose stored predictions a correction changes: planned when it is learnt, done by whoever serves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Engine, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from backend.corrections.database import writing
from backend.corrections.sights import NearRows, find_alike
from backend.corrections.tables import annotation, renewal, sample

__all__ = ["Renewal", "done_with", "due_renewals", "plan_renewals", "put_off_renewal"]

_MOST_ALIKE = 1000
"""Boxes that are compared for one correction: what is nearer than all of them is among them."""


@dataclass(frozen=True, kw_only=True)
class Renewal:
    """A task to be predicted anew.

    Attributes:
        sample: The correction that it shows the like of.
        attempts: How often it failed.
    """

    task: int
    project: int
    sample: str
    attempts: int


def plan_renewals(engine: Engine, rows: NearRows, name: str, *, network: str, distance: float, due: float) -> int:
    """Plans to predict the tasks anew that show the very thing that a sample corrects, under another name.

    Tasks that somebody annotated are left alone: what is there is an annotator's now.

    Args:
        engine: The ledger's database.
        rows: How shown boxes look.
        name: The sample.
        network: Whose embeddings are compared.
        distance: Furthest at which a box may be the same thing.
        due: When, in seconds since the epoch.

    Returns:
        The number of tasks.
    """
    with engine.connect() as connection:
        label = connection.execute(select(sample.c.label).where(sample.c.id == name)).scalar()
        living = annotation.c.deleted.is_(False) & annotation.c.task.is_not(None)
        taken = set(connection.execute(select(annotation.c.task).where(living)).scalars())
    alike = find_alike(engine, rows, name, network=network, distance=distance, most=_MOST_ALIKE)
    tasks = {
        one.task: one.project
        for one in alike
        if one.same and one.label != label and one.project is not None and one.task not in taken
    }
    if tasks:
        make = postgresql.insert if engine.dialect.name == "postgresql" else sqlite.insert
        planned = [
            {"task": task, "project": project, "sample": name, "due": due, "attempts": 0}
            for task, project in sorted(tasks.items())
        ]
        with writing(engine) as connection:
            connection.execute(make(renewal).on_conflict_do_nothing(), planned)
    return len(tasks)


def due_renewals(engine: Engine, *, now: float, most: int) -> tuple[Renewal, ...]:
    """Some tasks of one project that are due, the newest first."""
    with engine.connect() as connection:
        due = select(renewal).where(renewal.c.due <= now).order_by(renewal.c.attempts, renewal.c.task.desc())
        first = connection.execute(due.limit(1)).first()
        if first is None:
            return ()
        rows = connection.execute(due.where(renewal.c.project == first.project).limit(most))
        return tuple(
            Renewal(task=row.task, project=row.project, sample=row.sample, attempts=row.attempts) for row in rows
        )


def done_with(engine: Engine, tasks: Sequence[int]) -> None:
    """Crosses tasks out."""
    with writing(engine) as connection:
        connection.execute(delete(renewal).where(renewal.c.task.in_(tasks)))


def put_off_renewal(engine: Engine, task: int, *, until: float) -> None:
    """Has a task tried again later."""
    with writing(engine) as connection:
        later = update(renewal).where(renewal.c.task == task)
        connection.execute(later.values(due=until, attempts=renewal.c.attempts + 1))
