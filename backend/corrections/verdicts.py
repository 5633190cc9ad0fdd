"""The verdicts that recall follows: which they are, what each did, and how a person takes one back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, delete, func, select
from sqlalchemy.dialects import postgresql, sqlite

from backend.corrections.database import writing
from backend.corrections.tables import forgotten, memory, proposal, sample
from backend.errors import LedgerError

__all__ = ["ActingVerdict", "acting_verdicts", "forget_verdict", "restore_verdict", "verdict_lines"]


@dataclass(frozen=True, kw_only=True)
class ActingVerdict:
    """A correction that other crops follow.

    Attributes:
        sample: Its sample.
        label: What it says: signature, stamp, thumb or none.
        wrong: What was shown instead.
        task: Where it was made.
        annotated: When, in seconds since the epoch.
        renamed: Boxes that bear its label because of it.
        suppressed: Boxes that were not shown because of it.
        forgotten: Whether a person took it back.
    """

    sample: str
    label: str
    wrong: str
    task: int
    annotated: float
    renamed: int
    suppressed: int
    forgotten: bool


def acting_verdicts(connection: Connection, *, most: int) -> tuple[ActingVerdict, ...]:
    """The verdicts that did something, those that did most first, then the newest; at most `most`."""
    renamed: Counter[str] = Counter()
    followed = select(proposal.c.recalled, func.count()).where(proposal.c.recalled.is_not(None))
    for name, number in connection.execute(followed.group_by(proposal.c.recalled)):
        renamed[name] = number
    suppressed: Counter[str] = Counter()
    kept = select(memory.c.sample, func.sum(memory.c.suppressed)).group_by(memory.c.sample)
    for name, number in connection.execute(kept):
        suppressed[name] = int(number or 0)
    back = set(connection.execute(select(forgotten.c.sample)).scalars())
    rows = connection.execute(select(sample).where(sample.c.wrong.is_not(None), sample.c.quarantine.is_(None)))
    found = [
        ActingVerdict(
            sample=row.id,
            label=row.label,
            wrong=row.wrong,
            task=row.task,
            annotated=row.annotated,
            renamed=renamed[row.id],
            suppressed=suppressed[row.id],
            forgotten=row.id in back,
        )
        for row in rows
    ]
    found.sort(key=lambda one: (-one.renamed - one.suppressed, -one.annotated, one.sample))
    return tuple(found[:most])


def forget_verdict(engine: Engine, name: str, *, at: float) -> None:
    """Takes a verdict back: its sample is still trained on, but nothing follows it any more.

    Raises:
        LedgerError: There is no sample of that name.
    """
    with writing(engine) as connection:
        _known(connection, name)
        make = postgresql.insert if engine.dialect.name == "postgresql" else sqlite.insert
        connection.execute(make(forgotten).values(sample=name, at=at).on_conflict_do_nothing())


def restore_verdict(engine: Engine, name: str) -> None:
    """Lets a verdict that was taken back act again.

    Raises:
        LedgerError: There is no sample of that name.
    """
    with writing(engine) as connection:
        _known(connection, name)
        connection.execute(delete(forgotten).where(forgotten.c.sample == name))


def verdict_lines(verdicts: Sequence[ActingVerdict]) -> list[str]:
    """One line for each, for a terminal."""
    if not verdicts:
        return ["no correction yet: boxes follow the model alone"]
    width = max(len(one.sample) for one in verdicts)
    return [
        f"{one.sample:<{width}}  {one.wrong} → {one.label:<9}  task {one.task}, "
        f"{one.renamed} boxes renamed, {one.suppressed} not shown{', taken back' if one.forgotten else ''}"
        for one in verdicts
    ]


def _known(connection: Connection, name: str) -> None:
    if connection.execute(select(sample.c.id).where(sample.c.id == name)).first() is None:
        raise LedgerError(f"there is no sample {name!r}: `samples list` shows their names")
