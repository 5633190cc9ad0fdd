"""Which samples wait for a person, because annotators call one place by different names.

On one task, each contradiction puts both sides into quarantine. On copies of its pages, in other tasks, the evidence is
weighed as recall weighs it: what somebody did counts once, what somebody merely left untouched half.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
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
    by_page: dict[tuple[int, int], dict[int, list[Row[Any]]]] = {}
    for row in rows:
        by_page.setdefault((row.task, row.page), {}).setdefault(row.annotation, []).append(row)
    boxes = as_boxes([(row.x1, row.y1, row.x2, row.y2) for row in rows])
    for start in range(0, len(rows), _AT_ONCE):
        together = iou(boxes[start : start + _AT_ONCE], boxes) >= CONTRADICTION
        for row, is_there in zip(rows[start : start + _AT_ONCE], together, strict=True):
            if row.task not in tasks and row.page_sha256 not in shared:
                continue
            at_place = [rows[int(there)] for there in np.flatnonzero(is_there)]
            reason = _on_the_task(row, by_page[row.task, row.page], at_place)
            if reason is None and row.page_sha256 in shared:
                reason = _on_copies(row, at_place)
            if reason != row.quarantine and not (row.quarantine or "").startswith(ELSEWHERE):
                connection.execute(update(sample).where(sample.c.id == row.id).values(quarantine=reason))


def _tasks_with(connection: Connection, page: str, *, without: Collection[int]) -> set[int]:
    """Ids of other tasks that have a page, no more than it takes to call it a form."""
    theirs = select(sample.c.task).where(sample.c.page_sha256 == page, sample.c.task.not_in(without)).distinct()
    return set(connection.execute(theirs.limit(_MOST_COPIES)).scalars())


def _on_the_task(
    row: Row[Any], by_annotation: Mapping[int, Sequence[Row[Any]]], at_place: Sequence[Row[Any]]
) -> str | None:
    """What other annotations of the task say against a sample, on its page."""
    others = [one for annotation, some in by_annotation.items() if annotation != row.annotation for one in some]
    near = {other.id for other in at_place} if others else set()
    for other in others:
        if other.label != row.label and (other.id in near or _of_one_box(row, other)):
            return f"annotation {other.annotation} calls it {other.label}"
    return None


def _of_one_box(row: Row[Any], other: Row[Any]) -> bool:
    """Whether both come from one shown box: one person deleted it, and another moved it, however far."""
    sure = not row.weak and not other.weak and row.version is not None
    return sure and (row.version, row.region) == (other.version, other.region)


def _on_copies(row: Row[Any], at_place: Sequence[Row[Any]]) -> str | None:
    """Why a sample is not sure, where as much is said against it on copies of its page as for it on all of them."""
    copies = [other for other in at_place if other.page_sha256 == row.page_sha256]
    against = [other for other in copies if other.label != row.label and other.task != row.task]
    if not against or sum(map(_weight, against)) < sum(_weight(one) for one in copies if one.label == row.label):
        return None
    first = against[0]
    return f"annotation {first.annotation} of task {first.task}, {_HAS_COPY}, calls it {first.label}"


def _weight(row: Row[Any]) -> float:
    return 0.5 if row.weak else 1.0
