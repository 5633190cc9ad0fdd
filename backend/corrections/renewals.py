"""Tasks whose stored predictions a correction changes: planned when it is learnt, done by whoever serves.

What a person answered about look-alikes stays: such a stored prediction is no program's to change any more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, delete, func, or_, select, update

from backend.corrections.database import insert_into, writing
from backend.corrections.sights import NearRows, find_alike
from backend.corrections.tables import annotation, memory, prediction, proposal, renewal, ruling, sample

__all__ = [
    "LONGEST_WAIT",
    "Renewal",
    "done_with",
    "due_renewals",
    "note_rulings",
    "plan_renewals",
    "plan_undoing",
    "put_off_renewal",
    "ruled_among",
]

LONGEST_WAIT = 3600.0
"""Seconds until a renewal is tried again, at most: one that is due later was planned by a clock that was ahead."""

_MOST_SHOWN_ANEW = 200
"""Tasks that are looked at, for the end of one correction, because they once were shown something else."""
_MOST_VARIABLES = 500
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

    Tasks that somebody annotated are left alone: what is there is an annotator's now. Those that were only skipped come
    up again. A sample that is not remembered any more changes nothing.

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
        remembered = (memory.c.sample == name) & (memory.c.network == network) & memory.c.picture.is_not(None)
        if connection.execute(select(memory.c.sample).where(remembered)).first() is None:
            return 0
    alike = find_alike(engine, rows, name, network=network, distance=distance, most=_MOST_ALIKE)
    tasks = {one.task: one.project for one in alike if one.same and one.label != label and one.project is not None}
    with engine.connect() as connection:
        open_ones = _open(connection, tasks)
    _plan(engine, open_ones, name, due=due)
    return len(open_ones)


def plan_undoing(engine: Engine, name: str, *, due: float) -> int:
    """Plans to predict the tasks anew that a verdict may have changed which nobody follows any more.

    Those are the open tasks with a box that it renamed, and those that were shown something else before, under the
    same version. A box that it removed is in no prediction now: only the earlier one tells of it. A prediction that
    comes out the same stays.

    Args:
        engine: The ledger's database.
        name: The sample whose verdict it was.
        due: When, in seconds since the epoch.

    Returns:
        The number of tasks.
    """
    shown = (prediction.c.drawn.is_(False), prediction.c.blind.is_(False), prediction.c.project.is_not(None))
    bears = (proposal.c.task == prediction.c.task) & (proposal.c.version == prediction.c.version)
    renamed = select(prediction.c.task, prediction.c.project).join(proposal, bears)
    renamed = renamed.where(*shown, proposal.c.recalled == name).distinct()
    several = select(prediction.c.task, func.max(prediction.c.project).label("project")).where(*shown)
    several = several.group_by(prediction.c.task, prediction.c.version).having(func.count() > 1)
    tasks: dict[int, int] = {}
    with engine.connect() as connection:
        for one, most in ((renamed, _MOST_ALIKE), (several, _MOST_SHOWN_ANEW)):
            rows = connection.execute(one.order_by(prediction.c.task.desc()).limit(most))
            tasks |= {row.task: row.project for row in rows}
        tasks = _open(connection, tasks)
    _plan(engine, tasks, name, due=due)
    return len(tasks)


def _open(connection: Connection, tasks: Mapping[int, int]) -> dict[int, int]:
    """Those of some tasks, each with its project, that bear no annotation; one that was only skipped comes up again."""
    found, numbers = dict(tasks), sorted(tasks)
    living = annotation.c.deleted.is_(False) & annotation.c.body["skipped"].as_boolean().is_not(True)
    for start in range(0, len(numbers), _MOST_VARIABLES):
        some = annotation.c.task.in_(numbers[start : start + _MOST_VARIABLES])
        for task in connection.execute(select(annotation.c.task).where(some, living)).scalars():
            found.pop(task, None)
    return found


def _plan(engine: Engine, tasks: Mapping[int, int], name: str, *, due: float) -> None:
    if not tasks:
        return
    planned = [
        {"task": task, "project": project, "sample": name, "due": due, "attempts": 0}
        for task, project in sorted(tasks.items())
    ]
    with writing(engine) as connection:
        connection.execute(insert_into(renewal, engine).on_conflict_do_nothing(), planned)


def note_rulings(engine: Engine, tasks: Mapping[int, Sequence[str]], name: str, *, at: float) -> None:
    """Notes stored predictions, by task and version, that a person changed by following a sample's verdict."""
    rows = [
        {"task": task, "version": version, "sample": name, "at": at}
        for task, versions in tasks.items()
        for version in sorted(set(versions))
    ]
    if rows:
        with writing(engine) as connection:
            connection.execute(insert_into(ruling, engine).on_conflict_do_nothing(), rows)


def ruled_among(engine: Engine, tasks: Sequence[int], *, version: str) -> set[int]:
    """Those of some tasks whose prediction of a version a person changed."""
    theirs = select(ruling.c.task).where(ruling.c.task.in_(tasks), ruling.c.version == version)
    with engine.connect() as connection:
        return set(connection.execute(theirs).scalars())


def due_renewals(engine: Engine, *, now: float, most: int) -> tuple[Renewal, ...]:
    """Some tasks of one project that are due, the newest first."""
    with engine.connect() as connection:
        wanted = or_(renewal.c.due <= now, renewal.c.due > now + LONGEST_WAIT)
        due = select(renewal).where(wanted).order_by(renewal.c.attempts, renewal.c.task.desc())
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
