"""Folds events and Label Studio's answers into the newest state of each annotation; asks for what no event told.

Each is a write to the database alone, in one transaction with the event's mark of being done. It depends on the newest
state only: the order and the repetition of events change nothing in the end.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from sqlalchemy import Connection, Engine, and_, delete, or_, select, update

from backend.corrections.belonging import claim, require_one_project
from backend.corrections.database import insert_into, refuses_values, writing
from backend.corrections.hints import HintAnswer, told_states
from backend.corrections.journal import Entry, advance, ask, is_known, reached
from backend.corrections.label_history import note_config
from backend.corrections.leases import forget, forget_all, locked, open_again
from backend.corrections.shown import CLOCKS_APART_SECONDS
from backend.corrections.tables import annotation as table
from backend.corrections.tables import gone_task, prediction, unread_task
from backend.errors import LabelConfigError, RequestError
from backend.escaping import printable
from backend.labelstudio.annotations import Annotation, read_annotation
from backend.labelstudio.json_fields import moment
from backend.labelstudio.protocol import (
    ANNOTATION_ACTIONS,
    PROJECT_ACTIONS,
    creation_of,
    read_config,
    read_event,
    task_ids,
)

__all__ = ["Reconciled", "Studio", "fold", "fold_event", "fold_truth", "forget_tasks", "sync"]

_LOG = logging.getLogger(__name__)
_MOST_VARIABLES = 500
_NOT_FINAL = or_(table.c.deleted.is_(False), table.c.hearsay.is_not(None))
"""Annotations that are there, or of which an event alone told that they are not."""


def fold_event(connection: Connection, entry: Entry) -> str | None:
    """Takes one journal entry into the annotations; gives the reason why it cannot be taken."""
    try:
        with connection.begin_nested():
            _fold_read(connection, entry)
    except Exception as error:
        return _why_not(entry, error)
    return None


def fold_truth(connection: Connection, entry: Entry, truth: HintAnswer) -> str | None:
    """Takes what Label Studio says about an entry into the annotations; gives the reason why it cannot be taken."""
    try:
        with connection.begin_nested():
            note_config(connection, entry.project, truth.label_config, at=truth.asked)
            forget_tasks(connection, truth.gone)
            told = told_states(entry.body, truth.label_config)
            for task in truth.tasks:
                fold_task(connection, task, truth.label_config, told=told)
            if entry.action == "START_TRAINING" and entry.project is not None and truth.label_config:
                ask(connection, entry.project, at=entry.received)
            elif entry.action == "START_TRAINING":
                return f"Label Studio has no project {entry.project}: no training starts"
    except Exception as error:
        return _why_not(entry, error)
    return None


def _why_not(entry: Entry, error: Exception) -> str:
    """Why an entry cannot be taken; raises the error again where that is no fault of the entry's."""
    if isinstance(error, (RequestError, LabelConfigError)):
        return str(error)
    if not _is_misshapen(error):
        raise error
    # Of a shape that no Label Studio sends: kept for a person to look at, and out of the others' way.
    action, kind = printable(entry.action, most=100), type(error).__name__
    _LOG.warning("event %d (%s) cannot be read: %s", entry.id, action, kind)
    return f"the payload is not of Label Studio's shape ({kind})"


def _is_misshapen(error: Exception) -> bool:
    """Whether an error is of values that no Label Studio sends, or that the ledger has no room for."""
    shapes = (RequestError, AttributeError, TypeError, ValueError, LookupError)
    return isinstance(error, shapes) or refuses_values(error)


def fold_task(
    connection: Connection, task: Mapping[str, Any], label_config: str, *, told: Collection[tuple[int, float]] = ()
) -> tuple[int, int, int]:
    """Takes what Label Studio says of one task; gives how many annotations are new or newer, gone, and unreadable.

    Args:
        connection: A transaction.
        task: The task with all its annotations.
        label_config: The project's, as it is now.
        told: Id and moment of the states of annotations that are known to have been saved under that label config.

    Raises:
        LabelConfigError: The label config has nothing that marks could be read from.
    """
    listed = list(task.get("annotations") or ())
    saved = deleted = unreadable = 0
    for one in listed:
        try:
            state = read_annotation(one, task=task, label_config=label_config, assumed=True)
            known = (state.id, state.updated) in told
            saved += fold(connection, dataclasses.replace(state, assumed=False) if known else state, held=True)
            _mend_data(connection, state)
        except RequestError as error:
            unreadable += 1
            _LOG.warning("annotation %s cannot be read: %s", one.get("id"), error)
    missing = select(table.c.id, table.c.updated, table.c.doubtful).where(
        table.c.task == task["id"],
        _NOT_FINAL,
        table.c.id.not_in([int(one["id"]) for one in listed]),
    )
    for row in connection.execute(missing).all():
        if row.updated <= moment(task["updated_at"]):
            deleted += forget(connection, row.id)
        elif not row.doubtful:
            # Saved after Label Studio made this list; or deleted since, and saved by a clock that was ahead.
            open_again(connection, row.id, doubtful=True)
    return saved, deleted, unreadable


def _fold_read(connection: Connection, entry: Entry) -> None:
    """Takes in what an entry says; an entry that cannot be read fails here.

    Actions that say nothing about annotations are kept in the journal and counted, and need no work.
    """
    if entry.action == "TASKS_DELETED":
        gone = task_ids(entry.body)
        require_one_project(connection, {entry.project}, tasks=gone)
        forget_tasks(connection, gone, hearsay=entry.received)
    elif entry.action == "START_TRAINING":
        if entry.project is None or not is_known(connection, entry.project):
            raise RequestError("it names no project that is known, and nobody can be asked: no training starts")
        ask(connection, entry.project, at=entry.received)
    elif entry.action in PROJECT_ACTIONS:
        note_config(connection, entry.project, read_config(entry.body), at=entry.received, hearsay=True)
    elif entry.action in ANNOTATION_ACTIONS:
        event = read_event(entry.body)
        saved = [(state.id, state.task) for state in event.saved]
        ids, tasks = [*event.deleted, *(one for one, _ in saved)], [task for _, task in saved]
        projects = {entry.project, *(state.project for state in event.saved)}
        require_one_project(connection, projects, tasks=tasks, annotations=ids)
        for state in event.saved:
            note_config(connection, state.project, state.label_config, at=state.updated)
            fold(connection, state)
        forget_all(connection, event.deleted, hearsay=entry.received)


def fold(connection: Connection, state: Annotation, *, held: bool = False) -> bool:
    """Keeps a state if it is newer than what is known, and the annotation was not deleted. Tells whether it did.

    The same state, told by an event, takes the place of one that was read later under a label config that may be newer.

    A different state may be no newer by its stamp: it came late, Label Studio's clock was put back, or both are of one
    moment. Then the annotation is in doubt, and Label Studio is asked what it holds. So it is where it was moved to
    another task: from the first one it is missing, as if it were deleted.

    A deletion is final, unless an event alone told of it, and the state shows that it is not true.

    Args:
        connection: A transaction.
        state: What was left on a task.
        held: Whether Label Studio itself says that it holds this.
    """
    known = locked(connection, state.id, task=state.task, project=state.project)
    gone = connection.execute(select(gone_task).where(gone_task.c.id == state.task)).first()
    news = held or state.updated > known.updated
    if gone is not None and not (news and _belies(state, gone.hearsay, held=held)):
        if gone.hearsay is not None and known.updated < state.updated:
            values = {"task": state.task, "project": state.project, "updated": state.updated, "body": state.body()}
            connection.execute(update(table).where(table.c.id == state.id).values(values))
        return forget(connection, state.id, hearsay=gone.hearsay)
    if gone is not None:
        _take_back(connection, gone)
    back = known.deleted and news and _belies(state, known.hearsay, held=held)
    if back:
        _LOG.warning("annotation %d is there, though an event said that it was deleted", state.id)
        open_again(connection, state.id, deleted=False, hearsay=None)
    if back or gone is not None:
        known = locked(connection, state.id, task=state.task, project=state.project)
    told = known.updated == state.updated and known.body.get("assumed") and not state.assumed
    moved = known.deleted and known.task not in (None, state.task) and known.updated <= state.updated
    if known.deleted and not moved:
        return False
    _shown_by_now(connection, state.task)
    doubtful = moved or (known.updated >= state.updated and not _says(known.body, state))
    if known.updated >= state.updated and not told and not moved:
        if doubtful:
            open_again(connection, state.id, doubtful=True)
        return bool(back)
    values = {"task": state.task, "project": state.project, "updated": state.updated, "deleted": False}
    open_again(connection, state.id, **values, body=state.body(), doubtful=doubtful or known.doubtful)
    return True


def _belies(state: Annotation, hearsay: float | None, *, held: bool) -> bool:
    """Whether a state shows that a deletion never was of which an event alone told, at a moment of this machine's."""
    return hearsay is not None and (held or state.updated > hearsay + CLOCKS_APART_SECONDS)


def _take_back(connection: Connection, gone: Any) -> None:
    """Takes the deletion of a task back, with its annotations that went by the same event."""
    connection.execute(delete(gone_task).where(gone_task.c.id == gone.id))
    same = (table.c.task == gone.id, table.c.deleted, table.c.hearsay == gone.hearsay)
    for identity in connection.execute(select(table.c.id).where(*same).order_by(table.c.id)).scalars().all():
        open_again(connection, identity, deleted=False, hearsay=None)


def _mend_data(connection: Connection, state: Annotation) -> None:
    """Lets an annotation whose pages were not to be had be tried with the pages that its task names now."""
    row = connection.execute(select(table).where(table.c.id == state.id)).one()
    waits = not row.deleted and (row.turned is None or row.exchanged is not None)
    if waits and row.updated == state.updated and row.body and row.body["data"] != dict(state.data):
        open_again(connection, state.id, body={**row.body, "data": dict(state.data)})


def _says(body: Mapping[str, Any], state: Annotation) -> bool:
    """Whether the known state holds the same regions as another; what surrounds them does not count."""
    left = [dict(region) for region in state.result]
    return bool(body) and body["skipped"] == state.skipped and [*body["result"]] == left


def _shown_by_now(connection: Connection, task: int) -> None:
    """Brings later stamps of what was shown back to this moment: the clock was ahead when they were made."""
    now = time.time()
    ahead = and_(prediction.c.task == task, prediction.c.shown > now)
    connection.execute(update(prediction).where(ahead).values(shown=now))


def forget_tasks(connection: Connection, tasks: Sequence[int], *, hearsay: float | None = None) -> int:
    """Marks tasks and their annotations as deleted, as `forget` does; gives how many annotations that is news for."""
    news = 0
    for start in range(0, len(tasks), _MOST_VARIABLES):
        some = tasks[start : start + _MOST_VARIABLES]
        added = insert_into(gone_task, connection)
        sure = added.on_conflict_do_update(index_elements=["id"], set_={"hearsay": None})
        rows = [{"id": task, "hearsay": hearsay} for task in some]
        connection.execute(sure if hearsay is None else added.on_conflict_do_nothing(), rows)
        connection.execute(delete(unread_task).where(unread_task.c.task.in_(some)))
        theirs = select(table.c.id).where(table.c.task.in_(some)).order_by(table.c.id)
        news += forget_all(connection, connection.execute(theirs).scalars().all(), hearsay=hearsay)
    return news


# Saves that were under way while an earlier run listed may bear a moment before its watermark; and Label Studio's clock
# may have been put back meanwhile.
OVERLAP_SECONDS = 1200.0


class Studio(Protocol):
    """What is asked of Label Studio."""

    @property
    def has_token(self) -> bool: ...

    def predictions(self, task: int) -> Sequence[Mapping[str, Any]]: ...

    def project(self, project: int) -> Mapping[str, Any]: ...

    def tasks(self, project: int, *, since: float | None = None) -> Iterable[Mapping[str, Any]]: ...

    def has_task(self, task: int) -> bool: ...

    def annotation(self, annotation: int) -> Mapping[str, Any]: ...

    def newest_change(self, project: int) -> str | None: ...


@dataclass(frozen=True, kw_only=True)
class Reconciled:
    """What a run found.

    Attributes:
        tasks: Tasks looked at.
        saved: Annotations that were new, or newer than known.
        deleted: Annotations that are no longer there.
        unreadable: Annotations that no sample can be made of.
    """

    tasks: int = 0
    saved: int = 0
    deleted: int = 0
    unreadable: int = 0


def sync(
    engine: Engine,
    studio: Studio,
    project: int,
    *,
    address: str = "",
    everything: bool = False,
    progress: Callable[[Reconciled], None] = lambda _: None,
    clock: Callable[[], float] = time.time,
) -> Reconciled:
    """Reconciles one project: only tasks that changed since the last run, or all of them.

    A task's `updated_at` moves with every save and deletion of one of its annotations, so that the watermark misses
    nothing but tasks deleted whole. A run over everything finds those. It asks after each task that it did not come
    across, since one may have been made after the list was. The watermark moves when all is done, and no further than
    the newest change before the run, nor than this machine's clock. What changed behind the list is for the next run.
    A run that was cut off is repeated from where it began, to no harm.

    Args:
        engine: The ledger's database.
        studio: Label Studio's API.
        project: The project's id.
        address: Where Label Studio is; empty where nobody says.
        everything: Whether to look at every task, and to forget what Label Studio no longer has.
        progress: Called after each task with what was found so far.
        clock: Seconds since the epoch.

    Raises:
        LabelStudioError: Label Studio refused or did not answer.
        OtherLabelStudio: It is not the one that the ledger is of, or nothing shows that it is.
    """
    described = studio.project(project)
    label_config = str(described.get("label_config") or "")
    since, began = None if everything else reached(engine, project), clock()
    if since is not None and since > began + OVERLAP_SECONDS:
        since = None  # by a clock of Label Studio's that was ahead: what changed since it was set right would be missed
    newest = studio.newest_change(project)
    with writing(engine) as connection:
        claim(connection, address=address, project=project, made=creation_of(described))
        note_config(connection, project, label_config, at=clock())
    seen, found = set(), Reconciled()
    for task in studio.tasks(project, since=None if since is None else since - OVERLAP_SECONDS):
        found = _reconcile(engine, task, label_config, found)
        seen.add(int(task["id"]))
        progress(found)
    vanished = _vanished(engine, studio, project, seen) if everything else ()
    with writing(engine) as connection:
        gone = forget_tasks(connection, vanished)
        advance(connection, project, to=min(max(since or 0.0, moment(newest) if newest else 0.0), began))
    return replace(found, deleted=found.deleted + gone)


def _reconcile(engine: Engine, task: Mapping[str, Any], label_config: str, found: Reconciled) -> Reconciled:
    """What was found, one task included; one of a shape that no Label Studio sends keeps no other from being read."""
    try:
        with writing(engine) as connection:
            saved, deleted, unreadable = fold_task(connection, task, label_config)
    except Exception as error:
        if not _is_misshapen(error):
            raise
        saved, deleted, unreadable = 0, 0, 1
        _LOG.warning("task %s cannot be read: %s", printable(task["id"], most=100), type(error).__name__)
    return Reconciled(
        tasks=found.tasks + 1,
        saved=found.saved + saved,
        deleted=found.deleted + deleted,
        unreadable=found.unreadable + unreadable,
    )


def _vanished(engine: Engine, studio: Studio, project: int, seen: Collection[int]) -> list[int]:
    """Tasks with living annotations that the list lacked, and that Label Studio says it does not have."""
    known = select(table.c.task).where(table.c.project == project, _NOT_FINAL).distinct()
    with engine.connect() as connection:
        missing = [task for task in connection.execute(known).scalars() if task not in seen]
    return [task for task in missing if not studio.has_task(task)]
