"""Rough boxes as annotators draw them with Auto-Annotation, and how well what comes back fits the mark.

    python -m benchmarks.interactive [--drawn N] [--real DIR] [--pages N] [--model NAME] [--json]

Around each true mark a rough box is drawn, several times, with more and more room: each side lies about that share of
the mark's side away from it, now nearer and now further. The answer is judged by its IoU with the true box, beside that
of the rough box. `worse` is the share of answers that fit the mark worse than the rough box by more than .05.

Rough boxes that cut the mark, by about as much at each side, are told apart: the best that can come back is what was
drawn.

Drawn pages have seeds that no training has. `--real DIR` takes a folder with a `manifest.json`, as training does, and
of it the whole pages of documents that nothing was trained on.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import chain, islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from backend.geometry import Boxes, as_boxes, iou
from backend.pages.page import Page
from backend.settings import Settings
from backend.vision.candidates import Candidates
from backend.vision.network_config import MARKS
from backend.vision.pipeline import Pipeline
from benchmarks.truth import TruePage, drawn_pages, real_pages
from benchmarks.ways import pipeline_of

__all__ = ["CUTS", "ROOMS", "Answer", "Row", "rough_boxes", "rows_of"]

FIRST_SEED = 30_000
ROOMS = (0.05, 0.1, 0.2, 0.35, 0.5)
CUTS = (-0.05, -0.1, -0.15)
_UNEVEN = (0.5, 1.5)
_WORSE = 0.05


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came back for one rough box.

    Attributes:
        label: Class of the mark.
        room: About how far the rough box goes beyond the mark, as a share of its side; below 0 where it cuts the mark.
        drawn: IoU of the rough box with the mark.
        found: IoU of the answer with the mark.
    """

    label: str
    room: float
    drawn: float
    found: float


@dataclass(frozen=True, kw_only=True)
class Row:
    """Answers put together.

    Attributes:
        name: A class, a room, or `all`, which leaves out those that cut the mark; so do the classes.
        boxes: How many rough boxes.
        drawn: Mean IoU of the rough boxes.
        found: Mean IoU of the answers.
        worse: Share of the answers that are worse than drawn by more than .05.
        least: The worst change of the IoU.
    """

    name: str
    boxes: int
    drawn: float
    found: float
    worse: float
    least: float


class Remembering:
    """A detector that looks at a page once, however often it is asked."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._inner = pipeline.detector
        self.name, self.facts, self.fusion = self._inner.name, self._inner.facts, self._inner.fusion
        self._seen: tuple[NDArray[np.uint8], Candidates] | None = None

    def __call__(self, pixels: NDArray[np.uint8], dpi: float | None = None) -> Candidates:
        """The candidates of a page (H, W, 3)."""
        if self._seen is None or self._seen[0] is not pixels:
            self._seen = pixels, self._inner(pixels, dpi)
        return self._seen[1]

    def second_look(
        self, pixels: NDArray[np.uint8], boxes: Boxes, labels: NDArray[np.intp], *, dpi: float | None, times: int
    ) -> Boxes:
        """What the refiner makes of the boxes (N, 4)."""
        return self._inner.second_look(pixels, boxes, labels, dpi=dpi, times=times)


def rough_boxes(
    box: tuple[float, float, float, float],
    *,
    width: int,
    height: int,
    seed: list[int],
    rooms: tuple[float, ...] = ROOMS,
) -> Iterator[tuple[float, NDArray[np.float64]]]:
    """A rough box (4,) about a mark for each of some rooms, in pixels of the page; the same for the same seed."""
    uneven = np.random.default_rng(seed)
    sides = np.tile(np.subtract(box[2:], box[:2]), 2)
    for room in rooms:
        grown = np.array(box) + np.array([-1.0, -1.0, 1.0, 1.0]) * sides * room * uneven.uniform(*_UNEVEN, 4)
        yield room, np.clip(grown, 0, [width, height, width, height])


def answers(pipeline: Pipeline, pages: Iterable[TruePage]) -> Iterator[Answer]:
    """The answers to all rough boxes on some pages."""
    looking = Pipeline(Remembering(pipeline), pipeline.classifier, pipeline.config)
    for number, page in enumerate(pages):
        height, width = page.pixels.shape[:2]
        shown = Page(pixels=page.pixels, reference=page.name, index=0, dpi=page.dpi)
        for place, mark in enumerate(page.marks):
            truth = as_boxes([mark.box])
            cut = rough_boxes(mark.box, width=width, height=height, seed=[number, place, len(ROOMS)], rooms=CUTS)
            for room, rough in chain(rough_boxes(mark.box, width=width, height=height, seed=[number, place]), cut):
                drawn = as_boxes([rough])
                found = looking.refine(shown, drawn, meant=[MARKS.index(mark.label)])
                yield Answer(
                    label=mark.label,
                    room=room,
                    drawn=float(iou(drawn, truth)[0, 0]),
                    found=float(iou(found.boxes, truth)[0, 0]),
                )


def rows_of(found: list[Answer]) -> list[Row]:
    """One row for all, for each class, and for each room."""
    whole = [one for one in found if one.room > 0]
    groups = {"all": whole}
    groups |= {mark: [one for one in whole if one.label == mark] for mark in MARKS}
    groups |= {f"room {room:g}": [one for one in found if one.room == room] for room in ROOMS}
    groups |= {f"cut {-room:g}": [one for one in found if one.room == room] for room in CUTS}
    rows = []
    for name, some in groups.items():
        if not some:
            continue
        changes = np.array([one.found - one.drawn for one in some])
        rows.append(
            Row(
                name=name,
                boxes=len(some),
                drawn=float(np.mean([one.drawn for one in some])),
                found=float(np.mean([one.found for one in some])),
                worse=float((changes < -_WORSE).mean()),
                least=float(changes.min()),
            )
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--drawn", type=int, default=40, metavar="N", help="drawn pages (40; 0: none)")
    parser.add_argument("--real", type=Path, metavar="DIR", help="a folder of real pages with its manifest.json")
    parser.add_argument("--pages", type=int, default=40, metavar="N", help="real pages at most (40)")
    parser.add_argument("--model", help="as MODEL")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of the tables")
    args = parser.parse_args()
    settings = Settings.from_environment(os.environ, model=args.model)
    pipeline = pipeline_of(settings)
    kinds: dict[str, Iterable[TruePage]] = {}
    if args.drawn:
        kinds["drawn"] = drawn_pages(range(FIRST_SEED, FIRST_SEED + args.drawn))
    if args.real:
        aside = (page for page in real_pages("page_full", args.real) if page.held_out and page.marks)
        kinds["real"] = islice(aside, args.pages)
    found = {
        kind: rows_of(list(answers(pipeline, tqdm(pages, unit="page", disable=None, file=sys.stderr))))
        for kind, pages in kinds.items()
    }
    if args.json:
        print(
            json.dumps({"model_version": pipeline.version} | {k: [asdict(row) for row in v] for k, v in found.items()})
        )
        return
    print(pipeline.version)
    for kind, rows in found.items():
        print(f"\n{kind} pages\n{'':<12}{'boxes':>6}{'drawn':>8}{'found':>8}{'worse':>8}{'least':>8}")
        for row in rows:
            print(f"{row.name:<12}{row.boxes:>6}{row.drawn:>8.3f}{row.found:>8.3f}{row.worse:>8.1%}{row.least:>+8.2f}")


if __name__ == "__main__":
    main()
