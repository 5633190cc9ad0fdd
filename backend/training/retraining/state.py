"""Whether a training runs, and how the last one went: a lock that dies with its holder, and one small file."""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from backend.durable import replace_whole
from backend.errors import TrainingError

__all__ = [
    "CUT_OFF",
    "PRIVATE",
    "Training",
    "folder_of",
    "is_running",
    "last_training",
    "note",
    "remove_left",
    "take_lock",
]

CUT_OFF = "cut off"
"""Result of a training that did not come to its end: it was killed, or the machine stopped."""
PRIVATE = "private"
"""Folder of annotators' pages, for as long as a training takes."""
_LOCK = "lock"
_STATE = "state.json"
_LOOK_SECONDS = 0.05


@dataclass(frozen=True, kw_only=True)
class Training:
    """One training.

    Attributes:
        began: Seconds since the epoch.
        why: What started it.
        hard: Hard examples that there were when it began.
        ended: When it ended; None while it runs, and where it was cut off.
        result: `promoted`, `candidate`, `refused`, `nothing new` or `failed`; empty until it has ended.
        reason: Why that came out, in words.
        model: Name of the published model; None where there is none.
        doing: How far it is, in words, while it runs.
        promote: Whether it may promote what passes the gate.
        recipe: File of the recipe that it was given; None for that of the settings.
    """

    began: float
    why: str
    hard: int = 0
    ended: float | None = None
    result: str = ""
    reason: str = ""
    model: str | None = None
    doing: str = ""
    promote: bool = True
    recipe: str | None = None


def folder_of(data_dir: Path) -> Path:
    """Where everything about trainings is."""
    return data_dir / "training"


def last_training(folder: Path) -> Training | None:
    """The last training that began, the running one included; None where there was none.

    Raises:
        TrainingError: The file is not what `note` wrote.
    """
    try:
        return Training(**json.loads((folder / _STATE).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise TrainingError(f"{folder / _STATE} cannot be read ({error}): delete it") from error


def note(folder: Path, training: Training) -> None:
    """Writes down how a training stands; for the holder of the lock only."""
    replace_whole(folder / _STATE, json.dumps(dataclasses.asdict(training)) + "\n")


def take_lock(folder: Path, *, seconds: float = 0.0) -> int | None:
    """Takes the lock, and gives the handle that holds it until it, and every copy of it, is closed.

    A child that inherits the handle goes on holding the lock, also after its parent has ended.

    Args:
        folder: Made when missing.
        seconds: How long to wait for another holder; None is given when it keeps the lock.
    """
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    give_up = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= give_up:
                os.close(handle)
                return None
            time.sleep(_LOOK_SECONDS)
        else:
            return handle


def remove_left(folder: Path) -> None:
    """Removes annotators' pages that a training left because it was killed; of one that runs, nothing.

    Raises:
        OSError: They could not be removed.
    """
    if not (folder / PRIVATE).exists():
        return
    handle = take_lock(folder)
    if handle is None:
        return
    try:
        shutil.rmtree(folder / PRIVATE)
    finally:
        os.close(handle)


def is_running(folder: Path) -> bool:
    """Whether a process holds the lock; those who look share it, so that none takes another for a training."""
    try:
        handle = os.open(folder / _LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False
