"""Whether pages that lie on their side or upside down get the boxes that they get upright.

Usage: python -m benchmarks.turned [--drawn N] [--model NAME]

Real pages that are kept aside, and N drawn ones, are turned to the left by no, one, two and three quarters, without a
word about it in the file. A row tells of how many the way up was known, and the mean F1 of the marks at IoU .5.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
from collections.abc import Sequence

import numpy as np
from tqdm import tqdm

from backend.geometry import turned_left
from backend.settings import Settings
from backend.vision.network_config import MARKS
from benchmarks.scoring import Score
from benchmarks.truth import TruePage, drawn_pages, real_pages
from benchmarks.ways import pipeline_of

__all__ = ["main"]

SUBSET = "page_full"
_FIRST_SEED = 500_000
_ROW = "{:<22}{:>8}{:>9}{:>16}{:>9}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Looks at all pages from all sides, and prints a row for each set and side."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--drawn", type=int, default=30, help="drawn pages (%(default)s)")
    parser.add_argument("--model", help="as MODEL")
    args = parser.parse_args(arguments)
    pipeline = pipeline_of(Settings.from_environment(os.environ, model=args.model))
    print(f"{pipeline.version}, at a confidence of {pipeline.config.confidence}")
    print(_ROW.format("pages", "number", "turned", "way up known", "mean F1"))
    sets = {
        SUBSET: [page for page in real_pages(SUBSET) if page.side == "gold"],
        "drawn": list(drawn_pages(range(_FIRST_SEED, _FIRST_SEED + args.drawn))),
    }
    for name, pages in sets.items():
        labels = [label for label in MARKS if any(mark.label == label for page in pages for mark in page.marks)]
        for turns in range(4 if pages else 0):
            score, known = Score(0.5), 0
            for page in tqdm(pages, desc=f"{name}, {turns}", disable=None, leave=False):
                turned = _turned(page, turns)
                candidates = pipeline.detector(turned.pixels, turned.dpi)
                known += candidates.turns == turns
                marks = pipeline.marks_among(turned.pixels, candidates)
                score.add(turned, marks.boxes, marks.names, marks.scores)
            share = f"{known / len(pages):.1%}"
            print(_ROW.format(name, len(pages), turns, share, f"{score.mean_f1(labels):.3f}"), flush=True)


def _turned(page: TruePage, turns: int) -> TruePage:
    """The page turned to the left by so many quarters, and all that is known of it with it."""
    height, width = page.pixels.shape[:2]
    marks = [
        dataclasses.replace(mark, box=tuple(turned_left(np.array([mark.box]), turns, width=width, height=height)[0]))
        for mark in page.marks
    ]
    return dataclasses.replace(
        page,
        pixels=np.ascontiguousarray(np.rot90(page.pixels, turns)),
        marks=tuple(marks),
        ignored=turned_left(page.ignored, turns, width=width, height=height),
    )


if __name__ == "__main__":
    main()
