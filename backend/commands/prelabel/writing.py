"""Rows of predictions → a Label Studio import file and a Parquet table, by way of a journal that survives a kill.

A set of names of which a million take eight megabytes.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import fsspec
import numpy as np

from backend.errors import OutputError, SettingsError, SetupError
from backend.files import hold, refusal_of, writing
from backend.labelstudio.stored_predictions import importable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backend.commands.prelabel.archive import Row

__all__ = ["RowJournal", "SeenNames", "make_sure", "write_json", "write_parquet"]

_KEY_BYTES = 8
# Keys that wait, in a common set, until it pays to sort them in.
_LATE = 10_000
_ROW_GROUP = 1000


class SeenNames:
    """Names that can be asked for and no longer be told: of each, 64 bits of its hash are kept.

    With a million names, the chance that one of them is taken for another is one in thirty million.
    """

    def __init__(self) -> None:
        self._sorted = np.empty(0, np.uint64)
        self._late: set[int] = set()

    def __len__(self) -> int:
        return len(self._sorted) + len(self._late)

    def __contains__(self, name: str) -> bool:
        return self._has(_key(name))

    def add(self, name: str) -> None:
        """Adds a name; a second time it changes nothing."""
        key = _key(name)
        if self._has(key):
            return
        self._late.add(key)
        if len(self._late) >= _LATE:
            self._sorted = np.union1d(self._sorted, np.fromiter(self._late, np.uint64, len(self._late)))
            self._late.clear()

    def _has(self, key: int) -> bool:
        if key in self._late:
            return True
        place = int(np.searchsorted(self._sorted, np.uint64(key)))
        return place < len(self._sorted) and int(self._sorted[place]) == key


def _key(name: str) -> int:
    digest = hashlib.blake2b(name.encode(errors="surrogateescape"), digest_size=_KEY_BYTES).digest()
    return int.from_bytes(digest, "big")


class RowJournal:
    """Documents that are done, one line each, appended as they come: a run that was killed goes on from there.

    In memory it holds eight bytes for each document, nothing of the rows.

    Args:
        file: Where; made if missing.
        facts: What all of it depends on, such as the model's version.

    Raises:
        SetupError: Another run is at it, or an unfinished run was begun with other facts.
    """

    def __init__(self, file: Path, facts: dict[str, Any]) -> None:
        self.file = file
        self.rows = 0
        self._done = SeenNames()
        file.parent.mkdir(parents=True, exist_ok=True)
        self._lines: IO[bytes] = file.open("a+b")
        if not hold(self._lines.fileno()):
            self._lines.close()
            raise SetupError("another `prelabel` writes the same output: wait for it, or end it")
        try:
            self._resume(facts)
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self) -> RowJournal:
        return self

    def __exit__(self, *_: object) -> None:
        with writing(self.file):  # what found no room before is tried once more
            self._lines.close()

    def __len__(self) -> int:
        return len(self._done)

    def __contains__(self, document: str) -> bool:
        return document in self._done

    def add(self, document: str, rows: tuple[Row, ...]) -> None:
        """Appends a document's rows; a second time it changes nothing."""
        if document in self:
            return
        self._append({"document": document, "rows": rows})
        self._done.add(document)
        self.rows += len(rows)

    def read(self) -> Iterator[Row]:
        """All rows, one by one."""
        self._lines.flush()
        with self.file.open("rb") as lines:
            next(lines)
            for line in lines:
                yield from json.loads(line)["rows"]

    def discard(self) -> None:
        """Deletes it, when all is written elsewhere."""
        self.file.unlink()

    def _resume(self, facts: dict[str, Any]) -> None:
        self._lines.seek(0)
        end = 0
        for number, line in enumerate(self._lines):
            if not line.endswith(b"\n"):
                break  # torn off by a kill
            held = json.loads(line)
            if number == 0 and held != facts:
                changed = ", ".join(sorted(name for name in facts if held.get(name) != facts[name]))
                raise SetupError(
                    f"an unfinished run differs in {changed}: finish it as it was begun, or delete {self.file}"
                )
            if number:
                self._done.add(held["document"])
                self.rows += len(held["rows"])
            end += len(line)
        self._lines.truncate(end)
        if not end:
            self._append(facts)

    def _append(self, what: dict[str, Any]) -> None:
        with writing(self.file):
            self._lines.write(json.dumps(what, ensure_ascii=False).encode() + b"\n")
            self._lines.flush()


def make_sure(*, out: str, parquet: str) -> None:
    """Finds out whether outputs can be written, as far as that can be known before the work; empty ones are none.

    Raises:
        SettingsError: One cannot, or pyarrow is not installed.
    """
    if parquet:
        _pyarrow()
    for target in filter(None, (out, parquet)):
        try:
            if "://" in target:
                fsspec.core.url_to_fs(target)
                continue
            aside = _aside(target)
            aside.open("wb").close()
            aside.unlink()
        except (OSError, ImportError, ValueError) as error:
            raise SettingsError(f"{target} cannot be written ({error})") from error


def write_json(rows: Iterator[Row], target: str) -> None:
    """Tasks with their predictions as Label Studio imports them: a JSON array, written row by row."""
    with _whole(target) as file:
        between = b"[\n"
        for row in rows:
            task = importable(row["data"], [row["prediction"]])
            file.write(between + json.dumps(task, ensure_ascii=False).encode())
            between = b",\n"
        file.write(b"[]\n" if between == b"[\n" else b"\n]\n")


def write_parquet(rows: Iterator[Row], target: str) -> None:
    """The same as a table: `document`, `page`, `data` and `result` as JSON, `model_version`, `score`, `marks`.

    Raises:
        SettingsError: pyarrow is not installed.
    """
    arrow, parquet = _pyarrow()
    schema = arrow.schema(
        [
            ("document", arrow.string()),
            ("page", arrow.int32()),
            ("data", arrow.string()),
            ("model_version", arrow.string()),
            ("score", arrow.float64()),
            ("marks", arrow.int32()),
            ("result", arrow.string()),
        ]
    )
    with _whole(target) as file, parquet.ParquetWriter(file, schema) as table:
        group: list[Row] = []
        for row in rows:
            group.append(_columns(row))
            if len(group) == _ROW_GROUP:
                table.write_table(arrow.Table.from_pylist(group, schema))
                group.clear()
        table.write_table(arrow.Table.from_pylist(group, schema))


def _columns(row: Row) -> Row:
    found = row["prediction"]
    return {
        "document": row["document"],
        "page": row["page"],
        "data": json.dumps(row["data"], ensure_ascii=False),
        "model_version": found["model_version"],
        "score": found["score"],
        "marks": len(found["result"]),
        "result": json.dumps(found["result"], ensure_ascii=False),
    }


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow  # noqa: PLC0415  an extra
        from pyarrow import parquet  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise SettingsError("--parquet needs pyarrow: install the extra `ray` (contract-marks[ray])") from error
    return pyarrow, parquet


@contextmanager
def _whole(target: str) -> Iterator[IO[bytes]]:
    """A file that appears when it is complete; at a URL, as far as the store does so."""
    try:
        if "://" in target:
            with fsspec.open(target, "wb").open() as file:
                yield file
            return
        aside = _aside(target)
        try:
            with aside.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            aside.replace(target)
        finally:
            aside.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{target} cannot be written ({refusal_of(error)})") from error


def _aside(target: str) -> Path:
    return Path(f"{target}.part")
