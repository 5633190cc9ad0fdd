"""Decisions into Label Studio: each becomes an annotation, or a change of one, and can be taken back."""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeGuard

from sqlalchemy import Engine, select, update

from backend.corrections.database import insert_into, writing
from backend.corrections.history_tables import decision
from backend.errors import LabelConfigError, LabelStudioError, RequestError
from backend.labelstudio.revising import (
    NO_MARK,
    Conflict,
    Revision,
    State,
    base_of,
    entries_of,
    read_state,
    remove_annotation,
    restored,
    revised,
    write_state,
)
from backend.vision.network_config import MARKS

if TYPE_CHECKING:
    from backend.labelstudio.client import LabelStudio

__all__ = ["Decided", "Decision", "Decisions", "is_identity", "is_name"]

log = logging.getLogger(__name__)

_MOST = 500
_LONGEST = 64
_LARGEST = 2**63
_SAME = 1e-3
"""Seconds between two readings of one moment."""
_MOST_SECONDS = 3600.0
_FURTHEST = 1e12


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What a reviewer says of one crop.

    Attributes:
        id: The browser's name for it.
        task: Label Studio's task.
        region: The region's id.
        was: What the crop was called on the wall.
        label: What it is: signature, stamp, thumb or none.
        annotation: The annotation that it stood in on the wall; None where it was predicted.
        updated: When that was saved last, as the wall had it.
        seconds: Of work.
    """

    id: str
    task: int
    region: str
    was: str
    label: str
    annotation: int | None
    updated: float | None
    seconds: float

    @classmethod
    def read(cls, told: Any) -> Decision:
        """Reads what a browser sent.

        Raises:
            RequestError: It is not of that shape.
        """
        if not isinstance(told, dict):
            raise RequestError("a decision is an object")
        names = {name: told.get(name) for name in ("id", "region", "was", "label")}
        fits = all(map(is_name, names.values()))
        if not (fits and names["was"] in MARKS and names["label"] in (*MARKS, NO_MARK)):
            raise RequestError("a decision names its id, the region, what it was called, and what it is")
        annotation = told.get("annotation")
        return cls(
            **{name: str(value) for name, value in names.items()},
            task=_identity(told.get("task")),
            annotation=None if annotation is None else _identity(annotation),
            updated=None if annotation is None else _number(told.get("updated")),
            seconds=min(max(_number(told.get("seconds")), 0.0), _MOST_SECONDS),
        )


@dataclass(frozen=True, kw_only=True)
class Decided:
    """What became of a decision.

    Attributes:
        id: The decision's.
        state: `saved`, `conflict` (the task is no longer as the wall had it) or `failed`.
        reason: Why it was not saved.
        annotation: Of a saved one, the annotation that has it now.
        updated: When that was saved last.
    """

    id: str
    state: str
    reason: str = ""
    annotation: int | None = None
    updated: float | None = None


class Decisions:
    """Writes decisions, one task at a time, and remembers what was there before.

    Args:
        engine: The ledger's database.
        studio: Gives Label Studio's API by project.
        clock: Seconds since the epoch.
    """

    def __init__(
        self, engine: Engine, *, studio: Callable[[str], LabelStudio], clock: Callable[[], float] = time.time
    ) -> None:
        self._engine = engine
        self._studio = studio
        self._clock = clock
        # Two reviewers of one task in this process: the second one reads what the first one wrote.
        self._turn = threading.Lock()

    def make(self, project: int, decisions: Sequence[Decision], *, reviewer: int | None) -> list[Decided]:
        """Makes decisions; one that was made before is told of again, and not made twice.

        Raises:
            RequestError: There are too many at once.
        """
        if len(decisions) > _MOST:
            raise RequestError(f"{len(decisions)} decisions at once: at most {_MOST}")
        found = self._made(decisions)
        by_task: dict[int, list[Decision]] = defaultdict(list)
        for one in decisions:
            if one.id not in found:
                by_task[one.task].append(one)
        studio = self._studio(str(project))
        try:
            config = str(studio.project(project).get("label_config") or "") if by_task else ""
        except LabelStudioError as error:
            return [found.get(one.id) or _failed(one, error) for one in decisions]
        for some in by_task.values():
            with self._turn:
                told = self._task(studio, some, project=project, config=config, reviewer=reviewer)
            found |= {one.id: one for one in told}
        return [found[one.id] for one in decisions]

    def undo(self, identity: str) -> Decided:
        """Takes a decision back: the region becomes what it was, unless the annotation was changed since.

        An annotation that was made here goes with the last decision that it holds.
        """
        with self._engine.connect() as connection:
            row = connection.execute(select(decision).where(decision.c.id == identity)).first()
        if row is None:
            return Decided(id=identity, state="failed", reason="there is no such decision")
        if row.undone is not None:
            return Decided(id=identity, state="saved")
        try:
            with self._turn:
                return self._take_back(row)
        except Conflict as conflict:
            return Decided(id=identity, state="conflict", reason=str(conflict))
        except (LabelStudioError, LabelConfigError, RequestError) as error:
            return Decided(id=identity, state="failed", reason=str(error))

    def _made(self, decisions: Iterable[Decision]) -> dict[str, Decided]:
        names = [one.id for one in decisions]
        with self._engine.connect() as connection:
            rows = connection.execute(select(decision).where(decision.c.id.in_(names))).all()
        return {row.id: Decided(id=row.id, state="saved", annotation=row.annotation, updated=row.wrote) for row in rows}

    def _task(
        self,
        studio: LabelStudio,
        some: Sequence[Decision],
        *,
        project: int,
        config: str,
        reviewer: int | None,
    ) -> list[Decided]:
        """Makes the decisions on one task."""
        try:
            state = self._state(studio, some, project=project)
            return self._write(studio, state, some, config=config, reviewer=reviewer)
        except Conflict as conflict:
            return [Decided(id=one.id, state="conflict", reason=str(conflict)) for one in some]
        except (LabelStudioError, LabelConfigError, RequestError) as error:
            log.warning("crop wall: task %d: %s", some[0].task, error)
            return [_failed(one, error) for one in some]

    def _state(self, studio: LabelStudio, some: Sequence[Decision], *, project: int) -> State:
        """The task, which is as the wall had it, or as the last write from here left it; raises Conflict."""
        state = read_state(studio, some[0].task)
        if state is None or state.project != project:
            raise Conflict("the task is gone")
        if state.skipped:
            raise Conflict("somebody skipped the task meanwhile")
        seen = {(one.annotation, one.updated) for one in some} | self._wrote(state)
        if state.annotation is None and any(one.annotation is not None for one in some):
            raise Conflict("its annotation was deleted meanwhile")
        if state.annotation is not None and not any(
            annotation == state.annotation and abs((updated or 0.0) - (state.updated or 0.0)) < _SAME
            for annotation, updated in seen
        ):
            raise Conflict("somebody annotated the task, or changed its annotation, meanwhile")
        return state

    def _wrote(self, state: State) -> set[tuple[int | None, float | None]]:
        if state.annotation is None:
            return set()
        rows = select(decision.c.annotation, decision.c.wrote).where(decision.c.annotation == state.annotation)
        with self._engine.connect() as connection:
            return {(row.annotation, row.wrote) for row in connection.execute(rows)}

    def _write(
        self,
        studio: LabelStudio,
        state: State,
        some: Sequence[Decision],
        *,
        config: str,
        reviewer: int | None,
    ) -> list[Decided]:
        base, parent = base_of(state, some[0].region)
        wanted = [Revision(region=one.region, was=one.was, label=one.label) for one in some]
        result, refused = revised(base, wanted, state, config)
        made = [one for one in some if one.region not in refused]
        answers = [
            Decided(id=one.id, state="conflict", reason=str(refused[one.region]))
            for one in some
            if one.region in refused
        ]
        if not made:
            return answers
        annotation, updated = state.annotation, state.updated
        if annotation is None or result != list(base):
            seconds = sum(one.seconds for one in made)
            written = write_state(studio, state, result, parent=parent, reviewer=reviewer, seconds=seconds)
            annotation, updated = written.annotation, written.updated
        rows = [
            {
                "id": one.id,
                "at": self._clock(),
                "project": state.project,
                "task": state.task,
                "region": one.region,
                "reviewer": reviewer,
                "was": one.was,
                "label": one.label,
                "before": entries_of(base, one.region),
                "annotation": annotation,
                "made": state.annotation is None,
                "wrote": updated,
            }
            for one in made
        ]
        self._note(annotation, updated or 0.0, rows)
        return answers + [Decided(id=one.id, state="saved", annotation=annotation, updated=updated) for one in made]

    def _note(self, annotation: int, wrote: float, rows: Sequence[Mapping[str, Any]]) -> None:
        with writing(self._engine) as connection:
            if rows:
                connection.execute(insert_into(decision, self._engine).on_conflict_do_nothing(), list(rows))
            same = update(decision).where(decision.c.annotation == annotation)
            connection.execute(same.values(wrote=wrote))

    def _take_back(self, row: Any) -> Decided:
        studio = self._studio(str(row.project))
        state = read_state(studio, row.task)
        if state is None:
            raise Conflict("the task is gone")
        if state.annotation != row.annotation or abs((state.updated or 0.0) - row.wrote) >= _SAME:
            raise Conflict("the annotation was changed since")
        of_it = select(decision.c.id).where(
            decision.c.annotation == row.annotation, decision.c.undone.is_(None), decision.c.id != row.id
        )
        with self._engine.connect() as connection:
            others = connection.execute(of_it.limit(1)).first() is not None
            made = select(decision.c.made).where(decision.c.annotation == row.annotation, decision.c.made).limit(1)
            is_ours = connection.execute(made).first() is not None
        annotation, updated = state.annotation, state.updated
        if is_ours and not others:
            remove_annotation(studio, row.annotation)
            annotation, updated = None, None
        else:
            config = str(studio.project(row.project).get("label_config") or "")
            result = restored(state, row.region, row.before, config)
            if result != list(state.result):
                written = write_state(studio, state, result, parent=None, reviewer=None, seconds=0.0)
                updated = written.updated
                self._note(row.annotation, written.updated, ())
        with writing(self._engine) as connection:
            connection.execute(update(decision).where(decision.c.id == row.id).values(undone=self._clock()))
        return Decided(id=row.id, state="saved", annotation=annotation, updated=updated)


def _failed(one: Decision, error: Exception) -> Decided:
    return Decided(id=one.id, state="failed", reason=str(error))


def is_name(value: Any) -> bool:
    """Whether a browser's value may be the name of a decision or a region: text that every database can hold."""
    return isinstance(value, str) and 0 < len(value) <= _LONGEST and value.isprintable()


def is_identity(value: Any) -> TypeGuard[int]:
    """Whether a browser's value may be one of Label Studio's numbers."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _LARGEST


def _identity(value: Any) -> int:
    if not is_identity(value):
        raise RequestError("a decision names its task, and the annotation where there is one, by Label Studio's number")
    return value


def _number(value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) < _FURTHEST:
        raise RequestError("a decision says in seconds how long it took, and when its annotation was saved")
    return float(value)
