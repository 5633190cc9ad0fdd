"""What is made of the pages that people had trouble with: right, missed and false marks of each.

Usage: python -m benchmarks.cases [--folder DIR] [--model NAME]

The folder holds pictures and `truth.json`: by picture its marks, a class and a box in pixels each, or null where they
do not matter. A mark is right at IoU .5.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from backend.errors import BackendError
from backend.pages.page import Limits, Page
from backend.pages.source import ENOUGH_DPI, decode
from backend.settings import Settings
from benchmarks.scoring import Score
from benchmarks.truth import REALDATA, Mark, TruePage
from benchmarks.ways import pipeline_of

__all__ = ["main"]

CASES = REALDATA.parent / "cases"
_PDF_DPI = 200
_ROW = "{:<52}{:>7}{:>8}{:>8}  {}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Looks at every picture, and prints a row for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=CASES, help="pictures, and truth.json (%(default)s)")
    parser.add_argument("--model", help="as MODEL")
    args = parser.parse_args(arguments)
    settings = Settings.from_environment(os.environ, model=args.model)
    pipeline = pipeline_of(settings)
    print(f"{pipeline.version}, at a confidence of {settings.confidence}")
    print(_ROW.format("", "right", "missed", "false", "shown"))
    total = Score(0.5)
    for name, marks in _cases(args.folder):
        try:
            page = _read(args.folder / name)
        except BackendError as error:
            print(f"{name:<52}  not read: {error}")
            continue
        found = pipeline.marks(page)
        shown = ", ".join(f"{label} {score:.2f}" for label, score in zip(found.names, found.scores, strict=True))
        own = Score(0.5)
        for score in (own, total):
            score.add(_known(page, marks), found.boxes * page.scale, found.names, found.scores)
        print(_ROW.format(name, *_counts(own), shown))
    print(_ROW.format("all", *_counts(total), ""))


def _cases(folder: Path) -> Iterator[tuple[str, tuple[Mark, ...]]]:
    for name, marks in json.loads((folder / "truth.json").read_text(encoding="utf-8")).items():
        if marks is not None:
            yield name, tuple(Mark(label=label, box=tuple(box)) for label, box in marks)


def _known(page: Page, marks: Sequence[Mark]) -> TruePage:
    """The page with its marks, whose boxes are of the file, as boxes of its pixels: large files are read smaller."""
    small = (dataclasses.replace(mark, box=tuple((np.array(mark.box) * page.scale).tolist())) for mark in marks)
    name = page.reference
    return TruePage(name=name, document=name, pixels=page.pixels, dpi=page.pixels_dpi, marks=tuple(small))


def _read(path: Path) -> Page:
    limits = Limits.of(Settings())
    return next(decode(path.read_bytes(), reference=path.name, limits=limits, dpi=_PDF_DPI, enough=ENOUGH_DPI))


def _counts(score: Score) -> tuple[int, int, int]:
    """Right, missed and false marks, of all classes."""
    return (
        sum(count for (_, group), count in score.right.items() if group == "all"),
        sum(count for (_, group), count in score.missed.items() if group == "all"),
        sum(count for (_, group), count in score.false.items() if group == "all"),
    )


if __name__ == "__main__":
    main()
