"""The predictor of a worker process: the serving one, over one model that stays, with all the time it needs."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from backend.corrections.service import Feedback, Store
from backend.corrections.sights import Sights
from backend.errors import LedgerError, PageError
from backend.labelstudio.connections import Connections
from backend.models.serving import Sources, build_pipeline
from backend.pages.source import PageSource
from backend.server.predictor import Predictor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backend.corrections.remembering import Ledger, ShownPrediction
    from backend.labelstudio.connections import Pages
    from backend.pages.page import Page
    from backend.pages.references import Access
    from backend.settings import Settings
    from backend.vision.pipeline import Pipeline

__all__ = ["Failed", "Fixed", "NotedPages", "StrictLedger", "bulk_settings", "plain_predictor", "served_predictor"]

# Nobody waits for an answer: a day stands for ever.
_PATIENCE = 86_400.0

Failed = dict[int, tuple[str, str]]
"""Kind and reason by task, of what a portion could not do; 0 stands for a task without an id."""


def bulk_settings(settings: Settings, *, processes: int) -> Settings:
    """The settings of a worker: without deadline, its share of the processors, no cache for pages that come once."""
    share = max(1, (os.cpu_count() or 1) // processes)
    threads = settings.model_threads or share
    return replace(settings, predict_deadline=_PATIENCE, model_threads=threads, cache_bytes=0)


@dataclass(frozen=True)
class Fixed:
    """One pipeline for a whole run, so that all of its predictions are of one version."""

    held: Pipeline

    def pipeline(self, *, timeout: float) -> Pipeline:  # noqa: ARG002  there is nothing to wait for
        return self.held

    def state(self) -> dict[str, Any]:
        return {"model_state": "ready", "model_version": self.held.version}


@dataclass(frozen=True)
class NotedPages:
    """A source of pages that notes, by task, what could not be had."""

    inner: Pages
    failed: Failed

    def pages(
        self, reference: str, *, task_id: int | None, pages: slice | None, enough: float | None = None
    ) -> Iterator[Page]:
        try:
            found = self.inner.pages(reference, task_id=task_id, pages=pages, enough=enough)
        except PageError as error:
            self._note(task_id, error)
            raise
        return self._decoded(found, task_id)

    def _decoded(self, found: Iterator[Page], task: int | None) -> Iterator[Page]:
        try:
            yield from found
        except PageError as error:
            self._note(task, error)
            raise

    def _note(self, task: int | None, error: PageError) -> None:
        self.failed.setdefault(task or 0, (type(error).__name__, str(error)))


@dataclass(frozen=True)
class StrictLedger:
    """A ledger that notes what it could not remember: corrections of that would not be understood.

    What failed is not remembered at all: it will not be shown.
    """

    inner: Ledger
    failed: Failed

    def remember(self, shown: ShownPrediction) -> None:
        if shown.task in self.failed:
            return
        try:
            self.inner.remember(shown)
        except LedgerError as error:
            self.failed[shown.task] = (type(error).__name__, str(error))
            raise

    def note_unread(self, *, task: int, project: int | None, reason: str) -> None:
        self.inner.note_unread(task=task, project=project, reason=reason)


class _Unremembered:
    """A ledger for predictions that are not shown yet: whoever imports them gives their tasks other ids."""

    def remember(self, shown: ShownPrediction) -> None:
        """Remembers nothing."""

    def note_unread(self, **_: object) -> None:
        """Notes nothing: what failed is in the run's own report."""


def plain_predictor(settings: Settings, failed: Failed) -> Predictor:
    """A predictor of tasks that Label Studio does not have yet: nothing is remembered, and no correction is followed.

    Raises:
        ModelError: There is no model.
    """
    pipeline = build_pipeline(Sources.of(settings).at_once(), settings)
    return Predictor(settings, Fixed(pipeline), _noting(settings, failed), ledger=_Unremembered())


def served_predictor(settings: Settings, failed: Failed) -> Predictor:
    """A predictor as `serve` has it, corrections remembered and followed included; it notes what failed in `failed`.

    Raises:
        ModelError: There is no model.
        LedgerError: The database or the crop store cannot be used.
    """
    connections = _noting(settings, failed)
    feedback = Feedback(Store.open(settings), connections, recall_distance=settings.recall_distance)
    pipeline = build_pipeline(Sources.of(settings).at_once(), settings, around=feedback.recalling)
    feedback.catch_up()
    feedback.start(working=False)
    # A worker may end as soon as its last task is stored.
    sights = Sights(feedback.store.engine, at_once=True)
    ledger = StrictLedger(feedback.ledger, failed)
    return Predictor(settings, Fixed(pipeline), connections, ledger=ledger, sights=sights)


def _noting(settings: Settings, failed: Failed) -> Connections:
    """Ways into Label Studio whose pages note in `failed` what could not be had."""

    def source(access: Access) -> Pages:
        return NotedPages(PageSource(settings, access), failed)

    return Connections(settings, source=source)
