"""The ledger's database: whether it opens, can be written, and has the tables of this program."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backend.doctor.findings import Checked, doubtful, failed, well
from backend.errors import LedgerError
from backend.feedback.condition import condition, open_as_it_is
from backend.feedback.database import default_url, in_words, revisions

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from backend.feedback.condition import Condition
    from backend.settings import Settings

__all__ = ["NAME", "check_database"]

NAME = "database"
_MOST_NAMED = 5
_RESTORE = "put a backup in its place; or move it away, start `serve`, and run `sync --all`"
_SAME = "`serve` makes it when it starts; if it has run already, give `doctor` its DATA_DIR and DATABASE_URL"


def check_database(settings: Settings) -> Checked[Engine]:
    """Whether there is a ledger that can be used as it is; gives the way into it."""
    url = settings.database_url or default_url(settings.data_dir)
    where = in_words(url)
    try:
        engine = open_as_it_is(url)
        if engine is None:
            return doubtful(NAME, f"there is no ledger at {where} yet", remedy=_SAME)
        found = condition(engine)
    except LedgerError as error:
        return failed(NAME, f"{where} cannot be used: {error}", remedy=_remedy(settings, str(error)))
    return _judged(where, found, engine)


def _judged(where: str, found: Condition, engine: Engine) -> Checked[Engine]:
    """Whether the tables are this program's, and all there."""
    newest = revisions()[-1]
    if found.empty:
        return doubtful(NAME, f"{where} has no tables yet", remedy=_SAME)
    if found.revision != newest:
        return _of_another_release(where, found.revision, newest)
    if found.missing:
        lacks = ", ".join(found.missing[:_MOST_NAMED]) + (", …" if len(found.missing) > _MOST_NAMED else "")
        return failed(NAME, f"{where} is at migration {newest}, but lacks {lacks}", remedy=_RESTORE)
    if found.journal_mode not in (None, "wal"):
        return doubtful(
            NAME,
            f"{where} has the journal mode {found.journal_mode}, in which readers and writers wait for each other",
            remedy="restart `serve`, which sets WAL; where that does not last, move DATA_DIR to a local disk",
            value=engine,
        )
    mode = ", journal mode WAL" if found.journal_mode else ""
    return well(NAME, f"{where} can be written, migration {newest}{mode}", engine)


def _of_another_release(where: str, revision: str | None, newest: str) -> Checked[Engine]:
    if revision is None:
        own = "set DATABASE_URL to a database of this program's own"
        return failed(NAME, f"{where} has tables, but not a ledger's", remedy=own)
    told = f"{where} is at migration {revision[:40]}, this program's newest is {newest}"
    if revision in revisions():
        return doubtful(NAME, told, remedy="restart `serve`, which migrates")
    remedy = "install the newer release that made it, or put a backup of before that in its place"
    return failed(NAME, told, remedy=remedy)


def _remedy(settings: Settings, reason: str) -> str:
    """What helps against a driver's own words; a way that is known for each kind."""
    if "locked" in reason:
        return "end the program that holds it locked, such as an open `sqlite3` or a backup"
    if "not a database" in reason or "malformed" in reason:
        return _RESTORE
    if settings.database_url:
        return "set DATABASE_URL to a database that answers, and install the extra `postgresql` where it is one"
    return f"let the user that runs `serve` write {settings.data_dir.absolute()} and all files in it"
