"""What of the memory a process holds ready: the corrections, and what confirms the network beside one of them."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Connection, Engine, Row, and_, select

from backend.corrections.likeness import Look, decoded
from backend.corrections.recall import Remembered, unit
from backend.corrections.tables import memory
from backend.vision.engine import EMBEDDING

__all__ = ["HeldVerdicts"]

_MOST_VARIABLES = 500
_ROWS_AT_ONCE = 1000
_MOST_LOOKS = 128  # held decoded, with their key points: some 200 kB each
_ROUNDED = 0.01
"""Room for embeddings of half precision, as a cosine."""


class HeldVerdicts:
    """The verdicts of one network's embedding space that can decide anything; shared by threads.

    What confirms the network has a say only beside a correction of the very thing. A crop within `distance` of both has
    them within twice the angle of that of each other. All others need not be held: an archive has a hundred confirmed
    marks for each correction.

    Args:
        engine: The ledger's database.
        network: Name of the weights.
        distance: Furthest at which a crop counts as the same, as 1 − cosine.
    """

    def __init__(self, engine: Engine, *, network: str, distance: float) -> None:
        self._engine = engine
        self._mine: ColumnElement[bool] = and_(memory.c.network == network, memory.c.picture.is_not(None))
        self._least_cosine = 2 * max(1 - distance, 0.0) ** 2 - 1 - _ROUNDED
        self._acting: frozenset[str] = frozenset()
        self._far: set[bytes] = set()
        self._taken = b""
        self._pictures: dict[str, tuple[bytes, tuple[float, ...]]] = {}
        self._looks: OrderedDict[str, Look] = OrderedDict()
        self._looking = threading.Lock()
        self.known = Remembered.nothing()

    def load(self) -> None:
        """Takes over what the table has, also what other processes put there; what is known is not read again."""
        with self._engine.connect() as connection:
            corrected = select(memory.c.crop_sha256).where(self._mine, memory.c.acts)
            acting = frozenset(connection.execute(corrected).scalars())
            if not acting <= self._acting:
                self._far.clear()  # what was far from all others may be near to the new one
            rows, taken = self._rows(connection) if acting else ([], b"")
            if (taken, acting) == (self._taken, self._acting):
                return
            have = dict(zip(self.known.crops, self.known.embeddings, strict=True))
            pictures = self._pictures
            for acts in (True, False):
                some = {row.crop_sha256: row.sample for row in rows if row.acts is acts and row.crop_sha256 not in have}
                near = None if acts else _stacked([have[crop] for crop in acting & have.keys()])
                found, seen = self._read(connection, list(some.values()), near)
                have |= found
                pictures |= seen
        rows = [row for row in rows if row.crop_sha256 in have]  # far, or gone between two looks
        crops = tuple(row.crop_sha256 for row in rows)
        self._pictures = {crop: pictures[crop] for crop in crops}
        self._acting, self._taken = acting, taken
        self.known = Remembered(
            samples=tuple(row.sample for row in rows),
            labels=tuple(row.label for row in rows),
            crops=crops,
            acts=tuple(row.acts for row in rows),
            weak=tuple(row.weak for row in rows),
            embeddings=_stacked([have[crop] for crop in crops]),
            looks=partial(self._look, self._pictures, crops),
        )

    def _rows(self, connection: Connection) -> tuple[list[Row[Any]], bytes]:
        """The rows that are not known to be far from each correction, and a sum over all, by which a change is seen."""
        columns = [memory.c[name] for name in ("sample", "label", "crop_sha256", "acts", "weak")]
        rows: list[Row[Any]] = []
        taken = hashlib.sha256()
        ordered = select(*columns).where(self._mine).order_by(memory.c.sample)
        for row in connection.execution_options(yield_per=_ROWS_AT_ONCE).execute(ordered):
            taken.update(repr(tuple(row)).encode())
            if row.acts or _short(row.crop_sha256) not in self._far:
                rows.append(row)
        return rows, taken.digest()

    def _read(
        self, connection: Connection, samples: Sequence[str], near: NDArray[np.float32] | None
    ) -> tuple[dict[str, NDArray[np.float32]], dict[str, tuple[bytes, tuple[float, ...]]]]:
        """Embeddings and pictures by crop, of those samples that are near to one of the embeddings (A, 512)."""
        embeddings, pictures = {}, {}
        for start in range(0, len(samples), _MOST_VARIABLES):
            some = memory.c.sample.in_(samples[start : start + _MOST_VARIABLES])
            for one in connection.execute(select(memory).where(self._mine, some)):
                embedding = unit(np.frombuffer(one.embedding, "<f2").astype(np.float32)[None])[0]
                if near is not None and float((near @ embedding).max(initial=-1)) < self._least_cosine:
                    self._far.add(_short(one.crop_sha256))
                    continue
                embeddings[one.crop_sha256] = embedding
                pictures[one.crop_sha256] = one.picture, tuple(one.place)
        return embeddings, pictures

    def _look(self, pictures: Mapping[str, tuple[bytes, Sequence[float]]], crops: Sequence[str], place: int) -> Look:
        """One picture, decoded; those that were asked for last stay so."""
        crop = crops[place]
        with self._looking:
            if (known := self._looks.get(crop)) is not None:
                self._looks.move_to_end(crop)
                return known
        look = decoded(*pictures[crop])
        with self._looking:
            self._looks[crop] = look
            while len(self._looks) > _MOST_LOOKS:
                self._looks.popitem(last=False)
        return look


def _stacked(embeddings: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """(M, 512), also of none."""
    return np.array(embeddings, np.float32).reshape(len(embeddings), EMBEDDING)


def _short(crop: str) -> bytes:
    """What stands for a crop's checksum where thousands are kept."""
    return bytes.fromhex(crop[:24])
