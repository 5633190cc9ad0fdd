"""What the registry tells of its models, as milestones for the chronicle."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from backend.corrections.chronicle import Milestone
from backend.errors import RegistryError
from backend.models.model_history import FOUND, JUDGED, PROMOTED, PUBLISHED, ROLLED_BACK

if TYPE_CHECKING:
    from backend.models.model_history import Event
    from backend.models.promotion import Models
    from backend.models.published import RecordedVerdict

__all__ = ["REFUSED", "Registered", "milestones"]

_LOG = logging.getLogger(__name__)

REFUSED = "refused"
_UNPUBLISHED = "(none: unpublished weights)"
_IOU = "0.5"


class Registered:
    """What a registry tells, asked again and again.

    Args:
        models: The registry.

    Attributes:
        failure: Why it tells nothing; empty while it does.
    """

    def __init__(self, models: Models) -> None:
        self._models = models
        self.failure = ""

    def __call__(self) -> list[Milestone]:
        """The milestones; none, and the failure noted, where the history cannot be read."""
        try:
            found = milestones(self._models)
        except RegistryError as error:
            if str(error) != self.failure:
                _LOG.warning("the dashboard does not learn what becomes of models: %s", error)
            self.failure = str(error)
            return []
        self.failure = ""
        return found


def milestones(models: Models) -> list[Milestone]:
    """Promotions, rollbacks and refusals, oldest first, with what the gate had measured by then.

    Raises:
        RegistryError: The history cannot be read.
    """
    said: dict[str, RecordedVerdict] = {}
    found = []
    for event in models.events():
        if event.verdict is not None and event.model is not None:
            said[event.model] = event.verdict
        one = _milestone(event, said.get(event.model or ""))
        if one is not None:
            found.append(one)
    return found


def _milestone(event: Event, verdict: RecordedVerdict | None) -> Milestone | None:
    if event.what in (PUBLISHED, JUDGED) and event.verdict is not None and not event.verdict.passed:
        what, reason = REFUSED, "; ".join(event.verdict.reasons)
    elif event.what == PROMOTED:
        what, reason = PROMOTED, event.why
    elif event.what in (ROLLED_BACK, FOUND):
        what, reason, verdict = event.what, event.why, None
    else:
        return None
    forced = " (forced)" if event.forced else ""
    at, model = datetime.fromisoformat(event.when).timestamp(), event.model or _UNPUBLISHED
    return Milestone(at=at, what=what, model=model, reason=reason + forced, **_measured(verdict))


def _measured(verdict: RecordedVerdict | None) -> Mapping[str, Any]:
    """Macro F1 on the gold pages with its interval, where a verdict has it."""
    figures = verdict.figures if verdict else {}
    f1 = figures.get("end_to_end", {}).get(_IOU, {}).get("macro", {}).get("f1") or {}
    if f1.get("value") is None:
        return {}
    return {**{to: f1.get(name) for to, name in (("f1", "value"), ("low", "low"), ("high", "high"))}} | {
        "documents": figures.get("documents")
    }
