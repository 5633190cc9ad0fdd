"""The label configs that a project has had, and what of its past an annotation's names are read by."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, delete, insert, select, update

from backend.corrections.tables import annotation, label_config, proposal
from backend.labelstudio.vocabulary import Known, Shown, tags_of

if TYPE_CHECKING:
    from backend.labelstudio.annotations import Annotation

__all__ = ["LabelHistory", "known_of", "note_config", "with_past"]

# A project has a handful; a stranger who posts events must not make every reading look through thousands.
_MOST_CONFIGS = 100
_LONGEST_CONFIG = 1_000_000


def note_config(connection: Connection, project: int | None, config: str, *, at: float, hearsay: bool = False) -> bool:
    """Keeps a label config that a project has had; tells whether it is news.

    Annotations that have a label which nobody knew are turned into samples anew: this one may know it.

    Args:
        connection: A transaction.
        project: The project's id.
        config: Its label config.
        at: A moment at which it held, in seconds since the epoch.
        hearsay: Whether an event about the project alone tells so, and no annotation was saved under it.
    """
    if project is None or not config or len(config) > _LONGEST_CONFIG:
        return False
    mine = label_config.c.project == project
    rows = connection.execute(select(label_config).where(mine).order_by(label_config.c.since, label_config.c.id)).all()
    known = [row for row in rows if row.config == config]
    doubted = all(row.hearsay for row in known)
    if doubted and not hearsay and known:
        connection.execute(
            update(label_config).where(label_config.c.id.in_([row.id for row in known])).values(hearsay=False)
        )
    before = [row for row in rows if row.since <= at]
    later = [row for row in rows if row.since > at]
    if later and later[0].config == config and not (before and before[-1].config == config):
        connection.execute(update(label_config).where(label_config.c.id == later[0].id).values(since=at))
    elif not before or before[-1].config != config:
        values = {"project": project, "since": at, "config": config, "hearsay": hearsay and doubted}
        connection.execute(insert(label_config).values(values))
        if len(rows) >= _MOST_CONFIGS:
            _shorten(connection, project)
    if known and not (doubted and not hearsay):
        return False
    theirs = (annotation.c.project == project, annotation.c.needs_past, annotation.c.deleted.is_(False))
    fresh = {"turned": None, "attempts": 0, "due": 0.0, "parked": False, "reason": None}
    connection.execute(update(annotation).where(*theirs).values(fresh))
    return True


def known_of(connection: Connection, *, project: int | None, task: int, label_config: str) -> Known:
    """What the ledger knows of the past that helps to read an annotation.

    Args:
        connection: A transaction, or a connection.
        project: The project's id.
        task: The task's id.
        label_config: What the annotation is read with: it is none of the other ones.
    """
    found = {} if project is None else _configs(connection, project)
    sure, rumoured = (
        tuple(one for one, hearsay in found.items() if one != label_config and hearsay is said)
        for said in (False, True)
    )
    return Known(configs=sure, rumoured=rumoured, shown=_shown(connection, task))


def with_past(connection: Connection, states: Iterable[Annotation]) -> list[Annotation]:
    """States of annotations, each with what its names are read by."""
    return [
        replace(one, known=known_of(connection, project=one.project, task=one.task, label_config=one.label_config))
        for one in states
    ]


def _shorten(connection: Connection, project: int) -> None:
    """Lets go of the earlier times of label configs that came again, then of hearsay, then of the oldest label configs.

    Events that come late tell of the same few over and over, and anybody may send one; by those, none must be forgotten
    that an annotation was saved under.
    """
    theirs = select(label_config).where(label_config.c.project == project)
    rows = connection.execute(theirs.order_by(label_config.c.since, label_config.c.id)).all()
    latest = {row.config: row.id for row in rows}
    again = [row.id for row in rows if latest[row.config] != row.id]
    once = sorted((row for row in rows if latest[row.config] == row.id), key=lambda row: not row.hearsay)
    spare = [*again, *(row.id for row in once)][: max(0, len(rows) - _MOST_CONFIGS)]
    connection.execute(delete(label_config).where(label_config.c.id.in_(spare)))


@dataclass(frozen=True, kw_only=True)
class LabelHistory:
    """The ledger's side of reading a project's annotations; `backend.labelstudio.project_annotations` asks it."""

    engine: Engine

    def known(self, *, project: int, task: int, label_config: str) -> Known:
        """What is known of the past of a project and of a task in it."""
        with self.engine.connect() as connection:
            return known_of(connection, project=project, task=task, label_config=label_config)

    def saved_under(self, identity: int, *, updated: float) -> str | None:
        """The label config that an annotation was saved under, where an event told; None where nobody did."""
        here = select(annotation.c.body).where(annotation.c.id == identity, annotation.c.updated == updated)
        with self.engine.connect() as connection:
            body = connection.execute(here).scalar()
        if not body or body.get("assumed"):
            return None
        return str(body.get("label_config") or "") or None


def _configs(connection: Connection, project: int) -> dict[str, bool]:
    """Whether each label config is hearsay; the newest first."""
    columns = (label_config.c.config, label_config.c.hearsay)
    newest = select(*columns).where(label_config.c.project == project)
    rows = connection.execute(newest.order_by(label_config.c.since.desc(), label_config.c.id.desc())).all()
    found: dict[str, bool] = {}
    for row in rows:
        found[row.config] = row.hearsay and found.get(row.config, True)
    return found


def _shown(connection: Connection, task: int) -> dict[str, Shown]:
    columns = (proposal.c.region, proposal.c.label, proposal.c.word, proposal.c.drawn_by)
    rows = connection.execute(select(*columns).where(proposal.c.task == task).order_by(proposal.c.word))
    return {row.region: Shown(mark=row.label, word=row.word, drawn_by=tags_of(row.drawn_by)) for row in rows}
