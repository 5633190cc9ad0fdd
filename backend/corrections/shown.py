"""What was shown: every region that left for Label Studio, because an annotation does not say what it corrected.

What the server hands on: each event to an inbox, each shown region to a ledger. `backend.corrections` has both.

Which tasks are served without boxes, so that what people find unaided tells what the model misses.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from sqlalchemy import Connection, Engine, RowMapping, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError

from backend.corrections.database import writing
from backend.corrections.tables import prediction, proposal, unread_task
from backend.errors import LedgerError
from backend.labelstudio.annotations import Region
from backend.labelstudio.parents import word_of

if TYPE_CHECKING:
    from backend.labelstudio.parents import Parent

__all__ = [
    "CLOCKS_APART_SECONDS",
    "Inbox",
    "Ledger",
    "Noted",
    "Prediction",
    "Proposal",
    "Proposals",
    "answered_before",
    "is_blind",
    "keep",
    "keep_unread",
    "noted",
    "origin_of",
    "shown_before",
    "shown_under",
    "stored_prediction",
]

_NAMES = ("document_sha256", "document")
# Further apart, an annotation was rather made of another backend's prediction, before this one was connected.
CLOCKS_APART_SECONDS = 3600.0
_LONGEST_REASON = 1000
_AGAIN_SECONDS, _LONGEST_AGAIN_SECONDS = 60.0, 3600.0
_MOST_UNREAD = 1000


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """One region as it was shown.

    Attributes:
        region: Its place and label; `label` is the class (signature, stamp, thumb), not the config's word for it.
        probabilities: Of signature, stamp, thumb and none, in this order; empty where only Label Studio knew of it.
        page_size: Width and height of the upright page in pixels.
        recalled: The sample whose verdict replaced the network's, if one did.
        word: What the label config called the label then; None where an older ledger has not kept it.
    """

    region: Region
    probabilities: tuple[float, ...]
    score: float
    page_size: tuple[int, int]
    recalled: str | None = None
    word: str | None = None


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

    def remember(
        self,
        *,
        task: int,
        project: int | None,
        version: str,
        proposals: Sequence[Proposal],
        drawn: bool = False,
        blind: bool = False,
    ) -> None:
        """Stores one task's prediction, also one without a region; raises LedgerError where it did not.

        Args:
            task: The task's id.
            project: The project's id, where it is known.
            version: The model version that the prediction bears.
            proposals: Its regions.
            drawn: Whether these answer what an annotator just drew, instead of being shown before any work began.
            blind: Whether they were kept from the annotator, who was served an empty page.
        """
        ...

    def note_unread(self, *, task: int, project: int | None, reason: str) -> None:
        """Notes that a task could not be looked at, until a prediction of it is remembered.

        Args:
            task: The task's id.
            project: The project's id, where it is known.
            reason: Why not, for a person.
        """
        ...


def origin_of(data: Mapping[str, Any], references: Sequence[str]) -> str:
    """The document that a task is of: as the import names it, by content or else by name; else the task's own pages.

    Args:
        data: The task's data.
        references: Where its pages are, in order.
    """
    for name in _NAMES:
        value = data.get(name)
        if isinstance(value, str) and value:
            return f"{name} {value}"
    return f"pages {json.dumps(list(references))}"


def is_blind(origin: str, *, share: float) -> bool:
    """Whether the tasks of a document are served without boxes: the same in every process, for every model.

    The documents of a smaller share are among those of a larger one. Nothing else goes by this hash, least of all the
    split into training, validation and gold.

    Args:
        origin: As `origin_of` gives it.
        share: Of all documents, from 0 to 1.
    """
    digest = hashlib.sha256(f"blind\0{origin}".encode()).digest()
    return int.from_bytes(digest[:8]) < share * 2**64


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What was shown for one task at once, or kept from its annotators.

    Attributes:
        version: The model version that it bears.
        shown: When it was made, in seconds since the epoch.
        blind: Whether an empty page was served in its place.
    """

    version: str
    shown: float
    proposals: tuple[Proposal, ...]
    blind: bool = False


@dataclass(frozen=True, kw_only=True)
class Noted:
    """One task's prediction as rows of the ledger: it can wait elsewhere until the ledger takes it.

    Attributes:
        prediction: A row of the table of that name.
        proposals: Its regions, rows of theirs.
    """

    prediction: Mapping[str, Any]
    proposals: Sequence[Mapping[str, Any]]


def noted(
    *,
    task: int,
    project: int | None,
    version: str,
    proposals: Sequence[Proposal],
    shown: float,
    drawn: bool = False,
    blind: bool = False,
) -> Noted:
    """A prediction as rows; `shown` is the moment, in seconds since the epoch, the rest as for `Proposals.remember`."""
    edition = _edition(proposals, blind=blind)
    made = {"task": task, "version": version, "edition": edition, "project": project}
    made |= {"shown": shown, "drawn": drawn, "blind": blind}
    rows = [_row(one, task=task, version=version, edition=edition) for one in proposals]
    return Noted(prediction=made, proposals=rows)


def keep(connection: Connection, one: Noted) -> bool:
    """Puts a prediction into the ledger; tells whether that is news. What is there keeps its first time."""
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    row = insert(prediction).values(**one.prediction).on_conflict_do_nothing().returning(prediction.c.task)
    news = connection.execute(row).first() is not None
    if one.proposals:
        connection.execute(insert(proposal).on_conflict_do_nothing(), [dict(row) for row in one.proposals])
    if not one.prediction["drawn"]:
        connection.execute(delete(unread_task).where(unread_task.c.task == one.prediction["task"]))
    return news


def keep_unread(connection: Connection, *, task: int, project: int | None, reason: str, asked: float) -> None:
    """Notes that a task could not be looked at when it was asked for, unless a prediction of it came since."""
    read = select(prediction.c.task).where(
        prediction.c.task == task, prediction.c.drawn.is_(False), prediction.c.shown >= asked
    )
    if connection.execute(read.limit(1)).first() is not None:
        return
    told = {"project": project, "reason": reason[:_LONGEST_REASON], "asked": asked}
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    row = insert(unread_task).values(task=task, since=asked, **told)
    connection.execute(row.on_conflict_do_update(index_elements=["task"], set_=told))


class Proposals:
    """Remembers what was shown."""

    def __init__(self, engine: Engine, *, clock: Callable[[], float] = time.time) -> None:
        self._engine = engine
        self._clock = clock

    def remember(
        self,
        *,
        task: int,
        project: int | None,
        version: str,
        proposals: Sequence[Proposal],
        drawn: bool = False,
        blind: bool = False,
    ) -> None:
        """Stores one task's prediction, also one without a region; shown again, it keeps its first time.

        One version may show other regions later, because a correction taught it better: that is another edition. So
        is the same prediction shown after it was blind.

        Args:
            task: The task's id.
            project: The project's id, where it is known.
            version: The model version that the prediction bears.
            proposals: Its regions.
            drawn: Whether these answer what an annotator just drew: they are remembered for what they were called, but
                not as something that could be accepted or rejected.
            blind: Whether they were kept from the annotator, who was served an empty page.

        Raises:
            LedgerError: The database did not take it.
        """
        made = noted(
            task=task,
            project=project,
            version=version,
            proposals=proposals,
            shown=self._clock(),
            drawn=drawn,
            blind=blind,
        )
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


def shown_before(
    connection: Connection, *, task: int, regions: Sequence[str], moment: float, began_with_boxes: bool = False
) -> Prediction | None:
    """The one prediction that an annotation corrected, or was made in ignorance of; None where there was none.

    It is the one that shares the most region ids with the annotation. If none shares any (all were deleted, or drawn
    anew), it is the last one made before the annotation was first saved. Nobody can have taken a region from a blind
    one.

    When a prediction was made is told by our clock, when an annotation was saved by Label Studio's. So an annotation
    that was made of a prediction, but by these clocks before there was any, has the earliest of up to an hour later.

    Args:
        connection: An open transaction.
        task: The task's id.
        regions: Region ids left in the annotation.
        moment: When the annotation was first saved, in seconds since the epoch.
        began_with_boxes: Whether it was made of a prediction.
    """
    kept = set(regions)

    def fits(one: Prediction) -> tuple[int, bool, float, str]:
        shared = 0 if one.blind else sum(proposal.region.id in kept for proposal in one.proposals)
        return shared, one.shown <= moment, one.shown, one.version

    found = _predictions(connection, task, drawn=False)
    fitting = [one for one in found if fits(one)[0] or one.shown <= moment]
    if fitting or not began_with_boxes:
        return max(fitting, key=fits, default=None)
    return next((one for one in found if one.shown <= moment + CLOCKS_APART_SECONDS), None)


def shown_under(
    connection: Connection,
    *,
    task: int,
    taken: Iterable[str] = (),
    same: Iterable[str] | None = None,
    version: str = "",
) -> Prediction | None:
    """The one prediction that has certain regions; None where none of the task's has them, or where several differ.

    Args:
        connection: An open transaction.
        task: The task's id.
        taken: Ids of regions that it has, beside others, at least one; nobody can have taken one of a blind one.
        same: Ids of all of its regions, as Label Studio has them stored; a blind prediction is stored without any.
        version: In this case, its version.
    """
    found = _predictions(connection, task, drawn=False)
    if same is not None:
        wanted = frozenset(same)
        fitting = [one for one in found if one.version == version and _stored_ids(one) == wanted]
        # Of one version, what was blind and what was found empty look the same: the one that was blind says more.
        return max(fitting, key=lambda one: (one.blind, one.shown), default=None)
    some = frozenset(taken)
    fitting = [one for one in found if some and some <= _stored_ids(one)]
    return fitting[-1] if len({_stored_ids(one) for one in fitting}) == 1 else None


def _stored_ids(one: Prediction) -> frozenset[str]:
    return frozenset() if one.blind else frozenset(proposal.region.id for proposal in one.proposals)


def stored_prediction(parent: Parent, sizes: Mapping[int, tuple[int, int]]) -> Prediction:
    """What was shown, as Label Studio has it stored: nobody knows its probabilities any more.

    Args:
        parent: The stored prediction.
        sizes: Width and height in pixels of each upright page that bears one of its regions.
    """
    proposals = tuple(
        Proposal(
            region=region,
            probabilities=(),
            score=_score(body.get("score")),
            page_size=sizes[region.page],
            word=word_of(body),
        )
        for region, body in parent.read(sizes)
    )
    return Prediction(version=parent.version, shown=parent.shown, proposals=proposals)


def _score(score: object) -> float:
    return float(score) if isinstance(score, int | float) and 0 <= score <= 1 else 0.0


def answered_before(connection: Connection, *, task: int) -> tuple[Prediction, ...]:
    """What was answered to rectangles that annotators drew on a task."""
    return tuple(_predictions(connection, task, drawn=True))


def _predictions(connection: Connection, task: int, *, drawn: bool) -> list[Prediction]:
    members: dict[tuple[str, str], list[Proposal]] = {}
    for row in connection.execute(select(proposal).where(proposal.c.task == task).order_by(proposal.c.region)):
        members.setdefault((row.version, row.edition), []).append(_proposal(row._mapping))
    rows = connection.execute(
        select(prediction)
        .where(prediction.c.task == task, prediction.c.drawn.is_(drawn))
        .order_by(prediction.c.shown, prediction.c.version, prediction.c.edition)
    )
    return [
        Prediction(
            version=row.version,
            shown=row.shown,
            proposals=tuple(members.get((row.version, row.edition), ())),
            blind=row.blind,
        )
        for row in rows
    ]


def _edition(proposals: Sequence[Proposal], *, blind: bool) -> str:
    """The same for the same regions, in whatever order."""
    regions = sorted((one.region.page, one.region.id, one.region.label) for one in proposals)
    named = repr(("blind", regions)) if blind else repr(regions)
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
    }


def _proposal(row: RowMapping) -> Proposal:
    return Proposal(
        region=Region(
            id=row["region"], page=row["page"], label=row["label"], box=(row["x1"], row["y1"], row["x2"], row["y2"])
        ),
        probabilities=tuple(row["probabilities"]),
        score=row["score"],
        page_size=(row["page_width"], row["page_height"]),
        recalled=row["recalled"],
        word=row["word"],
    )
