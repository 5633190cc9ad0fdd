"""What is found and named rightly, on real pages and on drawn ones: by the network, by rules on ink, by both, by HSV.

Usage: python -m benchmarks.accuracy [--drawn N] [--real SUBSET…] [--detector WAY…] [--model NAME] [--json FILE]

All ways of finding feed the same classifier, in one run: the network, the rules on coloured ink, both together, and
the original model card's fixed HSV thresholds. The drawn pages have seeds that no training used. Of the real pages,
`held out` are those whose documents no training saw, by the split that training itself uses; where only some classes
are boxed on them, there is no precision of the others. The ink of a mark is what the manifest says, or what it was
drawn in; that of a false box is measured on its pixels (`benchmarks/inks.py`), and how often that measure is right is
printed, too. Intervals are of 95 %, over documents. The drawn pages are measured once more with things on them that
only look like marks.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
from tqdm import tqdm

from backend.models.serving import Sources
from backend.settings import Settings
from benchmarks.inks import is_coloured
from benchmarks.truth import REALDATA, TruePage, drawn_pages, real_pages
from benchmarks.ways import IOUS, WAYS, Tally, look, pipelines

__all__ = ["main"]

FIRST_SEED = 500
MISTAKEN = "drawn, with what looks like a mark"
LOOKALIKES = 6
"""On each of its pages, at most."""
NEGATIVES = {"no_marks": ("neg_born_digital", "neg_hard_handwriting", "neg_scan", "neg_receipt", "neg_qr")}
REAL = ("page_full", "page_photo_sig", "page_semireal", "page_stamp_only", *NEGATIVES)
BY_SOURCE = "page_full"
SLICES = (
    "coloured ink",
    "black ink",
    "over a stamp",
    "beside handwriting",
    "grey scan",
    "faded",
    "overlap",
    "partial",
    "small",
)
_TITLE, _COUNT, _CELL = 32, 7, 9

Figures = dict[str, dict[str, Any]]
"""Of each way, what `Tally.figures` gives."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures, and prints a table for each set of pages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--drawn", type=int, default=100, metavar="N", help="drawn pages, and as many with lookalikes (100)"
    )
    parser.add_argument("--model", default="bundled", help="weights: bundled, auto, hub or a trained model's name")
    parser.add_argument("--detector", nargs="+", choices=WAYS, default=WAYS, metavar="WAY", help=f"of {WAYS} (all)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures here")
    parser.add_argument("--real", nargs="*", choices=REAL, default=REAL, metavar="SUBSET", help=f"of {REAL} (all)")
    args = parser.parse_args(arguments)
    settings = Settings.from_environment(os.environ, model=args.model)
    ways = pipelines(args.detector, Sources.of(settings).at_once(), settings)
    report: dict[str, Any] = {"versions": {name: pipeline.version for name, pipeline in ways.items()}}
    for name, pipeline in ways.items():
        print(f"{name}: {pipeline.version}")
    for name, pages in _sets(args.drawn, args.real):
        tallies: dict[str, dict[str, Tally]] = {}
        agreed: list[bool] = []
        for page in pages:
            seen = {way: look(page, pipeline) for way, pipeline in ways.items()}
            for title in _titles(name, page):
                into = tallies.setdefault(title, {way: Tally() for way in ways})
                for way, found in seen.items():
                    into[way].add(page, found)
            agreed += (is_coloured(page.pixels, page.boxes) == [mark.coloured for mark in page.marks]).tolist()
        for title, into in tallies.items():
            report[title] = {way: tally.figures() for way, tally in into.items()}
            print("\n" + table(title, report[title]))
        if agreed:
            report.setdefault("ink_measured", {})[name] = [sum(agreed), len(agreed)]
            print(f"  the measure of ink agrees with what is known of {sum(agreed)} of {len(agreed)} marks")
    if args.json:
        args.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def _sets(drawn: int, real: Sequence[str]) -> Iterator[tuple[str, Iterable[TruePage]]]:
    """Names of sets, and their pages; of real pages with marks only those that are held out."""
    if not REALDATA.is_dir():
        print("\nreal pages: skipped, ../shared/realdata is not there")
    for name in real if REALDATA.is_dir() else ():
        pages = [page for subset in NEGATIVES.get(name, (name,)) for page in real_pages(subset)]
        yield name, tqdm([page for page in pages if page.held_out], unit="page", desc=name, disable=None)
    seeds = range(FIRST_SEED, FIRST_SEED + drawn)
    if drawn:
        yield "drawn", tqdm(drawn_pages(seeds), total=drawn, unit="page", desc="drawn", disable=None)
        mistaken = drawn_pages(seeds, lookalikes=LOOKALIKES)
        yield MISTAKEN, tqdm(mistaken, total=drawn, unit="page", desc=MISTAKEN, disable=None)


def _titles(name: str, page: TruePage) -> tuple[str, ...]:
    """The tables that a page of a set counts in."""
    if name in ("drawn", MISTAKEN):
        return (name,)
    of_source = (f"{name} of {page.source}, held out",) if name == BY_SOURCE and page.source else ()
    return f"{name}, held out", *of_source


def table(title: str, ways: Figures) -> str:
    """The figures of one set of pages: a row a figure, a column for each way and IoU."""
    first = next(iter(ways.values()))
    at = first[f"iou{IOUS[0]}"]
    marks = {group: count for group, (_, count) in at["recall"].items()}
    width = _CELL * len(IOUS)
    lines = [
        f"{title}: {first['pages']} pages, {sum(marks[f'{label}, all'] for label in at['classes'])} marks",
        " " * (_TITLE + _COUNT) + "".join(f"{way:>{width}}" for way in ways),
        f"{'':<{_TITLE}}{'marks':>{_COUNT}}" + "".join(f"{f'IoU {iou}':>{_CELL}}" for _ in ways for iou in IOUS),
    ]
    for label in at["classes"]:
        lines += _class_lines(label, ways, marks)
    for name, text in (("macro_f1", "macro F1"), ("f1_of_signature_and_stamp", "mean F1 of signature and stamp")):
        lines.append(_line(text, None, [one[f"iou{iou}"][name] for one in ways.values() for iou in IOUS]))
    both = "signature and stamp"
    lines += _interval_lines([one[f"iou{iou}"]["intervals"][both] for one in ways.values() for iou in IOUS])
    for name, count, text in (
        ("false_boxes_a_page", first["pages"], "false boxes a page"),
        ("false_boxes_a_page_without_marks", at["pages_without_marks"], "  on pages without marks"),
    ):
        lines.append(_line(text, count, [one[f"iou{iou}"][name] for one in ways.values() for iou in IOUS], digits=2))
    for name, text in (("candidates_a_page", "candidates a page"), ("ms_a_page_median", "ms a page, median")):
        lines.append(
            f"{text:<{_TITLE + _COUNT}}"
            + "".join(f"{one[name]:>{width}.{1 if 'can' in text else 0}f}" for one in ways.values())
        )
    return "\n".join(line for line in lines if line)


def _class_lines(label: str, ways: Figures, marks: dict[str, int]) -> Iterator[str]:
    """Precision, recall and F1 of a class, of all and by ink; of the other slices what is found and proposed."""
    cells = [one[f"iou{iou}"] for one in ways.values() for iou in IOUS]
    for group in ("all", *SLICES):
        key = f"{label}, {group}"
        if key not in marks:
            continue
        yield _line(label if group == "all" else f"  {group}", marks[key], None)
        rows = [one["classes"][label] if group == "all" else one["by_ink"].get(key) for one in cells]
        known = [row for row in rows if row]
        yield _line("    precision", None, [row["precision"] for row in known])
        yield _line("    recall", None, [one["recall"][key][0] for one in cells])
        yield _line("    F1", None, [row["f1"] for row in known])
        if group == "all":
            yield from _interval_lines([one["intervals"][label] for one in cells])
            yield _line("    IoU of right boxes, mean", None, [one["mean_iou"][label] for one in cells])
        yield _line("    proposed (candidates)", None, [one["candidate_recall"][key][0] for one in cells])


def _interval_lines(intervals: Sequence[tuple[float | None, float | None]]) -> Iterator[str]:
    for place, text in enumerate(("      95 % from", "      95 % to")):
        yield _line(text, None, [one[place] for one in intervals])


def _line(title: str, count: int | None, values: Sequence[float | None] | None, *, digits: int = 3) -> str:
    """One row; nothing where all of its figures are unknown."""
    if values is not None and all(value is None for value in values):
        return ""
    cells = "".join(f"{'' if value is None else format(value, f'.{digits}f'):>{_CELL}}" for value in values or ())
    return f"{title:<{_TITLE}}{'' if count is None else count:>{_COUNT}}{cells}"


if __name__ == "__main__":
    cv2.setNumThreads(os.cpu_count() or 1)
    main()
