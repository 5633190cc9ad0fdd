"""What is found and named rightly, on drawn and on real pages, beside the seed's fixed-threshold HSV rules.

Usage: python -m benchmarks.accuracy [--drawn N] [--real SUBSET…] [--detector KIND…] [--model NAME] [--json FILE]

All ways of finding feed the same classifier, in one run: the network, the rules on coloured ink, both together, and
fixed HSV. The drawn pages have seeds that no training used. Of the real
pages, `held out` are those whose documents no training saw, by the split that training itself uses.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from backend.classification.classifier import load_classifier
from backend.detection.candidates import Candidates
from backend.detection.choice import DETECTORS, build_detector
from backend.geometry import Boxes
from backend.nets.config import MARKS
from backend.nets.detector import Fusion
from backend.nets.sources import Sources
from backend.pipeline import Pipeline, PipelineConfig
from backend.settings import Settings
from benchmarks.hsv_baseline import hsv_boxes
from benchmarks.scoring import Score, recalled
from benchmarks.truth import REALDATA, TruePage, drawn_pages, real_pages

__all__ = ["main"]

FIRST_SEED = 500
IOUS = (0.5, 0.3)
NEGATIVES = {"no_marks": ("neg_born_digital", "neg_hard_handwriting", "neg_scan")}
REAL = ("page_full", "page_bw", "page_stamp_only", *NEGATIVES)


class HsvDetector:
    """The seed's rules in the detector's place."""

    name = "hsv"
    facts: ClassVar[dict[str, str]] = {"rules": "fixed HSV"}
    fusion = Fusion()

    def __call__(self, pixels: NDArray[np.uint8], dpi: float | None = None) -> Candidates:
        """Gives the boxes of red and blue contours; all are equally likely."""
        del dpi
        boxes = hsv_boxes(pixels)
        return Candidates(boxes, np.ones(len(boxes)), np.zeros((len(boxes), len(MARKS))))


@dataclass
class Tally:
    """What one way of finding does on one set of pages."""

    scores: dict[float, Score] = field(default_factory=lambda: {threshold: Score(threshold) for threshold in IOUS})
    recall: dict[float, dict[tuple[str, str], list[bool]]] = field(
        default_factory=lambda: {threshold: defaultdict(list) for threshold in IOUS}
    )
    candidates: list[int] = field(default_factory=list)
    milliseconds: list[float] = field(default_factory=list)

    def add(self, page: TruePage, pipeline: Pipeline) -> None:
        """Finds and names one page's marks, and counts."""
        started = time.perf_counter()
        candidates = pipeline.detector(page.pixels, page.dpi)
        boxes: Boxes = candidates.boxes
        marks = pipeline.judge(candidates, pipeline.classifier.classify(page.pixels, boxes))
        self.milliseconds.append(1000 * (time.perf_counter() - started))
        self.candidates.append(len(boxes))
        for threshold in IOUS:
            self.scores[threshold].add(page, marks.boxes, marks.names, marks.scores)
            for mark, hit in zip(page.marks, recalled(page, boxes, threshold), strict=True):
                for trait in ("all", *mark.traits):
                    self.recall[threshold][mark.label, trait].append(hit)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures, and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--drawn", type=int, default=100, metavar="N", help="drawn pages (100)")
    parser.add_argument("--model", default="bundled", help="weights: bundled, auto, hub or a trained model's name")
    parser.add_argument("--detector", nargs="+", choices=DETECTORS, default=DETECTORS, help="ways of finding (all)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures here")
    parser.add_argument("--real", nargs="*", choices=REAL, default=REAL, metavar="SUBSET", help="real pages (all)")
    args = parser.parse_args(arguments)
    settings = Settings.from_environment(os.environ, model=args.model)
    weights = Sources.of(settings).at_once()
    classifier = load_classifier(weights)
    config = PipelineConfig(confidence=settings.confidence)
    finders = {kind: build_detector(kind, weights.folder) for kind in args.detector} | {"fixed HSV": HsvDetector()}
    ways = {name: Pipeline(finder, classifier, config) for name, finder in finders.items()}
    report: dict[str, Any] = {"versions": {name: pipeline.version for name, pipeline in ways.items()}}
    for name, pipeline in ways.items():
        print(f"{name}: {pipeline.version}")
    for name, pages in _sets(args.drawn, args.real):
        tallies = {way: Tally() for way in ways}
        for page in pages:
            for way, pipeline in ways.items():
                tallies[way].add(page, pipeline)
        if tallies["fixed HSV"].candidates:
            report[name] = {way: _figures(tally) for way, tally in tallies.items()}
            _print(name, report[name])
    if args.json:
        args.json.write_text(json.dumps(report, indent=1))


def _sets(drawn: int, real: Sequence[str]) -> Iterator[tuple[str, Iterable[TruePage]]]:
    seeds = range(FIRST_SEED, FIRST_SEED + drawn)
    yield "drawn", tqdm(drawn_pages(seeds), total=drawn, unit="page", desc="drawn", disable=None)
    if not REALDATA.is_dir():
        print("\nreal pages: skipped, ../shared/realdata is not there")
        return
    for name in real:
        pages = [page for subset in NEGATIVES.get(name, (name,)) for page in real_pages(subset)]
        yield name, tqdm(pages, unit="page", desc=name, disable=None)
        if name not in NEGATIVES:
            yield f"{name}, held out", [page for page in pages if page.held_out]


def _figures(tally: Tally) -> dict[str, Any]:
    figures: dict[str, Any] = {
        "pages": len(tally.candidates),
        "candidates_a_page": float(np.mean(tally.candidates)),
        "ms_a_page_median": float(np.median(tally.milliseconds)),
    }
    for threshold, score in tally.scores.items():
        figures[f"iou{threshold}"] = {
            "candidate_recall": _shares(tally.recall[threshold]),
            "classes": {
                label: dict(zip(("precision", "recall", "f1"), score.row(label), strict=True))
                for label in MARKS
                if score.right[label] + score.missed[label]
            },
            "macro_f1": score.macro_f1(MARKS) if score.found else None,
            "recall": _shares(score.found),
            "false_boxes_a_page_without_marks": float(np.mean(score.false_on_empty)) if score.false_on_empty else None,
            "pages_without_marks": len(score.false_on_empty),
        }
    return figures


def _shares(found: dict[tuple[str, str], list[bool]]) -> dict[str, list[float]]:
    """Share found and number of marks, by "class, trait"."""
    return {f"{label}, {trait}": [float(np.mean(hits)), len(hits)] for (label, trait), hits in sorted(found.items())}


def _print(name: str, ways: dict[str, dict[str, Any]]) -> None:
    """The figures of one set of pages, a column for each way of finding."""
    every = list(ways.values())
    first = every[0]
    print(f"\n{name}: {first['pages']} pages; {' | '.join(ways)}")
    _line("candidates a page", "{:7.1f}", [one["candidates_a_page"] for one in every])
    _line("ms a page, median", "{:7.0f}", [one["ms_a_page_median"] for one in every])
    for threshold in IOUS:
        at = [one[f"iou{threshold}"] for one in every]
        print(f"  at IoU {threshold}")
        for label in at[0]["classes"]:
            rows = [one["classes"][label] for one in at]
            cells = [f"P {row['precision']:.3f} R {row['recall']:.3f} F1 {row['f1']:.3f}" for row in rows]
            _line(f"  {label}", "{}", cells)
        if at[0]["macro_f1"] is not None:
            _line("  macro F1", "{:.3f}", [one["macro_f1"] for one in at])
        if at[0]["pages_without_marks"]:
            shares = [one["false_boxes_a_page_without_marks"] for one in at]
            _line(f"  false boxes, {at[0]['pages_without_marks']} pages without marks", "{:.2f}", shares)
        print("    candidates, found")
        for group, (_, count) in at[0]["candidate_recall"].items():
            cells = [f"{one['candidate_recall'][group][0]:.3f} {one['recall'][group][0]:.3f}" for one in at]
            _line(f"  {group}, {count} marks", "{}", cells)


def _line(title: str, form: str, values: Sequence[Any]) -> None:
    print(f"  {title:<42}" + " | ".join(form.format(value) for value in values))


if __name__ == "__main__":
    cv2.setNumThreads(os.cpu_count() or 1)
    main()
