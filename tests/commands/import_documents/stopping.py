"""An importing process that comes to a halt at one step, and says so: for a kill that lands exactly there."""

from __future__ import annotations

import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from backend.commands.import_documents import importing
from backend.commands.import_documents.importing import Importer, ImportJournal
from backend.labelstudio.client import LabelStudio
from backend.labelstudio.labelling import bind
from backend.labelstudio.projects import label_config
from tests.commands.import_documents.conftest import LIMITS
from tests.commands.import_documents.loopback import TOKEN

__all__ = ["STEPS", "importer_of", "run"]

# Where the halt is: before or after which call of what, for the second of three documents of two pages each.
STEPS: dict[str, tuple[Any, str, int, str]] = {
    "nothing asked yet": (importing, "documents_in", 1, "before"),
    "first page rendered": (LabelStudio, "upload", 3, "before"),
    "one page uploaded": (LabelStudio, "upload", 3, "after"),
    "all pages uploaded": (ImportJournal, "begin", 2, "before"),
    "noted, tasks not asked for": (ImportJournal, "begin", 2, "after"),
    "tasks created, which nobody heard": (LabelStudio, "import_tasks", 2, "after"),
    "heard, note not taken back": (ImportJournal, "end", 2, "before"),
    "document done": (ImportJournal, "end", 2, "after"),
}


def importer_of(url: str, project: int, folder: Path, *, settle: float) -> Importer:
    return Importer(
        LabelStudio(url, TOKEN),
        project,
        binding=bind(label_config(paged=True))[0],
        journal=ImportJournal.of(folder / "data", base_url=url, project=project),
        limits=LIMITS,
        dpi=72,
        settle=settle,
    )


def run(url: str, project: int, folder: Path, step: str, said: Connection) -> None:
    """Imports the files of a folder, until the step is reached."""
    if step in STEPS:
        _halt(*STEPS[step], said)
    files = sorted((folder / "in").iterdir())
    list(importer_of(url, project, folder, settle=0).run(files))


def _halt(target: Any, name: str, call: int, moment: str, said: Connection) -> None:
    original: Callable[..., Any] = getattr(target, name)
    calls = 0

    def halting(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls != call:
            return original(*arguments, **named)
        if moment == "after":
            original(*arguments, **named)
        said.send("reached")
        threading.Event().wait()
        return None

    setattr(target, name, halting)
