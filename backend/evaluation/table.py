"""The figures as a table for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from backend.evaluation.closed_set import SEED_ACCURACY, SEED_MACRO_F1
from backend.evaluation.figures import Figures, Rates
from backend.nets.config import MARKS

__all__ = ["table"]


def table(figures: Figures) -> str:
    """All figures with their 95 % intervals, as lines of text."""
    return "\n".join(_lines(figures))


def _lines(figures: Figures) -> Iterator[str]:
    marks = ", ".join(f"{count} {name}" for name, count in figures.marks.items())
    yield figures.version
    yield (
        f"{figures.documents} documents, {figures.pages} pages ({figures.pages_without_marks} without marks): {marks}; "
        f"[ ] are 95 % intervals, {figures.resamples} resamples of documents"
    )
    for part in figures.end_to_end.values():
        yield ""
        yield f"end to end, IoU {part.iou}"
        yield from _rates([*part.classes.items(), ("macro", part.macro)])
        yield f"  {'false boxes a page':<34}{part.false_boxes}"
        yield f"  {'  on pages without marks':<34}{part.false_boxes_without_marks}"
    yield f"  {'mAP50':<34}{figures.map50}"
    yield f"  {'mAP50-95':<34}{figures.map50_95}"
    yield f"  {'corrections a page':<34}{figures.corrections['all']}"
    yield ""
    yield from _confusion("shown as (IoU .5)", [*MARKS, "background"], figures.end_to_end["0.5"].confusion, "missed")
    yield ""
    if figures.slices:
        yield f"  {'recall of':<22}{'marks':>6}  {'IoU 0.5':<24}{'IoU 0.3':<24}macro F1"
    for one in figures.slices:
        f1 = one.macro_f1 or ""
        row = f"  {one.name:<22}{one.marks:>6}  {one.recall['0.5']!s:<24}{one.recall['0.3']!s:<24}{f1}"
        yield row.rstrip()
    yield from _closed(figures)


def _closed(figures: Figures) -> Iterator[str]:
    closed = figures.closed_set
    yield ""
    yield "closed set: crops of the true boxes, `none` is wrong"
    yield from _rates([*closed.classes.items(), ("macro", closed.macro)])
    yield f"  {'accuracy':<34}{closed.accuracy}"
    yield f"  {'accuracy, without `none`':<34}{closed.forced_accuracy}  the seed's card: {SEED_ACCURACY}, its documents"
    yield f"  {'macro F1, without `none`':<34}{closed.forced_macro_f1}  the seed's card: {SEED_MACRO_F1}, its documents"
    yield ""
    yield from _confusion("called", list(MARKS), closed.confusion, "none")
    yield ""
    yield "calibration (ECE: 15 bins of equal mass)"
    for name, one in (("shown boxes", figures.shown), ("crops of true boxes", figures.crops)):
        yield f"  {name:<22}{one.cases:>6}  ECE {one.error}   Brier {one.brier}"
    median, p95 = figures.milliseconds["median"], figures.milliseconds["p95"]
    yield ""
    yield f"a page takes {median:.0f} ms (median), {p95:.0f} ms (95 % of the pages)"


def _rates(rows: Sequence[tuple[str, Rates]]) -> Iterator[str]:
    yield f"  {'':<12}{'marks':>6}  {'precision':<24}{'recall':<24}F1"
    for name, one in rows:
        yield f"  {name:<12}{one.marks:>6}  {one.precision!s:<24}{one.recall!s:<24}{one.f1}"


def _confusion(title: str, rows: Sequence[str], confusion: Sequence[Sequence[int]], last: str) -> Iterator[str]:
    yield f"  {title:<22}" + "".join(f"{name:>12}" for name in (*MARKS, last))
    for name, row in zip(rows, confusion, strict=True):
        yield f"  {name:<22}" + "".join(f"{count:>12}" for count in row)
