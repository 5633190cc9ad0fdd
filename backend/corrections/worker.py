"""Turns the states of annotations into samples: leased, retried and in the end parked, for it needs the pages.

Whoever works takes the open events first, and has them folded (`backend.corrections.reconciling`). An annotation's
samples are replaced as a whole, and depend on its newest state alone.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from sqlalchemy import ColumnElement, Connection, Engine, and_, case, not_, or_, select, update
from sqlalchemy.exc import OperationalError

from backend.corrections.database import refuses_values, writing
from backend.corrections.imprints import other_pages
from backend.corrections.label_history import known_of
from backend.corrections.reconciling import fold_event, fold_truth, forget, open_again
from backend.corrections.samples import Sample, is_elsewhere, make_samples, replace_samples
from backend.corrections.shown import (
    Prediction,
    answered_before,
    is_contradicted,
    kept_throughout,
    shown_before,
    shown_under,
    stored_ids,
    stored_prediction,
)
from backend.corrections.tables import annotation as table
from backend.errors import (
    BackendError,
    FetchTimeout,
    LabelStudioError,
    LedgerError,
    PageUnavailable,
    RequestError,
)
from backend.labelstudio.annotations import Annotation
from backend.labelstudio.project_annotations import is_reshaped, turned_page
from backend.labelstudio.visibility import left_out
from backend.labelstudio.vocabulary import UNKNOWN

if TYPE_CHECKING:
    from backend.corrections.crop_store import CropStore
    from backend.corrections.hints import HintAnswer
    from backend.corrections.journal import Entry, Journal
    from backend.labelstudio.project_annotations import Parent
    from backend.pages.page import Page

__all__ = ["PageOf", "ParentOf", "Worker", "unpark"]

_LOG = logging.getLogger(__name__)
_MOST_VARIABLES = 500

LEASE_SECONDS = 120.0
FIRST_DELAY, LONGEST_DELAY = 2.0, 3600.0
MOST_ATTEMPTS = 12
# What may be gone in a minute is tried again; what a second look cannot change is parked at once.
PASSING = (PageUnavailable, FetchTimeout, LabelStudioError, LedgerError)
_LONGEST_REASON = 2000
_STRANGE = (
    "annotation %d: page %d of task %d is not the one that boxes were shown on, so what was shown there teaches "
    "nothing; was it put in another place, or replaced? /status and doctor say what to do"
)


class Asks(Protocol):
    """Asks Label Studio about events; `backend.corrections.hints.Hints` does."""

    def put_off(self) -> Collection[int]: ...

    def asks(self) -> bool: ...

    def ask(self, entries: Sequence[Entry], /) -> Mapping[int, HintAnswer | None]: ...


class PageOf(Protocol):
    """Gives one upright page of a task."""

    def __call__(self, annotation: Annotation, index: int, /) -> Page: ...


ParentOf = Callable[[Annotation], "Parent | None"]
"""Asks Label Studio what an annotation was made of; None where it does not tell."""


def _on_their_pages(answered: Prediction, pages: Mapping[int, Page]) -> Prediction:
    """What was answered to a drawing, without what was answered on other pages than those that are there now."""
    strange = other_pages(answered.pages, pages)
    kept = tuple(one for one in answered.proposals if one.region.page not in strange)
    return dataclasses.replace(answered, proposals=kept)


def _reshaped(shown: Prediction | None, pages: Mapping[int, Page]) -> frozenset[int]:
    """Indices of the pages that have other proportions now than when boxes were shown on them."""
    proposals = shown.proposals if shown else ()
    return frozenset(one.region.page for one in proposals if is_elsewhere(one, pages))


def _nobody(_: Annotation) -> None:
    """Where no Label Studio can be asked."""


@dataclass(frozen=True, kw_only=True)
class _Turned:
    """What one state of an annotation became.

    Attributes:
        unknown: Labels that nobody knows, one for each region that has one.
        needs_past: Whether another label config of the project's may tell more.
        exchanged: Numbers, from 1, of pages that are others now than those that boxes were shown or left on.
    """

    samples: tuple[Sample, ...] = ()
    unknown: tuple[str, ...] = ()
    needs_past: bool = False
    exchanged: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Seen:
    """What an annotator had before them.

    Attributes:
        prediction: As the ledger remembers it.
        parent: Else, as Label Studio has it.
        certain: The regions of it that were on the screen for certain; None for all of them.
    """

    prediction: Prediction | None
    parent: Parent | None = None
    certain: frozenset[str] | None = None


@dataclass(frozen=True, kw_only=True)
class Worker:
    """Does what is open; any number of them, in any number of processes, may run at once.

    Attributes:
        page_of: Fetches a page; its errors decide between another try and parking.
        parent_of: Asks Label Studio what an annotation was made of, where the ledger does not know.
        gather: Brings into the journal what waits before it, and gives how much that was.
        held: What Label Studio holds of an annotation, None where deleted; its errors are as those of `page_of`.
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
        seen = self._shown(state)
        prediction, parent = seen.prediction, seen.parent
        if parent is not None:
            # Another prediction may have borne the same ids: this is the one that was seen.
            told = {region: one for region, one in parent.words().items() if one.mark != UNKNOWN}
            state = dataclasses.replace(state, known=dataclasses.replace(known, shown=known.shown | told))
        bearing = {one.region.page for one in prediction.proposals} if prediction else set()
        bearing |= parent.pages() if parent else set()
        # A task may have fewer pages now than when boxes were shown on them.
        lost = frozenset(index for index in bearing if index >= len(state.task_pages))
        bearing -= lost
        pages = {index: self.page_of(state, index) for index in sorted(bearing | state.pages())}
        for index, page in pages.items():
            if reason := turned_page(state, index, width=page.width, height=page.height):
                raise RequestError(f"annotation {state.id}: page {index + 1} was {reason}")
        sizes = {index: (one.width, one.height) for index, one in pages.items()}
        if parent is not None:
            prediction = stored_prediction(parent, sizes)
        # What a copy lacks, the annotation may have lacked that it was copied from. Label Studio leaves out more.
        certain = frozenset() if state.copied or left_out(state.label_config, state.result) else seen.certain
        strange = other_pages(prediction.pages, pages) if prediction else frozenset()
        strange |= lost | {index for index, size in sizes.items() if is_reshaped(state, index, size)}
        exchanged = sorted(strange | _reshaped(prediction, pages))
        for index in exchanged:
            _LOG.warning(_STRANGE, state.id, index + 1, state.task)
        answers = tuple(_on_their_pages(one, pages) for one in answers)
        crops = self.crops
        samples = make_samples(state, prediction, pages, crops, answers=answers, certain=certain, strange=strange)
        return _Turned(
            samples=samples,
            unknown=state.unknown_names(),
            needs_past=state.needs_past(),
            exchanged=tuple(index + 1 for index in exchanged),
        )

    def _shown(self, state: Annotation) -> _Seen:
        """What the annotator had before them: as the ledger remembers it, or else as Label Studio has it.

        Of the ledger's predictions, the one counts that has all regions which the editor took over, where just one has
        them. If none does, or what the annotation has untouched is not what it showed, Label Studio is asked. Where it
        does not tell, regions in common and clocks decide.
        """
        task, taken = state.task, state.taken_ids()
        with self.engine.connect() as connection:
            known = shown_under(connection, task=task, taken=taken)
        if known is not None and not is_contradicted(known, state):
            return _Seen(prediction=known)
        parent = self.parent_of(state) if state.began_with_boxes else None
        with self.engine.connect() as connection:
            if parent is not None:
                return self._told(connection, state, parent)
            if known is not None:
                return _Seen(prediction=known)
            prediction = shown_before(
                connection,
                task=task,
                regions=[str(one.get("id")) for one in state.result],
                moment=state.created,
                began_with_boxes=state.began_with_boxes,
                taken=taken,
            )
            return self._by_clocks(connection, state, prediction)

    def _told(self, connection: Connection, state: Annotation, parent: Parent) -> _Seen:
        """What Label Studio says that an annotation was made of, in the ledger's words where it knows it."""
        names, task = parent.names(), state.task
        same = shown_under(connection, task=task, same=names, version=parent.version)
        certain = frozenset(names)
        if parent.rewritten is not None and parent.rewritten > state.opened:
            certain = kept_throughout(connection, certain, task=task, until=state.created) or frozenset()
        certain -= parent.perhaps_moved
        return _Seen(prediction=same, parent=parent if same is None else None, certain=certain)

    def _by_clocks(self, connection: Connection, state: Annotation, prediction: Prediction | None) -> _Seen:
        """What the ledger showed last; of several of one version nobody knows which was stored last."""
        if prediction is None or prediction.blind:
            return _Seen(prediction=prediction)
        version = None if prediction.shown > state.opened else prediction.version
        ids = stored_ids(prediction)
        certain = kept_throughout(connection, ids, task=state.task, until=state.created, version=version)
        return _Seen(prediction=prediction, certain=certain)

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
            values |= {"exchanged": list(turned.exchanged) or None}
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
                open_again(connection, identity, updated=held.updated, body=held.body(), doubtful=False)

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
    """Gives every parked annotation another chance; for after the cause was mended. Gives their number.

    So it does those whose pages were exchanged: they may be back in their places.
    """
    waits = or_(table.c.parked, and_(table.c.exchanged.is_not(None), table.c.deleted.is_(False)))
    with writing(engine) as connection:
        values = {"turned": None, "parked": False, "attempts": 0, "due": 0.0, "lease": 0.0}
        return int(connection.execute(update(table).where(waits).values(values)).rowcount)
