"""Starts trainings by themselves when it is time, each in a process that outlives the one that started it.

A lock says whether a training runs; a small file says how the last one went.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import logging
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, func, select

from backend.corrections.samples import teaches_hard
from backend.corrections.tables import event, sample
from backend.errors import TrainingError
from backend.files import hold, replace_whole, take_lock

if TYPE_CHECKING:
    from backend.settings import Settings

__all__ = [
    "LOG_FILE",
    "PRIVATE",
    "REST_SECONDS",
    "START_TRAINING",
    "Pressed",
    "Situation",
    "Starter",
    "Training",
    "beginning",
    "count_hard",
    "decide",
    "folder_of",
    "hold_training",
    "is_running",
    "last_pressed",
    "last_training",
    "note",
]

_CUT_OFF = "cut off"
"""Result of a training that did not come to its end: it was killed, or the machine stopped."""
PRIVATE = "private"
"""Folder of annotators' pages, for as long as a training takes."""
_LOCK = "lock"
_STATE = "state.json"
_LOG = logging.getLogger(__name__)

START_TRAINING = "START_TRAINING"
"""Label Studio's event: somebody pressed "Start training", or a project asks for it on every submission."""
LOG_FILE = "log"
REST_SECONDS = 600.0
"""Between the beginnings of two trainings that start by themselves."""
_RESUMED = "the last training was cut off"
_NO_TORCH = (
    "torch is not installed here: install the `train` extra (requirements/train.txt) and start again, or let a "
    "`worker` that has it run on this DATA_DIR; RETRAIN_AFTER=0 says that no training is wanted"
)


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
        asked: Number of the last event that had asked for a training when it began, 0 where none had; None where an
            older program noted it.
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
    asked: int | None = None


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


def hold_training(folder: Path, *, seconds: float = 0.0) -> int | None:
    """Takes the lock of trainings, and gives the handle that holds it until it, and every copy of it, is closed.

    A child that inherits the handle goes on holding the lock, also after its parent has ended.

    Args:
        folder: Made when missing.
        seconds: How long to wait for another holder; None is given when it keeps the lock.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return take_lock(folder / _LOCK, seconds=seconds)


def _remove_left(folder: Path) -> None:
    """Removes annotators' pages that a training left because it was killed; of one that runs, nothing.

    Raises:
        OSError: They could not be removed.
    """
    if not (folder / PRIVATE).exists():
        return
    handle = hold_training(folder)
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
        return not hold(handle, shared=True)
    finally:
        os.close(handle)


@dataclass(frozen=True, kw_only=True)
class Situation:
    """What the decision rests on.

    Attributes:
        now: Seconds since the epoch.
        running: Whether a training runs.
        last: The last one.
        asked: The last event START_TRAINING; None if there was none.
        hard: Hard examples that there are.
    """

    now: float
    running: bool
    last: Training | None
    asked: Pressed | None
    hard: int


@dataclass(frozen=True, kw_only=True)
class Pressed:
    """An event that asks for a training.

    Attributes:
        number: Its place in the ledger; later ones have higher numbers, whatever the clock says.
        received: Seconds since the epoch.
    """

    number: int
    received: float

    def is_answered(self, by: Training) -> bool:
        """Whether a training began after it; by the clock only where an older program noted that one."""
        return self.received <= by.began if by.asked is None else self.number == by.asked


def last_pressed(engine: Engine) -> Pressed | None:
    """The last event that asks for a training; None where there was none."""
    events = select(event.c.id, event.c.received).where(event.c.action == START_TRAINING, event.c.state == "done")
    with engine.connect() as connection:
        row = connection.execute(events.order_by(event.c.id.desc()).limit(1)).first()
    return None if row is None else Pressed(number=row.id, received=row.received)


def decide(situation: Situation, *, every: int) -> str | None:
    """Why a training should start now; None where it should not.

    Args:
        situation: How things stand.
        every: Number of new hard examples that start a training; 0: no number does.
    """
    last = situation.last
    # One that began later than now is of a clock that was ahead.
    if situation.running or (last is not None and 0 <= situation.now - last.began < REST_SECONDS):
        return None
    if last is not None and last.ended is None and (last.reason or last.why != _RESUMED):
        # It goes on if it said what stopped it, because that may be over. Otherwise it goes on once: killed twice, it
        # would be killed again.
        return _RESUMED
    if situation.asked is not None and (last is None or not situation.asked.is_answered(last)):
        return START_TRAINING
    new = situation.hard - (last.hard if last is not None else 0)
    return f"{new} new hard examples" if every and new >= every else None


def count_hard(engine: Engine) -> int:
    """Number of undisputed hard examples and hard negatives: boxes that a person saw, and renamed or deleted."""
    with engine.connect() as connection:
        return int(connection.execute(select(func.count()).select_from(sample).where(teaches_hard())).scalar() or 0)


def beginning(engine: Engine, *, why: str, at: float) -> Training:
    """A training that begins now, and answers all that asked for one."""
    pressed = last_pressed(engine)
    return Training(began=at, why=why, hard=count_hard(engine), asked=pressed.number if pressed else 0)


Spawn = Callable[[Sequence[str], "Settings", int, "Path"], "subprocess.Popen[bytes]"]


class Starter:
    """Starts trainings when it is time; never two at once, even where several processes look.

    The lock is taken before the decision and handed down to the training, so that between the two nobody can decide
    the same.

    Args:
        settings: The data folder, RETRAIN_AFTER, and what the training's process is given.
        engine: The ledger's database.
        clock: Seconds since the epoch.
        spawn: Starts a process.
    """

    def __init__(
        self,
        settings: Settings,
        engine: Engine,
        *,
        clock: Callable[[], float] = time.time,
        spawn: Spawn | None = None,
    ) -> None:
        self._settings = settings
        self._engine = engine
        self._clock = clock
        self._spawn = spawn or _spawn
        self._folder = folder_of(settings.data_dir)
        self._child: subprocess.Popen[bytes] | None = None
        self._told = False

    def look(self) -> bool:
        """Starts a training if it is time for one; tells whether it did. What a killed one left behind is removed."""
        _remove_left(self._folder)
        if self._child is not None and self._child.poll() is not None:
            self._child = None
        if decide(self._situation(), every=self._settings.retrain_after) is None:
            return False
        if importlib.util.find_spec("torch") is None:
            if not self._told:
                self._told = True
                _LOG.warning("a training was due, but %s", _NO_TORCH)
            return False
        handle = hold_training(self._folder)
        if handle is None:
            return False
        try:
            # Another process may have started one, and that one have ended, since the first look.
            why = decide(self._situation(running=False), every=self._settings.retrain_after)
            if why is None:
                return False
            training = self._due(why)
            note(self._folder, training)
            self._child = self._spawn(_command(training, handle), self._settings, handle, self._folder / LOG_FILE)
        except OSError as error:
            # It counts as cut off, and goes on: whoever asked for it has not had it.
            note(self._folder, dataclasses.replace(training, reason=f"its process could not be started: {error}"))
            raise
        finally:
            os.close(handle)
        _LOG.info("a training has started: %s; it writes to %s", why, self._folder / LOG_FILE)
        return True

    def status(self) -> dict[str, Any]:
        """The state of trainings, for `/status` and `/metrics`."""
        running, last = is_running(self._folder), last_training(self._folder)
        new = max(0, count_hard(self._engine) - (last.hard if last is not None else 0))
        known: dict[str, Any] = {
            "running": running,
            "new_hard_examples": new,
            "retrain_after": self._settings.retrain_after,
        }
        if importlib.util.find_spec("torch") is None:
            known |= {
                "unable": _NO_TORCH,
                "due": decide(self._situation(running=running), every=self._settings.retrain_after),
            }
        if last is None:
            return known
        result = last.result if last.ended is not None else "" if running else _CUT_OFF
        return known | {
            "began": last.began,
            "doing": last.doing if running else "",
            "why": last.why,
            "ended": last.ended,
            "result": result,
            "reason": last.reason,
            "model": last.model,
        }

    def _due(self, why: str) -> Training:
        """The training that is to start; one that was cut off goes on as it was wanted."""
        training = beginning(self._engine, why=why, at=self._clock())
        cut = last_training(self._folder) if why == _RESUMED else None
        return dataclasses.replace(training, promote=cut.promote, recipe=cut.recipe) if cut is not None else training

    def _situation(self, *, running: bool | None = None) -> Situation:
        return Situation(
            now=self._clock(),
            running=is_running(self._folder) if running is None else running,
            last=last_training(self._folder),
            asked=last_pressed(self._engine),
            hard=count_hard(self._engine),
        )


def _command(training: Training, handle: int) -> list[str]:
    command = [sys.executable, "-m", "backend", "train", "--background", str(handle), "--why", training.why]
    command += [] if training.promote else ["--no-promote"]
    return command + ([] if training.recipe is None else ["--recipe", training.recipe])


def _spawn(command: Sequence[str], settings: Settings, handle: int, output: Path) -> subprocess.Popen[bytes]:
    """Starts a process in a session of its own, with the settings of this one, the lock, and a fresh log."""
    with output.open("wb") as file:
        return subprocess.Popen(  # noqa: S603  the command is our own
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=os.environ | settings.as_environment(),
            pass_fds=(handle,),
            start_new_session=True,
        )
