"""What failed and why: counted by reason, a few tasks named for each, and all of them in a file of JSON lines."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING

from backend.errors import SettingsError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Failure", "Failures"]

_NAMED = 10


@dataclass(frozen=True, kw_only=True)
class Failure:
    """One task, or one file, that has no prediction.

    Attributes:
        what: The task's id, or the file's name.
        kind: Name of the error, such as `PageUnavailable`.
        reason: In words.
    """

    what: int | str
    kind: str
    reason: str


@dataclass
class _Kind:
    count: int = 0
    example: str = ""
    named: list[str] = field(default_factory=list)


class Failures:
    """Takes failures; what it holds does not grow with their number.

    Args:
        file: Where each goes as a line of JSON; None for nowhere.

    Raises:
        SettingsError: The file cannot be written.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._kinds: dict[str, _Kind] = {}
        self._file: IO[str] | None = None
        if file is not None:
            try:
                self._file = file.open("w", encoding="utf-8")
            except OSError as error:
                raise SettingsError(f"{file} cannot be written ({error.strerror}): name another --report") from error

    def __enter__(self) -> Failures:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def __len__(self) -> int:
        return sum(kind.count for kind in self._kinds.values())

    def add(self, failure: Failure) -> None:
        """Counts one, and writes its line at once."""
        kind = self._kinds.setdefault(failure.kind, _Kind(example=failure.reason))
        kind.count += 1
        if len(kind.named) < _NAMED:
            kind.named.append(str(failure.what))
        if self._file is not None:
            line = {"failed": failure.what, "kind": failure.kind, "reason": failure.reason}
            self._file.write(json.dumps(line, ensure_ascii=False) + "\n")
            self._file.flush()

    def lines(self) -> list[str]:
        """For people: each kind with its number, an example of its reason and some of those that it befell."""
        ordered = sorted(self._kinds.items(), key=lambda item: -item[1].count)
        return [
            f"{kind.count} {name}, such as: {kind.example}\n"
            f"    {', '.join(kind.named)}{', …' if kind.count > len(kind.named) else ''}"
            for name, kind in ordered
        ]
