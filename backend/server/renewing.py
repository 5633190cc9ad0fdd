"""Has open tasks predicted anew after a correction, so that nobody deletes the same false box twice."""

from __future__ import annotations

import logging
import math
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import SQLAlchemyError

from backend.corrections.renewals import LONGEST_WAIT, done_with, due_renewals, put_off_renewal, ruled_among
from backend.errors import BackendError, LabelConfigError, LabelStudioError
from backend.files import OneOfMany
from backend.labelstudio.labelling import bind
from backend.labelstudio.results import NOT_DONE
from backend.labelstudio.stored_predictions import OpenTask, delete_prediction, read_open_task, rewrite

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sqlalchemy import Engine

    from backend.corrections.renewals import Renewal
    from backend.labelstudio.client import LabelStudio
    from backend.labelstudio.labelling import Binding
    from backend.labelstudio.stored_predictions import PredictionRegions
    from backend.server.predictor import Predictor
    from backend.settings import Settings

__all__ = ["Renewed", "Renewer", "renew_open_tasks"]

_LOG = logging.getLogger(__name__)
_LOOK_SECONDS = 1.0
_AT_ONCE = 4
_TRIES = 5
_FIRST_WAIT = 30.0
_GONE = 404
_STOP_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True)
class Renewed:
    """What became of some open tasks.

    Attributes:
        looked_at: Tasks that were predicted anew.
        changed: Of these, the tasks that are shown something else now.
        replaced: Stored predictions that were rewritten, or deleted as second ones.
    """

    looked_at: frozenset[int]
    changed: frozenset[int]
    replaced: int


def renew_open_tasks(
    predictor: Predictor,
    studio: LabelStudio,
    project: int,
    tasks: Mapping[int, OpenTask],
    bindings: Sequence[Binding],
    *,
    now: float = math.inf,
) -> Renewed:
    """Predicts open tasks anew, and replaces the predictions of the serving version that come out different.

    A task is left alone that somebody began to annotate meanwhile, or whose prediction somebody else replaced. A stored
    prediction is rewritten where it stands, because somebody may have it open. Of several of that version the newest
    stays, and those that somebody may have open: they become like it.

    Args:
        predictor: Predicts, and tells the ledger.
        studio: Where the tasks are.
        project: The project's id.
        tasks: By their ids.
        bindings: Of the project's label config.
        now: By which those stay that somebody may have open, in seconds since the epoch; else none does.

    Raises:
        ModelError: There is no model.
        LabelStudioError: Label Studio refused or did not answer.
    """
    bodies = [task.body for task in tasks.values()]
    version, found = predictor.predict(bodies, bindings, project=str(project))
    fresh = {number: one for number, one in zip(tasks, found, strict=True) if one != NOT_DONE}
    changed: set[int] = set()
    spare: list[PredictionRegions] = []
    for number, one in fresh.items():
        shown = tasks[number].of_version(version)
        kept = [stored for stored in shown if stored == shown[-1] or stored.may_be_open(now=now)]
        wrong = [stored for stored in kept if _shown(one["result"]) != _shown(stored.result)]
        if wrong:
            there = read_open_task(studio, number)
            # What somebody else put there meanwhile, such as a person's decision about look-alikes, stays.
            if there is None or there.of_version(version) != shown:
                continue
            rewritten = [rewrite(studio, stored.id, task=number, content=one) for stored in wrong]
            if any(rewritten):
                changed.add(number)
        spare += [stored for stored in shown if stored not in kept]
    for stored in spare:
        _delete(studio, stored.id)
    return Renewed(looked_at=frozenset(fresh), changed=frozenset(changed), replaced=len(changed) + len(spare))


class Renewer:
    """Renews stored predictions, some at a time; of all processes over one data folder, one does it.

    Only tasks are touched that nobody annotated or drafted, and of them only predictions of the version that serves.
    A prediction that would come out the same stays as it is. Half of the time is left to others.

    Args:
        settings: The data folder.
        predictor: Predicts, tells the ledger, and knows the ways into Label Studio.
        engine: The ledger's database, where what is to be done is planned.
        belongs: Whether Label Studio is the one that the ledger is of.
        clock: Seconds since the epoch.
    """

    def __init__(
        self,
        settings: Settings,
        predictor: Predictor,
        engine: Engine,
        *,
        belongs: Callable[[], bool] = lambda: True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._processes = OneOfMany(settings.data_dir / "renewing.lock")
        self._predictor = predictor
        self._engine = engine
        self._belongs = belongs
        self._clock = clock
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="renew", daemon=True)

    def start(self) -> None:
        """Starts the thread; after a fork, never before."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread, after at most some seconds for what is under way, and lets another process take over."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(_STOP_SECONDS)
        self._processes.leave()

    def look(self) -> int:
        """Renews some tasks that are due; gives how many were seen to."""
        if self._predictor.serving.state()["model_state"] != "ready" or not self._belongs():
            return 0
        if not self._processes.chosen():
            return 0
        planned = due_renewals(self._engine, now=self._clock(), most=_AT_ONCE)
        if planned:
            self._see_to(planned)
        return len(planned)

    def _see_to(self, planned: Sequence[Renewal]) -> None:
        """Renews some tasks of a project; where one of them cannot be, each by itself."""
        try:
            self._renew(planned)
        except LabelConfigError:
            done_with(self._engine, [one.task for one in planned])  # such a project shows no boxes at all
        except SQLAlchemyError:
            raise  # the ledger is away
        except Exception as error:
            is_away = isinstance(error, LabelStudioError) and error.answered is None
            if len(planned) > 1 and not is_away:
                for one in planned:
                    self._see_to([one])
                return
            unexpected = None if isinstance(error, BackendError) else error
            told = "project %d: predictions of tasks %s are not renewed yet: %s"
            tasks = [one.task for one in planned]
            _LOG.warning(told, planned[0].project, tasks, error, exc_info=unexpected)
            self._put_off(planned)

    def _run(self) -> None:
        while not self._stopped.wait(_LOOK_SECONDS):
            try:
                started = time.monotonic()
                if self.look():
                    self._stopped.wait(time.monotonic() - started)
            except Exception:
                # Such as a database that is away: the thread must outlive it, nothing else would renew anything.
                _LOG.exception("predictions are not renewed; again in %g s", _FIRST_WAIT)
                self._stopped.wait(_FIRST_WAIT)

    def _renew(self, planned: Sequence[Renewal]) -> None:
        project = planned[0].project
        studio = self._predictor.connections.studio(str(project))
        if not studio.has_token:
            self._put_off(planned)
            return
        bindings = bind(str(studio.project(project).get("label_config") or ""), confidence=self._predictor.confidence)
        version = str(self._predictor.version(bindings))
        ruled = ruled_among(self._engine, [one.task for one in planned], version=version)
        tasks = {one.task: None if one.task in ruled else read_open_task(studio, one.task) for one in planned}
        done_with(self._engine, [number for number, task in tasks.items() if task is None])
        waiting = {number: task for number, task in tasks.items() if task is not None}
        if waiting:
            not_done = self._predict(studio, project, waiting, bindings)
            self._put_off([one for one in planned if one.task in not_done])

    def _predict(
        self, studio: LabelStudio, project: int, tasks: Mapping[int, OpenTask], bindings: Sequence[Binding]
    ) -> set[int]:
        """Replaces what differs; gives the tasks that could not be looked at."""
        renewed = renew_open_tasks(self._predictor, studio, project, tasks, bindings, now=self._clock())
        done_with(self._engine, sorted(renewed.looked_at))
        if renewed.changed:
            _LOG.info("project %d: tasks %s are shown what was corrected elsewhere", project, sorted(renewed.changed))
        return set(tasks) - renewed.looked_at

    def _put_off(self, planned: Sequence[Renewal]) -> None:
        given_up = [one.task for one in planned if one.attempts + 1 >= _TRIES]
        if given_up:
            _LOG.warning("tasks %s keep their predictions: it failed %d times", given_up, _TRIES)
            done_with(self._engine, given_up)
        for one in planned:
            if one.task not in given_up:
                wait = min(_FIRST_WAIT * 2.0**one.attempts, LONGEST_WAIT)
                put_off_renewal(self._engine, one.task, until=self._clock() + wait)


def _shown(result: Sequence[Mapping[str, Any]]) -> list[str]:
    """What of a prediction an annotator sees, in any order."""
    return sorted(
        repr((one.get("from_name"), one.get("item_index"), sorted((one.get("value") or {}).items()))) for one in result
    )


def _delete(studio: LabelStudio, prediction: int) -> None:
    try:
        delete_prediction(studio, prediction)
    except LabelStudioError as error:
        if error.answered != _GONE:
            raise
