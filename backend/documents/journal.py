"""The one thing that an import has to remember: which document's tasks it was creating when it was cut off."""

from __future__ import annotations

import hashlib
import json
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from backend.durable import alone, replace_whole, sync_folder
from backend.errors import DocumentError, RegistryError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Begun", "Journal"]


@dataclass(frozen=True, kw_only=True)
class Begun:
    """A document whose tasks were asked for, while it is not known whether they were created.

    Attributes:
        digest: SHA-256 of the document.
        at: When, in seconds since the epoch.
    """

    digest: str
    at: float


class Journal:
    """Notes, durably, that a document's tasks are about to be created; one file for a project of a Label Studio.

    Which documents are in is asked of Label Studio alone. It cannot say what a request that was under way when the
    asking process died is still going to do: for that alone there is this note.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder / "begun.json"

    @classmethod
    def of(cls, data_dir: Path, *, base_url: str, project: int) -> Journal:
        """The journal of a project, in the data folder."""
        return cls(data_dir / "imports" / f"{hashlib.sha256(base_url.encode()).hexdigest()[:12]}-{project}")

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keeps a second import into the same project away; a process that dies lets go.

        Raises:
            DocumentError: Another import is under way.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            try:
                stack.enter_context(alone(self._folder / "lock", seconds=0))
            except RegistryError as error:
                raise DocumentError("another import into this project is under way: wait until it has ended") from error
            yield

    def begun(self) -> Begun | None:
        """What was begun and not ended."""
        if not self._file.exists():
            return None
        return Begun(**json.loads(self._file.read_text(encoding="utf-8")))

    def begin(self, digest: str) -> None:
        """Notes a document whose tasks are about to be asked for."""
        replace_whole(self._file, json.dumps({"digest": digest, "at": time.time()}))

    def end(self) -> None:
        """Notes that it is known what became of it."""
        self._file.unlink(missing_ok=True)
        sync_folder(self._folder)
