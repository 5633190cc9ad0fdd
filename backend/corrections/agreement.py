"""How far annotators agree on tasks that several of them did, by class: the same marks in the same places."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from sqlalchemy import Connection, func, select

from backend.corrections.outcomes import SAME_PLACE, Outcome
from backend.corrections.tables import sample, work
from backend.geometry import as_boxes, iou

__all__ = ["Agreement", "agreement"]

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
