"""What Label Studio itself says about the things that webhooks tell of.

A webhook is a hint: it comes once, in any order, and whoever reaches the port can send one. So an event only names a
task, and what annotators left on that task is asked of Label Studio's API. A forged event then teaches nothing, at the
price of one question; and a true one, however late, teaches what holds now.

If the API cannot be asked (no token is known, or it is refused), an event is believed. WEBHOOK_SECRET then keeps forged
events out.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from sqlalchemy import Engine, select

from backend.corrections.tables import annotation as table
from backend.errors import LabelStudioError, RequestError
from backend.labelstudio.json_fields import identity_of, moment
from backend.labelstudio.protocol import ANNOTATION_ACTIONS, PROJECT_ACTIONS, read_config, task_ids
from backend.labelstudio.tasks import listed

if TYPE_CHECKING:
    from backend.corrections.journal import Entry

__all__ = ["HintAnswer", "Hints", "WhatIs", "told_states"]

log = logging.getLogger(__name__)

# Label Studio sends an event when the annotation is saved; one that its API does not know by then is not true.
_SETTLED_SECONDS = 30.0
_AGAIN_SECONDS = 2.0
# After Label Studio did not answer: its events wait, and are not lost.
_AWAY_SECONDS = 10.0
_OF_PROJECTS = PROJECT_ACTIONS | {"START_TRAINING"}
_MOST_TASKS = 100
_REFUSED = (401, 403)
_GONE = 404


@dataclass(frozen=True, kw_only=True)
class HintAnswer:
    """What Label Studio says about the tasks that one event names.

    Attributes:
        label_config: Of the project as it is now.
        tasks: The tasks, with all their annotations; not those that are gone.
        gone: Ids of tasks that it does not have.
        asked: When it said so, in seconds since the epoch.
    """

    label_config: str = ""
    asked: float = 0.0
    tasks: tuple[Mapping[str, Any], ...] = ()
    gone: tuple[int, ...] = ()


class WhatIs(Protocol):
    """What is asked of Label Studio."""

    @property
    def has_token(self) -> bool: ...

    def project(self, project: int) -> Mapping[str, Any]: ...

    def tasks_by_id(self, project: int, ids: Sequence[int]) -> Iterable[Mapping[str, Any]]: ...

    def has_task(self, task: int) -> bool: ...


class Hints:
    """Asks Label Studio about events before they are taken.

    Args:
        engine: The ledger's database, which knows the tasks of the annotations that were deleted.
        studio: Label Studio's API, with the token of a project.
        clock: Seconds since the epoch.
        ticks: Seconds that never go back: a clock that is put back must not make an event wait.
    """

    def __init__(
        self,
        engine: Engine,
        studio: Callable[[str], WhatIs],
        *,
        clock: Callable[[], float] = time.time,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._studio = studio
        self._clock = clock
        self._ticks = ticks
        self._later: dict[int, float] = {}
        self._first: dict[int, float] = {}
        self._told: set[int] = set()
        self._away = False

    def put_off(self) -> frozenset[int]:
        """Ids of events that wait for a second question, whose time has not come."""
        now = self._ticks()
        self._later = {entry: due for entry, due in self._later.items() if due > now}
        return frozenset(self._later)

    def asks(self) -> bool:
        """Whether an event waits because Label Studio may not show it yet; not where that does not answer."""
        now = self._ticks()
        return any(now < due <= now + _AGAIN_SECONDS for due in self._later.values()) and not self._away

    def ask(self, entries: Sequence[Entry]) -> dict[int, HintAnswer | None]:
        """What is so, by the id of each event; None where the event is taken at its word.

        Events that are to be asked about once more are left out, and put off.
        """
        self._away = False
        now, waiting = self._ticks(), {*self._later, *(entry.id for entry in entries)}
        self._first = {entry: self._first.get(entry, now) for entry in waiting}
        found: dict[int, HintAnswer | None] = {}
        by_project: dict[int, list[Entry]] = defaultdict(list)
        for entry in entries:
            if entry.action in ANNOTATION_ACTIONS or entry.action == "TASKS_DELETED":
                if entry.project is None:
                    found[entry.id] = None if self._is_silent("") else HintAnswer()
                else:
                    by_project[entry.project].append(entry)
            elif entry.action in _OF_PROJECTS and entry.project is not None:
                by_project[entry.project].append(entry)
            else:
                found[entry.id] = None
        for project, theirs in by_project.items():
            found |= self._about(project, theirs)
        return found

    def _is_silent(self, project: str) -> bool:
        return not self._studio(project).has_token

    def _about(self, project: int, entries: Sequence[Entry]) -> dict[int, HintAnswer | None]:
        """The truth about events of one project."""
        if self._is_silent(str(project)):
            return dict.fromkeys((entry.id for entry in entries), None)
        try:
            return self._asked(self._studio(str(project)), project, entries)
        except LabelStudioError as error:
            if error.answered in _REFUSED:
                if project not in self._told:
                    self._told.add(project)
                    log.warning("events of project %d are taken at their word: %s", project, error)
                return dict.fromkeys((entry.id for entry in entries), None)
            if error.answered == _GONE:
                log.warning("%d events of project %d are of no project that Label Studio has", len(entries), project)
                return dict.fromkeys((entry.id for entry in entries), HintAnswer())
            reason = str(error)
        except (AttributeError, TypeError, ValueError, LookupError) as error:
            if len(entries) > 1:
                # Of one task that cannot be read, the events about others know nothing.
                return {key: told for entry in entries for key, told in self._about(project, [entry]).items()}
            reason = f"its answer cannot be read ({type(error).__name__})"
        self._away = True
        ids = [entry.id for entry in entries]
        log.warning("events %s of project %d wait for Label Studio: %s", listed(ids), project, reason)
        self._later |= dict.fromkeys(ids, self._ticks() + _AWAY_SECONDS)
        return {}

    def _asked(self, studio: WhatIs, project: int, entries: Sequence[Entry]) -> dict[int, HintAnswer | None]:
        label_config, asked = str(studio.project(project).get("label_config") or ""), self._clock()
        wanted = {entry.id: self._tasks_of(entry) for entry in entries}
        ids = sorted({task for tasks in wanted.values() for task in tasks})
        there: dict[int, Mapping[str, Any]] = {}
        for start in range(0, len(ids), _MOST_TASKS):
            for task in studio.tasks_by_id(project, ids[start : start + _MOST_TASKS]):
                there[int(task["id"])] = task
        # Not in this project's list is not gone: an event may name another's task. Only what is known here is asked.
        gone = {task for task in self._known(set(ids) - set(there)) if not studio.has_task(task)}
        found: dict[int, HintAnswer | None] = {}
        for entry in entries:
            tasks = wanted[entry.id]
            truth = HintAnswer(
                asked=asked,
                label_config=label_config,
                tasks=tuple(there[task] for task in tasks if task in there),
                gone=tuple(task for task in tasks if task in gone),
            )
            if self._is_early(entry, truth):
                self._later[entry.id] = self._ticks() + _AGAIN_SECONDS
            else:
                found[entry.id] = truth
        return found

    def _tasks_of(self, entry: Entry) -> tuple[int, ...]:
        """Ids of the tasks that an event is about; those of deleted annotations are known from before."""
        try:
            named = [*task_ids(entry.body)] if "task" in entry.body or "tasks" in entry.body else []
        except RequestError:
            named = []
        annotations = _annotations(entry.body)
        named += [task for one in annotations if (task := _id_of(one, "task")) is not None]
        if entry.action.endswith("DELETED"):
            ids = [identity for one in annotations if (identity := _id_of(one, "id")) is not None]
            with self._engine.connect() as connection:
                for start in range(0, len(ids), _MOST_TASKS):
                    some = select(table.c.task).where(table.c.id.in_(ids[start : start + _MOST_TASKS]))
                    named += [task for task in connection.execute(some).scalars() if task is not None]
        return tuple(dict.fromkeys(named))

    def _known(self, tasks: Iterable[int]) -> list[int]:
        """Those of some tasks that have living annotations here."""
        ids, found = sorted(tasks), []
        with self._engine.connect() as connection:
            for start in range(0, len(ids), _MOST_TASKS):
                some = table.c.task.in_(ids[start : start + _MOST_TASKS])
                living = select(table.c.task).where(some, table.c.deleted.is_(False)).distinct()
                found += list(connection.execute(living).scalars())
        return found

    def _is_early(self, entry: Entry, truth: HintAnswer) -> bool:
        """Whether an event tells of a state that Label Studio's API does not show yet, and may in a moment."""
        if entry.action not in ANNOTATION_ACTIONS or entry.action.endswith("DELETED"):
            return False
        if self._clock() >= entry.received + _SETTLED_SECONDS:
            return False
        if self._ticks() >= self._first[entry.id] + _SETTLED_SECONDS:
            return False  # it came by a clock that was ahead
        saved = {one["id"]: one for task in truth.tasks for one in task.get("annotations") or ()}
        told = [(identity, one) for one in _annotations(entry.body) if (identity := _id_of(one, "id")) is not None]
        return any(identity not in saved or _moment(one) > _moment(saved[identity]) for identity, one in told)


def told_states(body: Mapping[str, Any], label_config: str) -> frozenset[tuple[int, float]]:
    """Id and moment of the states that an event tells of, where it came with the label config that holds now.

    The names in those are read by it for certain: Label Studio sends a project with each annotation that is saved.
    """
    if not label_config or read_config(body) != label_config:
        return frozenset()
    states = ((_id_of(one, "id"), _moment(one)) for one in _annotations(body))
    return frozenset((identity, when) for identity, when in states if identity is not None)


def _annotations(body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found = [body.get(key) for key in ("annotation", "annotations")]
    flat = [one for value in found for one in (value if isinstance(value, list) else [value])]
    return [one for one in flat if isinstance(one, Mapping)]


def _id_of(annotation: Mapping[str, Any], key: str) -> int | None:
    """An id that a forged event may have put in the place of any other value; None where Label Studio gives no such."""
    try:
        return identity_of(annotation, key, "annotation")
    except RequestError:
        return None


def _moment(annotation: Mapping[str, Any]) -> float:
    try:
        return moment(annotation.get("updated_at") or annotation.get("created_at"))
    except RequestError:
        return 0.0
