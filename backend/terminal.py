"""The terminal: log lines, for people or with `LOG_FORMAT=json` for programs.

Colour, and a word on what comes next, are for who reads along.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from datetime import UTC, datetime
from typing import Literal, TextIO, TypeAlias

from backend.escaping import LONGEST_LINE, PlainFormatter, printable

__all__ = ["Colour", "advise", "begin_log", "painted"]

Colour: TypeAlias = Literal["red", "green", "yellow", "dim"]
_CODES: dict[Colour, str] = {"red": "31", "green": "32", "yellow": "33", "dim": "2"}


def _in_colour(stream: TextIO) -> bool:
    """Whether a stream shows colours: a terminal, without NO_COLOR (no-color.org), that is not `dumb`."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def painted(text: str, colour: Colour, stream: TextIO | None = None) -> str:
    """A text in a colour, as a stream shows it; as it is where the stream shows none.

    Args:
        text: What is to be shown.
        colour: Its colour.
        stream: Where it goes; stdout when None.
    """
    shown = _in_colour(sys.stdout if stream is None else stream)
    return f"\033[{_CODES[colour]}m{text}\033[0m" if shown else text


def advise(text: str) -> None:
    """Says on stderr what may be done next; nothing where a file, a pipe or a program takes what is printed."""
    if sys.stdout.isatty() and sys.stderr.isatty():
        print(painted(printable(text, most=LONGEST_LINE), "dim", sys.stderr), file=sys.stderr)


_LONGEST_TRACE = 50_000


class JsonLines(logging.Formatter):
    """Each record as a JSON object on a line: `time` (UTC), `level`, `logger`, `message`, and `exception` if any."""

    def format(self, record: logging.LogRecord) -> str:
        told = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage()[:LONGEST_LINE],
        }
        if record.exc_info:
            told["exception"] = self.formatException(record.exc_info)[-_LONGEST_TRACE:]
        line = json.dumps(told, ensure_ascii=False)
        # JSON leaves some control characters as they are, and reads them when they are spelt out.
        return printable(line, most=len(line))


def begin_log(level: str | int, *, form: str) -> None:
    """Sends the log to stderr, from a level up.

    Args:
        level: Name or number of the lowest level.
        form: `text` or `json`.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if form == "json" else PlainFormatter())
    # What it says of each migration, the ledger's state says as well.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.basicConfig(level=level, handlers=[handler])
    # A library's warning would be a line of another form.
    logging.captureWarnings(form == "json")
