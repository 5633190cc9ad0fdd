"""What a check says: a finding with its remedy, and what later checks go on with.

Moments, sizes and addresses as a finding tells them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Generic, TypeAlias, TypeVar

from backend.errors import LabelStudioError

__all__ = [
    "Checked",
    "Fields",
    "Finding",
    "Severity",
    "after",
    "bare",
    "doubtful",
    "failed",
    "skipped",
    "span",
    "this_many",
    "this_part",
    "volume",
    "well",
]

_UNITS = ((86400.0, "day"), (3600.0, "hour"), (60.0, "minute"))
T = TypeVar("T")
Fields: TypeAlias = Mapping[str, Any]
"""A project or a connection, as Label Studio's API tells of it."""


def span(seconds: float) -> str:
    """A time in its largest unit, such as `3 hours`."""
    for size, name in _UNITS:
        if seconds >= size:
            return this_many(int(seconds // size), name)
    return this_many(max(0, int(seconds)), "second")


def this_many(number: int, thing: str) -> str:
    """`1 task`, `2 tasks`."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


def this_part(number: int, total: int, thing: str) -> str:
    """`12 tasks` where these are all of them, else `500 tasks looked at, of 5000,`."""
    return this_many(number, thing) if number == total else f"{this_many(number, thing)} looked at, of {total},"


def volume(size: float) -> str:
    """Bytes, such as `1.5 GB`."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def bare(text: str) -> str:
    """A text without the user names, passwords and queries of the addresses in it."""
    return re.sub(r"(https?://[^\s?#'\"]*)[?#][^\s'\"]*", r"\1", re.sub(r"//[^\s/@'\"]*@", "//", text))


class Severity(StrEnum):
    """How bad it is with a thing, if it was looked at."""

    OK = "ok"
    WARNING = "warning"
    FAILURE = "failure"
    SKIPPED = "skipped"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What was found of one thing.

    Attributes:
        name: The thing, such as `webhook`.
        state: How it is.
        found: What was found, or why nothing could be, in a sentence.
        remedy: The command or the setting that mends it; there is one exactly where something is to be mended.
    """

    name: str
    state: Severity
    found: str
    remedy: str = ""

    def __post_init__(self) -> None:
        if bool(self.remedy) != (self.state in (Severity.WARNING, Severity.FAILURE)):
            raise ValueError(f"{self.name}: a warning and a failure have a remedy, and nothing else has")

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Checked(Generic[T]):
    """A finding, and what it leaves to later checks.

    Attributes:
        finding: What was found.
        value: What later checks go on with; None where they cannot.
        because: Name of the thing for which they could not.
    """

    finding: Finding
    value: T | None = None
    because: str


def well(name: str, found: str, value: T | None = None) -> Checked[T]:
    """All is as it should be."""
    return _checked(name, Severity.OK, found, value=value)


def doubtful(name: str, found: str, *, remedy: str, value: T | None = None) -> Checked[T]:
    """It works, but may not be meant so or not for long."""
    return _checked(name, Severity.WARNING, found, remedy=remedy, value=value)


def failed(name: str, found: str, *, remedy: str, value: T | None = None) -> Checked[T]:
    """It does not work; with a value, other things can be looked at all the same."""
    return _checked(name, Severity.FAILURE, found, remedy=remedy, value=value)


def skipped(name: str, found: str) -> Checked[Any]:
    """It was not looked at, and why; nothing that rests on it will be."""
    return _checked(name, Severity.SKIPPED, found)


def after(name: str, check: Callable[..., Checked[T]], *before: Checked[Any]) -> Checked[T]:
    """What `check` says of what earlier checks gave; skipped where one of them gave nothing.

    Label Studio may refuse any question: that is a finding, too.
    """
    for one in before:
        if one.value is None:
            reason = skipped(name, f"not looked at: it needs `{one.because}`")
            return Checked(finding=reason.finding, because=one.because)
    try:
        return check(*(one.value for one in before))
    except LabelStudioError as error:
        return failed(name, str(error), remedy="mend what Label Studio says, or see its log; then ask `doctor` again")


def _checked(name: str, state: Severity, found: str, *, remedy: str = "", value: T | None = None) -> Checked[T]:
    # Part of it others have written, Label Studio or a library, with addresses as they came.
    finding = Finding(name=name, state=state, found=bare(found), remedy=bare(remedy))
    return Checked(finding=finding, value=value, because=name)
