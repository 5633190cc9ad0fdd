"""Tells Label Studio which version serves: titles move along, and tasks not yet annotated are predicted anew.

A version changes with the model, and with what the project's label config makes of it. Tasks that could not be looked
at, such as for a file that was still being copied, are asked for again as well.

Label Studio shows, sorts and samples by the predictions of one version, which is the title of the backend's connection.
A task whose predictions are all of another version shows no boxes, and is not predicted again when it is opened.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from backend.errors import LabelConfigError, LabelStudioError
from backend.files import OneOfMany
from backend.labelstudio.labelling import bind
from backend.labelstudio.stored_predictions import tidy_open_task

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from backend.labelstudio.client import LabelStudio
    from backend.server.predictor import Predictor
    from backend.settings import Settings

__all__ = ["Announcer"]

_LOG = logging.getLogger(__name__)
_LOOK_SECONDS = 1.0
# How often it is looked whether a project has come in, or asks for other thresholds.
_PROJECTS_SECONDS = 60.0
_FIRST_WAIT = 2.0
_LONGEST_WAIT = 600.0
# Longer than Label Studio takes to list connections: 1 s for each backend's /health, 3 s for its /setup.
_SETTLED_SECONDS = 5.0
# Tasks of one request: Label Studio gives all of them up when they take longer than 100 s together.
_TASKS_AT_ONCE = 4
_TRIES = 5
# How long tasks wait at most until they are asked for again, when Label Studio stored nothing for them.
_LONGEST_ROUND_WAIT = 3600.0
_GONE = 404


@dataclass(kw_only=True)
class _Project:
    """How far a project is.

    Attributes:
        serving: The version that it is being told of, as the pipeline calls it.
        wanted: The same as this project calls it, whose label config may ask for thresholds of its own.
        read: Whether the label config was read lately.
        titled: Whether the connection bears it.
        reached: In this round, tasks up to this id were asked for.
        asked: How many of them lacked the version.
        lacking: How many did in the first round.
        rounds: Rounds over all tasks that are over.
        done: Whether nothing is left to do.
        gone: Whether there is no such project.
        failures: In a row.
        due: When to go on.
    """

    serving: str
    wanted: str | None = None
    read: bool = False
    titled: bool = False
    reached: int = 0
    asked: int = 0
    lacking: int = 0
    rounds: int = 0
    done: bool = False
    gone: bool = False
    failures: int = 0
    due: float = 0.0


class Announcer:
    """Brings every project to the version that serves; of all processes over one data folder, one does it.

    It compares the present state with the wanted one. So it makes no difference whether a version came by a promotion,
    a rollback or a restart. What was cut off goes on. In a thread of its own, it never holds up a prediction; while
    tasks are predicted anew, half of the time is left to others.

    Args:
        settings: The data folder, and what requests to this backend must bring.
        predictor: Knows the version and the ways into Label Studio.
        projects: Gives the ids of the projects that are known.
        unread: Gives a few tasks of a project that could not be looked at and are to be tried again now.
        clock: Seconds that never go back.
    """

    def __init__(
        self,
        settings: Settings,
        predictor: Predictor,
        *,
        projects: Callable[[], Iterable[int]],
        unread: Callable[[int], Sequence[int]] = lambda _: (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._processes = OneOfMany(settings.data_dir / "announcer.lock")
        user = settings.basic_auth_user
        self._basic_auth = (user, settings.basic_auth_pass) if user else None
        self._predictor = predictor
        self._known = projects
        self._unread = unread
        self._unread_due: dict[int, float] = {}
        self._clock = clock
        self._stopped = threading.Event()
        self._version = ""
        self._refresh = 0.0
        self._projects: dict[int, _Project] = {}
        self._without_token: set[int] = set()

    def start(self) -> None:
        """Starts the thread; after a fork, never before."""
        threading.Thread(target=self._run, name="announce", daemon=True).start()

    def stop(self) -> None:
        """Ends the thread, and lets another process take over."""
        self._stopped.set()
        self._processes.leave()

    def look(self) -> None:
        """Takes the next step of each project that is not where it should be."""
        state = self._predictor.serving.state()
        if state["model_state"] != "ready" or not self._processes.chosen():
            return
        self._note(state["model_version"])
        for number, project in self._projects.items():
            if not (project.done and project.read) and project.due <= self._clock():
                self._step(number, project)
            elif project.done and not project.gone and self._unread_due.get(number, 0.0) <= self._clock():
                self._ask_again(number)

    def _ask_again(self, number: int) -> None:
        """Lets a few tasks be looked at that could not be before; until none is due, at once, and then in a while."""
        self._unread_due[number] = self._clock() + _PROJECTS_SECONDS
        studio = self._predictor.connections.studio(str(number))
        tasks = self._unread(number) if studio.has_token else ()
        if not tasks:
            return
        started = self._clock()
        try:
            studio.retrieve_predictions(number, tasks)
        except LabelStudioError as error:
            _LOG.warning("project %d: tasks that could not be looked at are not asked for now: %s", number, error)
            return
        self._unread_due[number] = 2 * self._clock() - started

    def _run(self) -> None:
        while not self._stopped.wait(_LOOK_SECONDS):
            try:
                self.look()
            except Exception:
                # Such as a database that is away: the thread must outlive it, nothing else would tell Label Studio.
                _LOG.exception("Label Studio was not told of the version that serves; again in %g s", _FIRST_WAIT)
                self._stopped.wait(_FIRST_WAIT)

    def _note(self, version: str) -> None:
        """Takes in another version, or another project; those that are known are read again."""
        if version == self._version and self._clock() < self._refresh:
            return
        for number in self._known():
            known = self._projects.get(number)
            if known is None or known.serving != version:
                self._projects[number] = _Project(serving=version)
            else:
                known.read = known.gone
        self._version, self._refresh = version, self._clock() + _PROJECTS_SECONDS

    def _step(self, number: int, project: _Project) -> None:
        studio = self._predictor.connections.studio(str(number))
        if not studio.has_token:
            self._tell_about_token(number)
            project.due = self._clock() + _PROJECTS_SECONDS
            return
        try:
            # Read again, it goes on in the same step: however long a look at all projects takes, each comes further.
            if not project.read and not self._read(studio, number, project):
                return
            if not project.titled:
                self._title(studio, number, project, str(project.wanted))
            elif not project.done:
                self._predict(studio, number, project, str(project.wanted))
        except LabelConfigError:
            # Such a project gets no predictions at all, until it has another label config.
            project.wanted, project.read, project.done = None, True, True
        except LabelStudioError as error:
            if error.answered == _GONE and not (project.read and project.titled):
                # Deleted, or of another Label Studio.
                project.read, project.done, project.gone = True, True, True
                return
            if project.done:
                # It was where it should be; whether it still is can wait.
                project.read = True
                return
            self._put_off(project)
            _LOG.warning(
                "project %d does not show %s yet, again in %.0f s: %s",
                number,
                project.serving,
                project.due - self._clock(),
                error,
            )
        except Exception:
            # Whatever Label Studio holds of one project, the others are still to be told.
            self._put_off(project)
            _LOG.exception("project %d does not show %s yet", number, project.serving)

    def _read(self, studio: LabelStudio, number: int, project: _Project) -> bool:
        """Whether the label config asks for the same version as before; if not, everything begins anew."""
        label_config = str(studio.project(number).get("label_config") or "")
        wanted = self._predictor.version(bind(label_config, confidence=self._predictor.confidence))
        if wanted is not None and wanted != project.wanted:
            self._projects[number] = _Project(serving=project.serving, wanted=wanted, read=True)
            return False
        project.read = wanted is not None
        return project.read

    def _title(self, studio: LabelStudio, number: int, project: _Project, wanted: str) -> None:
        """Renames the connection that is to this backend: Label Studio has just asked it for its version."""
        ours = [connection for connection in studio.backends(number) if connection.get("model_version") == wanted]
        if not ours:
            # Not connected; or another process answered that has not loaded this version yet.
            self._put_off(project)
            return
        others = [connection for connection in ours if connection["title"] != wanted]
        for connection in others:
            studio.rename_backend(
                int(connection["id"]), number, connection["url"], title=wanted, basic_auth=self._basic_auth
            )
            _LOG.info("project %d shows %s, until now %s", number, wanted, connection["title"])
        # Looked at once more: whoever lists connections meanwhile makes Label Studio write them back as it read them.
        project.titled, project.failures = not others, 0
        if others:
            project.due = self._clock() + _SETTLED_SECONDS

    def _predict(self, studio: LabelStudio, number: int, project: _Project, wanted: str) -> None:
        """Lets a few tasks be predicted anew, those that have been waiting longest first."""
        tasks = studio.outdated_tasks(number, wanted, after=project.reached, most=_TASKS_AT_ONCE)
        if not tasks:
            self._end_round(number, project, wanted)
            return
        started = self._clock()
        try:
            studio.retrieve_predictions(number, tasks)
            # Whoever opened one of them, or asked for it as well, had Label Studio store a second prediction.
            for task in tasks:
                tidy_open_task(studio, task, wanted, now=time.time())
        except Exception:
            # Also where what is stored for one of them cannot be read: it is predicted anew no more often than others.
            if project.failures + 1 < _TRIES:
                raise
            _LOG.warning("project %d: tasks %s are left out for now: it failed %d times", number, tasks, _TRIES)
        project.asked += len(tasks)
        project.reached, project.failures = tasks[-1], 0
        project.due = 2 * self._clock() - started

    def _end_round(self, number: int, project: _Project, wanted: str) -> None:
        """Looks at all tasks again, and later each time, until a round finds none that lacks the version.

        That a task was asked for does not mean that Label Studio has stored anything: its page may have been away.
        """
        if not project.asked:
            project.done = True
            if project.lacking:
                _LOG.info("project %d: %d tasks predicted anew by %s", number, project.lacking, wanted)
            return
        wait = _wait(project.rounds, longest=_LONGEST_ROUND_WAIT)
        if project.rounds:
            _LOG.warning(
                "project %d: %d tasks had no prediction of %s yet, though it was asked for; looked at again in %.0f s",
                number,
                project.asked,
                wanted,
                wait,
            )
        else:
            project.lacking = project.asked
        project.rounds += 1
        project.reached = project.asked = 0
        project.due = self._clock() + wait

    def _put_off(self, project: _Project) -> None:
        project.due = self._clock() + _wait(project.failures, longest=_LONGEST_WAIT)
        project.failures += 1

    def _tell_about_token(self, number: int) -> None:
        if number not in self._without_token:
            self._without_token.add(number)
            _LOG.warning(
                "project %d keeps the version that it shows: no token for Label Studio's API is known, "
                "set LABEL_STUDIO_API_KEY",
                number,
            )


def _wait(before: int, *, longest: float) -> float:
    """Seconds to wait after so many tries: 2, 4, 8 and so on; after very many, doubling would give no number."""
    return min(_FIRST_WAIT * 2.0 ** min(before, 30), longest)
