"""What a check says: a finding with its remedy, and what later checks go on with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Generic, TypeAlias, TypeVar

from backend.doctor.words import bare
from backend.errors import LabelStudioError

__all__ = ["Checked", "Fields", "Finding", "State", "after", "doubtful", "failed", "skipped", "well"]

T = TypeVar("T")
Fields: TypeAlias = Mapping[str, Any]
"""A project or a connection, as Label Studio's API tells of it."""


class State(StrEnum):
    """How a thing is."""

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
    state: State
    found: str
    remedy: str = ""

    def __post_init__(self) -> None:
        if bool(self.remedy) != (self.state in (State.WARNING, State.FAILURE)):
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
    return _checked(name, State.OK, found, value=value)


def doubtful(name: str, found: str, *, remedy: str, value: T | None = None) -> Checked[T]:
    """It works, but may not be meant so or not for long."""
    return _checked(name, State.WARNING, found, remedy=remedy, value=value)


def failed(name: str, found: str, *, remedy: str, value: T | None = None) -> Checked[T]:
    """It does not work; with a value, other things can be looked at all the same."""
    return _checked(name, State.FAILURE, found, remedy=remedy, value=value)


def skipped(name: str, found: str) -> Checked[Any]:
    """It was not looked at, and why; nothing that rests on it will be."""
    return _checked(name, State.SKIPPED, found)


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


def _checked(name: str, state: State, found: str, *, remedy: str = "", value: T | None = None) -> Checked[T]:
    # Part of it others have written, Label Studio or a library, with addresses as they came.
    finding = Finding(name=name, state=state, found=bare(found), remedy=bare(remedy))
    return Checked(finding=finding, value=value, because=name)
