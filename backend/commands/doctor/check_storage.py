"""The data folder: whether it can be written, and how much room there is.

The ledger's database: whether it opens, can be written, and has the tables of this program.

The store of crops, where it is not the data folder: whether it takes a file.

The journal of events: whether what came in is worked on, and what waits for a person.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from backend.commands.doctor.findings import Checked, doubtful, failed, span, this_many, volume, well
from backend.corrections.counts import count
from backend.corrections.crop_store import CropStore
from backend.corrections.database import condition, default_url, in_words, open_as_it_is, revisions
from backend.errors import LedgerError

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from backend.corrections.counts import LedgerCounts
    from backend.corrections.database import Condition
    from backend.settings import Settings

__all__ = [
    "JOURNAL_CHECK",
    "SPACE",
    "check_crops",
    "check_database",
    "check_folder",
    "check_journal",
    "check_space",
    "judge_journal",
    "judge_space",
]

_DATABASE_CHECK = "database"
_MOST_NAMED = 5
_RESTORE = "put a backup in its place; or move it away, start `serve`, and run `sync --all`"
_SAME = "`serve` makes it when it starts; if it has run already, give `doctor` its DATA_DIR and DATABASE_URL"
CROPS_CHECK = "crop store"
JOURNAL_CHECK = "journal"
# A running worker takes seconds. What it tries again, because a page was not to be had, may be some hours old.
_LONG_SECONDS = 600.0
FOLDER = "data folder"
SPACE = "disk space"
# Below this a burst of events, or a model that is published, may find no room; and below that, the next event.
_LITTLE = 2_000_000_000
_NEXT_TO_NOTHING = 200_000_000


def check_database(settings: Settings) -> Checked[Engine]:
    """Whether there is a ledger that can be used as it is; gives the way into it."""
    url = settings.database_url or default_url(settings.data_dir)
    where = in_words(url)
    try:
        engine = open_as_it_is(url)
        if engine is None:
            return doubtful(_DATABASE_CHECK, f"there is no ledger at {where} yet", remedy=_SAME)
        found = condition(engine)
    except LedgerError as error:
        return failed(_DATABASE_CHECK, f"{where} cannot be used: {error}", remedy=_remedy(settings, str(error)))
    return _judged(where, found, engine)


def _judged(where: str, found: Condition, engine: Engine) -> Checked[Engine]:
    """Whether the tables are this program's, and all there."""
    newest = revisions()[-1]
    if found.empty:
        return doubtful(_DATABASE_CHECK, f"{where} has no tables yet", remedy=_SAME)
    if found.revision != newest:
        return _of_another_release(where, found.revision, newest)
    if found.missing:
        lacks = ", ".join(found.missing[:_MOST_NAMED]) + (", …" if len(found.missing) > _MOST_NAMED else "")
        return failed(_DATABASE_CHECK, f"{where} is at migration {newest}, but lacks {lacks}", remedy=_RESTORE)
    if found.journal_mode not in (None, "wal"):
        return doubtful(
            _DATABASE_CHECK,
            f"{where} has the journal mode {found.journal_mode}, in which readers and writers wait for each other",
            remedy="restart `serve`, which sets WAL; where that does not last, move DATA_DIR to a local disk",
            value=engine,
        )
    mode = ", journal mode WAL" if found.journal_mode else ""
    return well(_DATABASE_CHECK, f"{where} can be written, migration {newest}{mode}", engine)


def _of_another_release(where: str, revision: str | None, newest: str) -> Checked[Engine]:
    if revision is None:
        own = "set DATABASE_URL to a database of this program's own"
        return failed(_DATABASE_CHECK, f"{where} has tables, but not a ledger's", remedy=own)
    told = f"{where} is at migration {revision[:40]}, this program's newest is {newest}"
    if revision in revisions():
        return doubtful(_DATABASE_CHECK, told, remedy="restart `serve`, which migrates")
    remedy = "install the newer release that made it, or put a backup of before that in its place"
    return failed(_DATABASE_CHECK, told, remedy=remedy)


def _remedy(settings: Settings, reason: str) -> str:
    """What helps against a driver's own words; a way that is known for each kind."""
    if "locked" in reason:
        return "end the program that holds it locked, such as an open `sqlite3` or a backup"
    if "not a database" in reason or "malformed" in reason:
        return _RESTORE
    if settings.database_url:
        return "set DATABASE_URL to a database that answers, and install the extra `postgresql` where it is one"
    return f"let the user that runs `serve` write {settings.data_dir.absolute()} and all files in it"


def check_crops(storage_url: str) -> Checked[bool]:
    """Whether STORAGE_URL can be written."""
    try:
        CropStore(storage_url).check()
    except LedgerError as error:
        return failed(
            CROPS_CHECK,
            str(error),
            remedy="set STORAGE_URL to a folder or bucket that this user can write; empty: DATA_DIR",
        )
    return well(CROPS_CHECK, "STORAGE_URL can be written", value=True)


def check_journal(engine: Engine) -> Checked[int]:
    """How the journal is."""
    return judge_journal(count(engine))


def judge_journal(facts: LedgerCounts) -> Checked[int]:
    """Whether events wait, and whether some are parked; gives how many there are."""
    events = facts.event_count()
    parked = facts.event_count(state="parked"), facts.annotations.get("parked", 0)
    if facts.oldest_open is not None and facts.oldest_open >= _LONG_SECONDS:
        return doubtful(
            JOURNAL_CHECK,
            f"of {this_many(events, 'event')}, the oldest that is in no sample yet waits for {span(facts.oldest_open)}",
            remedy="run `serve` with SAMPLES_IN_SERVER=1, or a `worker`; its log says what it cannot do yet",
            value=events,
        )
    if any(parked):
        such = f", such as {facts.parked[0]}: {facts.parked[0].reason}" if facts.parked else ""
        return doubtful(
            JOURNAL_CHECK,
            f"{this_many(parked[0], 'event')} and {this_many(parked[1], 'annotation')} are parked{such}",
            remedy="mend what /status lists, then run `worker --once --unpark`, and `sync --all` for events",
            value=events,
        )
    return well(JOURNAL_CHECK, f"{this_many(events, 'event')}, none parked, none waiting long", events)


def check_folder(folder: Path) -> Checked[Path]:
    """Whether DATA_DIR can be written, or made; gives the folder that there is, itself or the nearest above it."""
    remedy = f"let the user that runs `serve` write {folder.absolute()}, or set DATA_DIR to a folder that it can write"
    there = folder
    try:
        there = _nearest(folder)
        # A file without a name: nothing of it is ever seen. Asking for permissions would not do: root has them all,
        # also on a file system that is mounted read-only.
        with tempfile.TemporaryFile(dir=there):
            pass
    except NotADirectoryError:
        return failed(FOLDER, f"{there} is not a folder", remedy=remedy)
    except OSError as error:
        return failed(FOLDER, f"{there} cannot be written ({error.strerror})", remedy=remedy)
    if there != folder:
        return well(FOLDER, f"{folder.absolute()} is not there yet; `serve` makes it", there)
    return well(FOLDER, f"{folder.absolute()} can be written", there)


def check_space(folder: Path) -> Checked[int]:
    """How much room the file system of a folder has."""
    return judge_space(shutil.disk_usage(folder).free)


def judge_space(free: int) -> Checked[int]:
    """Whether so many free bytes are enough for events, crops and models to come."""
    found = f"{volume(free)} are free"
    remedy = "make room, or set DATA_DIR to a larger disk and move the folder there"
    if free < _NEXT_TO_NOTHING:
        return failed(SPACE, f"{found}: events will soon be refused, and corrections lost", remedy=remedy)
    if free < _LITTLE:
        return doubtful(SPACE, f"{found}, a training needs more", remedy=remedy)
    return well(SPACE, found, free)


def _nearest(folder: Path) -> Path:
    """The folder, or what there is of its path."""
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())
