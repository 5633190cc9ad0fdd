"""The webhook's last delivery, of which Label Studio keeps no record: what it saved last beside what arrived here."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from backend.doctor.findings import Checked, Fields, doubtful, failed, well
from backend.doctor.words import span
from backend.feedback.journal import Journal
from backend.labelstudio.probing import Latest, latest_annotation
from backend.labelstudio.webhooks import NEEDED_ACTIONS, Webhook

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from backend.labelstudio.client import LabelStudio

__all__ = ["NAME", "check_delivery", "judge_delivery"]

NAME = "last delivery"
# The moments of two clocks are compared; and an event is sent when the annotation was saved already.
_CLOCKS_SECONDS = 120.0


def check_delivery(studio: LabelStudio, state: Fields, webhook: Webhook, engine: Engine) -> Checked[bool]:
    """Whether the annotation that was saved last arrived here."""
    project = int(state["id"])
    return judge_delivery(
        latest_annotation(studio, project),
        Journal(engine).newest(project, NEEDED_ACTIONS),
        project=project,
        since=webhook.changed,
        now=time.time(),
    )


def judge_delivery(
    saved: Latest | None, event: tuple[str, float] | None, *, project: int, since: float | None, now: float
) -> Checked[bool]:
    """What the two sides together tell.

    Args:
        saved: The annotation that Label Studio saved last.
        event: The newest event of an annotation in the journal, and when it came.
        project: The project's id.
        since: When the webhook was last changed: what was saved before need not have been sent.
        now: This moment; as all of these, in seconds since the epoch.
    """
    came = f"{event[0]} came {span(now - event[1])} ago" if event else "no event of an annotation ever came"
    if saved is None:
        return well(NAME, f"nothing is annotated yet, and {came}", value=True)
    told = f"annotation {saved.id} was saved {span(now - saved.updated)} ago; {came}"
    if event is not None and event[1] >= saved.updated - _CLOCKS_SECONDS:
        return well(NAME, told, value=True)
    fetch = f"python -m backend sync --project {project} fetches what did not come"
    if since is not None and saved.updated <= since:
        return doubtful(
            NAME,
            f"{told}, and nothing was saved since the webhook was last changed",
            remedy=f"save an annotation, and ask `doctor` again; {fetch}",
        )
    if event is None or (since is not None and event[1] < since):
        return failed(NAME, f"{told}: the webhook does not arrive", remedy=f"mend the failures above; {fetch}")
    return doubtful(
        NAME,
        f"{told}: one event at least was lost, which Label Studio sends once and does not wait for",
        remedy=f"{fetch}, as `serve` does at its start",
    )
