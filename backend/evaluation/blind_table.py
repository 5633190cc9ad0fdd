"""Blind pages and pages with boxes side by side, for a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from backend.evaluation.blind import AtIou, BlindFigures, Group
    from backend.evaluation.figures import Rates

__all__ = ["blind_table"]

_NOTES = (
    "on blind pages what people overlook counts against the box, so that its precision is at least this; on pages with",
    "boxes people overlook what the boxes lack, so that its recall is at most this",
)


def blind_table(figures: BlindFigures) -> str:
    """All figures with their 95 % intervals, as lines of text."""
    return "\n".join(_lines(figures))


def _lines(figures: BlindFigures) -> Iterator[str]:
    for version, tasks in figures.versions.items():
        yield f"{version}: {tasks} blind tasks"
    yield f"[ ] are 95 % intervals, {figures.resamples} resamples of documents"
    for iou, blind in figures.blind.end_to_end.items():
        shown = figures.shown.end_to_end[iou]
        yield ""
        yield f"IoU {iou:<9}{'blind: ' + _size(figures.blind):<56}shown: {_size(figures.shown)}"
        yield f"  {'':<11}" + "".join(f"{'marks':>5}  {'recall':<23}{'precision':<26}" for _ in (0, 1)).rstrip()
        for (name, left), (_, right) in zip(_rows(blind), _rows(shown), strict=True):
            yield f"  {name:<11}{_cells(left):<56}{_cells(right)}".rstrip()
    yield ""
    yield from _NOTES


def _rows(part: AtIou) -> list[tuple[str, Rates]]:
    return [*part.classes.items(), ("macro", part.macro)]


def _cells(one: Rates) -> str:
    return f"{one.marks:>5}  {one.recall!s:<23}{one.precision!s:<26}"


def _size(group: Group) -> str:
    return f"{group.documents} documents, {group.tasks} tasks"
