"""What the gate says: the bounds, the checks, the verdict; and how many gold documents would tell what these cannot."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from backend.evaluation.bootstrap import LEAST_DOCUMENTS, Estimate

__all__ = ["BOUNDS", "EPSILON", "Bounds", "Check", "Verdict", "documents_to_tell", "points"]

EPSILON = 1e-9
"""A loss of exactly a bound is allowed, whatever its last binary digit."""

_FINEST = 0.01
"""A difference of one point; to tell a smaller one from the bound would take more documents than anybody has."""
_MOST = 2000


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What a challenger has to keep to; shares, not percent.

    Attributes:
        gain: The gain in macro F1 has to be above this, unless it is as good and much faster.
        lower: The gain's lower bound has to be above this.
        recall: Most that the recall of a class may fall, unless chance explains it and the class is less work.
        calibration: Most that the expected calibration error may rise.
        hard: Share of the earlier hard examples that the classifier by itself should have right.
        chance: It is refused where chance explains a failure less often than this (exact binomial tests, one-sided).
            For `hard`, by chance a classifier of that share has so few right. For `latency`, it loses so many races.
        false: Most that the false boxes on a page may rise, on average over the pages.
        latency: Most that a page may take, as a multiple; refused where chance does not explain more. A model raced
            against itself over 20 pages, with twice as many busy processes as cores, came out between .94 and 1.15 in
            95 of 100 races.
        faster: A page that takes at most this share of the time is a reason to change, too, where F1 is as good.
    """

    gain: float = 0.0
    lower: float = -0.005
    recall: float = 0.02
    calibration: float = 0.02
    hard: float = 0.9
    chance: float = 0.05
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
        needs: Where it failed, and the gold documents are too few to tell: about how many would tell. Else None.
    """

    name: str
    figure: float | None
    bound: float | None
    passed: bool
    sentence: str
    needs: int | None = None


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
    def needs(self) -> int | None:
        """About how many gold documents would tell what these are too few for; None where they tell everything."""
        return max((check.needs for check in self.checks if check.needs is not None), default=None)

    @property
    def undecided(self) -> bool:
        """Whether it was refused for want of gold documents alone: nothing shows that it is worse."""
        failed = [check for check in self.checks if not check.passed]
        return bool(failed) and all(check.needs is not None for check in failed)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Sentences of the checks that failed."""
        return tuple(check.sentence for check in self.checks if not check.passed)

    @property
    def want(self) -> str:
        """Which gold documents are wanted, in a sentence; empty where these tell everything."""
        if self.needs is None:
            return ""
        few = (
            f"the gold set has {_documents(self.documents)}, and {_about(self.needs)} would be needed to tell"
            f"{'' if self.undecided else ' all'}"
        )
        return f"not shown to be better, and not shown to be worse: {few}" if self.undecided else few

    def as_json(self) -> dict[str, Any]:
        """The verdict as plain JSON."""
        return dataclasses.asdict(self) | {"undecided": self.undecided, "needs": self.needs}

    def __str__(self) -> str:
        head = f"{self.challenger} {'takes the place of' if self.promoted else 'does not replace'} {self.champion}"
        few = f" (fewer than {LEAST_DOCUMENTS}: intervals are too narrow)" if self.documents < LEAST_DOCUMENTS else ""
        gold = (
            f"gold pages {self.gold[:12]}: {_documents(self.documents)}{few}, {self.pages} pages, {self.marks} marks; "
            f"attempt {self.attempts} on these or most of them"
        )
        width = max(len(check.name) for check in self.checks)
        rows = [f"  {_sign(check)}  {check.name:<{width}}  {check.sentence}" for check in self.checks]
        return "\n".join([head, gold, *rows, *([self.want] if self.want else [])])


def _sign(check: Check) -> str:
    return "    " if check.bound is None else "pass" if check.passed else "FAIL"


def _about(count: int) -> str:
    """A number that is only about right, without the digits that are not."""
    if count > _MOST:
        return f"more than {_MOST:,}"
    step = 10 ** (len(str(count)) - 2) if count >= 100 else 10 if count > LEAST_DOCUMENTS else 1
    return f"about {math.ceil(count / step) * step:,}"


def _documents(count: int) -> str:
    return f"{count} document{'' if count == 1 else 's'}"


def documents_to_tell(found: Estimate, bound: float, documents: int) -> int | None:
    """About how many gold documents would tell on which side of a bound a figure is; None where these do.

    They do where the interval lies on one side. It narrows with the square root of the number of documents.

    Args:
        found: The figure, with its interval over documents.
        bound: What it is held against.
        documents: How many gold documents there are.
    """
    if found.value is None or found.low is None or found.high is None:
        return max(LEAST_DOCUMENTS, documents + 1)
    if not found.low <= bound <= found.high or found.low == found.high:
        return None
    reach = found.value - found.low if found.value > bound else found.high - found.value
    needed = documents * (reach / max(abs(found.value - bound), _FINEST)) ** 2
    return max(LEAST_DOCUMENTS, documents + 1, math.ceil(needed))


def points(share: float) -> str:
    """A change of a share in percentage points, with its sign."""
    return f"{100 * share:+.1f}"
