"""How the loop does over time: what became of shown boxes, how long pages took, how far annotators agree."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from sqlalchemy import Connection, Engine, Integer, cast, func, select

from backend.corrections.chronicle import BLIND, BOXES, SCRATCH, SERVES, Milestone
from backend.corrections.history_tables import milestone, work
from backend.corrections.outcomes import SAME_PLACE, Outcome
from backend.corrections.tables import sample
from backend.geometry import as_boxes, iou
from backend.vision.network_config import MARKS

__all__ = ["DAY", "Counts", "Pace", "Progress", "progress"]

_MOST_TASKS = 500
"""The newest that overlap: older ones tell of older instructions."""


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How often two annotators have the same mark.

    Attributes:
        same: Pairs of boxes of one name with IoU .5 or more.
        boxes: All boxes of both sides.
    """

    same: int = 0
    boxes: int = 0

    @property
    def share(self) -> float | None:
        """Of all boxes, those that the other side has as well: F1 of one annotator against the other."""
        return 2 * self.same / self.boxes if self.boxes else None

    def __add__(self, other: Agreement) -> Agreement:
        return Agreement(same=self.same + other.same, boxes=self.boxes + other.boxes)


def agreement(connection: Connection, classes: Collection[str]) -> dict[str, Agreement]:
    """Agreement by class over every pair of annotators of a task; a class that nobody marked has no boxes.

    Args:
        connection: To the ledger.
        classes: Their names.
    """
    found = dict.fromkeys(classes, Agreement())
    for task, by_whom in _overlapping(connection).items():
        marks = _marks(connection, task)
        for (one, first), (other, second) in combinations(sorted(by_whom.items()), 2):
            if first != second:
                for name in classes:
                    found[name] += _pair(marks[one, name], marks[other, name])
    return found


def _overlapping(connection: Connection) -> Mapping[int, Mapping[int, int]]:
    """Of each task that several annotators did: its annotations and who made them."""
    several = (
        select(work.c.task)
        .where(work.c.pages > 0, work.c.annotator.is_not(None))
        .group_by(work.c.task)
        .having(func.count(work.c.annotator.distinct()) > 1)
        .order_by(func.max(work.c.at).desc())
        .limit(_MOST_TASKS)
    )
    of_them = select(work.c.task, work.c.annotation, work.c.annotator).where(
        work.c.task.in_(several), work.c.pages > 0, work.c.annotator.is_not(None)
    )
    found: dict[int, dict[int, int]] = defaultdict(dict)
    for row in connection.execute(of_them):
        found[row.task][row.annotation] = row.annotator
    return found


def _marks(connection: Connection, task: int) -> Mapping[tuple[int, str], Sequence[Any]]:
    """What each annotation of a task has as a mark, by its name: what was rejected or doubled is none."""
    drawn = sample.c.outcome.not_in([Outcome.REJECTED, Outcome.DUPLICATE])
    found: dict[tuple[int, str], list[Any]] = defaultdict(list)
    for row in connection.execute(select(sample).where(sample.c.task == task, drawn)):
        found[row.annotation, row.label].append(row)
    return found


def _pair(ours: Sequence[Any], theirs: Sequence[Any]) -> Agreement:
    """Boxes of one name by two annotators, paired one to one by falling IoU."""
    overlaps = iou(*(as_boxes([(row.x1, row.y1, row.x2, row.y2) for row in rows]) for rows in (ours, theirs)))
    near = [
        (float(overlaps[a, b]), a, b)
        for a, one in enumerate(ours)
        for b, other in enumerate(theirs)
        if one.page == other.page and overlaps[a, b] >= SAME_PLACE
    ]
    paired: list[tuple[int, int]] = []
    for _, a, b in sorted(near, key=lambda one: (-one[0], one[1:])):
        if all(a != taken_a and b != taken_b for taken_a, taken_b in paired):
            paired.append((a, b))
    return Agreement(same=len(paired), boxes=len(ours) + len(theirs))


DAY = 86_400
_MOST_WORKS = 20_000
_MOST_MILESTONES = 400
_SHOWN = (Outcome.ACCEPTED, Outcome.MOVED, Outcome.RELABELLED, Outcome.REJECTED, Outcome.DUPLICATE)


@dataclass(frozen=True)
class Counts:
    """What became of boxes, by outcome."""

    by: Mapping[str, int]

    def of(self, outcome: str) -> int:
        return self.by.get(outcome, 0)

    @property
    def shown(self) -> int:
        """Boxes that somebody saw and decided on."""
        return sum(self.of(outcome) for outcome in _SHOWN)

    @property
    def corrections(self) -> int:
        """All that was not right as it was shown, or not shown."""
        return self.shown - self.of(Outcome.ACCEPTED) + self.of(Outcome.MISSED)

    @property
    def acceptance(self) -> float | None:
        """Share of the shown boxes that were left as they were; None where none was shown."""
        return self.of(Outcome.ACCEPTED) / self.shown if self.shown else None

    @property
    def f1(self) -> float | None:
        """F1 of what was shown by the word of those who saw it: they overlook what the boxes lack, so it flatters."""
        right = self.of(Outcome.ACCEPTED)
        # A box in the wrong place, or under the wrong name, is a false one and leaves a true one without.
        false = self.shown - right
        lacking = self.of(Outcome.MOVED) + self.of(Outcome.RELABELLED) + self.of(Outcome.MISSED)
        total = 2 * right + false + lacking
        return 2 * right / total if total else None


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How long pages took, by what their annotators began with.

    Attributes:
        annotator: Label Studio's user id; None for all of them.
        saw: `boxes`, `blind` or `scratch`.
        annotations: How many.
        pages: How many they are about.
        seconds: Of one page, the median over annotations; None where none tells.
    """

    annotator: int | None
    saw: str
    annotations: int
    pages: int
    seconds: float | None


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Everything over time.

    Attributes:
        days: What became of boxes by day (days since the epoch, UTC), oldest first; blind pages left out, for there
            nobody could reject a box.
        classes: The same by class, of all time: of a shown box the class that it was shown as.
        annotators: The same by annotator.
        paces: How long pages took, over all annotators and for each.
        milestones: What became of models, oldest first.
        agreement: By class, how far annotators agree on tasks that several did.
    """

    days: Mapping[int, Counts]
    classes: Mapping[str, Counts]
    annotators: Mapping[int, Counts]
    paces: tuple[Pace, ...]
    milestones: tuple[Milestone, ...]
    agreement: Mapping[str, Agreement]

    def pace(self, saw: str) -> Pace | None:
        """Of all annotators together."""
        return next((one for one in self.paces if one.annotator is None and one.saw == saw), None)

    @property
    def serving(self) -> Milestone | None:
        """When what serves began to, where that is known."""
        return next((one for one in reversed(self.milestones) if one.what == SERVES), None)


def progress(engine: Engine) -> Progress:
    """Reads it out of the ledger; cheap enough for a page that a person opens."""
    with engine.connect() as connection:
        works = _works(connection)
        return Progress(
            days=dict(sorted(_counts(connection, _day(engine)).items())),
            classes=_counts(connection, func.coalesce(sample.c.wrong, sample.c.label)),
            annotators=_counts(connection, sample.c.annotator),
            paces=tuple(_paces(works)),
            milestones=_milestones(connection),
            agreement=agreement(connection, MARKS),
        )


def _day(engine: Engine) -> Any:
    days = sample.c.annotated / DAY
    # SQLite's cast cuts the fraction off, PostgreSQL's rounds.
    return cast(func.floor(days) if engine.dialect.name == "postgresql" else days, Integer)


def _counts(connection: Connection, column: Any) -> dict[Any, Counts]:
    rows = select(column.label("key"), sample.c.outcome, func.count().label("number")).where(~sample.c.blind)
    found: dict[Any, dict[str, int]] = defaultdict(dict)
    for row in connection.execute(rows.group_by(column, sample.c.outcome)):
        if row.key is not None:
            found[row.key][row.outcome] = row.number
    return {key: Counts(by) for key, by in found.items()}


def _works(connection: Connection) -> Sequence[Any]:
    told = (work.c.pages > 0, work.c.seconds > 0)
    return connection.execute(select(work).where(*told).order_by(work.c.at.desc()).limit(_MOST_WORKS)).all()


def _paces(works: Iterable[Any]) -> Iterable[Pace]:
    found: dict[tuple[int | None, str], list[Any]] = defaultdict(list)
    for row in works:
        found[None, row.saw].append(row)
        if row.annotator is not None:
            found[row.annotator, row.saw].append(row)
    order = (BOXES, BLIND, SCRATCH)
    for (annotator, saw), rows in sorted(found.items(), key=lambda one: (one[0][0] or 0, order.index(one[0][1]))):
        yield Pace(
            annotator=annotator,
            saw=saw,
            annotations=len(rows),
            pages=sum(row.pages for row in rows),
            seconds=statistics.median(row.seconds / row.pages for row in rows),
        )


def _milestones(connection: Connection) -> tuple[Milestone, ...]:
    newest = select(milestone).order_by(milestone.c.at.desc(), milestone.c.key).limit(_MOST_MILESTONES)
    rows = connection.execute(newest).mappings().all()
    return tuple(Milestone(**{name: row[name] for name in row if name != "key"}) for row in reversed(rows))
