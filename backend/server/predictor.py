"""Tasks → predictions: pages fetched ahead, decoded and looked at one or two at a time, all within a deadline."""

from __future__ import annotations

import logging
import os
import time
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from backend.corrections.imprints import Imprint
from backend.corrections.likeness import look_at
from backend.corrections.remembering import ShownPrediction
from backend.corrections.shown import Proposal, is_blind, origin_of
from backend.errors import LedgerError, LimitExceeded, RequestError
from backend.labelstudio.connections import decoded, fetched
from backend.labelstudio.labelling import versioned
from backend.labelstudio.results import (
    NOT_DONE,
    as_stored,
    drawn_box,
    drawn_label,
    meant_by,
    prediction,
    refined,
    regions_there,
    wants_ink,
)
from backend.labelstudio.tasks import TaskPage, just_drawn, place_of, project_id, task_id, task_pages
from backend.pages.references import host_of, shorten
from backend.pages.source import ENOUGH_DPI
from backend.server.task_outcomes import (
    OutOfTime,
    RequestLines,
    SeenPage,
    TaskOutcome,
    add_page,
    log_batch,
    proposal_of,
)
from backend.server.turns import FairPlaces, PageJob, Turns
from backend.vision.ink import ink_in
from backend.vision.network_config import MARKS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from backend.corrections.remembering import Ledger
    from backend.corrections.sights import Sights
    from backend.labelstudio.connections import Connections, Pages
    from backend.labelstudio.labelling import Binding
    from backend.labelstudio.results import Region
    from backend.pages.page import Page
    from backend.settings import Settings
    from backend.vision.pipeline import Marks, Pipeline

__all__ = ["Predictor", "Serves"]

_LOG = logging.getLogger(__name__)
# Boxes that an annotator draws before asking, at most: the editor sends one.
_MOST_DRAWN = 100
# Pages that are decoded and looked at, at once. More only share the processors, and each takes memory: an A4 page at
# 300 dpi is 26 MB, and a file of it 1 or 2.
_MOST_AT_ONCE = 2
_PAGED_FILES = (".pdf", ".tif", ".tiff")


class Serves(Protocol):
    """Holds the pipeline that serves, and loads it in the background; `backend.models.serving.Serving` does."""

    def pipeline(self, *, timeout: float) -> Pipeline:
        """The pipeline, waited for while it loads; raises ModelError."""
        ...

    def state(self) -> dict[str, Any]:
        """`model_state` (loading, ready or failed), `model_version`, and what else /health shows."""
        ...


class Predictor:
    """Predicts tasks; one for a process, shared by its request threads.

    Args:
        settings: Deadline, default confidence, and the share of documents that are served without boxes.
        serving: Holds the pipeline, or loads it at the moment.
        connections: Page sources by project.
        ledger: Remembers what is shown.
        sights: Takes note of how it looks; None where nobody shall.
        clock: Seconds that never go back.
    """

    def __init__(
        self,
        settings: Settings,
        serving: Serves,
        connections: Connections,
        *,
        ledger: Ledger,
        sights: Sights | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.serving = serving
        self.connections = connections
        self.confidence = settings.confidence
        self._ledger = ledger
        self._sights = sights
        self._deadline = settings.predict_deadline
        self._blind_share = settings.blind_share
        self._clock = clock
        self._most_tasks, self._most_pages = settings.max_tasks, settings.max_task_pages
        self._turns = Turns()
        self._processors = FairPlaces(min(_MOST_AT_ONCE, os.cpu_count() or 1))

    def version(self, bindings: Sequence[Binding]) -> str | None:
        """The version of such a project's predictions: the pipeline's, and thresholds that differ from its own.

        None while the first model loads, or when none can serve; it is not waited for.
        """
        if self.serving.state()["model_state"] != "ready":
            return None
        return self._version(self.serving.pipeline(timeout=0), bindings)

    def check(self) -> None:
        """Raises what kept the model from loading; a model that still loads is well.

        Raises:
            ModelError: There is no model, and there will be none.
        """
        if self.serving.state()["model_state"] == "failed":
            self.serving.pipeline(timeout=0)

    def predict(
        self, tasks: Sequence[Mapping[str, Any]], bindings: Sequence[Binding], *, project: str
    ) -> tuple[str, list[Any]]:
        """The version that served, and one prediction for each task, in order.

        A task is `NOT_DONE` when not all of its pages were looked at. The deadline passed, a page did not arrive or
        cannot be read, or the task's data name none. It stays open, and the ledger knows why: a file may have been
        copied half, a label config may be mended. No task fails the others. A blind task's prediction is empty: what
        was found is in the ledger.

        Raises:
            ModelError: There is no model.
        """
        started = self._clock()
        left = partial(self._left, started)
        pipeline = self.serving.pipeline(timeout=left())
        lines = RequestLines()
        looked_at = tasks[: self._most_tasks]
        outcomes = [self._begun(place, task, bindings, lines) for place, task in enumerate(looked_at)]
        planned = [task_page for outcome in outcomes for task_page in outcome.task_pages]
        source = self.connections.pages(project)
        jobs = [
            PageJob(
                host=host_of(task_page.reference),
                call=partial(
                    self._look, source, task_page, partial(_marks, pipeline, task_page), left, project=project
                ),
            )
            for task_page in planned
        ]
        with closing(self._turns.run(jobs, project=project, remaining=left)) as finished:
            futures = dict(finished)
        for index, task_page in enumerate(planned):
            if index in futures:
                add_page(task_page, futures[index], outcomes[task_page.place], lines)
        if left() <= 0:
            lines.tell("PREDICT_DEADLINE of %g s passed: ask again for what is not done", self._deadline)
        if len(looked_at) < len(tasks):
            lines.tell("%d of %d tasks are looked at (MAX_TASKS): ask again for the others", len(looked_at), len(tasks))
        lines.close()
        version = self._version(pipeline, bindings)
        self._remember(project, looked_at, outcomes, version=version)
        self._note_sights(project, looked_at, outcomes, pipeline)
        log_batch(project, looked_at, outcomes, milliseconds=1000 * (self._clock() - started), version=version)
        predictions = [outcome.prediction(version) for outcome in outcomes]
        return version, predictions + [NOT_DONE] * (len(tasks) - len(looked_at))

    def refine(
        self, task: Mapping[str, Any], drawn: Sequence[Mapping[str, Any]], bindings: Sequence[Binding], *, project: str
    ) -> tuple[str, dict[str, Any]]:
        """The version that served, and one prediction for the rectangles that an annotator just drew.

        Each is tightened to the mark inside it. The label that it was drawn with stands; the score tells the doubt.
        Boxes that were shown and left as they are, are not answered.

        Raises:
            ModelError: There is no model, or not before the deadline.
            PageError: The page cannot be had.
            RequestError: What was drawn is no rectangle, or not on a page of the task.
        """
        if len(drawn) > _MOST_DRAWN:
            raise RequestError(f"params.context.result holds {len(drawn)} regions: at most {_MOST_DRAWN} are refined")
        started = self._clock()
        left = partial(self._left, started)
        pipeline = self.serving.pipeline(timeout=left())
        source = self.connections.pages(project)
        pages = task_pages(0, task, bindings, most=self._most_pages)
        drawn = just_drawn(drawn)
        places = [place_of(region, pages) for region in drawn]
        jobs = [
            PageJob(
                host=host_of(task_page.reference),
                call=partial(
                    self._look,
                    source,
                    replace(task_page, bindings=(binding,)),
                    partial(_tightened, pipeline, task, region, binding),
                    left,
                    project=project,
                ),
            )
            for region, (_, task_page, binding) in zip(drawn, places, strict=True)
        ]
        with closing(self._turns.run(jobs, project=project, remaining=left)) as finished:
            seen_by = {index: future.result() for index, future in finished}
        if len(seen_by) < len(jobs):
            raise LimitExceeded(shorten(places[0][1].reference), "it was not refined before PREDICT_DEADLINE")
        result: list[Region] = []
        proposals: list[Proposal] = []
        for place, (region, (index, _, binding)) in enumerate(zip(drawn, places, strict=True)):
            seen = seen_by[place]
            found = refined(seen.marks, region, width=seen.width, height=seen.height, binding=binding, inks=seen.inks)
            result += as_stored(found, binding)
            if meant_by(found["value"][binding.kind][0], binding):
                proposals.append(proposal_of(seen, 0, found, index=index, binding=binding))
        version = self._version(pipeline, bindings)
        imprints = {index: seen_by[place].imprint for place, (index, _, _) in enumerate(places)}
        self._tell(project, task, version=version, proposals=proposals, pages=imprints, drawn=True)
        _LOG.info(
            "refined project=%s task=%s boxes=%d ms=%.0f version=%s",
            project,
            task_id(task),
            len(result),
            1000 * (self._clock() - started),
            version,
        )
        return version, prediction(result, certainties=[region["score"] for region in result], version=version)

    def _begun(
        self, place: int, task: Mapping[str, Any], bindings: Sequence[Binding], lines: RequestLines
    ) -> TaskOutcome:
        try:
            pages = task_pages(place, task, bindings, most=self._most_pages)
        except (LimitExceeded, RequestError) as error:
            lines.tell("task %s: not done: %s", task_id(task), error)
            return TaskOutcome(task_pages=[], unread=str(error))
        if not pages:
            lines.tell("task %s: not done: its list of pages is empty", task_id(task))
            return TaskOutcome(task_pages=[], unread="the task's list of pages is empty")
        if not self._blind_share:
            return TaskOutcome(task_pages=pages)
        origin = origin_of(task["data"], [task_page.reference for task_page in pages])
        return TaskOutcome(task_pages=pages, blind=is_blind(origin, share=self._blind_share))

    def _remember(
        self, project: str, tasks: Sequence[Mapping[str, Any]], outcomes: Sequence[TaskOutcome], *, version: str
    ) -> None:
        for task, outcome in zip(tasks, outcomes, strict=True):
            if outcome.complete and task_id(task) is None:
                # An empty page that nobody remembers as blind would teach that everything on it was overlooked.
                outcome.blind = False
            elif outcome.complete:
                outcome.remembered = self._tell(
                    project,
                    task,
                    version=version,
                    proposals=outcome.proposals,
                    pages=outcome.imprints,
                    drawn=False,
                    blind=outcome.blind,
                )
            elif outcome.unread:
                self._note_unread(project, task, outcome.unread)

    def _note_unread(self, project: str, task: Mapping[str, Any], reason: str) -> None:
        identity = task_id(task)
        if identity is None:
            return
        try:
            self._ledger.note_unread(task=identity, project=project_id(project), reason=reason)
        except LedgerError as error:
            _LOG.error("task %s: nobody will be told that it could not be looked at: %s", identity, error)

    def _note_sights(
        self, project: str, tasks: Sequence[Mapping[str, Any]], outcomes: Sequence[TaskOutcome], pipeline: Pipeline
    ) -> None:
        if self._sights is None:
            return
        for task, outcome in zip(tasks, outcomes, strict=True):
            if (identity := task_id(task)) is not None and outcome.complete and not outcome.blind:
                network, where = pipeline.classifier.version, project_id(project)
                self._sights.note(task=identity, project=where, network=network, sights=outcome.sights)

    def _tell(
        self,
        project: str,
        task: Mapping[str, Any],
        *,
        version: str,
        proposals: Sequence[Proposal],
        pages: Mapping[int, Imprint],
        drawn: bool,
        blind: bool = False,
    ) -> bool:
        """Tells the ledger, and whether it will know."""
        identity = task_id(task)
        if identity is None:
            return False
        try:
            self._ledger.remember(
                ShownPrediction(
                    task=identity,
                    project=project_id(project),
                    version=version,
                    proposals=proposals,
                    drawn=drawn,
                    blind=blind,
                    pages=pages,
                )
            )
        except LedgerError as error:
            _LOG.error("task %s: what was found cannot be remembered: %s", identity, error)
            return False
        return True

    def _left(self, started: float) -> float:
        return started + self._deadline - self._clock()

    def _version(self, pipeline: Pipeline, bindings: Sequence[Binding]) -> str:
        return versioned(pipeline.version, bindings, confidence=self.confidence)

    def _look(
        self,
        source: Pages,
        task_page: TaskPage,
        see: Callable[[Page], Marks],
        left: Callable[[], float],
        arrived: Callable[[], None],
        *,
        project: str,
    ) -> SeenPage:
        """Fetches a page beside others; decodes it, and looks at it, when its turn has come."""
        file = fetched(source, task_page.reference, task=task_page.task, enough=ENOUGH_DPI)
        arrived()
        with self._turn(task_page, left, project):
            page = decoded(file)
            if page.reference.lower().endswith(_PAGED_FILES):
                way_out = "its first page is looked at; use valueList for tasks of several"
                _LOG.info("task %s: %s: %s", task_page.task, page.reference, way_out)
            marks = see(page)
            inks = ink_in(page, marks.boxes) if wants_ink(task_page.bindings) else ()
            looks = () if self._sights is None else tuple(look_at(page.pixels, box) for box in marks.boxes)
            imprint = Imprint.of(page)
            return SeenPage(marks=marks, width=page.width, height=page.height, imprint=imprint, inks=inks, looks=looks)

    @contextmanager
    def _turn(self, task_page: TaskPage, left: Callable[[], float], project: str) -> Iterator[None]:
        """A processor for one page, if one is free before the deadline."""
        with self._processors.place(project, timeout=left()) as found:
            if not found or left() <= 0:
                raise OutOfTime(shorten(task_page.reference), "its turn did not come before PREDICT_DEADLINE")
            yield


def _marks(pipeline: Pipeline, task_page: TaskPage, page: Page) -> Marks:
    return pipeline.marks(page, confidence=min(binding.threshold for binding in task_page.bindings))


def _tightened(
    pipeline: Pipeline, task: Mapping[str, Any], region: Mapping[str, Any], binding: Binding, page: Page
) -> Marks:
    """What is in a region that an annotator drew, under the label that it was drawn with."""
    box = drawn_box(region, width=page.width, height=page.height)
    there = regions_there(task, region, width=page.width, height=page.height)
    said = meant_by(drawn_label(region, binding) or "", binding)
    return pipeline.refine(page, box, meant=[MARKS.index(mark) for mark in said], taken=there)
