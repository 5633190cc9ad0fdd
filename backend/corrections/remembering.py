"""Takes down what is shown before it is shown: an annotation does not say what it corrected.

What the server hands on: each event to an inbox, each shown region to a ledger. `backend.corrections` has both.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from sqlalchemy import Connection, Engine, delete, select, update
from sqlalchemy.exc import SQLAlchemyError

from backend.corrections.database import insert_into, writing
from backend.corrections.tables import prediction, proposal, unread_task
from backend.errors import LedgerError
from backend.escaping import printable

if TYPE_CHECKING:
    from backend.corrections.imprints import Imprint
    from backend.corrections.shown import Proposal

__all__ = ["Inbox", "Ledger", "Noted", "Proposals", "ShownPrediction", "keep", "keep_unread", "noted"]

_LONGEST_REASON = 1000
_AGAIN_SECONDS, _LONGEST_AGAIN_SECONDS = 60.0, 3600.0
_MOST_UNREAD = 1000


@dataclass(frozen=True, kw_only=True)
class ShownPrediction:
    """One task's prediction, as it is about to be shown.

    Attributes:
        task: The task's id.
        project: The project's id, where it is known.
        version: The model version that the prediction bears.
        proposals: Its regions.
        drawn: Whether these answer what an annotator just drew: they are remembered for what they were called, but not
            as something that could be accepted or rejected.
        blind: Whether they were kept from the annotator, who was served an empty page.
        pages: What its pages are known again by, each under its index in the task; of those that are not there,
            nobody can say later whether they are the same.
    """

    task: int
    project: int | None
    version: str
    proposals: Sequence[Proposal]
    drawn: bool = False
    blind: bool = False
    pages: Mapping[int, Imprint] = field(default_factory=dict)


class Inbox(Protocol):
    """Takes events."""

    def append(self, action: str, *, project: int | None, body: Mapping[str, Any]) -> None:
        """Stores an event durably before it returns; raises LedgerError where it did not."""
        ...

    def troubles(self) -> Sequence[str]:
        """Why events may be refused, or only wait, in words; empty when all is well. Answers at once."""
        ...


class Ledger(Protocol):
    """Remembers what was shown."""

    def remember(self, shown: ShownPrediction) -> None:
        """Stores a prediction, also one without a region; raises LedgerError where it did not."""
        ...

    def note_unread(self, *, task: int, project: int | None, reason: str) -> None:
        """Notes that a task could not be looked at, until a prediction of it is remembered.

        Args:
            task: The task's id.
            project: The project's id, where it is known.
            reason: Why not, for a person.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Noted:
    """One task's prediction as rows of the ledger: it can wait elsewhere until the ledger takes it.

    Attributes:
        prediction: A row of the table of that name.
        proposals: Its regions, rows of theirs.
    """

    prediction: Mapping[str, Any]
    proposals: Sequence[Mapping[str, Any]]


def noted(shown: ShownPrediction, *, at: float) -> Noted:
    """A prediction as rows; `at` is the moment when it is shown, seconds since the epoch."""
    task, version = shown.task, shown.version
    pages = {str(index): [one.file, one.picture] for index, one in sorted(shown.pages.items())}
    edition = _edition(shown.proposals, blind=shown.blind, pages=pages)
    made = {"task": task, "version": version, "edition": edition, "project": shown.project}
    made |= {"shown": at, "drawn": shown.drawn, "blind": shown.blind, "pages": pages or None}
    rows = [_row(one, task=task, version=version, edition=edition) for one in shown.proposals]
    return Noted(prediction=made, proposals=rows)


def keep(connection: Connection, one: Noted) -> bool:
    """Puts a prediction into the ledger; tells whether that is news. What is there keeps its first time."""
    row = (
        insert_into(prediction, connection)
        .values(**one.prediction)
        .on_conflict_do_nothing()
        .returning(prediction.c.task)
    )
    news = connection.execute(row).first() is not None
    if one.proposals:
        connection.execute(
            insert_into(proposal, connection).on_conflict_do_nothing(), [dict(row) for row in one.proposals]
        )
    if not one.prediction["drawn"]:
        connection.execute(delete(unread_task).where(unread_task.c.task == one.prediction["task"]))
    return news


def keep_unread(connection: Connection, *, task: int, project: int | None, reason: str, asked: float) -> None:
    """Notes that a task could not be looked at when it was asked for, unless a prediction of it came since."""
    # One of a moment that is still to come was shown by a clock that was ahead: nobody knows when.
    since = prediction.c.shown.between(asked, max(asked, time.time()))
    read = select(prediction.c.task).where(prediction.c.task == task, prediction.c.drawn.is_(False), since)
    if connection.execute(read.limit(1)).first() is not None:
        return
    told = {"project": project, "reason": printable(reason, most=_LONGEST_REASON)[:_LONGEST_REASON], "asked": asked}
    row = insert_into(unread_task, connection).values(task=task, since=asked, **told)
    connection.execute(row.on_conflict_do_update(index_elements=["task"], set_=told))


class Proposals:
    """Remembers what was shown."""

    def __init__(self, engine: Engine, *, clock: Callable[[], float] = time.time) -> None:
        self._engine = engine
        self._clock = clock

    def remember(self, shown: ShownPrediction) -> None:
        """Stores a prediction, also one without a region; shown again, it keeps its first time.

        One version may show other regions later, because a correction taught it better: that is another edition. So
        is the same prediction shown after it was blind, and one on other pages.

        Raises:
            LedgerError: The database did not take it.
        """
        made = noted(shown, at=self._clock())
        try:
            with writing(self._engine) as connection:
                keep(connection, made)
        except SQLAlchemyError as error:
            raise LedgerError(f"what was shown could not be stored: {error}; is the disk full?") from error

    def note_unread(self, *, task: int, project: int | None, reason: str) -> None:
        """Notes that a task could not be looked at, until a prediction of it is remembered.

        Raises:
            LedgerError: The database did not take it.
        """
        try:
            with writing(self._engine) as connection:
                keep_unread(connection, task=task, project=project, reason=reason, asked=self._clock())
        except SQLAlchemyError as error:
            raise LedgerError(f"what could not be read could not be stored: {error}; is the disk full?") from error

    def unread_again(self, project: int, *, most: int = 4) -> tuple[int, ...]:
        """Tasks that could not be looked at and are to be tried again now; they are noted as asked for.

        Each is tried after a minute, and then as long after the last time as it has been waiting, at most an hour.
        """
        now = self._clock()
        waiting = select(unread_task).where(unread_task.c.project == project).order_by(unread_task.c.asked)
        with self._engine.connect() as connection:
            # A moment that is still to come is of a clock that was put back since.
            due = [
                row.task
                for row in connection.execute(waiting.limit(_MOST_UNREAD))
                if not 0 <= now - row.asked < min(max(row.asked - row.since, _AGAIN_SECONDS), _LONGEST_AGAIN_SECONDS)
            ][:most]
        if due:
            with writing(self._engine) as connection:
                connection.execute(update(unread_task).where(unread_task.c.task.in_(due)).values(asked=now))
        return tuple(due)


def _edition(proposals: Sequence[Proposal], *, blind: bool, pages: Mapping[str, Sequence[str]]) -> str:
    """The same for the same regions on the same pages, in whatever order."""
    regions = sorted((one.region.page, one.region.id, one.region.label) for one in proposals)
    named = repr(("blind", regions)) if blind else repr(regions)
    named += repr(pages) if pages else ""
    return hashlib.blake2b(named.encode(), digest_size=8).hexdigest()


def _row(one: Proposal, *, task: int, version: str, edition: str) -> dict[str, Any]:
    x1, y1, x2, y2 = one.region.box
    return {
        "task": task,
        "version": version,
        "edition": edition,
        "page": one.region.page,
        "region": one.region.id,
        "label": one.region.label,
        "probabilities": list(one.probabilities),
        "score": one.score,
        "page_width": one.page_size[0],
        "page_height": one.page_size[1],
        "x1": x1,
        "y1": y1,
        "x2": x2,
        "y2": y2,
        "recalled": one.recalled,
        "word": one.word,
        "drawn_by": [one.drawn_by.control, one.drawn_by.image, one.drawn_by.kind] if one.drawn_by else None,
    }
