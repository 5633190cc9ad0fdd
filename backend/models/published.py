"""Reads the models that were published here: one immutable folder for each, and a pointer to the promoted one.

What is known of a model stands as JSON beside its weights: how it was made, what it does, what the gate said. What
happened to the models is a file of one line of JSON each, only ever added to; rollback goes back by it.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

from backend.errors import BadWeights, RegistryError, UnknownModel
from backend.files import append_line, sync_folder, whole_lines
from backend.vision.network_config import sha256_of
from backend.vision.weights import CONFIG_FILE

__all__ = [
    "FILE_NAME",
    "FOUND",
    "JUDGED",
    "PROMOTED",
    "PUBLISHED",
    "RECORD_FILE",
    "RESERVED",
    "ROLLED_BACK",
    "Beside",
    "Facts",
    "History",
    "ModelEvent",
    "Record",
    "RecordedVerdict",
    "Registry",
    "Stamp",
    "moves",
    "served",
]

RESERVED = ("auto", "hub", "bundled")
"""Words of the MODEL setting that no trained model can be called."""
RECORD_FILE = "record.json"
"""What stands beside published weights; its `files` name each of them with its SHA-256."""

Stamp = tuple[int, int, int]

_POINTER = "active"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
"""What a file of a model may be called."""


class Registry:
    """Reads the models below one folder; `backend.models` writes them.

    `<folder>/<name>/` holds a model. The file `<folder>/active` holds the promoted model's name. It is replaced whole,
    so a reader sees the old name or the new one. A folder appears under its name when it is complete: what a publisher
    left half-written bears a name that no model can have.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def pointer(self) -> Path:
        """The file that names the promoted model."""
        return self.folder / _POINTER

    def names(self) -> list[str]:
        """Names of the models there are, sorted."""
        if not self.folder.is_dir():
            return []
        found = (path.name for path in self.folder.iterdir() if _is_model(path))
        return sorted(name for name in found if _NAME.fullmatch(name) and name not in RESERVED)

    def stamp(self) -> Stamp | None:
        """Changes with every move of the pointer, and costs one look at the folder; None while there is none."""
        try:
            found = self.pointer.stat()
        except FileNotFoundError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size

    def pointed(self) -> str | None:
        """What the pointer says, whether there is such a model or not; None where there is no pointer."""
        try:
            return self.pointer.read_text(encoding="utf-8", errors="replace").strip()
        except FileNotFoundError:
            return None

    def active(self) -> str | None:
        """Name of the promoted model; None when none was promoted yet.

        Raises:
            BadWeights: The pointer names no model.
        """
        name = self.pointed()
        if name is not None and name not in self.names():
            raise BadWeights(
                f"{self.pointer} names the model {name[:64]!r}, which is not there: promote another, or delete the "
                "pointer"
            )
        return name

    def folder_of(self, name: str) -> Path:
        """Folder of the model called `name`, each of whose files has the checksum that its record promises.

        Raises:
            UnknownModel: There is none.
            BadWeights: A file is missing, or is not the one that was published.
        """
        names = self.names()
        if name not in names:
            raise UnknownModel(f"there is no model {name[:64]!r}; known are {', '.join((*RESERVED, *names))}")
        folder = self.folder / name
        for file, checksum in _promised(folder).items():
            found = sha256_of(folder / file)
            if found != checksum:
                raise BadWeights(
                    f"{folder / file}: its SHA-256 is {found[:12]}…, its record says {checksum[:12]}…: it was damaged "
                    "or changed after it was published; promote another model, or publish it anew"
                )
        return folder


def _is_model(path: Path) -> bool:
    return (path / RECORD_FILE).is_file() or (path / CONFIG_FILE).is_file()


def _promised(folder: Path) -> Mapping[str, str]:
    """Files of a folder and their checksums; none where it was put there by hand, without a record."""
    path = folder / RECORD_FILE
    try:
        files = json.loads(path.read_text(encoding="utf-8"))["files"]
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise BadWeights(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise BadWeights(f"{path} is no record of a model: promote another, or publish it anew") from error
    if not isinstance(files, dict) or not files or not all(_is_promise(*row) for row in files.items()):
        raise BadWeights(f"{path} does not say which files it is about: promote another, or publish it anew")
    return files


def _is_promise(name: object, checksum: object) -> bool:
    return isinstance(name, str) and bool(FILE_NAME.fullmatch(name)) and isinstance(checksum, str)


@dataclass(frozen=True)
class Beside:
    """What a candidate was judged beside.

    Attributes:
        model: Name of a published model; None for weights that were not published.
    """

    model: str | None


@dataclass(frozen=True, kw_only=True)
class RecordedVerdict:
    """What the gate said of a candidate.

    Attributes:
        passed: Whether it may be promoted.
        reasons: Why not, or what speaks for it; one sentence each.
        figures: What that rests on, as JSON.
        beside: What served when the candidate was judged; None where the verdict does not say.
    """

    passed: bool
    reasons: tuple[str, ...] = ()
    figures: Mapping[str, Any] = field(default_factory=dict)
    beside: Beside | None = None

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> RecordedVerdict:
        """Reads what `dataclasses.asdict` made; in older files the name is one of the figures.

        Raises:
            KeyError: A field is missing.
        """
        figures = dict(facts["figures"])
        beside = {"model": figures.pop("beside")} if "beside" in figures else facts.get("beside")
        return cls(
            passed=bool(facts["passed"]),
            reasons=tuple(facts["reasons"]),
            figures=figures,
            beside=Beside(model=beside["model"]) if beside else None,
        )


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What whoever made a model says of it.

    Attributes:
        source: Where it is from: `training`, or `huggingface:<repository>@<commit>`.
        parent: Name of the model that it was trained from or judged against; None where there was none.
        recipe: The recipe it was made by, as JSON.
        seed: Of the random numbers.
        versions: Packages and their versions.
        dataset: Hash of the data it was trained on.
        seconds: How long that took.
        metrics: Figures by what they were measured on; `closed_set` and `end_to_end` in the shape of `evaluate`'s JSON.
        verdict: The gate's, where it was asked before the model was published.
        told: Hash of all that a retraining was given; None where the model comes from elsewhere.
    """

    source: str
    parent: str | None = None
    recipe: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    dataset: str | None = None
    seconds: float | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict)
    verdict: RecordedVerdict | None = None
    told: str | None = None


@dataclass(frozen=True, kw_only=True)
class Record(Facts):
    """A published model, as `record.json` tells of it; never changed after.

    Attributes:
        name: The model's name.
        published: When, in ISO 8601, UTC.
        files: Each file of the folder, besides the record itself, and its SHA-256.
    """

    name: str
    published: str
    files: Mapping[str, str]

    @classmethod
    def of(cls, facts: Facts, *, name: str, published: str, files: Mapping[str, str]) -> Record:
        """The record of a model with these facts."""
        known = {row.name: getattr(facts, row.name) for row in dataclasses.fields(Facts)}
        return cls(**known, name=name, published=published, files=files)

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Reads the record of a model's folder.

        Raises:
            RegistryError: It cannot be read, or is no record.
        """
        path = folder / RECORD_FILE
        try:
            facts = json.loads(path.read_text(encoding="utf-8"))
            verdict = facts.pop("verdict")
            if "told" in facts["metrics"]:  # as it was written at first
                facts["told"] = facts["metrics"].pop("told")
            return cls(**facts, verdict=verdict and RecordedVerdict.from_json(verdict))
        except OSError as error:
            raise RegistryError(f"{path} cannot be read: {error.strerror}") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise RegistryError(f"{path} is no record of a model: {error}") from error

    def as_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def text(self) -> str:
        """The record as it is written.

        Raises:
            RegistryError: It holds what JSON cannot say, such as a figure that is not a number.
        """
        try:
            return json.dumps(self.as_json(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        except (TypeError, ValueError) as error:
            raise RegistryError(f"the record of {self.name} cannot be written as JSON: {error}") from error


PUBLISHED = "published"
JUDGED = "judged"
PROMOTED = "promoted"
ROLLED_BACK = "rolled back"
FOUND = "found"
"""The pointer was not as the last move should have left it: that move was cut off, or somebody edited it."""


@dataclass(frozen=True, kw_only=True)
class ModelEvent:
    """One line.

    Attributes:
        when: ISO 8601, UTC.
        what: One of the words above.
        model: Which model; of a move, the one that serves from then on, None for none.
        before: Of a move, the one that served until then.
        why: In words.
        by: Which command or program; never a person.
        forced: Whether the gate was overruled.
        verdict: What the gate said.
    """

    when: str
    what: str
    model: str | None
    before: str | None = None
    why: str = ""
    by: str = ""
    forced: bool = False
    verdict: RecordedVerdict | None = None

    @classmethod
    def from_json(cls, facts: dict[str, Any]) -> ModelEvent:
        """Reads what `as_json` made."""
        verdict = facts.pop("verdict", None)
        return cls(**facts, verdict=verdict and RecordedVerdict.from_json(verdict))

    def as_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


class History:
    """The events of one registry, in a file that is written by one process at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def events(self) -> list[ModelEvent]:
        """All events, oldest first; a last line that was cut off while it was written is none.

        Raises:
            RegistryError: A line is no event.
        """
        try:
            text = self._path.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return []
        events = []
        for number, line in enumerate(text.split("\n")[:-1], start=1):
            try:
                events.append(ModelEvent.from_json(json.loads(line)))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise RegistryError(f"{self._path}, line {number} is no event ({error}): take it out") from error
        return events

    def append(self, event: ModelEvent) -> None:
        """Adds an event, durably; what an earlier writer left of a line goes.

        Raises:
            RegistryError: It cannot be written; nothing of it is left then.
        """
        try:
            with self._path.open("a+b", buffering=0) as file:
                whole_lines(file)
                append_line(file, json.dumps(event.as_json(), ensure_ascii=False))
            sync_folder(self._path.parent)
        except OSError as error:
            raise RegistryError(f"{self._path} cannot be written: {error.strerror}") from error


def moves(events: Sequence[ModelEvent], *, pointed: str | None) -> list[ModelEvent]:
    """The moves that came about, oldest first.

    Args:
        events: The history.
        pointed: Where the pointer is now.
    """
    tried = [event for event in events if event.what in (PROMOTED, ROLLED_BACK, FOUND)]
    # A move was cut off where the next one found the pointer elsewhere, or, of the last, where it is elsewhere now.
    ends = [later.model if later.what == FOUND else event.model for event, later in pairwise(tried)] + [pointed]
    return [event for event, end in zip(tried, ends, strict=False) if event.model == end]


def served(events: Sequence[ModelEvent]) -> list[str | None]:
    """The models on the way to the one that serves, which is the last; rollback goes back along it.

    It begins with None: before the first promotion no published model served.
    """
    way: list[str | None] = [None]
    before = way
    for event in events:
        if event.what == FOUND and event.model == before[-1]:
            way = before  # the last move was cut off
        elif event.what == ROLLED_BACK:
            before, way = way, way[:-1] or way
        elif event.what in (PROMOTED, FOUND) and event.model != way[-1]:
            before, way = way, [*way, event.model]
    return way
