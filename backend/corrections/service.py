"""Everything that learns from corrections, put together over one database; one for each process.

A thread that does chores again and again: at once when it is woken, else every second; it stops when it is told.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from backend.corrections.belonging import Belonging, when_made
from backend.corrections.crop_store import CropStore
from backend.corrections.database import default_url, open_database, writing
from backend.corrections.hints import Hints, WhatIs
from backend.corrections.intake import Intake
from backend.corrections.journal import Journal, ask, finish, known_projects, lease_asked
from backend.corrections.memory import Memory
from backend.corrections.recall import RecallingClassifier
from backend.corrections.reconciling import Studio, sync
from backend.corrections.remembering import Proposals
from backend.corrections.renewals import plan_renewals, plan_undoing
from backend.corrections.sights import NearRows, Sights
from backend.corrections.worker import Worker
from backend.errors import LabelConfigError, LabelStudioError, LedgerError, OtherLabelStudio, RequestError
from backend.files import keep_to_owner
from backend.labelstudio.annotations import read_annotation
from backend.labelstudio.connections import first_page
from backend.labelstudio.project_annotations import task_parent

if TYPE_CHECKING:
    from backend.labelstudio.annotations import Annotation
    from backend.labelstudio.connections import Pages
    from backend.pages.page import Page
    from backend.settings import Settings
    from backend.vision.classifier import Classifies

__all__ = ["Feedback", "Loop", "ProjectAccess", "Store", "held_state", "page_opener", "reconcile_asked"]

_LOG = logging.getLogger(__name__)

PAUSE_SECONDS = 1.0
# After a chore failed unexpectedly, such as a database that is gone for a while.
FAILURE_SECONDS = 5.0
# How soon one process learns what another's worker made of a correction.
LOOK_SECONDS = 5.0
RETRY_SECONDS = 600.0
SPOOL = "spool"
NOT_FOUND, REFUSED = 404, (401, 403)
STOP_SECONDS = 10.0
# Annotations between two looks at the journal and at the wish to stop.
PORTION = 20


class Loop:
    """Runs one chore in a thread of its own.

    Args:
        chore: Does some of what is open and gives how much that was; called again at once unless that is 0.
        name: The thread's name.
    """

    def __init__(self, chore: Callable[[], int], *, name: str) -> None:
        self._chore = chore
        self._woken = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """Says that there is something to do."""
        self._woken.set()

    def stop(self, *, timeout: float) -> None:
        """Lets the chore under way finish, for at most `timeout` seconds: what is left over is leased, not lost."""
        self._stopping.set()
        self._woken.set()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._woken.clear()
            if not self._do():
                self._woken.wait(PAUSE_SECONDS)

    def _do(self) -> int:
        try:
            return self._chore()
        except Exception:
            # The thread must outlive a database that is away: nothing else would turn the journal into samples.
            _LOG.exception("%s failed; again in %g s", self._thread.name, FAILURE_SECONDS)
            self._stopping.wait(FAILURE_SECONDS)
            return 0


class StudioCalls(Studio, WhatIs, Protocol):
    """All that is asked of Label Studio."""


class ProjectAccess(Protocol):
    """Ways into Label Studio, by project; `backend.labelstudio.connections.Connections` has them."""

    def pages(self, project: str) -> Pages: ...

    def studio(self, project: str) -> StudioCalls: ...


@dataclass(frozen=True, kw_only=True)
class Store:
    """Where everything is kept.

    Attributes:
        spool: Folder for what waits for the ledger.
        studio: Address of Label Studio; empty where nobody says.
    """

    engine: Engine
    crops: CropStore
    spool: Path
    lookalikes: Path
    studio: str = ""

    @classmethod
    def open(cls, settings: Settings, *, patient: bool = False) -> Store:
        """Opens the database, made and migrated where needed, and the crop store.

        Args:
            settings: Where they are.
            patient: Whether a database that does not answer now may be opened later.

        Raises:
            LedgerError: One of them cannot be used.
        """
        try:
            if closed := keep_to_owner(settings.data_dir):
                told = "%s was open to other users of this host: %d files and folders are its owner's alone now"
                _LOG.warning(told, settings.data_dir, closed)
        except OSError as error:
            raise LedgerError(f"{settings.data_dir} cannot be used: {error}; check DATA_DIR") from error
        url = settings.database_url or default_url(settings.data_dir)
        crops = CropStore(settings.storage_url or str(settings.data_dir))
        try:
            settings.data_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LedgerError(f"DATA_DIR {settings.data_dir} cannot be made: {error}") from error
        return cls(
            engine=open_database(url, patient=patient),
            crops=crops,
            spool=settings.data_dir / SPOOL,
            lookalikes=settings.data_dir / "lookalikes",
            studio=settings.label_studio_url,
        )


class Feedback:
    """Intake, journal, ledger, worker and memory of one process; nothing runs before `start`.

    Senders and predictions use the intake, which does not wait for the ledger; `ledger` is for who must know that it
    has what it was told.

    Args:
        store: Where everything is kept.
        access: Ways into Label Studio.
        recall_distance: Furthest at which a crop counts as one that was corrected; 0 turns recall off.
        clock: Seconds since the epoch.
        ticks: Seconds that never go back.
        retrain: Asked by the worker whenever the journal is done with: starts a training where it is time for one.
    """

    def __init__(
        self,
        store: Store,
        access: ProjectAccess,
        *,
        recall_distance: float,
        clock: Callable[[], float] = time.time,
        ticks: Callable[[], float] = time.monotonic,
        retrain: Callable[[], object] = lambda: None,
    ) -> None:
        self.store = store
        self.journal = Journal(store.engine, clock=clock)
        self.ledger = Proposals(store.engine, clock=clock)
        self.intake = Intake(store.engine, store.spool, clock=clock, appended=self._came)
        self.worker = Worker(
            engine=store.engine,
            journal=self.journal,
            crops=store.crops,
            page_of=page_opener(access),
            clock=clock,
            parent_of=task_parent(access.studio),
            gather=self.intake.move,
            held=held_state(access),
            hints=Hints(store.engine, access.studio, clock=clock),
        )
        self.sights = Sights(store.engine)
        self.belonging = Belonging(store.engine, address=store.studio, made=when_made(access.studio), ticks=ticks)
        self._access, self._distance = access, recall_distance
        self._clock, self._ticks = clock, ticks
        self._memory: Memory | None = None
        self._looked = self._rested = -math.inf
        self._retrain = retrain
        self._asked = -math.inf
        self._all_asked = False
        self._loops: list[Loop] = []

    def recalling(self, classifier: Classifies) -> Classifies:
        """The classifier, corrected by what annotators said of crops like those it sees.

        What this network has learnt is followed from the first page on; what is new to it, a little later.
        """
        if not self._distance:
            return classifier
        memory = Memory(
            self.store.engine,
            self.store.crops,
            embed=lambda pixels, boxes: classifier.classify(pixels, boxes).embeddings,
            network=classifier.version,
            distance=self._distance,
            ticks=self._ticks,
        )
        try:
            memory.load()
        except SQLAlchemyError as error:
            _LOG.warning("corrections are followed once the ledger is back: %s", error)
        self._memory = memory
        self._looked = self._rested = -math.inf
        self.wake()
        return RecallingClassifier(classifier, memory, suppressed=memory.count_suppressed)

    def catch_up(self) -> None:
        """Learns all corrections that are there, so that the first page is judged by them too.

        Raises:
            SQLAlchemyError: The database is away.
        """
        while self._memory is not None and self._memory.refresh():
            pass

    def start(self, *, working: bool = True) -> None:
        """Starts the threads; after a fork, never before.

        Args:
            working: Whether this process turns events into samples; else it only keeps its memory fresh.
        """
        chores = {"memory": self._remember} if not working else {"samples": self._learn, "sync": self._reconcile}
        chores = {"intake": self._take_in, **chores, "sights": self.sights.write, "belonging": self.belonging.look}
        self.belonging.read()
        self._loops = [Loop(chore, name=name) for name, chore in chores.items()]
        for loop in self._loops:
            loop.start()

    def wake(self) -> None:
        """Says that there is something to do."""
        for loop in self._loops:
            loop.wake()

    def stop(self) -> None:
        """Stops the threads and closes the database."""
        for loop in self._loops:
            loop.stop(timeout=STOP_SECONDS)
        self.intake.close()
        self.store.engine.dispose()

    def _came(self) -> None:
        """Wakes the thread that brings what waits into the ledger; the others have nothing to do before that."""
        for loop in self._loops[:1]:
            loop.wake()

    def _take_in(self) -> int:
        if moved := self.intake.move():
            self.wake()
        return moved

    def _learn(self) -> int:
        if not self.belonging.is_ours:
            return 0  # its pages and annotations are others than those that the ledger speaks of
        steps = self.worker.work(limit=PORTION)
        if steps:
            self._looked = self._asked = -math.inf
        # Before anything about trainings, which may fail for reasons of its own.
        learnt = self._remember()
        if not steps and self._ticks() >= self._asked + LOOK_SECONDS:
            # Only when all that came in is in the samples: a training should learn from all of it.
            self._asked = self._ticks()
            self._retrain()
        return steps + learnt

    def _remember(self) -> int:
        """Keeps the memory fresh; it is looked at less often than the journal, for every sample is compared."""
        memory, due = self._memory, max(self._looked + LOOK_SECONDS, self._rested)
        if memory is None or self._ticks() < due:
            return 0
        learnt = memory.refresh()
        self._rested = self._ticks() + memory.resting
        self._plan(memory)
        if not learnt:
            self._looked = self._ticks()
        return learnt

    def _plan(self, memory: Memory) -> None:
        """Has the open tasks predicted anew that show the very thing that was corrected, or that a verdict changed."""
        rows = NearRows(self.store.engine, self.store.lookalikes, network=memory.network)
        engine, network, distance = self.store.engine, memory.network, self._distance
        # A process elsewhere may have learnt the verdict up to LOOK_SECONDS later.
        due = self._clock() + 2 * LOOK_SECONDS
        for name in memory.news():
            plan_renewals(engine, rows, name, network=network, distance=distance, due=due)
            memory.planned(news=name)
        for name in memory.undone():
            plan_undoing(engine, name, due=due)
            memory.planned(undone=name)

    def _reconcile(self) -> int:
        if not self.belonging.is_ours:
            return 0
        if not self._all_asked:
            with writing(self.store.engine) as connection:
                for project in known_projects(connection):
                    ask(connection, project, at=self._clock())
            self._all_asked = True
        if done := reconcile_asked(self.store.engine, self._access, address=self.store.studio, clock=self._clock):
            self.wake()
        return done


def page_opener(access: ProjectAccess) -> Callable[[Annotation, int], Page]:
    """A function that fetches one upright page of an annotation's task, by the page's index within the task."""

    def page_of(annotation: Annotation, index: int) -> Page:
        task_pages = annotation.task_pages
        if not 0 <= index < len(task_pages):
            raise RequestError(
                f"annotation {annotation.id} speaks of page {index}, task {annotation.task} has {len(task_pages)}"
            )
        project = "" if annotation.project is None else str(annotation.project)
        return first_page(access.pages(project), task_pages[index].reference, task=annotation.task)

    return page_of


def held_state(access: ProjectAccess) -> Callable[[Annotation], Annotation | None]:
    """A function that asks Label Studio what it holds of an annotation now; None where it was deleted."""

    def held(state: Annotation) -> Annotation | None:
        project = "" if state.project is None else str(state.project)
        try:
            found = access.studio(project).annotation(state.id)
        except LabelStudioError as error:
            if error.answered == NOT_FOUND:
                return None
            if error.answered in REFUSED:
                _LOG.warning("annotation %d: of two states the one of the later stamp is taken: %s", state.id, error)
                return state
            raise
        task = {"id": state.task, "project": state.project, "data": state.data}
        return read_annotation(found, task=task, label_config=state.label_config, assumed=True)

    return held


def reconcile_asked(
    engine: Engine, access: ProjectAccess, *, address: str = "", clock: Callable[[], float] = time.time
) -> int:
    """Reconciles one project that waits for it; gives 1, or 0 where none waits.

    Args:
        engine: The ledger's database.
        access: Ways into Label Studio.
        address: Where it is; empty where nobody says.
        clock: Seconds since the epoch.
    """
    leased = lease_asked(engine, now=clock())
    if leased is None:
        return 0
    project, asked = leased
    try:
        found = sync(engine, access.studio(str(project)), project, address=address)
    except (OtherLabelStudio, LabelConfigError) as error:
        _LOG.error("project %d is not reconciled: %s", project, error)
        finish(engine, project, asked=asked, now=clock())
    except LabelStudioError as error:
        # Without LABEL_STUDIO_API_KEY there is no token before the project's first /setup: until then, 401.
        passing = error.answered is None or error.answered == 401 or error.answered >= 500
        _LOG.warning("project %d is not reconciled%s: %s", project, ", tried again later" if passing else "", error)
        finish(engine, project, asked=None if passing else asked, now=clock(), wait=RETRY_SECONDS)
    else:
        _LOG.info("project %d reconciled: tasks=%d new=%d gone=%d", project, found.tasks, found.saved, found.deleted)
        finish(engine, project, asked=asked, now=clock())
    return 1
