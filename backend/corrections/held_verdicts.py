"""What of the memory a process holds ready: the corrected crops, and confirmed ones that look like one of them.

A crop is held once, however many samples say something of it. What did not change since is not read again: each change
of a crop's samples gives it a new revision, under a lock, so that no smaller one can come to light later.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Connection, Engine, Select, and_, func, select, text

from backend.corrections.database import insert_into
from backend.corrections.likeness import Look, decoded
from backend.corrections.recall import MOST_COMPARED, Remembered, Voter, unit
from backend.corrections.tables import memory, remembered_crop
from backend.vision.engine import EMBEDDING

__all__ = ["HeldVerdicts", "next_revision", "note_changed"]

_MOST_VARIABLES = 500
_ROWS_AT_ONCE = 1000
_MOST_LOOKS = 128  # held decoded, with their key points: some 200 kB each
_ROUNDED = 0.01
"""Room for embeddings of half precision, as a cosine."""
_one = memory.alias("one")


def next_revision(connection: Connection, *, network: str) -> int:
    """The revision of the changes that a transaction makes; others that change something wait until it has ended.

    Args:
        connection: A transaction of `writing`, before it changes anything.
        network: Whose memory is changed.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"LOCK TABLE {remembered_crop.name} IN SHARE ROW EXCLUSIVE MODE"))
    newest = select(func.max(remembered_crop.c.revision)).where(remembered_crop.c.network == network)
    return int(connection.execute(newest).scalar() or 0) + 1


def note_changed(connection: Connection, crops: Iterable[str], *, network: str, revision: int) -> None:
    """Says of which crops samples came, went or changed, in the transaction in which they did."""
    rows = [{"network": network, "crop_sha256": crop, "revision": revision} for crop in sorted(set(crops))]
    if rows:
        made = insert_into(remembered_crop, connection)
        newer = made.on_conflict_do_update(
            index_elements=["network", "crop_sha256"], set_={"revision": made.excluded.revision}
        )
        connection.execute(newer, rows)


@dataclass(frozen=True, kw_only=True)
class _Held:
    """A crop; two are equal where the same is said of it, and it looks the same.

    Attributes:
        embedding: (512,), of length 1.
        picture: Of its ink, a JPEG file.
        place: The mark's box in the picture.
        voters: What is said of it, as far as it is ever heard.
    """

    embedding: NDArray[np.float32] = field(compare=False)
    picture: bytes
    place: tuple[float, ...]
    voters: tuple[Voter, ...]

    @property
    def acts(self) -> bool:
        return any(voter.acts for voter in self.voters)


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
        self._network = network
        self._least_cosine = 2 * max(1 - distance, 0.0) ** 2 - 1 - _ROUNDED
        self._crops: dict[str, _Held] = {}
        self._seen = 0
        self._loading = threading.Lock()
        self._looks: OrderedDict[tuple[str, tuple[float, ...]], Look] = OrderedDict()
        self._looking = threading.Lock()
        self.known = Remembered.nothing()

    def load(self) -> None:
        """Takes over what changed in the table, also what other processes changed; what did not is not read again."""
        with self._loading, self._engine.connect() as connection:
            mine = remembered_crop.c.network == self._network
            newest = int(connection.execute(select(func.max(remembered_crop.c.revision)).where(mine)).scalar() or 0)
            if newest == self._seen:
                return
            before, seen = (self._crops, self._seen) if newest > self._seen else ({}, 0)  # else of a restored ledger
            crops = self._brought_up_to_date(connection, before, since=seen)
            self._seen = newest
            if crops != self._crops:
                self._hold(crops)

    def _brought_up_to_date(
        self, connection: Connection, before: Mapping[str, _Held], *, since: int
    ) -> dict[str, _Held]:
        """What is to be held, where something else was before, which was true at a revision."""
        changed, acting = self._changed(connection, since=since)
        crops = {crop: one for crop, one in before.items() if crop not in changed}
        crops |= self._read(connection, acting)
        corrected = {crop: one.embedding for crop, one in crops.items() if one.acts}
        if not corrected:
            return {}
        # What was far from all corrections may be near to a new one.
        new = [one for crop, one in corrected.items() if not _is_known(before.get(crop), one)]
        found = self._near(connection, remembered_crop.c.revision > since, _stacked(corrected.values()))
        if new and since:
            found |= self._near(connection, remembered_crop.c.revision <= since, _stacked(new))
        crops |= self._read(connection, sorted(found - crops.keys()))
        near = self._is_near(_stacked(one.embedding for one in crops.values()), _stacked(corrected.values()))
        return {crop: one for (crop, one), is_near in zip(crops.items(), near, strict=True) if is_near}

    def _changed(self, connection: Connection, *, since: int) -> tuple[set[str], list[str]]:
        """The held crops of which something changed after a revision, and all that changed and correct the network."""
        acts = self._of_crop().where(_one.c.acts).exists()
        newer = remembered_crop.c.network == self._network, remembered_crop.c.revision > since
        changed, acting = set(), []
        rows = connection.execution_options(yield_per=_ROWS_AT_ONCE).execute(
            select(remembered_crop.c.crop_sha256, acts).where(*newer)
        )
        for crop, is_acting in rows:
            if crop in self._crops:
                changed.add(crop)
            if is_acting:
                acting.append(crop)
        return changed, acting

    def _near(self, connection: Connection, which: ColumnElement[bool], corrected: NDArray[np.float32]) -> set[str]:
        """The crops among some that may have a say beside one of the corrections (A, 512)."""
        found: set[str] = set()
        looks = remembered_crop.join(memory, self._is_first())
        chosen = select(remembered_crop.c.crop_sha256, memory.c.embedding).select_from(looks)
        mine = remembered_crop.c.network == self._network
        rows = connection.execution_options(yield_per=_ROWS_AT_ONCE).execute(chosen.where(mine, which))
        for some in rows.partitions():
            near = self._is_near(_embeddings([row.embedding for row in some]), corrected)
            found |= {row.crop_sha256 for row, is_near in zip(some, near, strict=True) if is_near}
        return found

    def _read(self, connection: Connection, crops: Sequence[str]) -> dict[str, _Held]:
        """Crops, those left out of which no sample is left."""
        found: dict[str, _Held] = {}
        looks = remembered_crop.join(memory, self._is_first())
        columns = (remembered_crop.c.crop_sha256, memory.c.embedding, memory.c.picture, memory.c.place)
        chosen = select(*columns).select_from(looks).where(remembered_crop.c.network == self._network)
        for start in range(0, len(crops), _MOST_VARIABLES):
            some = remembered_crop.c.crop_sha256.in_(crops[start : start + _MOST_VARIABLES])
            rows = connection.execute(chosen.where(some)).all()
            for row, embedding in zip(rows, _embeddings([row.embedding for row in rows]), strict=True):
                if voters := self._voters(connection, row.crop_sha256):
                    found[row.crop_sha256] = _Held(
                        embedding=embedding, picture=row.picture, place=tuple(row.place), voters=voters
                    )
        return found

    def _voters(self, connection: Connection, crop: str) -> tuple[Voter, ...]:
        found: list[Voter] = []
        columns = (memory.c.sample, memory.c.label, memory.c.acts, memory.c.weak)
        for acts in (True, False):
            mine = and_(memory.c.network == self._network, memory.c.crop_sha256 == crop, memory.c.acts.is_(acts))
            some = select(*columns).where(mine, memory.c.picture.is_not(None)).order_by(memory.c.sample)
            found += [Voter(**row._mapping) for row in connection.execute(some.limit(MOST_COMPARED))]
        return tuple(found)

    def _of_crop(self) -> Select[tuple[str]]:
        """The samples of a crop, for a statement about crops."""
        its = and_(_one.c.network == self._network, _one.c.crop_sha256 == remembered_crop.c.crop_sha256)
        return select(_one.c.sample).where(its, _one.c.picture.is_not(None)).correlate(remembered_crop)

    def _is_first(self) -> ColumnElement[bool]:
        """Whether a sample is the one of its crop that tells how the crop looks: the last that corrects, else of all.

        In this order an index has them: of a crop with thousands of samples no other one is read.
        """
        first = self._of_crop().order_by(_one.c.acts.desc(), _one.c.sample.desc()).limit(1)
        return and_(memory.c.network == self._network, memory.c.sample == first.scalar_subquery())

    def _is_near(self, embeddings: NDArray[np.float32], corrected: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Of each of some embeddings (N, 512), whether one of the corrections (A, 512) is near enough."""
        return np.asarray((embeddings @ corrected.T).max(axis=1, initial=-1) >= self._least_cosine)

    def _hold(self, crops: Mapping[str, _Held]) -> None:
        names = tuple(sorted(crops))
        embeddings = _stacked(crops[name].embedding for name in names)
        self._crops = {name: replace(crops[name], embedding=row) for name, row in zip(names, embeddings, strict=True)}
        self.known = Remembered(
            crops=names,
            voters=tuple(crops[name].voters for name in names),
            embeddings=embeddings,
            looks=partial(self._look, self._crops, names),
        )

    def _look(self, held: Mapping[str, _Held], crops: Sequence[str], place: int) -> Look:
        """One picture, decoded; those that were asked for last stay so."""
        one = held[crops[place]]
        key = crops[place], one.place
        with self._looking:
            if (known := self._looks.get(key)) is not None:
                self._looks.move_to_end(key)
                return known
        look = decoded(one.picture, one.place)
        with self._looking:
            self._looks[key] = look
            while len(self._looks) > _MOST_LOOKS:
                self._looks.popitem(last=False)
        return look


def _is_known(before: _Held | None, embedding: NDArray[np.float32]) -> bool:
    """Whether a crop corrected the network before, and looked the same."""
    return before is not None and before.acts and np.array_equal(before.embedding, embedding)


def _embeddings(stored: Sequence[bytes]) -> NDArray[np.float32]:
    """(N, 512), of length 1 each."""
    return unit(np.frombuffer(b"".join(stored), "<f2").reshape(len(stored), EMBEDDING).astype(np.float32))


def _stacked(embeddings: Iterable[NDArray[np.float32]]) -> NDArray[np.float32]:
    """(M, 512), also of none."""
    rows = list(embeddings)
    return np.array(rows, np.float32).reshape(len(rows), EMBEDDING)
