"""Questions that change nothing in Label Studio: how it is set up, what it last saw, and the initials of its people."""

from __future__ import annotations

import json
import logging
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

from backend.errors import LabelStudioError
from backend.labelstudio.json_fields import moment

if TYPE_CHECKING:
    from backend.labelstudio.client import LabelStudio

__all__ = [
    "AddressReach",
    "Initials",
    "Latest",
    "Reached",
    "initials_of",
    "latest_annotation",
    "reach",
    "release",
    "spread_tasks",
    "takes_backend",
    "takes_webhook",
    "whoami",
]

_PAGE_SIZE = 100
# Tasks change for other reasons than annotations, too: the newest annotation is among those of a few.
_TASKS_LOOKED_AT = 20
_BAD_REQUEST, _UNAUTHORIZED = 400, 401
_BLOCKED = re.compile(r"reserved network address|URL was not allowed")
_REASON = re.compile(r"\[Errno -?\d+\] ([^\"')\]]+)|(timed out)|Can't resolve (hostname \S+[^)\s:])")


class AddressReach(StrEnum):
    """How far Label Studio gets with an address."""

    REACHED = "reached"
    REFUSED = "refused"
    BLOCKED = "blocked"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, kw_only=True)
class Reached:
    """How far Label Studio gets with an address, and why no further.

    Attributes:
        reach: `REFUSED` by who is there, who wants other credentials; `BLOCKED` by Label Studio itself, because the
            address is a private one.
        reason: Such as `Connection refused`; empty where there is none to tell.
    """

    reach: AddressReach
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Latest:
    """The annotation that was saved last; `updated` in seconds since the epoch, by Label Studio's clock."""

    id: int
    task: int
    updated: float


def release(studio: LabelStudio) -> str | None:
    """Label Studio's release, which it tells to anybody; None where another program answers.

    Raises:
        LabelStudioError: Nothing answers, or not in JSON.
    """
    answer = studio.call("GET", "/api/version")
    return str(answer["release"]) if isinstance(answer, dict) and answer.get("release") else None


def whoami(studio: LabelStudio) -> int:
    """Id of the token's user.

    Raises:
        LabelStudioError: The token is not accepted.
    """
    return int(studio.call("GET", "/api/current-user/whoami")["id"])


def reach(studio: LabelStudio, connection: int) -> Reached:
    """How far Label Studio gets with a connected backend, asked for its versions with the connection's credentials."""
    try:
        studio.call("GET", f"/api/ml/{connection}/versions")
    except LabelStudioError as error:
        if error.answered is None:
            raise
        if error.answered == _UNAUTHORIZED:
            return Reached(reach=AddressReach.REFUSED)
        return _unreached(error)
    return Reached(reach=AddressReach.REACHED)


def takes_backend(studio: LabelStudio, project: int, url: str) -> Reached:
    """Whether Label Studio would take this address for a backend; whether anybody is there is not asked.

    An address is judged before the fields are put together, so that a request with an impossible field tells, and can
    make no connection.
    """
    return _taken(studio, "/api/ml/", {"project": project, "url": url, "title": "x", "timeout": "impossible"})


def takes_webhook(studio: LabelStudio, project: int, url: str) -> Reached:
    """Whether Label Studio would let a webhook through to this address; asked in the same way."""
    return _taken(studio, "/api/webhooks/", {"project": project, "url": url, "send_payload": "impossible"})


def spread_tasks(studio: LabelStudio, project: int, *, portions: int = 5) -> tuple[list[dict[str, Any]], int]:
    """Tasks from all over a project with their data as they were imported, and how many tasks it has.

    All of them, where they fit into so many portions of a hundred. Else whole portions, the newest first, the oldest
    last, the others evenly between.
    """
    first = _portion(studio, project, 1)
    total = int(first["total"])
    last = max(1, -(-total // _PAGE_SIZE))
    numbers = {round(1 + at * (last - 1) / (portions - 1)) for at in range(1, portions)} - {1}
    others = [task for number in sorted(numbers) for task in _portion(studio, project, number)["tasks"]]
    return [*first["tasks"], *others], total


def _portion(studio: LabelStudio, project: int, number: int) -> dict[str, Any]:
    query = json.dumps({"ordering": ["-tasks:id"]})
    place = {"project": project, "page": number, "page_size": _PAGE_SIZE, "resolve_uri": "false", "query": query}
    return dict(studio.call("GET", "/api/tasks/", params=place))


def latest_annotation(studio: LabelStudio, project: int) -> Latest | None:
    """The annotation of a project that was saved last; None where there is none."""
    some = {"filter": "filter:tasks:total_annotations", "operator": "greater", "type": "Number", "value": 0}
    query = json.dumps({"filters": {"conjunction": "and", "items": [some]}, "ordering": ["-tasks:updated_at"]})
    asked = {"project": project, "page": 1, "page_size": _TASKS_LOOKED_AT, "fields": "all", "query": query}
    found = [
        Latest(id=int(one["id"]), task=int(task["id"]), updated=moment(one["updated_at"]))
        for task in studio.call("GET", "/api/tasks/", params=asked)["tasks"]
        for one in task["annotations"]
    ]
    return max(found, key=lambda one: one.updated, default=None)


def _taken(studio: LabelStudio, path: str, body: dict[str, Any]) -> Reached:
    try:
        studio.call("POST", path, json=body)
    except LabelStudioError as error:
        if error.answered == _BAD_REQUEST:
            return Reached(reach=AddressReach.REACHED)
        if _BLOCKED.search(str(error)) or _REASON.search(str(error)):
            return _unreached(error)
        raise
    raise LabelStudioError(f"{studio.base_url} took an impossible field of {path}: it is no Label Studio that is known")


def _unreached(error: LabelStudioError) -> Reached:
    if _BLOCKED.search(str(error)):
        return Reached(reach=AddressReach.BLOCKED)
    reason = _REASON.search(str(error))
    return Reached(reach=AddressReach.UNREACHABLE, reason=next(filter(None, reason.groups()), "") if reason else "")


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
