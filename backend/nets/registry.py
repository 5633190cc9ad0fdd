"""Reads the models that were published here: one immutable folder for each, and a pointer to the promoted one."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from backend.errors import BadWeights, UnknownModel
from backend.nets.config import sha256_of
from backend.nets.weights import CONFIG_FILE

__all__ = ["RECORD_FILE", "RESERVED", "Registry", "Stamp"]

RESERVED = ("auto", "hub", "bundled")
"""Words of the MODEL setting that no trained model can be called."""
RECORD_FILE = "record.json"
"""What stands beside published weights; its `files` name each of them with its SHA-256."""

Stamp = tuple[int, int, int]

_POINTER = "active"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


class Registry:
    """Reads the models below one folder; `backend.registry` writes them.

    `<folder>/<name>/` holds a model; the file `<folder>/active` holds the promoted model's name and is replaced whole,
    so that a reader sees the old name or the new one. A folder appears under its name when it is complete: what a
    publisher left half-written bears a name that no model can have.
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
    return isinstance(name, str) and bool(_FILE.fullmatch(name)) and isinstance(checksum, str)
