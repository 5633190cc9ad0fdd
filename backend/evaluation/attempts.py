"""How often challengers were judged on most of the same gold pages: each try is a chance to win by luck."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from backend.durable import append_line, whole_lines
from backend.errors import EvaluationError

__all__ = ["ATTEMPTS_FILE", "note_attempt"]

ATTEMPTS_FILE = "gate-attempts.jsonl"
_DIGITS = 16
_MOST = 0.5
"""Share of today's pages that an earlier attempt saw more than for it to count: gold sets grow page by page."""


def note_attempt(data_dir: Path, *, gold: str, pages: Sequence[str], challenger: str) -> int:
    """Appends an attempt, on disk before it returns; gives how many there were on these gold pages, this one included.

    An earlier attempt counts where it saw more than half of today's pages, whatever was boxed on them then. The file is
    only ever added to. Processes that write at once are counted one after the other.

    Args:
        data_dir: Made when missing; holds `gate-attempts.jsonl`.
        gold: SHA-256 of the gold pages and their marks.
        pages: SHA-256 of each page's pixels.
        challenger: Version that is judged.

    Raises:
        EvaluationError: The file cannot be written, or a line of it cannot be read.
    """
    file = data_dir / ATTEMPTS_FILE
    today = frozenset(sha256[:_DIGITS] for sha256 in pages)
    line = {
        "gold": gold,
        "challenger": challenger,
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "pages": sorted(today),
    }
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        with file.open("a+b", buffering=0) as lines:
            fcntl.flock(lines, fcntl.LOCK_EX)
            earlier = whole_lines(lines)
            before = sum(_same(_read(one, number, file), gold, today) for number, one in enumerate(earlier, 1))
            append_line(lines, json.dumps(line))
    except OSError as error:
        raise EvaluationError(f"{file} cannot be written ({error.strerror}): attempts have to be counted") from error
    return before + 1


def _same(line: dict[str, Any], gold: str, today: frozenset[str]) -> bool:
    """Whether an earlier attempt was on the same set, or on most of today's pages."""
    return line["gold"] == gold or len(today & set(line["pages"])) > _MOST * len(today)


def _read(line: str, number: int, file: Path) -> dict[str, Any]:
    try:
        facts: dict[str, Any] = json.loads(line)
        return {"pages": [], **facts, "gold": facts["gold"]}
    except (ValueError, KeyError, TypeError) as error:
        raise EvaluationError(
            f"{file}, line {number}, is no attempt: mend the line by hand, keep the others"
        ) from error
