"""Turns the journal into samples: events fold into the newest state of each annotation, and states become examples.

Folding is a write to the database alone, in one transaction with the event's mark of being done. Turning a state
into samples needs the pages, so it is leased, retried and in the end parked; it replaces the annotation's samples as a
whole. Both depend on the newest state only: the order and the repetition of events change nothing in the end.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from sqlalchemy import ColumnElement, Connection, Engine, and_, case, delete, not_, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import OperationalError

from backend.corrections.database import refuses_values, writing
from backend.corrections.hints import told_states
from backend.corrections.journal import ask
from backend.corrections.label_history import known_of, note_config
from backend.corrections.samples import Sample, make_samples, replace_samples
from backend.corrections.shown import Prediction, answered_before, shown_before, shown_under, stored_prediction
from backend.corrections.tables import annotation as table
from backend.corrections.tables import gone_task, prediction, unread_task
from backend.errors import (
    BackendError,
    FetchTimeout,
    LabelConfigError,
    LabelStudioError,
    LedgerError,
    PageUnavailable,
    RequestError,
)
from backend.labelstudio.annotations import (
    ANNOTATION_ACTIONS,
    PROJECT_ACTIONS,
    Annotation,
    moment,
    read_annotation,
    read_config,
    read_event,
    task_ids,
)

if TYPE_CHECKING:
    from backend.corrections.crop_store import CropStore
    from backend.corrections.hints import Truth
    from backend.corrections.journal import Entry, Journal
    from backend.labelstudio.parents import Parent
    from backend.pages.page import Page

__all__ = [
    "PageOf",
    "ParentOf",
    "Worker",
    "fold",
    "fold_event",
    "fold_task",
    "fold_truth",
    "forget",
    "forget_tasks",
    "unpark",
]

_LOG = logging.getLogger(__name__)

LEASE_SECONDS = 120.0
FIRST_DELAY, LONGEST_DELAY = 2.0, 3600.0
MOST_ATTEMPTS = 12
# What may be gone in a minute is tried again; what a second look cannot change is parked at once.
PASSING = (PageUnavailable, FetchTimeout, LabelStudioError, LedgerError)
_MOST_VARIABLES = 500
_LONGEST_REASON = 2000


class Asks(Protocol):
    """Asks Label Studio about events; `backend.corrections.hints.Hints` does."""

    def put_off(self) -> Collection[int]: ...

    def asks(self) -> bool: ...

    def ask(self, entries: Sequence[Entry], /) -> Mapping[int, Truth | None]: ...


class PageOf(Protocol):
    """Gives one upright page of a task."""

    def __call__(self, annotation: Annotation, index: int, /) -> Page: ...


ParentOf = Callable[[Annotation], "Parent | None"]
"""Asks Label Studio what an annotation was made of; None where it does not tell."""


def _nobody(_: Annotation) -> None:
    """Where no Label Studio can be asked."""


def fold_event(connection: Connection, entry: Entry) -> str | None:
    """Takes one journal entry into the annotations; gives the reason why it cannot be taken."""
    try:
        with connection.begin_nested():
            _fold_read(connection, entry)
    except (RequestError, LabelConfigError) as error:
        return str(error)
    except Exception as error:
        if not isinstance(error, (AttributeError, TypeError, ValueError)) and not refuses_values(error):
            raise
        # A payload of a shape that no Label Studio sends: kept for a person to look at, and out of the others' way.
        _LOG.warning("event %d (%s) cannot be read: %s", entry.id, entry.action, type(error).__name__)
        return f"the payload is not of Label Studio's shape ({type(error).__name__})"
    return None


def fold_truth(connection: Connection, entry: Entry, truth: Truth) -> str | None:
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
    except LabelConfigError as error:
        return str(error)
    return None


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
            saved += fold(connection, dataclasses.replace(state, assumed=False) if known else state)
        except RequestError as error:
            unreadable += 1
            _LOG.warning("annotation %s cannot be read: %s", one.get("id"), error)
    known_here = select(table.c.id).where(
        table.c.task == task["id"],
        table.c.deleted.is_(False),
        table.c.id.not_in([int(one["id"]) for one in listed]),
        # One that was saved after Label Studio made this list is not missing from it.
        table.c.updated <= moment(task["updated_at"]),
    )
    for identity in connection.execute(known_here).scalars().all():
        deleted += forget(connection, identity)
    return saved, deleted, unreadable


def _fold_read(connection: Connection, entry: Entry) -> None:
    """What an entry says; whatever its sender wrote into it, it fails in here.

    Actions that say nothing about annotations are kept in the journal and counted, and need no work.
    """
    if entry.action == "TASKS_DELETED":
        forget_tasks(connection, task_ids(entry.body))
    elif entry.action == "START_TRAINING" and entry.project is not None:
        ask(connection, entry.project, at=entry.received)
    elif entry.action in PROJECT_ACTIONS:
        note_config(connection, entry.project, read_config(entry.body), at=entry.received)
    elif entry.action in ANNOTATION_ACTIONS:
        event = read_event(entry.body)
        for state in event.saved:
            note_config(connection, state.project, state.label_config, at=state.updated)
            fold(connection, state)
        for identity in event.deleted:
            forget(connection, identity)


def fold(connection: Connection, state: Annotation) -> bool:
    """Keeps a state if it is newer than what is known, and the annotation was not deleted. Tells whether it did.

    The same state, told by an event, takes the place of one that was read later under a label config that may be newer.

    A different state may be no newer by its stamp: it came late, Label Studio's clock was put back, or both are of one
    moment. Then the annotation is in doubt, and Label Studio is asked what it holds.
    """
    known = _lock(connection, state.id, task=state.task, project=state.project)
    if connection.execute(select(gone_task).where(gone_task.c.id == state.task)).first():
        return forget(connection, state.id)
    told = known.updated == state.updated and known.body.get("assumed") and not state.assumed
    if known.deleted:
        return False
    _shown_by_now(connection, state.task)
    doubtful = known.updated >= state.updated and not _says(known.body, state)
    if known.updated >= state.updated and not told:
        if doubtful:
            _renew(connection, state.id, doubtful=True)
        return False
    values = {"task": state.task, "project": state.project, "updated": state.updated}
    _renew(connection, state.id, **values, body=state.body(), doubtful=doubtful or known.doubtful)
    return True


def _says(body: Mapping[str, Any], state: Annotation) -> bool:
    """Whether what is known says the same as a state: by what annotators left, not by what surrounds it."""
    left = [dict(region) for region in state.result]
    return bool(body) and body["skipped"] == state.skipped and [*body["result"]] == left


def _shown_by_now(connection: Connection, task: int) -> None:
    """Nothing was shown after this moment: such a stamp is of a clock that was ahead then."""
    now = time.time()
    ahead = and_(prediction.c.task == task, prediction.c.shown > now)
    connection.execute(update(prediction).where(ahead).values(shown=now))


def forget(connection: Connection, identity: int) -> bool:
    """Marks an annotation as deleted, for good: Label Studio never gives its id again. Tells whether that is news."""
    if _lock(connection, identity, task=None, project=None).deleted:
        return False
    _renew(connection, identity, deleted=True)
    return True


def forget_tasks(connection: Connection, tasks: Sequence[int]) -> int:
    """Marks tasks and their annotations as deleted, for good; gives how many annotations that is news for."""
    make = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    news = 0
    for start in range(0, len(tasks), _MOST_VARIABLES):
        some = tasks[start : start + _MOST_VARIABLES]
        connection.execute(make(gone_task).on_conflict_do_nothing(), [{"id": task} for task in some])
        connection.execute(delete(unread_task).where(unread_task.c.task.in_(some)))
        theirs = select(table.c.id).where(table.c.task.in_(some)).order_by(table.c.id)
        news += sum(forget(connection, identity) for identity in connection.execute(theirs).scalars().all())
    return news


def _lock(connection: Connection, identity: int, *, task: int | None, project: int | None) -> Any:
    """The annotation's row, made if it is not there, and held until the transaction ends."""
    make = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    blank = {
        "deleted": False,
        "updated": 0.0,
        "folded": time.time(),
        "body": {},
        "attempts": 0,
        "due": 0.0,
        "lease": 0.0,
        "parked": False,
    }
    connection.execute(make(table).values(id=identity, task=task, project=project, **blank).on_conflict_do_nothing())
    return connection.execute(select(table).where(table.c.id == identity).with_for_update()).one()


def _renew(connection: Connection, identity: int, **values: Any) -> None:
    """Sets values, and asks for the samples to be made anew, whatever came of earlier attempts."""
    fresh = {"turned": None, "attempts": 0, "due": 0.0, "lease": 0.0, "reason": None, "parked": False}
    connection.execute(update(table).where(table.c.id == identity).values(**values, **fresh, folded=time.time()))


@dataclass(frozen=True, kw_only=True)
class _Turned:
    """What one state of an annotation became.

    Attributes:
        unknown: Labels that nobody knows, one for each region that has one.
        needs_past: Whether another label config of the project's may tell more.
    """

    samples: tuple[Sample, ...] = ()
    unknown: tuple[str, ...] = ()
    needs_past: bool = False


@dataclass(frozen=True, kw_only=True)
class Worker:
    """Does what is open; any number of them, in any number of processes, may run at once.

    Attributes:
        page_of: Fetches a page; its errors decide between another try and parking.
        parent_of: Asks Label Studio what an annotation was made of, where the ledger does not know.
        gather: Brings into the journal what waits before it, and gives how much that was.
        held: Gives what Label Studio holds of an annotation now, None where it was deleted; asked where stamps cannot
            tell. Its errors are as those of `page_of`.
        hints: Asks Label Studio about each event, before it is taken; None takes every event at its word.
    """

    engine: Engine
    journal: Journal
    crops: CropStore
    page_of: PageOf
    clock: Callable[[], float] = time.time
    parent_of: ParentOf = _nobody
    gather: Callable[[], int] = lambda: 0
    held: Callable[[Annotation], Annotation | None] = lambda state: state
    hints: Asks | None = None

    def work(self, *, limit: int = 100) -> int:
        """Does what is open and due, and gives the number of steps that it took; 0 when nothing was left to do.

        Args:
            limit: Most events to take, and most annotations to turn into samples, before returning.
        """
        self.gather()
        steps = self._take(min(limit, _MOST_VARIABLES))
        turns = 0
        while turns < limit and self._turn_one():
            turns += 1
        return steps + turns

    def _take(self, limit: int) -> int:
        """Takes open events; what Label Studio says of them is asked before, for no lock is held while it answers."""
        if self.hints is None:
            return self.journal.take(fold_event, limit=limit)
        entries = self.journal.open_entries(limit=limit, without=self.hints.put_off())
        told = self.hints.ask(entries) if entries else {}

        def act(connection: Connection, entry: Entry) -> str | None:
            truth = told[entry.id]
            return fold_event(connection, entry) if truth is None else fold_truth(connection, entry, truth)

        return self.journal.take(act, limit=len(told), only=told.keys()) if told else 0

    def asks(self) -> bool:
        """Whether an event is to be asked about once more in a moment; not where Label Studio is away."""
        return self.hints is not None and self.hints.asks()

    def others_at_work(self) -> bool:
        """Whether a worker elsewhere has an annotation in hand; for one that died, until its lease ends."""
        leased = not_(_free(self.clock()))
        at_work = and_(table.c.turned.is_(None), table.c.parked.is_(False), leased)
        with self.engine.connect() as connection:
            return connection.execute(select(table.c.id).where(at_work).limit(1)).first() is not None

    def _turn_one(self) -> bool:
        leased = self._lease()
        if leased is None:
            return False
        identity, updated, body, doubtful = leased
        try:
            if body and doubtful:
                self._settle(identity, updated, self.held(Annotation(**body)))
            else:
                self._commit(identity, updated, self._turned(body) if body else _Turned())
        except BackendError as error:
            is_ours = isinstance(error, LedgerError)
            self._put_off(identity, updated, str(error), final=not isinstance(error, PASSING), is_ours=is_ours)
        except Exception as error:
            # Whatever one annotation does to a library or the database, those behind it are still to be worked on.
            _LOG.exception("annotation %d failed", identity)
            # A database driver's own words: SQLAlchemy adds the statement and its values.
            words = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
            reason = f"{type(error).__name__}: {words}"
            is_ours = isinstance(error, OperationalError)
            self._put_off(identity, updated, reason, final=refuses_values(error), is_ours=is_ours)
        return True

    def _lease(self) -> tuple[int, float, Mapping[str, Any] | None, bool] | None:
        """Takes the longest due annotation for a while; a worker that dies gives it back by the lease's end."""
        now = self.clock()
        due = and_(table.c.turned.is_(None), table.c.parked.is_(False), *_ready(now))
        with self.engine.connect() as connection:
            if connection.execute(select(table.c.id).where(due).limit(1)).first() is None:
                return None  # without a lock: idle workers must not stand in the way of senders
        with writing(self.engine) as connection:
            row = connection.execute(
                select(table).where(due).order_by(table.c.due, table.c.id).limit(1).with_for_update(skip_locked=True)
            ).first()
            if row is None:
                return None
            connection.execute(update(table).where(table.c.id == row.id).values(lease=now + LEASE_SECONDS))
        return row.id, row.updated, None if row.deleted else row.body, row.doubtful

    def _turned(self, body: Mapping[str, Any]) -> _Turned:
        state = Annotation(**body)
        if state.skipped:
            return _Turned()
        with self.engine.connect() as connection:
            known = known_of(connection, project=state.project, task=state.task, label_config=state.label_config)
            answers = answered_before(connection, task=state.task)
        state = dataclasses.replace(state, known=known)
        prediction, parent = self._shown(state)
        if parent is not None:
            state = dataclasses.replace(state, known=dataclasses.replace(known, shown=parent.words() | known.shown))
        bearing = {one.region.page for one in prediction.proposals} if prediction else set()
        bearing |= parent.pages() if parent else set()
        pages = {index: self.page_of(state, index) for index in sorted(bearing | state.pages())}
        if parent is not None:
            prediction = stored_prediction(parent, {index: (one.width, one.height) for index, one in pages.items()})
        samples = make_samples(state, prediction, pages, answers=answers)
        for one in samples:
            self.crops.put(one.crop)
        return _Turned(samples=samples, unknown=state.unknown_names(), needs_past=state.needs_past())

    def _shown(self, state: Annotation) -> tuple[Prediction | None, Parent | None]:
        """What the annotator had before them: as the ledger remembers it, or else as Label Studio has it.

        Of the ledger's predictions, the one counts that has all regions which the editor took over, where just one has
        them. Else Label Studio is asked. Where it does not tell, regions in common and clocks decide.
        """
        task = state.task
        with self.engine.connect() as connection:
            known = shown_under(connection, task=task, taken=state.taken_ids())
        parent = self.parent_of(state) if known is None and state.began_with_boxes else None
        if known is not None:
            return known, None
        with self.engine.connect() as connection:
            if parent is not None:
                known = shown_under(connection, task=task, same=parent.ids, version=parent.version)
                return (known, None) if known is not None else (None, parent)
            prediction = shown_before(
                connection,
                task=task,
                regions=[str(one.get("id")) for one in state.result],
                moment=state.created,
                began_with_boxes=state.began_with_boxes,
            )
        return prediction, None

    def _commit(self, identity: int, updated: float, turned: _Turned) -> None:
        """Replaces the samples, unless a newer state arrived meanwhile: then the next turn is that one's."""
        with writing(self.engine) as connection:
            row = connection.execute(select(table).where(table.c.id == identity).with_for_update()).one()
            # Without a lease it was renewed meanwhile: by another state, or by what was shown before it.
            if row.updated != updated or not row.lease or (row.deleted and turned.samples):
                return
            replace_samples(connection, annotation=identity, task=row.task, samples=turned.samples)
            values: dict[str, Any] = {"turned": updated, "attempts": 0, "lease": 0.0, "reason": None}
            values |= {"unknown": list(turned.unknown) or None, "needs_past": turned.needs_past}
            connection.execute(update(table).where(table.c.id == identity).values(values))

    def _settle(self, identity: int, updated: float, held: Annotation | None) -> None:
        """Puts what Label Studio holds in the place of what was in doubt, unless a newer state arrived meanwhile."""
        with writing(self.engine) as connection:
            row = connection.execute(select(table).where(table.c.id == identity).with_for_update()).one()
            if row.updated != updated or not row.lease or row.deleted:
                return
            if held is None:
                forget(connection, identity)
            else:
                _renew(connection, identity, updated=held.updated, body=held.body(), doubtful=False)

    def _put_off(self, identity: int, updated: float, reason: str, *, final: bool, is_ours: bool = False) -> None:
        """Tries again later, longer each time, or parks the annotation with the reason.

        What waits for the ledger or the crop store (`is_ours`) waits as long as it takes: nothing is wrong with it.
        """
        with writing(self.engine) as connection:
            row = connection.execute(select(table).where(table.c.id == identity).with_for_update()).one()
            if row.updated != updated or not row.lease or row.deleted:
                return
            attempts = min(row.attempts + 1, MOST_ATTEMPTS - 1) if is_ours else row.attempts + 1
            parked = final or attempts >= MOST_ATTEMPTS
            delay = _delay(attempts)
            values = {"attempts": attempts, "due": self.clock() + delay, "lease": 0.0, "parked": parked}
            connection.execute(
                update(table).where(table.c.id == identity).values(**values, reason=reason[:_LONGEST_REASON])
            )
        _LOG.warning("annotation %d %s: %s", identity, "parked" if parked else f"again in {delay:.0f} s", reason)


def _delay(attempts: int) -> float:
    """Seconds until the next try after so many."""
    return min(FIRST_DELAY * 2.0 ** (attempts - 1), LONGEST_DELAY)


def _ready(now: float) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """Due, and in nobody's hand. One that waits longer than it ever should was put off by a clock ahead."""
    latest = case(
        *((table.c.attempts == number, now + _delay(number)) for number in range(1, MOST_ATTEMPTS)), else_=now
    )
    due = or_(table.c.due <= now, table.c.due > latest)
    return due, _free(now)


def _free(now: float) -> ColumnElement[bool]:
    """Leased by nobody, by the same measure."""
    return or_(table.c.lease <= now, table.c.lease > now + LEASE_SECONDS)


def unpark(engine: Engine) -> int:
    """Gives every parked annotation another chance; for after the cause was mended. Gives their number."""
    with writing(engine) as connection:
        values = {"parked": False, "attempts": 0, "due": 0.0, "lease": 0.0}
        return int(connection.execute(update(table).where(table.c.parked).values(values)).rowcount)
