"""The log: one line a fact, for people or, with `LOG_FORMAT=json`, for programs."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

from backend.escaping import LONGEST_LINE, PlainFormatter, printable

__all__ = ["JsonLines", "begin_log"]

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
