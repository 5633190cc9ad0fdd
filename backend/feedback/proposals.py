"""What was shown: every region that left for Label Studio, because an annotation does not say what it corrected."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, select
from sqlalchemy.dialects import postgresql, sqlite

from backend.feedback.database import writing
from backend.feedback.matching import Region
from backend.feedback.tables import proposal

__all__ = ["Proposal", "Proposals", "shown_before"]


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """One region as it was shown.

    Attributes:
        region: Its place and label; `label` is the class (signature, stamp, thumb), not the config's word for it.
        version: The model version that the prediction bears.
        probabilities: Of signature, stamp, thumb and none, in this order.
        page_size: Width and height of the upright page in pixels.
        recalled: The sample whose verdict replaced the network's, if one did.
        shown: Seconds since the epoch.
    """

    task: int
    project: int | None
    version: str
    region: Region
    probabilities: tuple[float, ...]
    score: float
    page_size: tuple[int, int]
    recalled: str | None = None
    shown: float = 0.0


class Proposals:
    """Remembers and recalls what was shown."""

    def __init__(self, engine: Engine, *, clock: Callable[[], float] = time.time) -> None:
        self._engine = engine
        self._clock = clock

    def remember(self, proposals: Iterable[Proposal]) -> None:
        """Stores proposals; one that was shown before, with the same version, keeps its first time."""
        rows = [_row(one, shown=self._clock()) for one in proposals]
        if not rows:
            return
        insert = postgresql.insert if self._engine.dialect.name == "postgresql" else sqlite.insert
        with writing(self._engine) as connection:
            connection.execute(insert(proposal).on_conflict_do_nothing(), rows)


def shown_before(connection: Connection, *, task: int, regions: Sequence[str], moment: float) -> tuple[Proposal, ...]:
    """The one prediction that an annotation corrected.

    It is the version that shares the most region ids with the annotation; where none does (all deleted, or drawn anew),
    the version shown last before the annotation was begun.

    Args:
        connection: An open transaction.
        task: The task's id.
        regions: Region ids left in the annotation.
        moment: When the annotation was first saved, in seconds since the epoch.
    """
    rows = connection.execute(select(proposal).where(proposal.c.task == task)).all()
    versions: dict[str, list[Proposal]] = {}
    for row in rows:
        versions.setdefault(row.version, []).append(_proposal(row))
    if not versions:
        return ()
    kept = set(regions)

    def rank(version: str) -> tuple[int, bool, float, str]:
        """Most shared ids, then shown in time, then latest."""
        members = versions[version]
        first_shown = min(one.shown for one in members)
        shared = sum(one.region.id in kept for one in members)
        return shared, first_shown <= moment, first_shown, version

    best = max(versions, key=rank)
    shared, in_time, _, _ = rank(best)
    return tuple(versions[best]) if shared or in_time else ()


def _row(one: Proposal, *, shown: float) -> dict[str, object]:
    x1, y1, x2, y2 = one.region.box
    return {
        "task": one.task,
        "project": one.project,
        "version": one.version,
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
        "shown": one.shown or shown,
    }


def _proposal(row: object) -> Proposal:
    values = row._mapping  # type: ignore[attr-defined]  # SQLAlchemy's public, oddly named access to a row by column
    return Proposal(
        task=values["task"],
        project=values["project"],
        version=values["version"],
        region=Region(
            id=values["region"],
            page=values["page"],
            label=values["label"],
            box=(values["x1"], values["y1"], values["x2"], values["y2"]),
        ),
        probabilities=tuple(values["probabilities"]),
        score=values["score"],
        page_size=(values["page_width"], values["page_height"]),
        recalled=values["recalled"],
        shown=values["shown"],
    )
