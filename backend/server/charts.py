"""Charts over time as inline SVG: no plotting library, no script, colours of the page's own theme, light or dark."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from markupsafe import Markup, escape

__all__ = ["Bar", "ChartMark", "Line", "Point", "bars", "timeline"]

_WIDTH, _HEIGHT = 900, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 16, 52, 30, 34
_SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
_TICKS = 5
_WORD = 80
"""Pixels that the name of a day takes."""
_WIDEST = 60.0
"""Pixels of a bar where there are few: the first day's shall not fill the chart."""
_DAY = 86_400.0
_SHORTEST = 14 * _DAY
"""Of time on the axis: what the first day brought stands at its newest end, where a telephone looks first."""
_NEAR = 26.0
"""Pixels between two marks below which the later one's number would lie on the earlier one's."""


@dataclass(frozen=True)
class Point:
    """A value at a moment (seconds since the epoch), what is told of it, and its interval where it has one."""

    at: float
    value: float
    tip: str
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Line:
    """Points of one kind, oldest first; `kind` is the class that the style gives a colour: `a`, `b` or `gold`."""

    kind: str
    points: Sequence[Point]
    joined: bool = True


@dataclass(frozen=True)
class ChartMark:
    """Something that happened: a line down the chart with a sign over it, such as ▲."""

    at: float
    word: str
    tip: str


@dataclass(frozen=True)
class Bar:
    """A bar of two parts, the lower one first, at a moment."""

    at: float
    kept: int
    corrected: int
    tip: str


@dataclass(frozen=True)
class _Frame:
    """Moments and values to pixels; `newest` is the moment whose day is named at the end."""

    start: float
    end: float
    newest: float
    top: float

    def across(self, at: float) -> float:
        share = (at - self.start) / (self.end - self.start)
        return round(_LEFT + (_WIDTH - _LEFT - _RIGHT) * share, 1)

    def up(self, value: float) -> float:
        return round(_HEIGHT - _BOTTOM - (_HEIGHT - _BOTTOM - _TOP) * value / self.top, 1)

    def days(self) -> list[str]:
        """Words of the axis of time: where a day begins, each day once, the newest one among them."""
        first, last = math.ceil(self.start / _DAY), math.floor(self.newest / _DAY)
        found = []
        for day in range(last, first - 1, -math.ceil((last - first + 1) / _TICKS)):
            x = self.across(day * _DAY)
            anchor = "start" if x < _LEFT + _WORD / 2 else "end" if x > _WIDTH - _WORD / 2 else "middle"
            word = datetime.fromtimestamp(day * _DAY, UTC).strftime("%d %b %Y")
            found.append(f'<text x="{x}" y="{_HEIGHT - 10}" text-anchor="{anchor}">{word}</text>')
        return found

    def level(self, value: float, word: str) -> str:
        at = self.up(value)
        return (
            f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{at}" y2="{at}"/>'
            f'<text x="{_WIDTH - _RIGHT + 8}" y="{at + 4}">{escape(word)}</text>'
        )


def timeline(lines: Sequence[Line], marks: Sequence[ChartMark], *, title: str) -> Markup | None:
    """Shares over time, with what happened as marks on them; None where there is nothing to draw.

    Args:
        lines: Their values are from 0 to 1.
        marks: What happened, oldest first.
        title: What the chart tells, for those who cannot see it.
    """
    moments = [point.at for line in lines for point in line.points] + [mark.at for mark in marks]
    if not moments:
        return None
    frame = _frame(moments, newest=max(moments), top=1.0)
    body = [frame.level(share, f"{share:.0%}") for share in _SHARES] + frame.days()
    body += _marks(marks, frame)
    for line in lines:
        body += _line(line, frame)
    return _svg(body, title)


def bars(values: Sequence[Bar], *, title: str, width: float) -> Markup | None:
    """Counts over time as bars; None where there are none.

    Args:
        values: Oldest first.
        title: What the chart tells.
        width: Seconds that a bar stands for.
    """
    if not values:
        return None
    highest = max(bar.kept + bar.corrected for bar in values) or 1
    ends = [moment for bar in values for moment in (bar.at, bar.at + width)]
    frame = _frame(ends, newest=values[-1].at, top=highest)
    body = [frame.level(highest * share, f"{highest * share:.0f}") for share in (0.0, 0.5, 1.0)] + frame.days()
    for bar in values:
        left, right = frame.across(bar.at), frame.across(bar.at + width)
        across = min(_WIDEST, max(1.5, round(0.8 * (right - left), 1)))
        body.append(f"<g><title>{escape(bar.tip)}</title>")
        for kind, bottom, count in (("kept", 0, bar.kept), ("corrected", bar.kept, bar.corrected)):
            y, floor = frame.up(bottom + count), frame.up(bottom)
            body.append(f'<rect class="{kind}" x="{left}" y="{y}" width="{across}" height="{round(floor - y, 1)}"/>')
        body.append("</g>")
    return _svg(body, title)


def _frame(moments: Sequence[float], *, newest: float, top: float) -> _Frame:
    end = max(moments)
    return _Frame(start=min(*moments, end - _SHORTEST), end=end, newest=newest, top=top)


def _marks(marks: Sequence[ChartMark], frame: _Frame) -> list[str]:
    found, last = [], -_NEAR
    for mark in marks:
        at = frame.across(mark.at)
        word = mark.word if at - last >= _NEAR else ""
        last = at if word else last
        found.append(
            f"<g><title>{escape(mark.tip)}</title>"
            f'<line class="mark" x1="{at}" x2="{at}" y1="{_TOP - 6}" y2="{_HEIGHT - _BOTTOM}"/>'
            f'<text class="mark-text" x="{at}" y="{_TOP - 12}" text-anchor="middle">{escape(word)}</text></g>'
        )
    return found


def _line(line: Line, frame: _Frame) -> list[str]:
    found = []
    if line.joined and len(line.points) > 1:
        path = "L".join(f"{frame.across(point.at)} {frame.up(point.value)}" for point in line.points)
        found.append(f'<path class="{line.kind}" d="M{path}"/>')
    for point in line.points:
        x, y = frame.across(point.at), frame.up(point.value)
        if point.low is not None and point.high is not None:
            ends = f'y1="{frame.up(point.low)}" y2="{frame.up(point.high)}"'
            found.append(f'<line class="whisker" x1="{x}" x2="{x}" {ends}/>')
        kind, radius = (f"dot-{line.kind}", 2.5) if line.joined else (line.kind, 6)
        found.append(
            f'<circle class="{kind}" cx="{x}" cy="{y}" r="{radius}"><title>{escape(point.tip)}</title></circle>'
        )
    return found


def _svg(body: Sequence[str], title: str) -> Markup:
    # Every part was made here, and what came from outside was escaped where it went in.
    return Markup(  # noqa: S704
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}">'
        + "".join(body)
        + "</svg>"
    )
