"""Which samples wait for a person, because annotators call one place by different names.

On one task, each contradiction puts both sides into quarantine. On copies of its pages, in other tasks, the evidence is
weighed as recall weighs it: what somebody did counts once, what somebody merely left untouched half.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Row, select, update

from backend.corrections.outcomes import Outcome
from backend.corrections.splits import ELSEWHERE
from backend.corrections.tables import sample
from backend.geometry import as_boxes, iou

__all__ = ["CONTRADICTION", "settle_disputes"]

CONTRADICTION = 0.5
"""IoU from which two boxes are one place."""
# A page that more tasks have is a form: that one of its fillers errs says nothing about the others.
_MOST_COPIES = 9
# Rows that are laid over all others at once: of thousands, all pairs would take gigabytes.
_AT_ONCE = 64
_HAS_COPY = "which has a copy of the page"


def settle_disputes(connection: Connection, tasks: Collection[int], pages: Collection[str]) -> None:
    """Puts into quarantine, or takes out of it, what is on some tasks and on copies of their pages.

    A sample whose page is on another side of the split waits already; that is not mended by who calls it what.

    Args:
        connection: A transaction.
        tasks: Ids of the tasks whose samples changed.
        pages: SHA-256 of pages that samples of theirs were on before.
    """
    copies: set[int] = set()
    shared: set[str] = set()
    theirs = select(sample.c.page_sha256).where(sample.c.task.in_(tasks)).distinct()
    for page in sorted({*pages, *connection.execute(theirs).scalars()}):
        found = _tasks_with(connection, page, without=tasks)
        if len(found) < _MOST_COPIES:
            copies |= found
            shared.add(page)
        else:
            # An index finds these reasons among thousands of others: by the alphabet they are before those.
            disputed = sample.c.quarantine < ELSEWHERE, sample.c.quarantine.contains(_HAS_COPY)
            connection.execute(update(sample).where(sample.c.page_sha256 == page, *disputed).values(quarantine=None))
    wanted = sample.c.task.in_({*tasks, *copies}), sample.c.outcome != Outcome.DUPLICATE
    rows = connection.execute(select(sample).where(*wanted).order_by(sample.c.id)).all()
    samples = _Samples(rows)
    for start in range(0, len(rows), _AT_ONCE):
        together = iou(samples.boxes[start : start + _AT_ONCE], samples.boxes) >= CONTRADICTION
        for place, near in enumerate(together, start):
            row = rows[place]
            if row.task not in tasks and row.page_sha256 not in shared:
                continue
            reason = samples.against_on_task(place, near)
            if reason is None and row.page_sha256 in shared:
                reason = samples.against_on_copies(place, near)
            if reason != row.quarantine and not (row.quarantine or "").startswith(ELSEWHERE):
                connection.execute(update(sample).where(sample.c.id == row.id).values(quarantine=reason))


def _tasks_with(connection: Connection, page: str, *, without: Collection[int]) -> set[int]:
    """Ids of other tasks that have a page, no more than it takes to call it a form."""
    theirs = select(sample.c.task).where(sample.c.page_sha256 == page, sample.c.task.not_in(without)).distinct()
    return set(connection.execute(theirs.limit(_MOST_COPIES)).scalars())


class _Samples:
    """Samples whose columns can be compared all at once: each is compared with all others.

    Args:
        rows: N of them, in the order in which they are to be named.

    Attributes:
        boxes: (N, 4).
    """

    def __init__(self, rows: Sequence[Row[Any]]) -> None:
        self._rows = rows
        self.boxes = as_boxes([(row.x1, row.y1, row.x2, row.y2) for row in rows])
        self._annotation = _numbered(row.annotation for row in rows)
        self._task = _numbered(row.task for row in rows)
        self._page = _numbered((row.task, row.page) for row in rows)
        self._picture = _numbered(row.page_sha256 for row in rows)
        self._label = _numbered(row.label for row in rows)
        self._shown = _numbered((row.version, row.region) for row in rows)
        self._sure = np.array([not row.weak and row.version is not None for row in rows], bool)
        self._weight = np.array([0.5 if row.weak else 1.0 for row in rows])

    def against_on_task(self, place: int, near: NDArray[np.bool_]) -> str | None:
        """What other annotations of its task say against a sample, on its page.

        Args:
            place: The sample's, among the rows.
            near: (N,), which of them are at its place on the page.
        """
        others = (self._page == self._page[place]) & (self._annotation != self._annotation[place])
        # Both come from one shown box where one person deleted it, and another moved it, however far.
        of_one_box = self._sure & self._sure[place] & (self._shown == self._shown[place])
        against = others & (self._label != self._label[place]) & (near | of_one_box)
        if not against.any():
            return None
        first = self._rows[int(against.argmax())]
        return f"annotation {first.annotation} calls it {first.label}"

    def against_on_copies(self, place: int, near: NDArray[np.bool_]) -> str | None:
        """Why a sample is not sure, where as much is said against it on copies of its page as for it on all of them."""
        copies = near & (self._picture == self._picture[place])
        same = self._label == self._label[place]
        against = copies & ~same & (self._task != self._task[place])
        if not against.any() or self._weight[against].sum() < self._weight[copies & same].sum():
            return None
        first = self._rows[int(against.argmax())]
        return f"annotation {first.annotation} of task {first.task}, {_HAS_COPY}, calls it {first.label}"


def _numbered(values: Iterable[Hashable]) -> NDArray[np.intp]:
    """(N,), equal where the values are."""
    known: dict[Hashable, int] = {}
    return np.array([known.setdefault(value, len(known)) for value in values], np.intp)
