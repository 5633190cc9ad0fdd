"""How shown boxes look: kept for every box that is shown now, so that a correction finds its like on all pages.

512 signed bytes for the embedding and some kilobytes for the picture of each box. The embeddings of one network lie in
one file that is compared row by row. With a million boxes a question takes some 0.15 s of one processor, and 512 MB of
page cache that the system may take back (`python -m benchmarks.lookalikes`). No index is needed for that, and none has
to be kept in step.
"""

from __future__ import annotations

import hashlib
import logging
import math
import os
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Engine, delete, func, insert, select
from sqlalchemy.exc import SQLAlchemyError

from backend.corrections.database import writing
from backend.corrections.likeness import Look, decoded, encoded, likeness
from backend.corrections.tables import memory, sight
from backend.errors import LedgerError
from backend.files import hold
from backend.vision.engine import EMBEDDING

__all__ = ["Alike", "NearRows", "Sight", "Sights", "find_alike", "network_of"]

_LOG = logging.getLogger(__name__)
_MOST_WAITING = 1000
"""Tasks that are shown and not yet written down; beyond that the oldest are let go: no correction is lost by that."""
_ROWS_AT_ONCE = 4096
_READ_AT_ONCE = 10_000
_MOST_VARIABLES = 500


@dataclass(frozen=True, kw_only=True, eq=False)
class Sight:
    """How one shown box looks.

    Attributes:
        page: Index of its page in the task.
        region: Its id in the editor.
        label: What it was shown as.
        embedding: (512,) of the network's features.
        look: Its picture.
    """

    page: int
    region: str
    label: str
    embedding: NDArray[np.float32]
    look: Look


@dataclass(frozen=True, kw_only=True)
class Alike:
    """A shown box that looks like a corrected one.

    Attributes:
        distance: 1 − cosine of the embeddings.
        same: Whether it shows the very thing.
        picture: Of its ink, a JPEG file.
    """

    task: int
    project: int | None
    page: int
    region: str
    label: str
    distance: float
    same: bool
    picture: bytes


class Sights:
    """Takes note of how shown boxes look; shared by threads.

    Args:
        engine: The ledger's database.
        at_once: Whether it is written down at once; else nobody who shows boxes waits for it, and `write` does it.
    """

    def __init__(self, engine: Engine, *, at_once: bool = False) -> None:
        self._engine = engine
        self._at_once = at_once
        self._waiting: deque[tuple[int, int | None, str, tuple[Sight, ...]]] = deque(maxlen=_MOST_WAITING)

    def note(self, *, task: int, project: int | None, network: str, sights: Sequence[Sight]) -> None:
        """Takes note of all boxes that a task shows from now on."""
        self._waiting.append((task, project, network, tuple(sights)))
        if self._at_once:
            try:
                self.write()
            except LedgerError as error:
                _LOG.warning("%s; tried again with the next task", error)

    def write(self) -> int:
        """Writes down what was noted; gives the number of tasks.

        Raises:
            LedgerError: The database did not take it; it is kept for the next time.
        """
        written = 0
        while self._waiting:
            task, project, network, sights = self._waiting.popleft()
            rows = [
                {
                    "task": task,
                    "project": project,
                    "network": network,
                    "page": one.page,
                    "region": one.region,
                    "label": one.label,
                    "embedding": _in_bytes(one.embedding),
                    "picture": encoded(one.look),
                    "place": [round(side, 2) for side in one.look.box],
                }
                for one in sights
            ]
            try:
                with writing(self._engine) as connection:
                    connection.execute(delete(sight).where(sight.c.task == task))
                    if rows:
                        connection.execute(insert(sight), rows)
            except SQLAlchemyError as error:
                self._waiting.appendleft((task, project, network, sights))
                raise LedgerError(f"how boxes look could not be stored: {error}") from error
            written += 1
        return written


class NearRows:
    """The embeddings of one network's shown boxes in one file; any number of processes may use it.

    Args:
        engine: The ledger's database, from which the file is filled up.
        folder: Where the file is.
        network: Whose embeddings.
    """

    def __init__(self, engine: Engine, folder: Path, *, network: str) -> None:
        name = hashlib.sha256(network.encode()).hexdigest()[:16]
        self._engine = engine
        self._network = network
        self._folder = folder
        self._file = folder / f"{name}.int8"
        self._ids = folder / f"{name}.ids"
        self._lengths = folder / f"{name}.lengths"

    def near(self, embedding: NDArray[np.float32], *, distance: float, most: int) -> list[tuple[int, float]]:
        """Ids of rows within a distance of an embedding (512,), the nearest first, and their distances.

        Raises:
            LedgerError: The file cannot be written.
        """
        self._fill_up()
        ids = np.fromfile(self._ids, np.int64)
        if not len(ids):
            return []
        rows = np.memmap(self._file, np.int8, "r", shape=(len(ids), EMBEDDING))
        wanted = embedding / max(float(np.linalg.norm(embedding)), 1e-12)
        cosines = np.empty(len(ids), np.float32)
        some = np.empty((_ROWS_AT_ONCE, EMBEDDING), np.float32)
        for start in range(0, len(ids), _ROWS_AT_ONCE):
            count = min(_ROWS_AT_ONCE, len(ids) - start)
            np.copyto(some[:count], rows[start : start + count])
            np.dot(some[:count], wanted.astype(np.float32), out=cosines[start : start + count])
        cosines /= np.fromfile(self._lengths, np.float32, count=len(ids))
        near = np.flatnonzero(cosines >= 1 - distance)
        if len(near) > most:
            near = near[np.argpartition(-cosines[near], most)[:most]]
        near = near[np.argsort(-cosines[near], kind="stable")]
        return [(int(ids[place]), max(1 - float(cosines[place]), 0.0)) for place in near]

    def _fill_up(self) -> None:
        """Appends the rows that came since; of rows that are gone, the table knows."""
        try:
            # Not with its parents: a data folder that was taken away must not be made anew.
            self._folder.mkdir(exist_ok=True)
            with self._ids.open("ab") as ids, self._file.open("ab") as file, self._lengths.open("ab") as lengths:
                hold(ids.fileno(), seconds=math.inf)
                # What was cut off by a kill is written again: a row counts once its id is there.
                known = os.fstat(ids.fileno()).st_size // 8
                ids.truncate(known * 8)
                file.truncate(known * EMBEDDING)
                lengths.truncate(known * 4)
                last = int(np.fromfile(self._ids, np.int64, offset=(known - 1) * 8)[0]) if known else 0
                with self._engine.connect() as connection:
                    while rows := self._rows_after(connection, last):
                        embeddings = b"".join(embedding for _, embedding in rows)
                        signed = np.frombuffer(embeddings, np.int8).reshape(-1, EMBEDDING).astype(np.float32)
                        file.write(embeddings)
                        file.flush()
                        lengths.write(np.maximum(np.linalg.norm(signed, axis=1), 1.0).astype(np.float32).tobytes())
                        lengths.flush()
                        ids.write(np.array([number for number, _ in rows], np.int64).tobytes())
                        ids.flush()
                        last = rows[-1][0]
        except OSError as error:
            raise LedgerError(
                f"{self._folder} cannot be written ({error.strerror}): is the disk full, or was DATA_DIR moved?"
            ) from error

    def _rows_after(self, connection: Connection, last: int) -> list[tuple[int, bytes]]:
        theirs = (sight.c.network == self._network) & (sight.c.id > last)
        rows = connection.execute(
            select(sight.c.id, sight.c.embedding).where(theirs).order_by(sight.c.id).limit(_READ_AT_ONCE)
        )
        return [(int(row.id), bytes(row.embedding)) for row in rows]


def find_alike(engine: Engine, rows: NearRows, name: str, *, network: str, distance: float, most: int) -> list[Alike]:
    """Shown boxes that look like a remembered sample: the very thing first, then by distance.

    Raises:
        LedgerError: The network does not remember such a sample, or the file cannot be written.
    """
    with engine.connect() as connection:
        its = (memory.c.sample == name) & (memory.c.network == network) & memory.c.picture.is_not(None)
        known = connection.execute(select(memory).where(its)).first()
        if known is None:
            raise LedgerError(f"{name} is not remembered: there is no such sample, or the server has not met it yet")
        wanted = decoded(known.picture, known.place)
        embedding = np.frombuffer(known.embedding, "<f2").astype(np.float32)
        near = dict(rows.near(embedding, distance=distance, most=most))
        ids, found = list(near), []
        for start in range(0, len(ids), _MOST_VARIABLES):
            some = sight.c.id.in_(ids[start : start + _MOST_VARIABLES])
            for row in connection.execute(select(sight).where(some)):
                same = likeness(wanted, decoded(row.picture, row.place)).same
                found.append(
                    Alike(
                        task=row.task,
                        project=row.project,
                        page=row.page,
                        region=row.region,
                        label=row.label,
                        distance=near[row.id],
                        same=same,
                        picture=row.picture,
                    )
                )
    return sorted(found, key=lambda one: (not one.same, one.distance, -one.task, one.region))


def network_of(engine: Engine, name: str) -> str:
    """The network that remembers a sample and showed boxes last.

    Raises:
        LedgerError: None remembers it.
    """
    with engine.connect() as connection:
        newest = func.max(sight.c.id)
        mine = (memory.c.sample == name) & memory.c.picture.is_not(None)
        found = connection.execute(
            select(memory.c.network, newest)
            .outerjoin(sight, sight.c.network == memory.c.network)
            .where(mine)
            .group_by(memory.c.network)
            .order_by(func.coalesce(newest, 0).desc(), memory.c.network)
        ).first()
    if found is None:
        raise LedgerError(f"{name} is not remembered: there is no such sample, or the server has not met it yet")
    return str(found.network)


def _in_bytes(embedding: NDArray[np.float32]) -> bytes:
    """512 signed bytes of the same direction."""
    largest = max(float(np.abs(embedding).max(initial=0)), 1e-12)
    return np.round(embedding * (127 / largest)).astype(np.int8).tobytes()
