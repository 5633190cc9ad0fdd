"""What the ledger holds, counted: for `/metrics`, `/status` and the command `samples` alike."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, and_, func, select, true

from backend.corrections.memory import SUPPRESSED
from backend.corrections.outcomes import Outcome
from backend.corrections.samples import BACKGROUND, teaches_hard
from backend.corrections.tables import annotation, event, memory, prediction, proposal, sample, unread_task
from backend.corrections.unsettled import Exchanged, Parked, UnknownLabel, Unread
from backend.escaping import printable
from backend.vision.network_config import CLASSES, MARKS

__all__ = [
    "OUTCOMES",
    "SEED_MISCLASSIFIED",
    "SPLITS",
    "LedgerCounts",
    "count",
    "tables",
]

# The misclassified samples that made the original model what it is, by their true class (its model card): 117 in all.
SEED_MISCLASSIFIED: Mapping[str, int] = {"signature": 29, "stamp": 27, "thumb": 61}
SPLITS = ("train", "validation", "gold")
OUTCOMES = tuple(str(outcome) for outcome in Outcome if outcome is not Outcome.UNKNOWN)
"""Of which there are samples."""
_LEGEND = "misnamed: shown under another name, moved boxes included; original: as many made the original model"
_LONGEST_REASON = 300
PARKED_SHOWN = 50
_NOUNS = ("ANNOTATION", "ANNOTATIONS", "TASKS", "LABEL_LINK", "PROJECT")
# What Label Studio is known to send; other names come from elsewhere and must not become labels without end.
KNOWN_ACTIONS = frozenset(
    {
        *(f"{noun}_{verb}" for noun in _NOUNS for verb in ("CREATED", "UPDATED", "DELETED")),
        "START_TRAINING",
    }
)
OTHER = "other"
_ALL = true()


@dataclass(frozen=True, kw_only=True)
class LedgerCounts:
    """The ledger in numbers, all of one moment.

    Attributes:
        events: Number of events by (action, state); states are open, done, parked, and ignored: parked a second time.
        annotations: Number of annotations whose samples are `open`, `parked` or `done`.
        oldest_open: Age in seconds of the oldest acknowledged event that is neither in the samples yet nor parked; None
            where there is none.
        samples: Number of samples by (outcome, class, split).
        hard: Number of hard examples by class, shown under another name and undisputed: the original model
            card's "misclassified".
        hard_negatives: Number of boxes on nothing, deleted by somebody who saw them, undisputed.
        quarantined: Samples that annotators contradict each other about, or whose page is on another side as well.
        copies: Samples whose mark another sample has to the pixel.
        predictions: Number of predictions that were shown.
        blind: Number of tasks that were served without the boxes that were found, and remembered, for them.
        proposals: Number of regions that were shown, by class.
        recalled: Number of them that followed an annotator's verdict instead of the network.
        suppressed: Number of boxes that a remembered crop kept from being shown.
        remembered: Number of corrected crops in the memory.
        parked: What is parked, newest first; a page of it.
        unknown: Labels of annotated regions that no label config of their project knows: they teach nothing.
        unread: Number of tasks that could not be looked at when they were last asked for.
        unread_such: Some of them, with the reason, the newest first.
        exchanged: Number of annotations on pages that are others now than those that boxes were shown or left on.
        exchanged_such: Some of them, the newest first.
    """

    events: Mapping[tuple[str, str], int] = field(default_factory=dict)
    annotations: Mapping[str, int] = field(default_factory=dict)
    oldest_open: float | None = None
    samples: Mapping[tuple[str, str, str], int] = field(default_factory=dict)
    hard: Mapping[str, int] = field(default_factory=dict)
    hard_negatives: int = 0
    quarantined: int = 0
    copies: int = 0
    predictions: int = 0
    blind: int = 0
    proposals: Mapping[str, int] = field(default_factory=dict)
    recalled: int = 0
    suppressed: int = 0
    remembered: int = 0
    parked: tuple[Parked, ...] = ()
    unknown: tuple[UnknownLabel, ...] = ()
    unread: int = 0
    unread_such: tuple[Unread, ...] = ()
    exchanged: int = 0
    exchanged_such: tuple[Exchanged, ...] = ()

    def count(self, *, outcome: str | None = None, label: str | None = None, split: str | None = None) -> int:
        """Number of samples of an outcome, a class, a split, or all of these."""
        wanted = (outcome, label, split)
        return sum(
            number
            for key, number in self.samples.items()
            if all(want is None or want == have for want, have in zip(wanted, key, strict=True))
        )

    @property
    def parked_count(self) -> int:
        """How much is parked in all; `parked` has the newest of it."""
        return max(len(self.parked), self.event_count(state="parked") + self.annotations.get("parked", 0))

    def event_count(self, *, state: str | None = None) -> int:
        """Number of events in a state, or of all."""
        return sum(number for (_, its), number in self.events.items() if state in {None, its})

    def as_json(self) -> dict[str, Any]:
        """The same as JSON values."""
        return {
            "events": [
                {"action": action, "state": state, "count": number}
                for (action, state), number in sorted(self.events.items())
            ],
            "annotations": dict(self.annotations),
            "oldest_open_seconds": self.oldest_open,
            "samples": [
                {"outcome": outcome, "class": label, "split": split, "count": number}
                for (outcome, label, split), number in sorted(self.samples.items())
            ],
            "hard_examples": dict(self.hard),
            "hard_negatives": self.hard_negatives,
            "seed_misclassified": dict(SEED_MISCLASSIFIED),
            "quarantined": self.quarantined,
            "copies": self.copies,
            "predictions": self.predictions,
            "blind": self.blind,
            "proposals": dict(self.proposals),
            "recalled": self.recalled,
            "suppressed": self.suppressed,
            "remembered": self.remembered,
            "parked": [vars(one) for one in self.parked],
            "unknown_labels": [vars(one) for one in self.unknown],
            "unread": self.unread,
            "unread_tasks": [vars(one) for one in self.unread_such],
            "exchanged": self.exchanged,
            "exchanged_pages": [vars(one) for one in self.exchanged_such],
        }


def count(engine: Engine, *, clock: Callable[[], float] = time.time) -> LedgerCounts:
    """Counts everything; cheap enough for a scrape every few seconds."""
    with engine.connect() as connection:
        crops = connection.execute(select(func.count(), func.count(sample.c.crop_sha256.distinct()))).one()
        return LedgerCounts(
            events=_events(connection),
            annotations=_annotations(connection),
            oldest_open=_oldest_open(connection, clock()),
            **_samples(connection),
            copies=crops[0] - crops[1],
            predictions=_number(connection, ~prediction.c.drawn & ~prediction.c.blind, prediction.c.task),
            blind=_number(connection, prediction.c.blind, prediction.c.task.distinct()),
            proposals=_shown(connection),
            recalled=_number(connection, proposal.c.recalled.is_not(None), proposal.c.region),
            suppressed=int(connection.execute(select(func.sum(memory.c.suppressed)).where(SUPPRESSED)).scalar() or 0),
            remembered=int(connection.execute(select(func.count(memory.c.sample.distinct()))).scalar() or 0),
            parked=_parked(connection),
            unknown=_unknown(connection),
            unread=_number(connection, _ALL, unread_task.c.task),
            unread_such=_unread(connection),
            exchanged=_number(connection, _is_exchanged(), annotation.c.id),
            exchanged_such=_exchanged(connection),
        )


def tables(facts: LedgerCounts) -> str:
    """The samples as two tables of text: by class and outcome beside the original's, and by class and split."""
    rows = [
        [
            name,
            *(facts.count(label=name, outcome=outcome) for outcome in OUTCOMES),
            facts.count(label=name),
            facts.hard.get(name, 0) if name in MARKS else "",
            SEED_MISCLASSIFIED.get(name, ""),
        ]
        for name in CLASSES
    ]
    all_of_them: list[object] = [
        "all",
        *(facts.count(outcome=outcome) for outcome in OUTCOMES),
        facts.count(),
        sum(facts.hard.get(name, 0) for name in MARKS),
        sum(SEED_MISCLASSIFIED.values()),
    ]
    by_outcome = _table(["", *OUTCOMES, "all", "misnamed", "original"], [*rows, all_of_them])
    by_split = _table(
        ["", *SPLITS],
        [[name, *(facts.count(label=name, split=split) for split in SPLITS)] for name in CLASSES]
        + [["all", *(facts.count(split=split) for split in SPLITS)]],
    )
    notes = (
        f"{facts.quarantined} quarantined, {facts.copies} exact copies; {facts.annotations.get('open', 0)} annotations "
    )
    notes += f"still to be turned into samples, {facts.annotations.get('parked', 0)} parked"
    notes += f"; recall kept {facts.suppressed} boxes from being shown" if facts.suppressed else ""
    notes += f"; {facts.blind} tasks were served without boxes, `evaluate --blind` compares" if facts.blind else ""
    told = "".join(f"\n{one}: it teaches nothing; {one.remedy}" for one in facts.unknown)
    told += "".join(f"\n{one}: they teach nothing there; {one.remedy}" for one in facts.exchanged_such)
    return f"{by_outcome}\n{_LEGEND}\n\n{by_split}\n\n{notes}{told}"


def _events(connection: Connection) -> dict[tuple[str, str], int]:
    found: Counter[tuple[str, str]] = Counter()
    for (action, state), number in _counts(connection, event.c.action, event.c.state).items():
        found[action if action in KNOWN_ACTIONS else OTHER, state] += number
    return dict(found)


def _annotations(connection: Connection) -> dict[str, int]:
    number = {"open": 0, "parked": 0, "done": 0}
    living = annotation.c.deleted.is_(False)
    for parked, turned, count_ in connection.execute(
        select(annotation.c.parked, annotation.c.turned.is_not(None), func.count())
        .where(living | annotation.c.turned.is_(None))
        .group_by(annotation.c.parked, annotation.c.turned.is_not(None))
    ):
        number["parked" if parked else "done" if turned else "open"] += count_
    return number


def _oldest_open(connection: Connection, now: float) -> float | None:
    waiting = and_(annotation.c.turned.is_(None), annotation.c.parked.is_(False))
    received = (
        connection.execute(select(func.min(event.c.received)).where(event.c.state == "open")).scalar(),
        connection.execute(select(func.min(annotation.c.folded)).where(waiting)).scalar(),
    )
    known = [moment for moment in received if moment is not None]
    return max(now - min(known), 0.0) if known else None


def _samples(connection: Connection) -> dict[str, Any]:
    """Samples by what became of them, those that teach hard examples, and those in quarantine: in one go."""
    columns = (sample.c.outcome, sample.c.label, sample.c.split, sample.c.quarantine.is_(None), teaches_hard())
    found: Counter[tuple[str, str, str]] = Counter()
    hard: Counter[str] = Counter()
    quarantined = 0
    for (outcome, label, split, undisputed, is_hard), number in _counts(connection, *columns).items():
        found[outcome, label, split] += number
        hard[label] += number if is_hard else 0
        quarantined += 0 if undisputed else number
    return {
        "samples": dict(found),
        "hard": {label: number for label, number in hard.items() if label in MARKS and number},
        "hard_negatives": hard[BACKGROUND],
        "quarantined": quarantined,
    }


def _shown(connection: Connection) -> dict[str, int]:
    """Number of regions that were shown, by class: all but those of blind predictions, which are few."""
    same = (proposal.c[name] == prediction.c[name] for name in ("task", "version", "edition"))
    all_of_them = select(proposal.c.label, func.count().label("regions")).group_by(proposal.c.label)
    found = Counter({row.label: row.regions for row in connection.execute(all_of_them)})
    hidden = all_of_them.join(prediction, and_(*same)).where(prediction.c.blind)
    found.subtract({row.label: row.regions for row in connection.execute(hidden)})
    return {label: number for label, number in found.items() if number}


def _unknown(connection: Connection) -> tuple[UnknownLabel, ...]:
    """By project and label, the most frequent first."""
    columns = (annotation.c.project, annotation.c.task, annotation.c.unknown)
    wanted = select(*columns).where(annotation.c.unknown.is_not(None), annotation.c.deleted.is_(False))
    number: Counter[tuple[int | None, str]] = Counter()
    such: dict[tuple[int | None, str], int] = {}
    for row in connection.execute(wanted.order_by(annotation.c.id)):
        for label in row.unknown or ():
            number[row.project, label] += 1
            such[row.project, label] = row.task
    return tuple(
        UnknownLabel(project=project, label=label, regions=regions, task=such[project, label])
        for (project, label), regions in number.most_common(PARKED_SHOWN)
    )


def _unread(connection: Connection) -> tuple[Unread, ...]:
    newest = select(unread_task).order_by(unread_task.c.asked.desc(), unread_task.c.task).limit(PARKED_SHOWN)
    return tuple(Unread(task=row.task, project=row.project, reason=row.reason) for row in connection.execute(newest))


def _is_exchanged() -> ColumnElement[bool]:
    return and_(annotation.c.exchanged.is_not(None), annotation.c.deleted.is_(False))


def _exchanged(connection: Connection) -> tuple[Exchanged, ...]:
    columns = (annotation.c.task, annotation.c.project, annotation.c.id, annotation.c.exchanged)
    newest = select(*columns).where(_is_exchanged()).order_by(annotation.c.updated.desc(), annotation.c.id.desc())
    return tuple(
        Exchanged(task=row.task, project=row.project, annotation=row.id, pages=tuple(row.exchanged))
        for row in connection.execute(newest.limit(PARKED_SHOWN))
    )


def _parked(connection: Connection) -> tuple[Parked, ...]:
    lost = select(event.c.id, event.c.reason).where(event.c.state == "parked").order_by(event.c.id.desc())
    stuck = select(annotation.c.id, annotation.c.reason, annotation.c.task, annotation.c.project)
    stuck = stuck.where(annotation.c.parked).order_by(annotation.c.due.desc())
    found: list[tuple[str, Any]] = [("annotation", row) for row in connection.execute(stuck.limit(PARKED_SHOWN))]
    found += [("event", row) for row in connection.execute(lost.limit(PARKED_SHOWN))]
    return tuple(
        Parked(
            kind=kind,
            id=row.id,
            reason=printable(row.reason or "", most=_LONGEST_REASON),
            task=getattr(row, "task", None),
            project=getattr(row, "project", None),
        )
        for kind, row in found
    )


def _counts(connection: Connection, *columns: Any, such: Any = _ALL) -> dict[tuple[Any, ...], int]:
    rows = connection.execute(select(*columns, func.count()).where(such).group_by(*columns))
    return {tuple(row[:-1]): row[-1] for row in rows}


def _number(connection: Connection, condition: Any, column: Any) -> int:
    return int(connection.execute(select(func.count(column)).where(condition)).scalar() or 0)


def _table(head: Iterable[object], rows: Iterable[Iterable[object]]) -> str:
    """Columns as wide as they need, numbers to the right, names to the left."""
    lines = [[str(cell) for cell in line] for line in (head, *rows)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(lines[0]))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    )
