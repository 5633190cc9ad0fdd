"""How well detection alone does: recall by class and difficulty, candidates and milliseconds a page, beside fixed HSV.

Usage: python -m benchmarks.candidates [--drawn N] [--real SUBSET…] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backend.geometry import Boxes, iou
from backend.vision.finders import DETECTORS, Detects, build_detector
from benchmarks.hsv_baseline import hsv_boxes
from benchmarks.truth import REALDATA, Mark, TruePage, drawn_pages, real_pages

__all__ = ["Finder", "Tally", "compare", "main", "matched", "table"]

Finder = Callable[[NDArray[np.uint8], float | None], Boxes]
"""Pixels and resolution of a page in, boxes (N, 4) out, best first."""

THRESHOLDS = (0.5, 0.3)
MEASURED_SEED = 1
"""Drawn pages from this seed on are measured on; the detector was tuned on others."""


def finders() -> dict[str, Finder]:
    """Every way of finding, and the original model card's fixed HSV."""
    ours = {kind: partial(_boxes_of, build_detector(kind)) for kind in DETECTORS}
    return ours | {"HSV": lambda pixels, _: hsv_boxes(pixels)}


def _boxes_of(detector: Detects, pixels: NDArray[np.uint8], dpi: float | None) -> Boxes:
    return detector(pixels, dpi).boxes


def matched(truth: Boxes, found: Boxes, *, threshold: float) -> NDArray[np.bool_]:
    """Which true boxes are found, (N,): pairs are made one to one, best overlap first, at IoU `threshold` or above."""
    overlaps = iou(truth, found)
    hits = np.zeros(len(truth), np.bool_)
    while overlaps.size and overlaps.max() >= threshold:
        mark, box = np.unravel_index(int(overlaps.argmax()), overlaps.shape)
        hits[mark] = True
        overlaps[mark], overlaps[:, box] = -1, -1
    return hits


@dataclass
class Tally:
    """What one finder did on a set of pages.

    Attributes:
        hits: For each group of marks, whether each was found at each of `THRESHOLDS`.
        candidates: Boxes of each page.
        milliseconds: Time of each page.
    """

    hits: dict[str, list[tuple[bool, ...]]] = field(default_factory=lambda: defaultdict(list))
    candidates: list[int] = field(default_factory=list)
    milliseconds: list[float] = field(default_factory=list)

    def add(self, marks: tuple[Mark, ...], found: Boxes, seconds: float) -> None:
        self.candidates.append(len(found))
        self.milliseconds.append(1000 * seconds)
        truth = np.array([mark.box for mark in marks], np.float64).reshape(-1, 4)
        columns = [matched(truth, found, threshold=threshold).tolist() for threshold in THRESHOLDS]
        for mark, found_at in zip(marks, zip(*columns, strict=True), strict=True):
            for group in (mark.label, *(f"{mark.label}, {group}" for group in mark.groups[1:])):
                self.hits[group].append(found_at)

    def recall(self, group: str) -> tuple[float, ...]:
        """Share of a group's marks that were found, at each of `THRESHOLDS`."""
        return tuple(float(value) for value in np.mean(self.hits[group], axis=0))

    def summary(self) -> dict[str, object]:
        """The figures as plain JSON."""
        return {
            "pages": len(self.candidates),
            "candidates_a_page": statistics.fmean(self.candidates),
            "median_ms_a_page": statistics.median(self.milliseconds),
            "recall": {
                group: {
                    "marks": len(self.hits[group]),
                    **dict(zip(map(str, THRESHOLDS), self.recall(group), strict=True)),
                }
                for group in sorted(self.hits)
            },
        }


def compare(pages: Iterable[TruePage], finders: dict[str, Finder]) -> dict[str, Tally]:
    """Lets every finder look at every page."""
    tallies = {name: Tally() for name in finders}
    for page in pages:
        for name, finder in finders.items():
            start = time.perf_counter()
            found = finder(page.pixels, page.dpi)
            tallies[name].add(page.marks, found, time.perf_counter() - start)
    return tallies


def table(title: str, tallies: dict[str, Tally]) -> str:
    """The figures for people: one row a group, recall at IoU .5 and .3 of each finder."""
    first = next(iter(tallies.values()))
    heads = "".join(f"{name + ' @.5':>12}{'@.3':>7}" for name in tallies)
    lines = [f"{title}: {len(first.candidates)} pages", f"  {'recall':<34}{'marks':>6}{heads}"]
    for group in sorted(first.hits):
        figures = "".join("{:>12.3f}{:>7.3f}".format(*tally.recall(group)) for tally in tallies.values())
        lines.append(f"  {group:<34}{len(first.hits[group]):>6}{figures}")
    for label, figure in (
        ("candidates a page", lambda tally: statistics.fmean(tally.candidates)),
        ("ms a page, median", lambda tally: statistics.median(tally.milliseconds)),
    ):
        lines.append(f"  {label:<40}" + "".join(f"{figure(tally):>12.1f}{'':7}" for tally in tallies.values()))
    return "\n".join(lines)


def main() -> None:
    """Measures on drawn pages, and on the real ones where they are present."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--drawn", type=int, default=50, help="drawn pages to measure on")
    parser.add_argument("--real", nargs="*", default=["page_full", "page_photo_sig"], help="subsets of the real pages")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    sets: dict[str, Iterable[TruePage]] = {"drawn": drawn_pages(range(MEASURED_SEED, MEASURED_SEED + arguments.drawn))}
    if REALDATA.exists():
        sets |= {subset: real_pages(subset) for subset in arguments.real}
    else:
        print(f"no real pages at {REALDATA}: measuring on drawn pages only")
    results = {}
    for title, pages in sets.items():
        tallies = compare(pages, finders())
        print(table(title, tallies), flush=True)
        results[title] = {name: tally.summary() for name, tally in tallies.items()}
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
