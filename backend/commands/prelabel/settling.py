"""Settles one portion of a project's tasks: each ends with one prediction of this version, whatever was there."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from backend.commands.prelabel.crew import Failure
from backend.commands.prelabel.worker_model import Failed, bulk_settings, served_predictor
from backend.corrections.database import default_url, open_database
from backend.corrections.renewals import ruled_among
from backend.errors import LabelStudioError, RequestError
from backend.labelstudio.labelling import bind
from backend.labelstudio.projects import write_columns
from backend.labelstudio.results import NOT_DONE
from backend.labelstudio.stored_predictions import delete_prediction, read_open_task, read_tasks, rewrite, store
from backend.labelstudio.tabs import task_columns
from backend.labelstudio.tasks import task_pages
from backend.server.renewing import Renewed, renew_open_tasks

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from backend.labelstudio.client import LabelStudio
    from backend.labelstudio.stored_predictions import OpenTask, Stored, StoredTask
    from backend.server.predictor import Predictor
    from backend.settings import Settings

__all__ = ["ProjectJob", "Settled", "Settler", "Wanted", "make_settler", "patiently"]

_LOG = logging.getLogger(__name__)
T = TypeVar("T")
# Label Studio may be restarted, or busy; together a minute and a half.
_WAITS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 32.0)
_SERVER_ERROR = 500
_NOT_FOUND = 404


@dataclass(frozen=True, kw_only=True)
class ProjectJob:
    """What all portions of a run have in common.

    Attributes:
        project: The project's id.
        label_config: Its label config.
        replace: Whether predictions of other versions go, where no annotation was made of them. The newest is rewritten
            where it stands, because somebody may have it open: Label Studio refuses work whose prediction is gone.
        refresh: Whether open tasks that have a prediction of this version are predicted anew, and nothing else is done.
        columns: Whether tasks that get a prediction also get what it says in their columns.
    """

    project: int
    label_config: str
    replace: bool = False
    refresh: bool = False
    columns: bool = False


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A task to see to.

    Attributes:
        task: Its id.
        predict: Whether it gets a prediction where it has none; otherwise only its surplus predictions are deleted.
    """

    task: int
    predict: bool = True


@dataclass(kw_only=True)
class Settled:
    """What became of a portion.

    Attributes:
        predicted: Tasks that got a prediction.
        pages: Pages that were looked at.
        duplicates: Second predictions of this version that were deleted.
        replaced: Predictions of other versions that were rewritten or deleted for the sake of newer ones.
        failures: Tasks that could not be looked at.
    """

    predicted: int = 0
    pages: int = 0
    duplicates: int = 0
    replaced: int = 0
    failures: list[Failure] = field(default_factory=list)


class Settler:
    """Settles portions of one project's tasks; any portion can be settled again, at any time.

    Each portion begins with what Label Studio has. Only tasks without a prediction of this version get one. An earlier
    run may have been killed between sending and noting, or two ran at once: then all but one are deleted.

    Args:
        job: Project and label config.
        predictor: Predicts, and tells the ledger.
        failed: Where the predictor's sources note what failed, by task.
        ruled: Gives those of some tasks whose prediction of a version a person changed: a refresh leaves them.
        sleep: Waits some seconds.
    """

    def __init__(
        self,
        job: ProjectJob,
        predictor: Predictor,
        failed: Failed,
        *,
        ruled: Callable[[Sequence[int], str], Collection[int]] = lambda *_: (),
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._job = job
        self._predictor = predictor
        self._failed = failed
        self._ruled = ruled
        self._sleep = sleep
        self._bindings = bind(job.label_config, confidence=predictor.confidence)
        self._studio: LabelStudio = predictor.connections.studio(str(job.project))
        self.version = str(predictor.version(self._bindings))

    def __call__(self, portion: list[Wanted]) -> Settled:
        """Settles some tasks.

        Raises:
            LabelStudioError: Label Studio refuses the token, or something that would fail for every other portion, too.
        """
        settle = self._refresh if self._job.refresh else self._settle
        return patiently(lambda: settle(portion), sleep=self._sleep)

    def _refresh(self, portion: Sequence[Wanted]) -> Settled:
        """Predicts the open tasks with a prediction of this version anew, and replaces predictions that differ."""
        self._failed.clear()
        wanted = [one.task for one in portion]
        found = read_tasks(self._studio, self._job.project, wanted)
        done = Settled(failures=[_gone(task, self._job.project) for task in wanted if task not in found])
        ruled = self._ruled(list(found), self.version)
        shown = {
            task.id: now
            for task in found.values()
            if task.id not in ruled
            and self._current(task)
            and (now := read_open_task(self._studio, task.id))
            and now.of_version(self.version)
        }
        whole = {number: now for number, now in shown.items() if self._has_pages(found[number])}
        looked_at: set[int] = set()
        for one in self._renew(whole):
            looked_at |= one.looked_at
            done.predicted += len(one.changed)
            done.replaced += one.replaced
        done.pages = sum(len(task_pages(0, found[number].body, self._bindings)) for number in looked_at)
        done.failures += [self._failure(number) for number in shown if number not in looked_at]
        return done

    def _renew(self, tasks: Mapping[int, OpenTask]) -> Iterator[Renewed]:
        """Renews them together; where one task is refused, the rest are renewed all the same."""
        if not tasks:
            return
        try:
            yield renew_open_tasks(self._predictor, self._studio, self._job.project, tasks, self._bindings)
        except LabelStudioError as error:
            if _everywhere(error):
                raise
            if len(tasks) == 1:
                self._failed.update(dict.fromkeys(tasks, (type(error).__name__, str(error))))
                return
            for number, task in tasks.items():
                yield from self._renew({number: task})

    def _settle(self, portion: Sequence[Wanted]) -> Settled:
        self._failed.clear()
        found = read_tasks(self._studio, self._job.project, [one.task for one in portion])
        done = Settled()
        wanted = [one.task for one in portion if one.predict]
        done.failures += [_gone(task, self._job.project) for task in wanted if task not in found]
        lacking = [found[task] for task in dict.fromkeys(wanted) if task in found and not self._current(found[task])]
        predictions = self._predict([task for task in lacking if self._has_pages(task)])
        heirs = {task.id: others[-1] for task in lacking if task.id in predictions and (others := self._spare(task))}
        rewritten = self._rewrite(predictions, heirs)
        stored = rewritten | self._store({task: one for task, one in predictions.items() if task not in rewritten})
        if self._job.columns:
            self._write_columns(found, {task: predictions[task] for task in stored})
        done.predicted = len(stored)
        done.pages = sum(len(task_pages(0, found[task].body, self._bindings)) for task in predictions)
        done.failures += [self._failure(task.id) for task in lacking if task.id not in stored]
        for task in found.values():
            kept = heirs[task.id] if task.id in rewritten else None
            self._tidy(task, done, current=task.id in stored or bool(self._current(task)), kept=kept)
        done.replaced += len(rewritten)
        return done

    def _current(self, task: StoredTask) -> list[Stored]:
        return [one for one in task.predictions if one.version == self.version]

    def _has_pages(self, task: StoredTask) -> bool:
        try:
            pages = task_pages(0, task.body, self._bindings)
        except RequestError as error:
            self._failed[task.id] = (type(error).__name__, str(error))
            return False
        if not pages:
            self._failed[task.id] = (RequestError.__name__, "the list of its pages is empty")
        return bool(pages)

    def _predict(self, tasks: Sequence[StoredTask]) -> dict[int, Any]:
        """The predictions of those tasks whose pages could all be looked at."""
        if not tasks:
            return {}
        bodies = [task.body for task in tasks]
        _, found = self._predictor.predict(bodies, self._bindings, project=str(self._job.project))
        return {
            task.id: one
            for task, one in zip(tasks, found, strict=True)
            if one != NOT_DONE and task.id not in self._failed
        }

    def _spare(self, task: StoredTask) -> list[Stored]:
        """Its predictions of other versions that are to go, oldest first."""
        if not self._job.replace:
            return []
        return [one for one in task.predictions if one.version != self.version and not one.used]

    def _rewrite(self, predictions: Mapping[int, Any], heirs: Mapping[int, Stored]) -> set[int]:
        """Puts predictions in the place of earlier ones, both by task; gives the tasks where that was done.

        What one task is refused for is told where it is stored instead.
        """
        done: set[int] = set()
        for task, old in heirs.items():
            try:
                if rewrite(self._studio, old.id, task=task, content=predictions[task]):
                    done.add(task)
            except LabelStudioError as error:
                if _everywhere(error):
                    raise
        return done

    def _store(self, predictions: Mapping[int, Any]) -> set[int]:
        """Stores them, and gives the ids of those that were stored. Where one is refused, the others are stored."""
        if not predictions:
            return set()
        try:
            store(self._studio, self._job.project, predictions)
        except LabelStudioError as error:
            if _everywhere(error):
                raise
            if len(predictions) == 1:
                self._failed.update(dict.fromkeys(predictions, (type(error).__name__, str(error))))
                return set()
            return set().union(*(self._store({task: one}) for task, one in predictions.items()))
        return set(predictions)

    def _write_columns(self, found: Mapping[int, StoredTask], predictions: Mapping[int, Any]) -> None:
        values = {
            task: task_columns(one["result"], task_pages(0, found[task].body, self._bindings))
            for task, one in predictions.items()
        }
        write_columns(self._studio, self._job.project, values)

    def _tidy(self, task: StoredTask, done: Settled, *, current: bool, kept: Stored | None) -> None:
        """Deletes second predictions of this version, never one that an annotation was made of; the oldest stays.

        Args:
            task: As it was found.
            done: Where it is counted.
            current: Whether it has a prediction of this version by now.
            kept: The one of another version that has become it.
        """
        mine = sorted(self._current(task), key=lambda one: (not one.used, one.id))
        done.duplicates += self._delete([one for one in mine[1:] if not one.used])
        if current:
            done.replaced += self._delete([one for one in self._spare(task) if one != kept])

    def _delete(self, predictions: Sequence[Stored]) -> int:
        for one in predictions:
            try:
                delete_prediction(self._studio, one.id)
            except LabelStudioError as error:
                if error.answered != _NOT_FOUND:
                    raise
        return len(predictions)

    def _failure(self, task: int) -> Failure:
        kind, reason = self._failed.get(task, ("Error", "looking at its pages failed: the log above says how"))
        return Failure(what=task, kind=kind, reason=reason)


def make_settler(settings: Settings, job: ProjectJob, processes: int) -> Settler:
    """A settler over a model of its own.

    Raises:
        ModelError: There is no model.
        LedgerError: The database or the crop store cannot be used.
        LabelConfigError: The project has no place for marks.
    """
    # Its warnings about tasks are in the report.
    logging.getLogger("backend.server.predictor").setLevel(logging.ERROR)
    failed: Failed = {}
    predictor = served_predictor(bulk_settings(settings, processes=processes), failed)
    engine = open_database(settings.database_url or default_url(settings.data_dir))

    def ruled(tasks: Sequence[int], version: str) -> Collection[int]:
        return ruled_among(engine, tasks, version=version)

    return Settler(job, predictor, failed, ruled=ruled)


def patiently(ask: Callable[[], T], *, sleep: Callable[[float], object] = time.sleep) -> T:
    """Repeats a request while Label Studio does not answer, or answers with an error of its own.

    Raises:
        LabelStudioError: It refused, or went on like that for a minute and a half.
    """
    for seconds in _WAITS:
        try:
            return ask()
        except LabelStudioError as error:
            if error.answered is not None and error.answered < _SERVER_ERROR:
                raise
            _LOG.warning("asked again in %g s: %s", seconds, error)
            sleep(seconds)
    return ask()


def _everywhere(error: LabelStudioError) -> bool:
    """Whether the next task would fail in the same way."""
    return error.answered in (None, 401, 403) or error.answered >= _SERVER_ERROR


def _gone(task: int, project: int) -> Failure:
    return Failure(what=task, kind="NoSuchTask", reason=f"project {project} has no such task")
