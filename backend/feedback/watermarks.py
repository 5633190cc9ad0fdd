"""Up to when each project was reconciled with Label Studio, and which projects are waiting for it."""

from __future__ import annotations

from sqlalchemy import Connection, Engine, and_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from backend.feedback.database import writing
from backend.feedback.tables import annotation, event, prediction, watermark

__all__ = ["advance", "ask", "finish", "known_projects", "lease_asked", "reached"]

# A run that takes longer is thought dead; a second run beside it does no harm.
LEASE_SECONDS = 600.0
# "Start training on submission" asks on every save: runs of one project keep this distance.
DISTANCE_SECONDS = 30.0


def ask(connection: Connection, project: int, *, at: float) -> None:
    """Asks for a run over a project; asked twice before it begins, it is made once."""
    make = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    row = make(watermark).values(project=project, asked=at, lease=0.0)
    connection.execute(row.on_conflict_do_update(index_elements=["project"], set_={"asked": at}))


def known_projects(connection: Connection) -> list[int]:
    """Projects that anything in the ledger belongs to."""
    found: set[int] = set()
    for table in (annotation, prediction, event, watermark):
        found.update(connection.execute(select(table.c.project).distinct()).scalars())
    return sorted(project for project in found if project is not None)


def lease_asked(engine: Engine, *, now: float) -> tuple[int, float] | None:
    """Takes one project that waits for a run, and when it was asked for; None where none waits."""
    waiting = and_(watermark.c.asked.is_not(None), watermark.c.lease <= now)
    look = select(watermark).where(waiting).order_by(watermark.c.asked, watermark.c.project).limit(1)
    with engine.connect() as connection:
        if connection.execute(look).first() is None:
            return None
    with writing(engine) as connection:
        row = connection.execute(look.with_for_update(skip_locked=True)).first()
        if row is None:
            return None
        mine = update(watermark).where(watermark.c.project == row.project)
        connection.execute(mine.values(lease=now + LEASE_SECONDS))
    return row.project, row.asked


def finish(engine: Engine, project: int, *, asked: float | None, now: float, wait: float = DISTANCE_SECONDS) -> None:
    """Ends a lease.

    Args:
        engine: The ledger's database.
        project: The leased project.
        asked: What the lease gave, when the run was made: asked again meanwhile, the project goes on waiting. None when
            the run failed and is still wanted.
        now: Seconds since the epoch.
        wait: Seconds before the next run over it.
    """
    mine = update(watermark).where(watermark.c.project == project)
    with writing(engine) as connection:
        connection.execute(mine.values(lease=now + wait))
        if asked is not None:
            connection.execute(mine.where(watermark.c.asked == asked).values(asked=None))


def reached(engine: Engine, project: int) -> float | None:
    """Up to when a project was reconciled; None where it never was."""
    with engine.connect() as connection:
        return connection.execute(select(watermark.c.updated).where(watermark.c.project == project)).scalar()


def advance(connection: Connection, project: int, *, to: float) -> None:
    """Notes up to when a project was reconciled."""
    make = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    row = make(watermark).values(project=project, updated=to, lease=0.0)
    connection.execute(row.on_conflict_do_update(index_elements=["project"], set_={"updated": to}))
