"""The dashboard at `/`: what serves, what people make of it, what is learnt, what waits and what is amiss."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from flask import Response
from sqlalchemy.exc import SQLAlchemyError

from backend.corrections.chronicle import BLIND, BOXES, SCRATCH, SERVES
from backend.corrections.counts import OUTCOMES, LedgerCounts, count
from backend.corrections.outcomes import Outcome
from backend.corrections.progress import DAY, Counts, Progress, progress
from backend.markup import moment, page_headers, render
from backend.models.published import PROMOTED, ROLLED_BACK
from backend.server.charts import Bar, ChartMark, Line, Point, bars, timeline
from backend.server.faults import faults
from backend.server.status_pages import training_in_words
from backend.vision.network_config import MARKS

if TYPE_CHECKING:
    from markupsafe import Markup
    from sqlalchemy import Engine

    from backend.corrections.chronicle import Registered
    from backend.server.status_pages import Refused, Waiting

__all__ = ["Dashboard", "by_period", "charts"]

_MOST_BARS = 60
_RECENT_DAYS = 28
_WORDS = {BOXES: "with boxes", BLIND: "blind: boxes kept back", SCRATCH: "begun on an empty page"}
_MOVES = {PROMOTED: "▲", ROLLED_BACK: "▼"}


@dataclass(frozen=True, kw_only=True)
class Dashboard:
    """Draws the page anew for each request, out of the ledger.

    Attributes:
        engine: The ledger's database.
        label_studio: Its address, for the link.
        state: Gives `model_version`, `model_state` and, where there is one, `model_error`.
        training: As `feedback_pages` has it.
        refused: Webhooks that came to this process without their credentials.
        initials: Gives the initials of annotators by their ids; None where nobody is to be shown.
        waiting: What waits for the ledger; None where nothing can.
        registered: What the registry tells, for the reason where it cannot be read.
    """

    engine: Engine
    label_studio: str
    state: Callable[[], Mapping[str, Any]]
    training: Callable[[], Mapping[str, Any]] | None = None
    refused: Refused | None = None
    initials: Callable[[], Mapping[int, str]] | None = None
    registered: Registered | None = None
    waiting: Waiting | None = None
    clock: Callable[[], float] = time.time

    def __call__(self) -> Response:
        """The page, as a response; without a ledger, one that says so."""
        try:
            text, status = self._text(), 200
        except SQLAlchemyError as error:
            # The driver's own words: SQLAlchemy adds the statement and its values.
            reason = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
            text = render(
                "away.html",
                "backend.server",
                here="/",
                label_studio=self.label_studio,
                model=self.state(),
                reason=reason,
            )
            status = 503
        return Response(text, status, content_type="text/html; charset=utf-8", headers=page_headers())

    def _text(self) -> str:
        facts, over_time = count(self.engine), progress(self.engine)
        model, training = self.state(), training_in_words(self.training()) if self.training else None
        refused = self.refused
        return render(
            "dashboard.html",
            "backend.server",
            here="/",
            label_studio=self.label_studio,
            facts=facts,
            progress=over_time,
            model=model,
            training=training,
            faults=list(
                faults(
                    facts,
                    model=model,
                    training=training,
                    refused=refused.count if refused else 0,
                    remedy=refused.remedy if refused else "",
                    troubles=self.waiting.troubles() if self.waiting else (),
                    registry=self.registered.failure if self.registered else "",
                )
            ),
            charts=charts(over_time),
            total=_total(over_time.days.items(), since=0),
            recent=_total(over_time.days.items(), since=int(self.clock() // DAY) - _RECENT_DAYS),
            marks=MARKS,
            outcomes=OUTCOMES,
            words=_WORDS,
            people=self._people(over_time),
            waiting=_waiting(facts),
            beginning=not (facts.samples or over_time.days or over_time.paces),
        )

    def _people(self, over_time: Progress) -> list[tuple[str, Counts, Mapping[str, float | None]]] | None:
        """Each annotator by initials, with what became of their boxes and the seconds of a page; None if not shown."""
        if self.initials is None:
            return None
        names = self.initials()
        found: list[tuple[str, Counts, Mapping[str, float | None]]] = []
        for annotator, counts in sorted(over_time.annotators.items()):
            paces = {one.saw: one.seconds for one in over_time.paces if one.annotator == annotator}
            found.append((names.get(annotator, f"#{annotator}"), counts, paces))
        return found


@dataclass(frozen=True, kw_only=True)
class Charts:
    """The page's two charts; None where nothing is known yet."""

    quality: Markup | None
    boxes: Markup | None
    rows: Sequence[tuple[str, Counts]]


def charts(over_time: Progress) -> Charts:
    """Acceptance and F1 over time with what became of models as marks, and the boxes of each day or week."""
    size, periods = by_period(over_time.days)
    seen = [(start * DAY, counts, _period(start, size)) for start, counts in periods.items()]
    return Charts(
        quality=timeline(_lines(seen, over_time), _moves(over_time), title=_told(seen)),
        boxes=bars(
            [
                Bar(
                    at,
                    counts.of(Outcome.ACCEPTED),
                    counts.corrections,
                    f"{when}: {counts.of(Outcome.ACCEPTED)} accepted, {counts.corrections} corrected",
                )
                for at, counts, when in seen
            ],
            title="Boxes accepted and corrected over time; the table below has the numbers",
            width=size * DAY,
        ),
        rows=[(when, counts) for _, counts, when in seen],
    )


def by_period(days: Mapping[int, Counts]) -> tuple[int, dict[int, Counts]]:
    """Days a period, and the counts by its first day: days, else weeks, else as many days as leave the bars apart."""
    if not days:
        return 1, {}
    span = max(days) - min(days) + 1
    size = 1 if span <= _MOST_BARS else 7 if span <= 7 * _MOST_BARS else -(-span // _MOST_BARS)
    found: dict[int, dict[str, int]] = {}
    for day, counts in sorted(days.items()):
        period = found.setdefault(day - (day - min(days)) % size, {})
        for outcome, number in counts.by.items():
            period[outcome] = period.get(outcome, 0) + number
    return size, {day: Counts(by) for day, by in found.items()}


def _lines(seen: Sequence[tuple[float, Counts, str]], over_time: Progress) -> list[Line]:
    accepted = [
        Point(at, counts.acceptance, f"{when}: {counts.acceptance:.0%} of {counts.shown} boxes accepted")
        for at, counts, when in seen
        if counts.acceptance is not None
    ]
    right = [
        Point(at, counts.f1, f"{when}: F1 {counts.f1:.2f} by the word of the annotators")
        for at, counts, when in seen
        if counts.f1 is not None
    ]
    gold = [
        Point(one.at, one.f1, f"{one.model}, {one.what}: F1 {one.f1:.3f} on gold pages", one.low, one.high)
        for one in over_time.milestones
        if one.f1 is not None and one.what == PROMOTED
    ]
    return [Line("a", accepted), Line("b", right), Line("gold", gold, joined=False)]


def _moves(over_time: Progress) -> list[ChartMark]:
    first = next((one for one in over_time.milestones if one.what == SERVES), None)
    began = [ChartMark(first.at, "●", f"{moment(first.at)}: {first.model} begins to serve")] if first else []
    return began + [
        ChartMark(one.at, _MOVES[one.what], f"{moment(one.at)}: {one.what} {one.model} {one.reason}".strip())
        for one in over_time.milestones
        if one.what in _MOVES
    ]


def _told(seen: Sequence[tuple[float, Counts, str]]) -> str:
    known = [counts for _, counts, _ in seen if counts.acceptance is not None]
    if not known:
        return "What became of models over time"
    return (
        f"Acceptance over time, from {known[0].acceptance:.0%} to {known[-1].acceptance:.0%}; the table below has the "
        "numbers"
    )


def _period(start: int, size: int) -> str:
    first, last = (datetime.fromtimestamp(day * DAY, UTC).strftime("%d %b %Y") for day in (start, start + size - 1))
    return first if size == 1 else f"{first} to {last}"


def _total(days: Iterable[tuple[int, Counts]], *, since: int) -> Counts:
    by: dict[str, int] = {}
    for counts in (counts for day, counts in days if day > since):
        for outcome, number in counts.by.items():
            by[outcome] = by.get(outcome, 0) + number
    return Counts(by)


def _waiting(facts: LedgerCounts) -> int:
    return facts.annotations.get("open", 0) + facts.event_count(state="open")
