"""How often challengers were judged on the same gold pages: each try is a chance to win by luck."""

from __future__ import annotations

import fcntl
import json
import os
from datetime import UTC, datetime
from pathlib import Path

from backend.errors import EvaluationError

__all__ = ["ATTEMPTS_FILE", "note_attempt"]

ATTEMPTS_FILE = "gate-attempts.jsonl"


def note_attempt(data_dir: Path, *, gold: str, challenger: str) -> int:
    """Appends an attempt, on disk before it returns; gives how many there were on these gold pages, this one included.

    The file is only ever added to. Processes that write at once are counted one after the other.

    Args:
        data_dir: Made when missing; holds `gate-attempts.jsonl`.
        gold: SHA-256 of the gold pages.
        challenger: Version that is judged.

    Raises:
        EvaluationError: The file cannot be written, or a line of it cannot be read.
    """
    file = data_dir / ATTEMPTS_FILE
    line = {"gold": gold, "challenger": challenger, "when": datetime.now(UTC).isoformat(timespec="seconds")}
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        with file.open("a+", encoding="utf-8") as lines:
            fcntl.flock(lines, fcntl.LOCK_EX)
            lines.seek(0)
            before = sum(_gold_of(one, number, file) == gold for number, one in enumerate(lines, 1))
            lines.write(json.dumps(line) + "\n")
            lines.flush()
            os.fsync(lines.fileno())
    except OSError as error:
        raise EvaluationError(f"{file} cannot be written ({error.strerror}): attempts have to be counted") from error
    return before + 1


def _gold_of(line: str, number: int, file: Path) -> str:
    try:
        return str(json.loads(line)["gold"])
    except (ValueError, KeyError, TypeError) as error:
        raise EvaluationError(
            f"{file}, line {number}, is no attempt: mend the line by hand, keep the others"
        ) from error
