"""What the gate asks and what it says, as values."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["BOUNDS", "Bounds", "Check", "Verdict"]


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What a challenger has to keep to; shares, not percent.

    Attributes:
        lower: The gain's lower bound has to be above this.
        recall: Most that the recall of a class may fall.
        calibration: Most that the expected calibration error may rise.
        hard: Least share of the earlier hard examples that the classifier by itself has right.
        false: Most that the false boxes on a page may rise, on average over the pages.
        latency: Most that a page may take, as a multiple. A model raced against itself over 20 pages, with twice as
            many busy processes as cores, came out between .94 and 1.15 in 95 of 100 races.
        faster: A page that takes at most this share of the time is a reason to change, too, where F1 is as good.
    """

    lower: float = -0.005
    recall: float = 0.02
    calibration: float = 0.02
    hard: float = 0.9
    false: float = 0.2
    latency: float = 1.15
    faster: float = 0.8


BOUNDS = Bounds()


@dataclass(frozen=True, kw_only=True)
class Check:
    """One question to the challenger.

    Attributes:
        name: What is asked.
        figure: The answer; None where there is no case to tell by.
        bound: What it was held against; None where it is only reported.
        passed: Whether it may go on.
        sentence: The same for a person.
    """

    name: str
    figure: float | None
    bound: float | None
    passed: bool
    sentence: str


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the gate says.

    Attributes:
        promoted: Whether every check passed.
        champion: Version that serves.
        challenger: Version that would.
        gold: SHA-256 of the gold pages and their marks.
        attempts: How often challengers were judged on these gold pages or most of them, this time included.
        checks: All that was asked.
        end_to_end: What the challenger reaches on the gold pages, in the shape of `evaluate`'s JSON.
    """

    promoted: bool
    champion: str
    challenger: str
    gold: str
    documents: int
    pages: int
    marks: int
    attempts: int
    checks: tuple[Check, ...]
    end_to_end: Mapping[str, Any] = field(default_factory=dict)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Sentences of the checks that failed."""
        return tuple(check.sentence for check in self.checks if not check.passed)

    def as_json(self) -> dict[str, Any]:
        """The verdict as plain JSON."""
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        head = f"{self.challenger} {'takes the place of' if self.promoted else 'does not replace'} {self.champion}"
        gold = (
            f"gold pages {self.gold[:12]}: {self.documents} documents, {self.pages} pages, {self.marks} marks; "
            f"attempt {self.attempts} on these or most of them"
        )
        width = max(len(check.name) for check in self.checks)
        rows = [f"  {_sign(check)}  {check.name:<{width}}  {check.sentence}" for check in self.checks]
        return "\n".join([head, gold, *rows])


def _sign(check: Check) -> str:
    return "    " if check.bound is None else "pass" if check.passed else "FAIL"
