"""Everything that is known of each sample, as JSON Lines: one object a line, oldest first, for other programs."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from backend.corrections.tables import forgotten, memory, proposal, sample
from backend.vision.network_config import CLASSES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Row

__all__ = ["sample_lines"]

_AT_ONCE = 1000
_CENTIS = 2


def sample_lines(connection: Connection) -> Iterator[str]:
    """One JSON object for each sample.

    Boxes are x1, y1, x2, y2 in pixels of the upright page; moments are ISO 8601, UTC; `probabilities` are the shown
    box's, by class, and null where nothing was shown. The meaning of each field is in `docs/corrections.md`.
    """
    renamed: Counter[str] = Counter()
    followed = select(proposal.c.recalled, func.count()).where(proposal.c.recalled.is_not(None))
    for name, number in connection.execute(followed.group_by(proposal.c.recalled)):
        renamed[name] = int(number)
    suppressed: Counter[str] = Counter()
    for name, number in connection.execute(
        select(memory.c.sample, func.sum(memory.c.suppressed)).group_by(memory.c.sample)
    ):
        suppressed[name] = int(number or 0)
    back = set(connection.execute(select(forgotten.c.sample)).scalars())
    rows = connection.execution_options(yield_per=_AT_ONCE).execute(
        select(sample).order_by(sample.c.annotated, sample.c.id)
    )
    for row in rows:
        followers = {"renamed": renamed[row.id], "suppressed": suppressed[row.id], "taken_back": row.id in back}
        yield json.dumps({**_facts(row), "recall": followers}, ensure_ascii=False)


def _facts(row: Row[Any]) -> dict[str, Any]:
    shown = row.probabilities
    return {
        "id": row.id,
        "outcome": row.outcome,
        "label": row.label,
        "shown_as": row.wrong or (row.label if row.shown is not None else None),
        "weak": bool(row.weak),
        "blind": bool(row.blind),
        "quarantine": row.quarantine,
        "project": row.project,
        "task": row.task,
        "annotation": row.annotation,
        "annotator": row.annotator,
        "region": row.region,
        "page": row.page + 1,
        "box": [round(side, _CENTIS) for side in (row.x1, row.y1, row.x2, row.y2)],
        "page_size": [row.page_width, row.page_height],
        "page_sha256": row.page_sha256,
        "document": row.document,
        "split": row.split,
        "crop": f"{row.crop}.png",
        "crop_sha256": row.crop_sha256,
        "crop_box": row.margin,
        "phash": row.phash,
        "model_version": row.version,
        "probabilities": None if shown is None else dict(zip(CLASSES, shown, strict=True)),
        "shown": _iso(row.shown),
        "annotated": _iso(row.annotated),
        "lead_time": row.lead_time,
    }


def _iso(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat()
