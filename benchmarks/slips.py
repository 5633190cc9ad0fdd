"""What one slip of an annotator costs on other documents: a right mark deleted or renamed, and recalled elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backend.corrections.likeness import Look, look_at
from backend.corrections.recall import Remembered, Voter, follow, unit
from backend.geometry import Boxes, as_boxes, iou
from backend.vision.candidates import Candidates
from backend.vision.classifier import Classification
from backend.vision.network_config import CLASSES, MARKS, NONE
from backend.vision.pipeline import Marks, Pipeline
from benchmarks.truth import Mark, TruePage

__all__ = ["KINDS", "SlipPage", "SlipRow", "looked_at", "measure_slips"]

KINDS = ("deleted", "renamed")
_RIGHT_PLACE = 0.5
_RENAMED = {"signature": "stamp", "stamp": "signature", "thumb": "stamp"}


@dataclass(frozen=True, kw_only=True, eq=False)
class SlipPage:
    """A page of a document of its own, without its pixels.

    Attributes:
        looks: A picture of each candidate.
        shown: What the pipeline shows without recall.
        shown_looks: A picture of each of these.
        right: For each of them the index of the mark that it finds under its own name; −1 where it finds none.
    """

    document: str
    marks: tuple[Mark, ...]
    candidates: Candidates
    found: Classification
    looks: tuple[Look, ...]
    shown: Marks
    shown_looks: tuple[Look, ...]
    right: NDArray[np.intp]


@dataclass(frozen=True, kw_only=True)
class SlipRow:
    """What slips with marks of one class cost.

    Attributes:
        label: The class that the slips befell.
        kind: deleted or renamed.
        slips: How many were tried, one at a time.
        marks: Right marks on other documents, over all slips, by class.
        lost: How many of them are lost, or bear another name.
        worst: Largest share of one class's marks that one slip took.
    """

    label: str
    kind: str
    slips: int
    marks: dict[str, int]
    lost: dict[str, int]
    worst: float


def looked_at(pages: Iterable[TruePage], pipeline: Pipeline) -> Iterator[SlipPage]:
    """Looks at pages, one of each document."""
    seen: set[str] = set()
    for page in pages:
        if page.document in seen:
            continue
        seen.add(page.document)
        candidates = pipeline.detector(page.pixels, page.dpi)
        found = pipeline.classified(page.pixels, candidates)
        shown = pipeline.judge(candidates, found)
        yield SlipPage(
            document=page.document,
            marks=page.marks,
            candidates=candidates,
            found=found,
            looks=_looks(page.pixels, candidates.boxes),
            shown=shown,
            shown_looks=_looks(page.pixels, shown.boxes),
            right=_right(shown, page.marks),
        )


def measure_slips(pipeline: Pipeline, pages: Sequence[SlipPage], *, distance: float, most: int) -> Iterator[SlipRow]:
    """One row for each class and kind of slip; of each, `most` slips at most, spread over the pages.

    The other marks of a slip's page are accepted, as an annotator who submits the page accepts them.
    """
    for label in MARKS:
        places = [
            (page, place)
            for page in pages
            for place in range(len(page.shown))
            if page.right[place] >= 0 and page.shown.names[place] == label
        ]
        chosen = [places[n] for n in np.linspace(0, len(places) - 1, min(most, len(places))).round().astype(int)]
        for kind in KINDS:
            marks, lost, worst = dict.fromkeys(MARKS, 0), dict.fromkeys(MARKS, 0), 0.0
            for page, place in chosen:
                memory = _taught(page, place, CLASSES[NONE] if kind == "deleted" else _RENAMED[label])
                had, gone = _cost(pipeline, memory, (one for one in pages if one is not page), distance=distance)
                worst = max(worst, *(gone[name] / had[name] for name in MARKS if had[name]))
                for name in MARKS:
                    marks[name] += had[name]
                    lost[name] += gone[name]
            yield SlipRow(label=label, kind=kind, slips=len(chosen), marks=marks, lost=lost, worst=worst)


def _taught(page: SlipPage, slip: int, label: str) -> Remembered:
    """What a page teaches on which one right mark is mistaken and all others are accepted."""
    places = [place for place in range(len(page.shown)) if page.right[place] >= 0]
    looks = [page.shown_looks[place] for place in places]

    def voter(place: int) -> Voter:
        slips = place == slip
        return Voter(sample=f"1-{place}", label=label if slips else page.shown.names[place], acts=slips, weak=not slips)

    return Remembered(
        crops=tuple(f"1-{place}" for place in places),
        voters=tuple((voter(place),) for place in places),
        embeddings=unit(page.shown.embeddings[places]),
        looks=looks.__getitem__,
    )


def _cost(
    pipeline: Pipeline, memory: Remembered, pages: Iterable[SlipPage], *, distance: float
) -> tuple[dict[str, int], dict[str, int]]:
    """Right marks by class, and how many of them such a memory takes."""
    had, gone = dict.fromkeys(MARKS, 0), dict.fromkeys(MARKS, 0)
    for page in pages:
        before = {int(place) for place in page.right if place >= 0}
        verdicts = memory.recall(page.found.embeddings, page.looks.__getitem__, distance=distance)
        after = before
        if any(verdicts):
            marks = pipeline.judge(page.candidates, follow(page.found, page.candidates.boxes, verdicts))
            after = {int(place) for place in _right(marks, page.marks)}
        for place in before:
            had[page.marks[place].label] += 1
            gone[page.marks[place].label] += place not in after
    return had, gone


def _right(shown: Marks, marks: Sequence[Mark]) -> NDArray[np.intp]:
    """For each shown mark the true one of its name at IoU .5 or more; −1 where there is none."""
    if not len(marks):
        return np.full(len(shown), -1, np.intp)
    overlaps = iou(shown.boxes, as_boxes([mark.box for mark in marks]))
    same = np.array([[name == mark.label for mark in marks] for name in shown.names]).reshape(overlaps.shape)
    overlaps = np.where(same, overlaps, 0)
    return np.where(overlaps.max(axis=1) >= _RIGHT_PLACE, overlaps.argmax(axis=1), -1)


def _looks(pixels: NDArray[np.uint8], boxes: Boxes) -> tuple[Look, ...]:
    return tuple(look_at(pixels, box) for box in boxes)
