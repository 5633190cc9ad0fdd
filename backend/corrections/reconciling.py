"""Asks Label Studio what the webhooks did not tell, so that the ledger ends up the same whatever was lost."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from sqlalchemy import Connection, Engine, select

from backend.corrections.database import writing
from backend.corrections.folding import fold_task, forget_tasks
from backend.corrections.journal import advance, reached
from backend.corrections.label_history import note_config
from backend.corrections.tables import annotation as table
from backend.labelstudio.annotations import moment

__all__ = ["Reconciled", "Studio", "sync"]

_LOG = logging.getLogger(__name__)

# Saves that were under way while an earlier run listed may bear a moment before its watermark; and Label Studio's clock
# may have been put back meanwhile.
OVERLAP_SECONDS = 1200.0


class Studio(Protocol):
    """What is asked of Label Studio."""

    @property
    def has_token(self) -> bool: ...

    def predictions(self, task: int) -> Sequence[Mapping[str, Any]]: ...

    def project(self, project: int) -> Mapping[str, Any]: ...

    def tasks(self, project: int, *, since: float | None = None) -> Iterable[Mapping[str, Any]]: ...

    def has_task(self, task: int) -> bool: ...

    def annotation(self, annotation: int) -> Mapping[str, Any]: ...

    def newest_change(self, project: int) -> str | None: ...


@dataclass(frozen=True, kw_only=True)
class Reconciled:
    """What a run found.

    Attributes:
        tasks: Tasks looked at.
        saved: Annotations that were new, or newer than known.
        deleted: Annotations that are no longer there.
        unreadable: Annotations that no sample can be made of.
    """

    tasks: int = 0
    saved: int = 0
    deleted: int = 0
    unreadable: int = 0


def sync(
    engine: Engine,
    studio: Studio,
    project: int,
    *,
    everything: bool = False,
    progress: Callable[[Reconciled], None] = lambda _: None,
    clock: Callable[[], float] = time.time,
) -> Reconciled:
    """Reconciles one project: only tasks that changed since the last run, or all of them.

    A task's `updated_at` moves with every save and deletion of one of its annotations, so that the watermark misses
    nothing but tasks deleted whole. A run over everything finds those. It asks after each task that it did not come
    across, since one may have been made after the list was. The watermark moves when all is done, and no further than
    the newest change before the run. What changed behind the list is for the next run. A run that was cut off is
    repeated from where it began, to no harm.

    Args:
        engine: The ledger's database.
        studio: Label Studio's API.
        project: The project's id.
        everything: Whether to look at every task, and to forget what Label Studio no longer has.
        progress: Called after each task with what was found so far.
        clock: Seconds since the epoch.

    Raises:
        LabelStudioError: Label Studio refused or did not answer.
    """
    label_config = str(studio.project(project).get("label_config") or "")
    since = None if everything else reached(engine, project)
    newest = studio.newest_change(project)
    with writing(engine) as connection:
        note_config(connection, project, label_config, at=clock())
    seen, found = set(), Reconciled()
    for task in studio.tasks(project, since=None if since is None else since - OVERLAP_SECONDS):
        with writing(engine) as connection:
            found = _reconcile(connection, task, label_config, found)
        seen.add(int(task["id"]))
        progress(found)
    vanished = _vanished(engine, studio, project, seen) if everything else ()
    with writing(engine) as connection:
        gone = forget_tasks(connection, vanished)
        advance(connection, project, to=max(since or 0.0, moment(newest) if newest else 0.0))
    return replace(found, deleted=found.deleted + gone)


def _reconcile(connection: Connection, task: Mapping[str, Any], label_config: str, found: Reconciled) -> Reconciled:
    saved, deleted, unreadable = fold_task(connection, task, label_config)
    return Reconciled(
        tasks=found.tasks + 1,
        saved=found.saved + saved,
        deleted=found.deleted + deleted,
        unreadable=found.unreadable + unreadable,
    )


def _vanished(engine: Engine, studio: Studio, project: int, seen: Collection[int]) -> list[int]:
    """Tasks with living annotations that the list lacked, and that Label Studio says it does not have."""
    known = select(table.c.task).where(table.c.project == project, table.c.deleted.is_(False)).distinct()
    with engine.connect() as connection:
        missing = [task for task in connection.execute(known).scalars() if task not in seen]
    return [task for task in missing if not studio.has_task(task)]
