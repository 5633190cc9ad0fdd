"""What happened to the models, one line of JSON each, only ever added to; and what rollback goes back to."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from backend.errors import RegistryError
from backend.files import append_line, sync_folder, whole_lines
from backend.models.published import RecordedVerdict

__all__ = ["FOUND", "JUDGED", "PROMOTED", "PUBLISHED", "ROLLED_BACK", "Event", "History", "moves", "served"]

PUBLISHED = "published"
JUDGED = "judged"
PROMOTED = "promoted"
ROLLED_BACK = "rolled back"
FOUND = "found"
"""The pointer was not as the last move should have left it: that move was cut off, or somebody edited it."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """One line.

    Attributes:
        when: ISO 8601, UTC.
        what: One of the words above.
        model: Which model; of a move, the one that serves from then on, None for none.
        before: Of a move, the one that served until then.
        why: In words.
        by: Which command or program; never a person.
        forced: Whether the gate was overruled.
        verdict: What the gate said.
    """

    when: str
    what: str
    model: str | None
    before: str | None = None
    why: str = ""
    by: str = ""
    forced: bool = False
    verdict: RecordedVerdict | None = None

    @classmethod
    def from_json(cls, facts: dict[str, Any]) -> Event:
        """Reads what `as_json` made."""
        verdict = facts.pop("verdict", None)
        return cls(**facts, verdict=verdict and RecordedVerdict.from_json(verdict))

    def as_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


class History:
    """The events of one registry, in a file that is written by one process at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def events(self) -> list[Event]:
        """All events, oldest first; a last line that was cut off while it was written is none.

        Raises:
            RegistryError: A line is no event.
        """
        try:
            text = self._path.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return []
        events = []
        for number, line in enumerate(text.split("\n")[:-1], start=1):
            try:
                events.append(Event.from_json(json.loads(line)))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise RegistryError(f"{self._path}, line {number} is no event ({error}): take it out") from error
        return events

    def append(self, event: Event) -> None:
        """Adds an event, durably; what an earlier writer left of a line goes.

        Raises:
            RegistryError: It cannot be written; nothing of it is left then.
        """
        try:
            with self._path.open("a+b", buffering=0) as file:
                whole_lines(file)
                append_line(file, json.dumps(event.as_json(), ensure_ascii=False))
            sync_folder(self._path.parent)
        except OSError as error:
            raise RegistryError(f"{self._path} cannot be written: {error.strerror}") from error


def moves(events: Sequence[Event], *, pointed: str | None) -> list[Event]:
    """The moves that came about, oldest first.

    Args:
        events: The history.
        pointed: Where the pointer is now.
    """
    tried = [event for event in events if event.what in (PROMOTED, ROLLED_BACK, FOUND)]
    # A move was cut off where the next one found the pointer elsewhere, or, of the last, where it is elsewhere now.
    ends = [later.model if later.what == FOUND else event.model for event, later in pairwise(tried)] + [pointed]
    return [event for event, end in zip(tried, ends, strict=False) if event.model == end]


def served(events: Sequence[Event]) -> list[str | None]:
    """The models on the way to the one that serves, which is the last; rollback goes back along it.

    It begins with None: before the first promotion no published model served.
    """
    way: list[str | None] = [None]
    before = way
    for event in events:
        if event.what == FOUND and event.model == before[-1]:
            way = before  # the last move was cut off
        elif event.what == ROLLED_BACK:
            before, way = way, way[:-1] or way
        elif event.what in (PROMOTED, FOUND) and event.model != way[-1]:
            before, way = way, [*way, event.model]
    return way
