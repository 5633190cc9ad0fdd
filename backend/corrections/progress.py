"""How the loop does over time: what became of shown boxes by day, class and annotator, and how long pages took."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, Integer, cast, func, select

from backend.corrections.agreement import Agreement, agreement
from backend.corrections.chronicle import BLIND, BOXES, SCRATCH, SERVES, Milestone
from backend.corrections.outcomes import Outcome
from backend.corrections.tables import milestone, sample, work
from backend.vision.network_config import MARKS

__all__ = ["DAY", "Counts", "Pace", "Progress", "progress"]

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
