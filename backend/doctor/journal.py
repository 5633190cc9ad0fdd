"""The journal of events: whether what came in is worked on, and what waits for a person."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backend.doctor.findings import Checked, doubtful, well
from backend.doctor.words import span, this_many
from backend.feedback.report import count

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from backend.feedback.report import Facts

__all__ = ["NAME", "check_journal", "judge_journal"]

NAME = "journal"
# A running worker takes seconds. What it tries again, because a page was not to be had, may be some hours old.
_LONG_SECONDS = 600.0


def check_journal(engine: Engine) -> Checked[int]:
    """How the journal is."""
    return judge_journal(count(engine))


def judge_journal(facts: Facts) -> Checked[int]:
    """Whether events wait, and whether some are parked; gives how many there are."""
    events = facts.event_count()
    parked = facts.event_count(state="parked"), facts.annotations.get("parked", 0)
    if facts.oldest_open is not None and facts.oldest_open >= _LONG_SECONDS:
        return doubtful(
            NAME,
            f"of {this_many(events, 'event')}, the oldest that is in no sample yet waits for {span(facts.oldest_open)}",
            remedy="run `serve` with SAMPLES_IN_SERVER=1, or a `worker`; its log says what it cannot do yet",
            value=events,
        )
    if any(parked):
        such = f", such as: {facts.parked[0].reason}" if facts.parked else ""
        return doubtful(
            NAME,
            f"{this_many(parked[0], 'event')} and {this_many(parked[1], 'annotation')} are parked{such}",
            remedy="mend what /status lists, then run `worker --once --unpark`, and `sync --all` for events",
            value=events,
        )
    return well(NAME, f"{this_many(events, 'event')}, none parked, none waiting long", events)
