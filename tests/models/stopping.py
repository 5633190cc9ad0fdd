"""A real process that comes to a halt at one step of a publication or a move: for a kill that lands exactly there."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from backend.models import publishing
from backend.models.promotion import Models
from backend.models.published import Facts, History

__all__ = ["ACTS", "PROMOTING", "PUBLISHING", "ROLLING_BACK", "act"]

Step = tuple[Any, str, str]

# Where the halt is: before or after what, of which module. In the order in which each act passes them.
PUBLISHING: dict[str, Step] = {
    "before anything": (tempfile, "mkdtemp", "before"),
    "an empty folder": (tempfile, "mkdtemp", "after"),
    "a first file written, not durable": (os, "fsync", "before"),
    "a first file copied": (publishing, "copy_whole", "after"),
    "all files copied, no record": (publishing, "write_synced", "before"),
    "complete, not yet under its name": (os, "rename", "before"),
    "under its name, not durable": (os, "rename", "after"),
    "published, not in the history": (History, "append", "before"),
}
PROMOTING: dict[str, Step] = {
    "before anything": (History, "append", "before"),
    "in the history, pointer not touched": (History, "append", "after"),
    "pointer written aside": (os, "replace", "before"),
    "pointer moved, not durable": (os, "replace", "after"),
}
ROLLING_BACK: dict[str, Step] = {
    "in the history, pointer not touched": (History, "append", "after"),
    "pointer moved, not durable": (os, "replace", "after"),
}


def publish(registry: Models, candidate: str) -> None:
    registry.publish(Path(candidate), Facts(source="training"))


def promote(registry: Models, name: str) -> None:
    registry.promote(name, why="a test", by="tests", force=True)


def roll_back(registry: Models, _: str) -> None:
    registry.rollback(why="a test", by="tests")


ACTS: dict[str, tuple[Callable[[Models, str], None], dict[str, Step]]] = {
    "publish": (publish, PUBLISHING),
    "promote": (promote, PROMOTING),
    "rollback": (roll_back, ROLLING_BACK),
}


def act(name: str, argument: str, folder: Path, step: str, said: Connection) -> None:
    """Does something to the models of a folder, and halts at a step: says so, and stays there until it is killed."""
    do, steps = ACTS[name]
    target, function, moment = steps[step]
    original: Callable[..., Any] = getattr(target, function)

    def halting(*arguments: Any, **named: Any) -> Any:
        answer = original(*arguments, **named) if moment == "after" else None
        said.send("reached")
        threading.Event().wait()
        return answer

    setattr(target, function, halting)
    do(Models(folder), argument)
    said.send("passed by")
