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
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from sqlalchemy import Connection, Engine, select, update
from sqlalchemy.exc import OperationalError

from backend.corrections.database import refuses_values, writing
from backend.corrections.imprints import other_pages
from backend.corrections.journal import steps_together
from backend.corrections.label_history import known_of
from backend.corrections.leases import Leased, forget, give_back, in_hand, lease, open_again, put_off
from backend.corrections.page_shelf import AnyPage, PageShelf
from backend.corrections.reconciling import fold_event, fold_truth
from backend.corrections.samples import MOST_REGIONS, Sample, is_elsewhere, make_samples, replace_samples
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

__all__ = ["PageOf", "ParentOf", "Worker"]

_LOG = logging.getLogger(__name__)
_MOST_VARIABLES = 500

# Annotations in hand that were not begun by then are given back; after so long, what is made is stored before the next.
_IN_HAND_SECONDS, _STORED_SECONDS = 20.0, 1.0
# What may be gone in a minute is tried again; what a second look cannot change is parked at once.
PASSING = (PageUnavailable, FetchTimeout, LabelStudioError, LedgerError)
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


def _on_their_pages(answered: Prediction, pages: Mapping[int, AnyPage]) -> Prediction:
    """What was answered to a drawing, without what was answered on other pages than those that are there now."""
    strange = other_pages(answered.pages, pages)
    kept = tuple(one for one in answered.proposals if one.region.page not in strange)
    return dataclasses.replace(answered, proposals=kept)


def _reshaped(shown: Prediction | None, pages: Mapping[int, AnyPage]) -> frozenset[int]:
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
        while turns < limit and (some := self._turn_some(limit - turns)):
            turns += some
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
        return in_hand(self.engine, now=self.clock())

    def _turn_some(self, most: int) -> int:
        """Turns a few annotations into samples, and stores them together; gives how many it had in hand."""
        leased = lease(self.engine, most=min(most, steps_together(self.engine)), now=self.clock())
        made: list[tuple[Leased, _Turned]] = []
        rest: Sequence[Leased] = ()
        began = stored = time.monotonic()
        for place, one in enumerate(leased):
            now = time.monotonic()
            if place and now - began > _IN_HAND_SECONDS:
                rest = leased[place:]
                break
            if made and now - stored > _STORED_SECONDS:
                self._store(made)
                made, stored = [], now
            turned = self._turn(one)
            if turned is not None:
                made.append((one, turned))
        if made:
            self._store(made)
        give_back(self.engine, rest)
        return len(leased)

    def _turn(self, one: Leased) -> _Turned | None:
        """What an annotation became; None where it was settled otherwise, or put off."""
        try:
            if one.body and one.doubtful:
                self._settle(one, self.held(Annotation(**one.body)))
                return None
            return self._turned(one.body) if one.body else _Turned()
        except Exception as error:
            self._failed(one, error)
            return None

    def _failed(self, one: Leased, error: Exception) -> None:
        """Puts an annotation off: whatever it does to a library or the database, others are still to be worked on."""
        if isinstance(error, BackendError):
            is_ours = isinstance(error, LedgerError)
            final = not isinstance(error, PASSING)
            put_off(self.engine, one, str(error), now=self.clock(), final=final, is_ours=is_ours)
            return
        _LOG.error("annotation %d failed", one.id, exc_info=error)
        # A database driver's own words: SQLAlchemy adds the statement and its values.
        words = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
        reason, is_ours = f"{type(error).__name__}: {words}", isinstance(error, OperationalError)
        final = refuses_values(error)
        put_off(self.engine, one, reason, now=self.clock(), final=final, is_ours=is_ours)

    def _turned(self, body: Mapping[str, Any]) -> _Turned:
        state = Annotation(**body)
        if state.skipped:
            return _Turned()
        if len(state.result) > MOST_REGIONS:
            # Before all of its pages are fetched, and it is compared with what it was made of.
            raise RequestError(f"annotation {state.id} has {len(state.result)} regions, more than {MOST_REGIONS}")
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
        shelf = PageShelf(partial(self.page_of, state))
        pages = {index: shelf.page(index) for index in sorted(bearing | state.pages())}
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

    def _store(self, made: Sequence[tuple[Leased, _Turned]]) -> None:
        """Stores samples in one transaction; where one cannot be stored, each in its own.

        A database in trouble may roll back by itself what was stored before: nothing is then taken for stored.
        """
        try:
            with writing(self.engine) as connection:
                for one, turned in made:
                    _replace(connection, one, turned)
        except Exception as error:
            if len(made) == 1:
                self._failed(made[0][0], error)
                return
            for each in made:
                self._store([each])

    def _settle(self, one: Leased, held: Annotation | None) -> None:
        """Puts what Label Studio holds in the place of what was in doubt, unless a newer state arrived meanwhile."""
        with writing(self.engine) as connection:
            row = connection.execute(select(table).where(table.c.id == one.id).with_for_update()).one()
            if row.updated != one.updated or not row.lease or row.deleted:
                return
            if held is None:
                forget(connection, one.id)
            else:
                open_again(connection, one.id, updated=held.updated, body=held.body(), doubtful=False)


def _replace(connection: Connection, one: Leased, turned: _Turned) -> None:
    """Replaces the samples, unless a newer state arrived meanwhile: then the next turn is that one's."""
    row = connection.execute(select(table).where(table.c.id == one.id).with_for_update()).one()
    # Without a lease it was renewed meanwhile: by another state, or by what was shown before it.
    if row.updated != one.updated or not row.lease or (row.deleted and turned.samples):
        return
    replace_samples(connection, annotation=one.id, task=row.task, samples=turned.samples)
    values: dict[str, Any] = {"turned": one.updated, "attempts": 0, "lease": 0.0, "reason": None}
    values |= {"unknown": list(turned.unknown) or None, "needs_past": turned.needs_past}
    values |= {"exchanged": list(turned.exchanged) or None}
    connection.execute(update(table).where(table.c.id == one.id).values(values))
