"""A retraining as a process: alone, noted while it runs and when it has ended, out of the way of those who serve."""

from __future__ import annotations

import argparse
import dataclasses
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tqdm import tqdm

from backend.corrections.service import Store, page_opener
from backend.errors import BackendError, PagesAway, TrainingError
from backend.escaping import LONGEST_LINE, printable
from backend.labelstudio.connections import Connections
from backend.models.promotion import Models
from backend.models.tracking import MakesTracker, track, tracker_named
from backend.pages.source import PageSource
from backend.settings import Settings
from backend.terminal import advise
from backend.training.retraining.retraining_recipe import RETRAINING, read_recipe
from backend.training.retraining.retraining_run import Result, Retraining
from backend.training.retraining.starting import (
    Training,
    beginning,
    folder_of,
    hold_training,
    last_training,
    note,
)

__all__ = ["run", "telling"]

_LOG = logging.getLogger(__name__)

_NEXT = {
    "promoted": "servers with MODEL=auto serve it within a second; `models rollback --why TEXT` goes back",
    "candidate": "`models show {0}` tells of it; `models promote {0}` lets it serve",
    "refused": "the model before goes on serving; `models show {0}` keeps the figures; more corrected documents give "
    "the next training and the gate more to go by",
}
"""What comes after each outcome."""
_LOWEST_PRIORITY = 19
_LEAVING = (signal.SIGTERM, signal.SIGHUP)
"""The second comes where a terminal or a connection is closed."""
_WAIT_SECONDS = 8.0
"""For those who only look whether a training runs, and for the helpers of one that was killed: these end within 5 s."""


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Retrains; gives the exit code: 1 where the gate refused the candidate.

    Raises:
        SettingsError: TRACKER cannot be imported.
        TrainingError: Another training runs, or there are too few samples.
        BackendError: Something that it needs cannot be used.
    """
    tracker = tracker_named(settings.tracker) if settings.tracker else None
    folder = folder_of(settings.data_dir)
    store = Store.open(settings)
    handle = _held(args.background, folder)
    # As an exception, so that annotators' pages are removed and the end is noted.
    before = {number: signal.signal(number, _leave) for number in _LEAVING}
    try:
        recipe = str(args.recipe.resolve()) if args.recipe else None
        training = beginning(store.engine, why=args.why, at=time.time())
        training = dataclasses.replace(training, promote=args.promote, recipe=recipe)
        note(folder, training)
        result = _noted(training, folder, args, settings, store)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(handle)
        store.engine.dispose()
    print(f"{result.outcome}: {result.model}: {printable(result.reason, most=LONGEST_LINE)}")
    if result.outcome in _NEXT:
        advise(_NEXT[result.outcome].format(result.model))
    if tracker is not None and result.outcome != "nothing new":
        _track(result.model, settings.data_dir / "models", tracker)
    if result.outcome == "promoted" and settings.model != "auto":
        print(f"here MODEL is {settings.model}: a server with that setting goes on with it")
    return 1 if result.outcome == "refused" else os.EX_OK


def _track(name: str, models: Path, make: MakesTracker) -> None:
    """Tells the tracker; what goes wrong there is said, and changes nothing about the training, which has ended."""
    try:
        track(Models(models).get(name), models / name, make)
    except Exception:
        _LOG.exception("TRACKER was not told of %s: the training itself is well; `models track` tells it again", name)


def telling(begun: Training, folder: Path) -> Callable[[str], None]:
    """How a training says how far it is: to the status page, and to whoever waits at the terminal or reads the log.

    Args:
        begun: The training.
        folder: Where it is noted.
    """

    def tell(far: str) -> None:
        note(folder, dataclasses.replace(begun, doing=far))
        tqdm.write(f"{time.strftime('%H:%M')} {printable(far)}")
        sys.stdout.flush()

    return tell


def _say(text: object) -> None:
    """Prints a text of several lines."""
    for line in str(text).splitlines():
        print(printable(line, most=LONGEST_LINE), flush=True)


def _leave(number: int, _: object) -> None:
    raise SystemExit(128 + number)


def _held(given: int | None, folder: Path) -> int:
    """The handle of the lock: the one that this process was started with, or its own."""
    if given is not None:
        os.nice(_LOWEST_PRIORITY)
        os.set_inheritable(given, False)
        return given
    handle = hold_training(folder, seconds=_WAIT_SECONDS)
    if handle is None:
        last = last_training(folder)
        since = time.strftime("%H:%M", time.localtime(last.began)) if last else "just now"
        raise TrainingError(f"another training runs since {since}: wait for its end, /status tells")
    return handle


def _noted(begun: Training, folder: Path, args: argparse.Namespace, settings: Settings, store: Store) -> Result:
    """Runs it, and notes how it ended, whichever way that was."""
    try:
        result = _retrain(begun, folder, args, settings, store)
    except (SystemExit, PagesAway) as error:
        # Not for good: the host goes down, or Label Studio is away. It counts as cut off, and goes on.
        note(folder, dataclasses.replace(begun, reason=_reason(error)))
        raise
    except BaseException as error:
        note(folder, dataclasses.replace(begun, ended=time.time(), result="failed", reason=_reason(error)))
        raise
    note(
        folder,
        dataclasses.replace(begun, ended=time.time(), result=result.outcome, reason=result.reason, model=result.model),
    )
    return result


def _reason(error: BaseException) -> str:
    if isinstance(error, BackendError | OSError):  # of a disk that is full, too
        return str(error)
    return "it was told to stop" if isinstance(error, SystemExit | KeyboardInterrupt) else type(error).__name__


def _retrain(begun: Training, folder: Path, args: argparse.Namespace, settings: Settings, store: Store) -> Result:
    file = args.recipe or (Path(settings.retrain_recipe) if settings.retrain_recipe else None)
    connections = Connections(settings, source=lambda access: PageSource(settings, access))
    retraining = Retraining(
        settings=settings,
        store=store,
        page_of=page_opener(connections),
        folder=folder,
        recipe=read_recipe(file) if file else RETRAINING,
        threads=args.threads or 1,
        workers=args.jobs,
        say=_say,
        tell=telling(begun, folder),
    )
    return retraining.run(promote=args.promote)
