"""What was shown: every region that left for Label Studio, because an annotation does not say what it corrected."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, RowMapping, select
from sqlalchemy.dialects import postgresql, sqlite

from backend.feedback.database import writing
from backend.feedback.tables import prediction, proposal
from backend.labelstudio.annotations import Region

__all__ = ["Prediction", "Proposal", "Proposals", "shown_before"]


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """One region as it was shown.

    Attributes:
        region: Its place and label; `label` is the class (signature, stamp, thumb), not the config's word for it.
        probabilities: Of signature, stamp, thumb and none, in this order.
        page_size: Width and height of the upright page in pixels.
        recalled: The sample whose verdict replaced the network's, if one did.
    """

    region: Region
    probabilities: tuple[float, ...]
    score: float
    page_size: tuple[int, int]
    recalled: str | None = None


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What was shown for one task at once.

    Attributes:
        version: The model version that it bears.
        shown: When it was made, in seconds since the epoch.
    """

    version: str
    shown: float
    proposals: tuple[Proposal, ...]


class Proposals:
    """Remembers and recalls what was shown."""

    def __init__(self, engine: Engine, *, clock: Callable[[], float] = time.time) -> None:
        self._engine = engine
        self._clock = clock

    def remember(self, *, task: int, project: int | None, version: str, proposals: Iterable[Proposal]) -> None:
        """Stores one task's prediction, also one without a region; shown again, it keeps its first time."""
        now = self._clock()
        rows = [_row(one, task=task, version=version) for one in proposals]
        shown = {"task": task, "version": version, "project": project, "shown": now}
        insert = postgresql.insert if self._engine.dialect.name == "postgresql" else sqlite.insert
        with writing(self._engine) as connection:
            connection.execute(insert(prediction).on_conflict_do_nothing(), [shown])
            if rows:
                connection.execute(insert(proposal).on_conflict_do_nothing(), rows)


def shown_before(connection: Connection, *, task: int, regions: Sequence[str], moment: float) -> Prediction | None:
    """The one prediction that an annotation corrected; None where none was shown.

    It is the version that shares the most region ids with the annotation; where none does (all deleted, or drawn anew),
    the version shown last before the annotation was first saved.

    Args:
        connection: An open transaction.
        task: The task's id.
        regions: Region ids left in the annotation.
        moment: When the annotation was first saved, in seconds since the epoch.
    """
    shown = {row.version: row.shown for row in connection.execute(select(prediction).where(prediction.c.task == task))}
    members: dict[str, list[Proposal]] = {version: [] for version in shown}
    for row in connection.execute(select(proposal).where(proposal.c.task == task)):
        members[row.version].append(_proposal(row._mapping))
    kept = set(regions)
    shared = {version: sum(one.region.id in kept for one in ones) for version, ones in members.items()}
    fitting = [version for version in shown if shared[version] or shown[version] <= moment]
    if not fitting:
        return None
    best = max(fitting, key=lambda version: (shared[version], shown[version] <= moment, shown[version], version))
    return Prediction(version=best, shown=shown[best], proposals=tuple(members[best]))


def _row(one: Proposal, *, task: int, version: str) -> dict[str, object]:
    x1, y1, x2, y2 = one.region.box
    return {
        "task": task,
        "version": version,
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
    )
