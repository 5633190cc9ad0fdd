"""Annotators by their initials, and no more of them than that: asked of Label Studio, kept in memory only."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

from backend.errors import LabelStudioError

if TYPE_CHECKING:
    from backend.labelstudio.client import LabelStudio

__all__ = ["Initials", "initials_of"]

_LOG = logging.getLogger(__name__)
_KEPT_SECONDS = 600.0
_LONGEST = 4


class Reaches(Protocol):
    """Gives Label Studio's API, with the token of a project."""

    def studio(self, project: str) -> LabelStudio: ...


def initials_of(studio: LabelStudio) -> dict[int, str]:
    """Initials by user id, of all whom the token may see.

    Raises:
        LabelStudioError: Label Studio refused or did not answer.
    """
    answer = studio.call("GET", "/api/users/")
    users = answer.get("results", ()) if isinstance(answer, Mapping) else answer or ()
    return {int(one["id"]): str(one.get("initials") or "?").upper()[:_LONGEST] for one in users}


class Initials:
    """Initials by user id, asked for again now and then; without an answer, those of before.

    Args:
        reach: Ways into Label Studio.
        projects: Gives the projects whose token may do.
        clock: Seconds that never go back.
    """

    def __init__(
        self,
        reach: Reaches,
        *,
        projects: Callable[[], list[int]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reach = reach
        self._projects = projects
        self._clock = clock
        self._lock = threading.Lock()
        self._known: Mapping[int, str] = {}
        self._asked: float | None = None

    def __call__(self) -> Mapping[int, str]:
        with self._lock:
            now = self._clock()
            if self._asked is None or now > self._asked + _KEPT_SECONDS:
                self._asked = now
                self._ask()
            return self._known

    def _ask(self) -> None:
        for project in self._projects() or [0]:
            try:
                self._known = initials_of(self._reach.studio(str(project)))
            except LabelStudioError as error:
                _LOG.warning("annotators are shown by number: %s", error)
            else:
                return
