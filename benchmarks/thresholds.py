"""What a threshold costs annotators: marks missed and false boxes on real pages, for many values of `CONFIDENCE`.

Usage: python -m benchmarks.thresholds [--subset SUBSET…] [--model MODEL]

The pages are of the validation side, on which a default may be chosen. A missed mark has to be seen and drawn. A false
box has to be chosen and deleted. So a missed mark counts twice.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence

from backend.settings import Settings
from backend.vision.network_config import MARKS
from benchmarks.scoring import Score
from benchmarks.truth import real_pages
from benchmarks.ways import pipeline_of

__all__ = ["main"]

_BARS = (0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7)
_MISSED = 2
_ROW = "{:>9}{:>14}{:>13}{:>8}{:>9}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures, and prints a row for each threshold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--subset", nargs="+", default=("page_full",), help="of the real pages (default page_full)")
    parser.add_argument("--model", default="bundled", help="weights: bundled, auto, hub or a trained model's name")
    args = parser.parse_args(arguments)
    pipeline = pipeline_of(Settings.from_environment(os.environ, model=args.model, detector="model"))
    scores = {bar: Score(0.5) for bar in _BARS}
    pages = [page for subset in args.subset for page in real_pages(subset) if page.side == "validation"]
    for page in pages:
        candidates = pipeline.detector(page.pixels, page.dpi)
        found = pipeline.classified(page.pixels, candidates)
        for bar, score in scores.items():
            marks = pipeline.judge(candidates, found, confidence=bar)
            score.add(page, marks.boxes, marks.names, marks.scores)
    print(f"{pipeline.version}: {len(pages)} validation pages, IoU .5; cost: {_MISSED} for a missed mark, 1 for a box")
    print(_ROW.format("threshold", "missed a page", "false a page", "cost", "mean F1"))
    for bar, score in scores.items():
        missed = sum(score.missed[label, "all"] for label in MARKS) / len(pages)
        false = sum(score.false[label, "all"] for label in MARKS) / len(pages)
        mean = score.mean_f1(MARKS[:2])
        cells = (f"{missed:.2f}", f"{false:.2f}", f"{_MISSED * missed + false:.2f}", f"{mean or 0:.3f}")
        print(_ROW.format(bar, *cells))


if __name__ == "__main__":
    main()
