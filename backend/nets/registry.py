"""Models that were trained here: one folder for each, and a pointer to the promoted one."""

from __future__ import annotations

import re
from pathlib import Path

from backend.errors import BadWeights, UnknownModel
from backend.nets.weights import CONFIG_FILE

__all__ = ["RESERVED", "Registry"]

RESERVED = ("auto", "hub", "bundled")
"""Words of the MODEL setting that no trained model can be called."""
_POINTER = "active"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Registry:
    """Reads the models below one folder.

    `<folder>/<name>/` holds a model; the file `<folder>/active` holds the promoted model's name and is replaced whole,
    so that a reader sees the old name or the new one.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def names(self) -> list[str]:
        """Names of the models there are, sorted."""
        if not self._folder.is_dir():
            return []
        found = (path.name for path in self._folder.iterdir() if (path / CONFIG_FILE).is_file())
        return sorted(name for name in found if _NAME.fullmatch(name) and name not in RESERVED)

    def active(self) -> str | None:
        """Name of the promoted model; None when none was promoted yet.

        Raises:
            BadWeights: The pointer names no model.
        """
        pointer = self._folder / _POINTER
        try:
            name = pointer.read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            return None
        if name not in self.names():
            raise BadWeights(
                f"{pointer} names the model {name[:64]!r}, which is not there: promote another, or delete the pointer"
            )
        return name

    def folder_of(self, name: str) -> Path:
        """Folder of the model called `name`.

        Raises:
            UnknownModel: There is none.
        """
        names = self.names()
        if name not in names:
            raise UnknownModel(
                f"MODEL is {name[:64]!r}: there is no such model; known are {', '.join((*RESERVED, *names))}"
            )
        return self._folder / name
