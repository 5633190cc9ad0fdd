"""Keeps what the dashboard's lines are drawn from: what became of models, and how long each annotation took.

Both are written once and stay: a restart, another process or a registry that was moved takes no line away.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine, delete, func, or_, select

from backend.corrections.database import insert_into, writing
from backend.corrections.history_tables import milestone, work
from backend.corrections.shown import shown_before
from backend.corrections.tables import annotation
from backend.errors import LabelConfigError, RegistryError, RequestError
from backend.labelstudio.annotations import Annotation
from backend.models.published import FOUND, JUDGED, PROMOTED, PUBLISHED, ROLLED_BACK, ModelEvent, RecordedVerdict

if TYPE_CHECKING:
    from backend.models.promotion import Models

__all__ = ["BLIND", "BOXES", "SCRATCH", "SERVES", "Chronicle", "Milestone", "Registered", "milestones"]

SERVES = "serves"
BOXES, BLIND, SCRATCH = "boxes", "blind", "scratch"
"""What an annotator began with: boxes, a blind page whose boxes were kept back, or an empty page."""
_LOOK_SECONDS = 15.0
_PORTION = 200


@dataclass(frozen=True, kw_only=True)
class Milestone:
    """Something that became of a model.

    Attributes:
        at: Seconds since the epoch.
        what: `serves`, `promoted`, `rolled back` or `refused`.
        model: Of `serves` the version, else the model's name.
        f1: Macro F1 on the gold pages of that day, where it was measured; with its interval.
        documents: How many documents those pages are of.
        reason: In words; empty where there is none.
    """

    at: float
    what: str
    model: str
    f1: float | None = None
    low: float | None = None
    high: float | None = None
    documents: int | None = None
    reason: str = ""


class Chronicle:
    """Writes the history of one ledger; any number of processes may do so at once.

    Args:
        engine: The ledger's database.
        version: Gives the version that serves in this process; None while none does.
        told: Gives all milestones of the registry; those that are written already are passed over.
        clock: Seconds since the epoch.
        ticks: Seconds that never go back.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        version: Callable[[], str | None],
        told: Callable[[], Iterable[Milestone]] = tuple,
        clock: Callable[[], float] = time.time,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._version = version
        self._told = told
        self._clock = clock
        self._ticks = ticks
        self._served: str | None = None
        self._known: frozenset[str] = frozenset()
        self._looked = -math.inf

    def look(self) -> int:
        """Writes down what is new, now and then; gives how much that was, so that a loop asks again at once."""
        news = self._note_version()
        if self._ticks() < self._looked + _LOOK_SECONDS:
            return news
        news += self._note_told() + self.catch_up()
        if not news:
            self._looked = self._ticks()
        return news

    def catch_up(self, *, limit: int = _PORTION) -> int:
        """Notes the work on annotations that were saved or deleted since; gives how many."""
        stale = or_(work.c.annotation.is_(None), work.c.turned != annotation.c.turned)
        done = (annotation.c.turned.is_not(None), annotation.c.deleted.is_(False))
        of_it = annotation.outerjoin(work, work.c.annotation == annotation.c.id)
        fresh = select(annotation.c.turned, annotation.c.body).select_from(of_it).where(*done, stale).limit(limit)
        gone = (
            select(work.c.annotation)
            .join(annotation, annotation.c.id == work.c.annotation)
            .where(annotation.c.deleted)
            .limit(limit)
        )
        with self._engine.connect() as connection:
            rows = [_worked(connection, Annotation(**row.body), row.turned) for row in connection.execute(fresh)]
            deleted = list(connection.execute(gone).scalars())
        if not rows and not deleted:
            return 0
        with writing(self._engine) as connection:
            identities = [row["annotation"] for row in rows] + deleted
            connection.execute(delete(work).where(work.c.annotation.in_(identities)))
            if rows:
                # Another process may have noted the same meanwhile.
                connection.execute(insert_into(work, connection).on_conflict_do_nothing(), rows)
        return len(identities)

    def _note_version(self) -> int:
        version = self._version()
        if version is None or version == self._served:
            return 0
        with writing(self._engine) as connection:
            last = select(milestone.c.model).where(milestone.c.what == SERVES).order_by(milestone.c.at.desc()).limit(1)
            news = connection.execute(last).scalar() != version
            if news:
                row = Milestone(at=self._clock(), what=SERVES, model=version)
                connection.execute(insert_into(milestone, connection).on_conflict_do_nothing(), [_row(row)])
        self._served = version
        return int(news)

    def _note_told(self) -> int:
        rows = [row for row in map(_row, self._told()) if row["key"] not in self._known]
        if not rows:
            return 0
        with writing(self._engine) as connection:
            before = connection.execute(select(func.count()).select_from(milestone)).scalar() or 0
            connection.execute(insert_into(milestone, connection).on_conflict_do_nothing(), rows)
            after = connection.execute(select(func.count()).select_from(milestone)).scalar() or 0
        self._known |= {row["key"] for row in rows}
        return int(after - before)


def _row(one: Milestone) -> dict[str, Any]:
    key = f"{one.what} {one.at:.0f} {one.model}"
    return {"key": key[:384], **vars(one)}


def _worked(connection: Connection, state: Annotation, turned: float) -> Mapping[str, Any]:
    """What one state of an annotation tells of the work on it."""
    return {
        "annotation": state.id,
        "turned": turned,
        "task": state.task,
        "project": state.project,
        "annotator": state.annotator,
        "at": state.created,
        "pages": 0 if state.skipped else _pages(state),
        "seconds": state.lead_time,
        "saw": _saw(connection, state),
    }


def _pages(state: Annotation) -> int:
    try:
        return len(state.task_pages)
    except (LabelConfigError, RequestError):
        return 0  # an annotation without readable pages is parked, and the dashboard says so


def _saw(connection: Connection, state: Annotation) -> str:
    shown = shown_before(
        connection,
        task=state.task,
        regions=() if not _pages(state) else state.region_ids(),
        moment=state.created,
        began_with_boxes=state.began_with_boxes,
    )
    if shown is not None and shown.blind:
        return BLIND
    return BOXES if state.began_with_boxes else SCRATCH


_LOG = logging.getLogger(__name__)

REFUSED = "refused"
_UNPUBLISHED = "(none: unpublished weights)"
_IOU = "0.5"


class Registered:
    """Reads the milestones of a registry, each time it is called.

    Args:
        models: The registry.

    Attributes:
        failure: Why the last call could not read them; empty where it could.
    """

    def __init__(self, models: Models) -> None:
        self._models = models
        self.failure = ""

    def __call__(self) -> list[Milestone]:
        """The milestones; none, and the failure noted, where the history cannot be read."""
        try:
            found = milestones(self._models)
        except RegistryError as error:
            if str(error) != self.failure:
                _LOG.warning("the dashboard does not learn what becomes of models: %s", error)
            self.failure = str(error)
            return []
        self.failure = ""
        return found


def milestones(models: Models) -> list[Milestone]:
    """Promotions, rollbacks and refusals, oldest first, with what the gate had measured by then.

    Raises:
        RegistryError: The history cannot be read.
    """
    said: dict[str, RecordedVerdict] = {}
    found = []
    for event in models.events():
        if event.verdict is not None and event.model is not None:
            said[event.model] = event.verdict
        one = _milestone(event, said.get(event.model or ""))
        if one is not None:
            found.append(one)
    return found


def _milestone(event: ModelEvent, verdict: RecordedVerdict | None) -> Milestone | None:
    if event.what in (PUBLISHED, JUDGED) and event.verdict is not None and not event.verdict.passed:
        what, reason = REFUSED, "; ".join(event.verdict.reasons)
    elif event.what == PROMOTED:
        what, reason = PROMOTED, event.why
    elif event.what in (ROLLED_BACK, FOUND):
        what, reason, verdict = event.what, event.why, None
    else:
        return None
    forced = " (forced)" if event.forced else ""
    at, model = datetime.fromisoformat(event.when).timestamp(), event.model or _UNPUBLISHED
    return Milestone(at=at, what=what, model=model, reason=reason + forced, **_measured(verdict))


def _measured(verdict: RecordedVerdict | None) -> Mapping[str, Any]:
    """Macro F1 on the gold pages with its interval, where a verdict has it."""
    figures = verdict.figures if verdict else {}
    f1 = figures.get("end_to_end", {}).get(_IOU, {}).get("macro", {}).get("f1") or {}
    if f1.get("value") is None:
        return {}
    return {**{to: f1.get(name) for to, name in (("f1", "value"), ("low", "low"), ("high", "high"))}} | {
        "documents": figures.get("documents")
    }
