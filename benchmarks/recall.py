"""Repeated mistakes that recall avoids, and what it costs: the right marks, by class, that it or a slip takes.

    python -m benchmarks.recall [--companies N] [--pages N] [--seals] [--slips N] [--real N] [--model NAME] [--json]

Invented companies each send pages with the same logo and the same rubber stamp, pressed and scanned anew. An annotator
corrects the first page of every company: boxes on nothing are deleted, wrong names mended, missed marks added. The
other pages are then judged with and without the memory of those corrections; all companies share one memory.

Repeated mistakes are boxes on a logo that was deleted on the company's first page, and its stamp misnamed as it was
there. The cost is counted over every other box: right marks that recall loses or misnames, and wrong boxes that it
adds. A good network makes few such mistakes: `--seals` gives every company a printed seal for a logo, which the best
of them takes for a stamp until it is told. And the last two columns ask what recall could do for any: had each first
page's best candidate on the logo been shown and deleted, what share of the best candidates on the same logo of later
pages would be recognised, and what share of the candidates on true marks would be taken for a logo.

`--slips N` tries N slips of each class, one at a time: a right mark deleted, or renamed, on a page whose other marks
are accepted; lost are the right marks on N documents that have nothing to do with it, drawn ones and, with `--real N`,
real ones that may lie beside the project.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from backend.corrections.likeness import Look, look_at
from backend.corrections.recall import Remembered, Voter, follow, unit
from backend.geometry import Boxes, as_boxes, coverage, iou
from backend.settings import Settings
from backend.vision.candidates import Candidates
from backend.vision.classifier import Classification
from backend.vision.network_config import CLASSES, MARKS, NONE
from backend.vision.pipeline import Marks, Pipeline
from benchmarks.companies import CompanyPage, company_page
from benchmarks.slips import SlipRow, looked_at, measure_slips
from benchmarks.truth import drawn_pages, real_pages
from benchmarks.ways import pipeline_of

FIRST_SEED = 20_000
DISTANCES = (0.0, 0.02, 0.05, 0.08, 0.12, 0.2)
RIGHT_PLACE = 0.5
ON_LOGO = 0.5


@dataclass(frozen=True, kw_only=True, eq=False)
class Judged:
    """A page after detection and classification, before any memory."""

    company: int
    page: CompanyPage
    candidates: Candidates
    found: Classification

    @property
    def truth(self) -> Boxes:
        return as_boxes([box for _, box in self.page.marks])

    @property
    def boxes(self) -> Boxes:
        return self.candidates.boxes

    def looks(self, boxes: Boxes) -> tuple[Look, ...]:
        return tuple(look_at(self.page.pixels, box) for box in boxes)

    def labels_of(self, boxes: Boxes) -> list[str]:
        """What each box truly holds: the mark it answers to, else none."""
        overlaps = iou(boxes, self.truth)
        return [
            self.page.marks[int(row.argmax())][0] if len(row) and row.max() >= RIGHT_PLACE else CLASSES[NONE]
            for row in overlaps
        ]

    def best_on_logo(self) -> int | None:
        """The candidate that a box on the logo would be; None where there is none."""
        if self.page.logo is None or not len(self.boxes):
            return None
        overlaps = iou(self.boxes, as_boxes([self.page.logo]))[:, 0]
        return int(overlaps.argmax()) if overlaps.max() >= RIGHT_PLACE else None

    def mistake(self, truth: str, shown: str | None, *, on_logo: bool, on_stamp: bool) -> str | None:
        """What the same mistake would be called on another page; None where it is none, or belongs to this page."""
        if shown in {None, truth} or not (on_logo or on_stamp):
            return None
        return f"{truth} as {shown}" if on_stamp else "logo" if truth == CLASSES[NONE] else None

    def on_stamp(self, boxes: Boxes) -> NDArray[np.bool_]:
        """Which boxes are the company's stamp."""
        if self.page.stamp is None:
            return np.zeros(len(boxes), bool)
        return np.asarray(iou(boxes, as_boxes([self.page.stamp]))[:, 0] >= RIGHT_PLACE)

    def on_logo(self, boxes: Boxes) -> NDArray[np.bool_]:
        """Which boxes are about the company's logo: most of one lies in the other."""
        if self.page.logo is None:
            return np.zeros(len(boxes), bool)
        sign = as_boxes([self.page.logo])
        return np.asarray((coverage(boxes, sign)[:, 0] > ON_LOGO) | (coverage(sign, boxes)[0] > ON_LOGO))


@dataclass(frozen=True, kw_only=True)
class Row:
    """What one distance does.

    Attributes:
        repeated: Mistakes of the first pages that come back.
        right: True marks that are shown under their name.
        lost: Of those that are right without recall, how many are not any more.
        gained: True marks that are right with recall only.
        wrong: Boxes on nothing, or under a wrong name, that are no repeated mistakes.
        recognised: Share of the logos of later pages that are recognised, had each been deleted on the first.
        captured: Share of the candidates on true marks that would be taken for one of these logos.
    """

    distance: float
    repeated: int
    right: int
    lost: int
    gained: int
    wrong: int
    recognised: float
    captured: float


def judged(pipeline: Pipeline, company: int, number: int, *, seals: bool) -> Judged:
    page = company_page(company, number, seal=seals)
    candidates = pipeline.detector(page.pixels, page.dpi)
    found = pipeline.classifier.classify(page.pixels, candidates.boxes)
    return Judged(company=company, page=page, candidates=candidates, found=found)


@dataclass(frozen=True, kw_only=True, eq=False)
class Lesson:
    """What the annotator of a first page says of one mark: how it was shown, if it was, and what it is."""

    company: int
    shown: str | None
    label: str
    mistake: str | None
    embedding: NDArray[np.float32]
    look: Look


def correct(pipeline: Pipeline, one: Judged) -> Iterator[Lesson]:
    """One lesson for each box that was shown, and for each mark that was missed."""
    marks = pipeline.judge(one.candidates, one.found)
    missed = one.truth[iou(one.truth, marks.boxes).max(axis=1, initial=0) < RIGHT_PLACE]
    boxes = np.concatenate([marks.boxes, missed])
    embeddings = pipeline.classifier.classify(one.page.pixels, boxes).embeddings
    names: list[str | None] = [*marks.names, *[None] * len(missed)]
    on_logo, on_stamp, labels = one.on_logo(boxes), one.on_stamp(boxes), one.labels_of(boxes)
    for place, (shown, look) in enumerate(zip(names, one.looks(boxes), strict=True)):
        yield Lesson(
            company=one.company,
            shown=shown,
            label=labels[place],
            mistake=one.mistake(labels[place], shown, on_logo=on_logo[place], on_stamp=on_stamp[place]),
            embedding=embeddings[place],
            look=look,
        )


def delete_logo(one: Judged) -> Iterator[Lesson]:
    """What the annotator would teach whose first page shows a box on the logo: that it is none."""
    best = one.best_on_logo()
    if best is not None:
        yield Lesson(
            company=one.company,
            shown="stamp",
            label=CLASSES[NONE],
            mistake="logo",
            embedding=one.found.embeddings[best],
            look=one.looks(one.boxes[[best]])[0],
        )


def remember(lessons: list[Lesson]) -> Remembered:
    names = tuple(f"{lesson.company}-{place}" for place, lesson in enumerate(lessons))
    return Remembered(
        crops=names,
        voters=tuple((_voter(name, lesson),) for name, lesson in zip(names, lessons, strict=True)),
        embeddings=unit(np.array([lesson.embedding for lesson in lessons], np.float32)),
        looks=[lesson.look for lesson in lessons].__getitem__,
    )


def _voter(name: str, lesson: Lesson) -> Voter:
    corrects, confirms = lesson.shown not in {None, lesson.label}, lesson.shown == lesson.label
    return Voter(sample=name, label=lesson.label, acts=corrects, weak=confirms)


def right_marks(one: Judged, marks: Marks) -> set[int]:
    """Indices of the true marks that are shown under their name."""
    overlaps = iou(one.truth, marks.boxes)
    return {
        place
        for place, (label, _) in enumerate(one.page.marks)
        if any(overlaps[place, n] >= RIGHT_PLACE and name == label for n, name in enumerate(marks.names))
    }


def measure(
    pipeline: Pipeline,
    later: list[Judged],
    memory: Remembered,
    *,
    logos: Remembered,
    mistakes: set[tuple[int, str]],
) -> list[Row]:
    """One row for each distance.

    Args:
        pipeline: Selects the marks.
        later: Pages after the first of each company.
        memory: What the first pages taught.
        logos: What they would teach if each showed a box on its logo.
        mistakes: Company and kind of each mistake made on a first page: `logo`, or such as `stamp as signature`.
    """
    without = [right_marks(one, pipeline.judge(one.candidates, one.found)) for one in later]
    return [
        _row(pipeline, later, memory, logos=logos, mistakes=mistakes, without=without, distance=distance)
        for distance in DISTANCES
    ]


def _row(
    pipeline: Pipeline,
    later: list[Judged],
    memory: Remembered,
    *,
    logos: Remembered,
    mistakes: set[tuple[int, str]],
    without: list[set[int]],
    distance: float,
) -> Row:
    repeated = right = lost = gained = wrong = 0
    recognised: list[bool] = []
    captured: list[bool] = []
    for one, before in zip(later, without, strict=True):
        looks = one.looks(one.boxes)
        verdicts = memory.recall(one.found.embeddings, looks.__getitem__, distance=distance)
        marks = pipeline.judge(one.candidates, follow(one.found, one.boxes, verdicts))
        now = right_marks(one, marks)
        right, lost, gained = right + len(now), lost + len(before - now), gained + len(now - before)
        on_logo, on_stamp = one.on_logo(marks.boxes), one.on_stamp(marks.boxes)
        for place, truth in enumerate(one.labels_of(marks.boxes)):
            name = marks.names[place]
            known = (
                one.company,
                one.mistake(truth, name, on_logo=on_logo[place], on_stamp=on_stamp[place]),
            ) in mistakes
            repeated += truth != name and known
            wrong += truth != name and not known
        supposed = logos.recall(one.found.embeddings, looks.__getitem__, distance=distance)
        captured += [
            verdict is not None
            for truth, verdict in zip(one.labels_of(one.boxes), supposed, strict=True)
            if truth != CLASSES[NONE]
        ]
        best = one.best_on_logo()
        if best is not None:
            recognised.append(supposed[best] is not None)
    return Row(
        distance=distance,
        repeated=repeated,
        right=right,
        lost=lost,
        gained=gained,
        wrong=wrong,
        recognised=float(np.mean(recognised)) if recognised else 0.0,
        captured=float(np.mean(captured)) if captured else 0.0,
    )


def run(pipeline: Pipeline, *, companies: int, pages: int, seals: bool = False) -> tuple[list[Row], dict[str, int]]:
    """Draws, corrects and judges; gives the rows and how much was looked at."""
    lessons: list[Lesson] = []
    supposed: list[Lesson] = []
    later: list[Judged] = []
    with tqdm(total=companies * pages, unit="page", disable=None, file=sys.stderr) as bar:
        for company in range(companies):
            first = judged(pipeline, company, 0, seals=seals)
            lessons += correct(pipeline, first)
            supposed += delete_logo(first)
            bar.update()
            for number in range(1, pages):
                later.append(judged(pipeline, company, number, seals=seals))
                bar.update()
    mistakes = {(lesson.company, lesson.mistake) for lesson in lessons if lesson.mistake}
    counts = {"companies": companies, "pages": len(later), "corrections": len(lessons), "mistakes": len(mistakes)}
    return measure(pipeline, later, remember(lessons), logos=remember(supposed), mistakes=mistakes), counts


def slips(pipeline: Pipeline, *, pages: int, real: int, most: int, distance: float) -> dict[str, list[SlipRow]]:
    """What slips cost on drawn and on real documents."""
    found: dict[str, list[SlipRow]] = {}
    kinds = {"drawn": (drawn_pages(range(FIRST_SEED, FIRST_SEED + pages)), pages)}
    if real:
        kinds["real"] = (real_pages("page_full"), real)
    for name, (source, number) in kinds.items():
        seen = list(islice(looked_at(source, pipeline), number))
        found[name] = list(measure_slips(pipeline, seen, distance=distance, most=most))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--companies", type=int, default=16)
    parser.add_argument("--pages", type=int, default=5, help="pages of each company, the corrected one included")
    parser.add_argument("--seals", action="store_true", help="their logos are printed seals, which look like stamps")
    parser.add_argument("--slips", type=int, default=12, metavar="N", help="slips of each class and kind (12; 0: none)")
    parser.add_argument("--documents", type=int, default=60, metavar="N", help="drawn documents that slips could harm")
    parser.add_argument("--real", type=int, default=0, metavar="N", help="real documents that slips could harm (0)")
    parser.add_argument("--model", help="as MODEL")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of the tables")
    args = parser.parse_args()
    settings = Settings.from_environment(os.environ, model=args.model)
    pipeline = pipeline_of(settings)
    facts: dict[str, Any] = {"model_version": pipeline.version}
    if args.companies:
        rows, counts = run(pipeline, companies=args.companies, pages=args.pages, seals=args.seals)
        facts |= {**counts, "rows": [asdict(row) for row in rows]}
        if not args.json:
            print(", ".join(f"{number} {name}" for name, number in counts.items()) + f"; {pipeline.version}")
            _print_rows(rows)
    if args.slips:
        distance = settings.recall_distance
        found = slips(pipeline, pages=args.documents, real=args.real, most=args.slips, distance=distance)
        facts["slips"] = {name: [asdict(row) for row in rows] for name, rows in found.items()}
        if not args.json:
            for name, costs in found.items():
                _print_slips(name, costs, distance=distance)
    if args.json:
        print(json.dumps(facts))


def _print_rows(rows: list[Row]) -> None:
    print(
        f"{'distance':>8}{'repeated':>10}{'avoided':>9}{'right':>7}{'lost':>6}{'gained':>8}{'wrong':>7}"
        f"{'logos recognised':>18}{'marks captured':>16}"
    )
    for row in rows:
        avoided = f"{1 - row.repeated / rows[0].repeated:.0%}" if rows[0].repeated else "–"
        print(
            f"{row.distance:>8g}{row.repeated:>10}{avoided:>9}{row.right:>7}{row.lost:>6}{row.gained:>8}{row.wrong:>7}"
            f"{row.recognised:>18.1%}{row.captured:>16.1%}"
        )


def _print_slips(name: str, rows: list[SlipRow], *, distance: float) -> None:
    print(f"\nslips on {name} documents, at distance {distance:g}: lost of the right marks elsewhere")
    print(f"{'slip':<22}{'tried':>6}" + "".join(f"{label:>18}" for label in MARKS) + f"{'worst of one slip':>20}")
    for row in rows:
        cells = "".join(f"{f'{row.lost[label]} of {row.marks[label]}':>18}" for label in MARKS)
        print(f"{f'{row.label} {row.kind}':<22}{row.slips:>6}{cells}{row.worst:>20.1%}")


if __name__ == "__main__":
    main()
