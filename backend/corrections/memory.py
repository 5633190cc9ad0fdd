"""The memory of corrected crops: kept in the ledger, held ready for `recall`; and which verdicts a person took back."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Engine, Row, and_, delete, func, literal_column, not_, or_, select, update

from backend.corrections.crop_store import CropStore
from backend.corrections.database import insert_into, writing
from backend.corrections.held_verdicts import HeldVerdicts, next_revision, note_changed
from backend.corrections.likeness import Look, encoded, look_at
from backend.corrections.outcomes import Outcome
from backend.corrections.recall import RecalledVerdict
from backend.corrections.tables import forgotten, memory, proposal, sample
from backend.errors import LedgerError
from backend.geometry import Boxes, as_boxes

__all__ = [
    "SUPPRESSED",
    "ActingVerdict",
    "Memory",
    "acting_verdicts",
    "forget_verdict",
    "has_sample",
    "restore_verdict",
    "verdict_lines",
]

SUPPRESSED = memory.c.suppressed > literal_column("0")
"""What kept boxes from being shown; spelt as the index does that has no others."""
_LOG = logging.getLogger(__name__)

BATCH = 64
_NEWEST = 64
"""Corrections that a process takes for news when it starts: another may have learnt them and been ended before it
planned what follows."""
_RESTING = 10.0
# Until a crop that cannot be read is tried again: its store may be back.
_AGAIN_SECONDS = 600.0
# A store that takes longer to say that it has no crop is away, and is left alone for as long.
_PATIENCE_SECONDS, _AWAY_SECONDS = 5.0, 60.0
_MOST_VARIABLES = 500
_MOST_TWINS = 8  # looked at for one that is the very crop: blank ones differ only in their margins
# Second boxes on one mark say nothing about its look, contradictions wait for a person, and who never saw a box did not
# reject it.
_TEACHES = and_(
    sample.c.quarantine.is_(None),
    sample.c.outcome != Outcome.DUPLICATE,
    not_(and_(sample.c.outcome == Outcome.REJECTED, sample.c.weak)),
    sample.c.id.not_in(select(forgotten.c.sample)),
)


class Memory:
    """The verdicts of one network's embedding space; shared by threads.

    Args:
        engine: The ledger's database.
        crops: Where the corrected crops are.
        embed: Gives the embeddings (N, 512) of boxes (N, 4) on a page (H, W, 3).
        network: Name of the weights that `embed` uses: embeddings of other weights mean nothing to it.
        distance: Furthest at which a crop counts as the same; 0 turns recall off.
        ticks: Seconds that never go back.
    """

    def __init__(
        self,
        engine: Engine,
        crops: CropStore,
        *,
        embed: Callable[[NDArray[np.uint8], Boxes], NDArray[np.float32]],
        network: str,
        distance: float,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._crops = crops
        self._embed = embed
        self._network = network
        self._held = HeldVerdicts(engine, network=network, distance=distance)
        self._distance = distance
        self._ticks = ticks
        self._after = ""
        self._compared = 0.0
        self._unreadable: dict[str, float] = {}
        self._away_until = -math.inf
        self._suppressed: Counter[str] = Counter()
        self._counting = threading.Lock()
        self._news: list[str] | None = None
        self._undone: list[str] = []

    def __len__(self) -> int:
        return len(self._held.known.crops)

    @property
    def network(self) -> str:
        """Name of the weights whose embeddings it holds."""
        return self._network

    def recall(self, embeddings: NDArray[np.float32], looks: Callable[[int], Look]) -> list[RecalledVerdict | None]:
        """The verdict on each of N crops, by embeddings (N, 512) and pictures, asked for where one is near."""
        return self._held.known.recall(embeddings, looks, distance=self._distance)

    def count_suppressed(self, samples: Iterable[str]) -> None:
        """Counts boxes that samples kept from being shown; `refresh` writes it down."""
        with self._counting:
            self._suppressed.update(samples)

    def refresh(self) -> int:
        """Learns samples that are new to this network and forgets those that are gone.

        Returns:
            How many were learnt or forgotten, at most 64 learnt at a time; 0 when nothing is left to do.
        """
        self._write_suppressed()
        if self._news is None:
            self._news = self._newest()
        gone = [] if self._after else self._gone()
        while not (rows := self._all_remembered(self._next_new())) and self._after:
            if self._ticks() < self._away_until:
                break
        if rows or gone:
            self._replace([*gone, *(row["sample"] for row in rows)], rows)
        self.load()
        return len(rows) + len(gone)

    @property
    def resting(self) -> float:
        """Seconds until all samples need be compared again, once nothing is left to do: the more there are, the longer.

        So comparing takes a tenth of the time at most, however many samples there are. A store of crops that is away is
        left alone as well: whoever waits for it turns no corrections into samples meanwhile.
        """
        away = self._away_until - self._ticks()
        return max(away, 0.0 if self._after else _RESTING * self._compared)

    def _replace(self, stale: Sequence[str], rows: Sequence[dict[str, Any]]) -> None:
        """Puts rows in the place of those that some samples have."""
        before: list[Row[Any]] = []
        columns = (memory.c.sample, memory.c.suppressed, memory.c.acts, memory.c.crop_sha256)
        with writing(self._engine) as connection:
            revision = next_revision(connection, network=self._network)
            for start in range(0, len(stale), _MOST_VARIABLES):
                some = memory.c.sample.in_(stale[start : start + _MOST_VARIABLES])
                old = and_(memory.c.network == self._network, some)
                before += connection.execute(select(*columns).where(old))
                connection.execute(delete(memory).where(old))
            suppressed = {row.sample: row.suppressed for row in before}
            rows = [row | {"suppressed": suppressed.get(row["sample"], 0)} for row in rows]
            if rows:
                connection.execute(insert_into(memory, self._engine).on_conflict_do_nothing(), rows)
            crops = [*(row.crop_sha256 for row in before), *(row["crop_sha256"] for row in rows)]
            note_changed(connection, crops, network=self._network, revision=revision)
        learnt = [row["sample"] for row in rows if row["acts"]]
        self._news = list(dict.fromkeys([*(self._news or ()), *learnt]))
        self._undone += [row.sample for row in before if row.acts]

    def news(self) -> tuple[str, ...]:
        """Names of the corrections that were learnt, until they are planned."""
        return tuple(self._news or ())

    def undone(self) -> tuple[str, ...]:
        """Names of the corrections that say nothing any more, or something else, until that is planned."""
        return tuple(self._undone)

    def planned(self, *, news: str | None = None, undone: str | None = None) -> None:
        """Says that the ledger knows what follows from a correction, or from the end of one."""
        self._news = [one for one in self._news or () if one != news]
        self._undone = [one for one in self._undone if one != undone]

    def _newest(self) -> list[str]:
        mine = (memory.c.network == self._network) & memory.c.acts
        newest = select(memory.c.sample).join(sample, sample.c.id == memory.c.sample).where(mine)
        with self._engine.connect() as connection:
            names = connection.execute(newest.order_by(sample.c.annotated.desc(), sample.c.id).limit(_NEWEST))
            return list(names.scalars())

    def _write_suppressed(self) -> None:
        with self._counting:
            counted, self._suppressed = self._suppressed, Counter()
        if not counted:
            return
        with writing(self._engine) as connection:
            for name, number in sorted(counted.items()):
                mine = and_(memory.c.sample == name, memory.c.network == self._network)
                connection.execute(update(memory).where(mine).values(suppressed=memory.c.suppressed + number))

    def _next_new(self) -> Sequence[Row[Any]]:
        """The next samples, by name, that are not remembered as they are now; after the last of them the first again.

        So all samples are compared once, however many of them are new.
        """
        lost = memory.c.sample.is_(None)
        differs = or_(
            memory.c.label != sample.c.label,
            memory.c.crop_sha256 != sample.c.crop_sha256,
            memory.c.acts != sample.c.wrong.is_not(None),
            memory.c.weak != sample.c.weak,
            memory.c.picture.is_(None),
        )
        mine = and_(memory.c.sample == sample.c.id, memory.c.network == self._network)
        new = select(sample).outerjoin(memory, mine).where(_TEACHES, or_(lost, differs), sample.c.id > self._after)
        started = self._ticks()
        with self._engine.connect() as connection:
            rows = connection.execute(new.order_by(sample.c.id).limit(BATCH)).all()
        self._compared += self._ticks() - started
        self._after = rows[-1].id if len(rows) == BATCH else ""
        return rows

    def _gone(self) -> Sequence[str]:
        """Names of remembered samples that are no more."""
        alive = select(sample.c.id).where(_TEACHES)
        gone = select(memory.c.sample).where(memory.c.network == self._network, memory.c.sample.not_in(alive))
        started = self._ticks()
        with self._engine.connect() as connection:
            names = connection.execute(gone).scalars().all()
        self._compared = self._ticks() - started
        return names

    def _all_remembered(self, new: Sequence[Row[Any]]) -> list[dict[str, Any]]:
        """Samples as rows of the table, those left out whose crop is not to be had."""
        rows: list[dict[str, Any]] = []
        looks: dict[tuple[Any, ...], dict[str, Any] | None] = {}
        for row in new:
            if row.crop in self._unreadable and self._ticks() < self._unreadable[row.crop]:
                continue
            if _very_crop(row) not in looks:
                looks[_very_crop(row)] = self._twin(row) or self._looked_at(row)
            if self._ticks() < self._away_until:
                break
            if (seen := looks[_very_crop(row)]) is not None:
                own = {"sample": row.id, "network": self._network, "crop_sha256": row.crop_sha256}
                rows.append(own | {"label": row.label, "acts": row.wrong is not None, "weak": row.weak} | seen)
        return rows

    def _twin(self, row: Row[Any]) -> dict[str, Any] | None:
        """How the very crop looks, where it is remembered: its annotation was saved again, or its page was copied."""
        mine = and_(memory.c.network == self._network, memory.c.picture.is_not(None))
        same = and_(memory.c.sample == sample.c.id, memory.c.crop_sha256 == sample.c.crop_sha256)
        looks = (memory.c.embedding, memory.c.picture, memory.c.place)
        alike = select(sample, *looks).join(memory, same).where(mine, sample.c.crop_sha256 == row.crop_sha256)
        with self._engine.connect() as connection:
            for one in connection.execute(alike.limit(_MOST_TWINS)):
                if _very_crop(one) == _very_crop(row):
                    return {"embedding": one.embedding, "picture": one.picture, "place": one.place}
        return None

    def _looked_at(self, row: Row[Any]) -> dict[str, Any] | None:
        """The embedding of a sample's mark, margin left out, and its picture; None where its crop is not to be had."""
        box, began = as_boxes(_very_crop(row)[1:]), self._ticks()
        try:
            pixels = self._crops.get(row.crop)
        except LedgerError as error:
            if row.crop not in self._unreadable:
                _LOG.warning("sample %s is not remembered until its crop can be read: %s", row.id, error)
            now = self._ticks()
            self._unreadable[row.crop] = now + _AGAIN_SECONDS
            if now - began > _PATIENCE_SECONDS:
                self._away_until = now + _AWAY_SECONDS
            return None
        self._unreadable.pop(row.crop, None)
        look = look_at(pixels, box[0])
        return {
            "embedding": self._embed(pixels, box)[0].astype("<f2").tobytes(),
            "picture": encoded(look),
            "place": [round(side, 2) for side in look.box],
        }

    def load(self) -> None:
        """Takes over what the table has, also what other processes put there."""
        self._held.load()


def _very_crop(row: Row[Any]) -> tuple[str, float, float, float, float]:
    """A sample's stored crop, and the mark's box on it, on which all that is remembered of it depends."""
    left, top = row.margin[:2]
    return row.crop, row.x1 - left, row.y1 - top, row.x2 - left, row.y2 - top


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
    kept = select(memory.c.sample, func.sum(memory.c.suppressed)).where(SUPPRESSED).group_by(memory.c.sample)
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


def has_sample(engine: Engine, name: str) -> bool:
    """Whether the ledger has a sample of that name."""
    with engine.connect() as connection:
        return connection.execute(select(sample.c.id).where(sample.c.id == name)).first() is not None


def forget_verdict(engine: Engine, name: str, *, at: float) -> None:
    """Takes a verdict back: its sample is still trained on, but nothing follows it any more.

    Raises:
        LedgerError: There is no sample of that name.
    """
    with writing(engine) as connection:
        _known(connection, name)
        connection.execute(insert_into(forgotten, engine).values(sample=name, at=at).on_conflict_do_nothing())


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
