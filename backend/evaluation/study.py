"""Runs a pipeline on known pages: what it shows, which box is on which true mark, and what it calls the true boxes."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from backend.corrections.crop_store import fingerprint
from backend.errors import EvaluationError
from backend.evaluation.truth import TruePage, Truth
from backend.geometry import Boxes, coverage, iou
from backend.pages.source import ENOUGH_DPI, from_path
from backend.vision.network_config import MARKS

if TYPE_CHECKING:
    from backend.pages.page import Page
    from backend.settings import Settings
    from backend.vision.pipeline import Marks, Pipeline

__all__ = [
    "BACKGROUND",
    "LOW_BAR",
    "NOBODY",
    "FoundMarks",
    "Match",
    "Run",
    "Study",
    "fingerprints",
    "match",
    "pixels_of",
    "race",
    "shown_scores",
    "study",
    "take",
]

BACKGROUND = len(MARKS)
"""Row of the confusion matrix for boxes on nothing, and column for marks without a box."""
NOBODY = -1
_IGNORED = 0.5
"""Share of a box inside regions that do not count, above which the box does not count either."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FoundMarks:
    """What a pipeline found on a page.

    Attributes:
        boxes: (N, 4) xyxy pixels.
        labels: (N,) index into `MARKS`.
        scores: (N,) probability of the label.
    """

    boxes: Boxes
    labels: NDArray[np.intp]
    scores: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.boxes)


@dataclass(frozen=True, kw_only=True, eq=False)
class Match:
    """The verdict on N boxes over T marks at one IoU.

    Attributes:
        mark: (N,) the true mark that each box rightly names, else `NOBODY`.
        misnamed: (N,) the true mark that each box reaches under a wrong name, else `NOBODY`.
        ignored: (N,) whether the box lies on something that does not count.
        called: (T,) what each mark was called, an index into `MARKS`, `BACKGROUND` where no box reaches it.
        confusion: (4, 4) counts; rows are the truth, columns what was shown; the last of each is background.
    """

    mark: NDArray[np.intp]
    misnamed: NDArray[np.intp]
    ignored: NDArray[np.bool_]
    called: NDArray[np.intp]
    confusion: NDArray[np.int64]

    @property
    def right(self) -> NDArray[np.bool_]:
        """(N,) whether each box is on a mark of its name."""
        return np.asarray(self.mark != NOBODY)


def match(page: TruePage, found: FoundMarks, threshold: float) -> Match:
    """Judges what was found on a page.

    By falling score each box takes the free mark of its own class that it overlaps most, at IoU `threshold` or more. Of
    the boxes left over, those on ignored regions do not count; the others take, in the same way, a mark left over of
    another class. What is then left is a box on background, or a missed mark.
    """
    overlap = iou(found.boxes, page.boxes)
    order = np.argsort(-found.scores, kind="stable")
    free = np.ones(len(page), bool)
    same = found.labels[:, None] == page.labels[None, :]
    mark = take(overlap, same, order, free, threshold)
    ignored = (mark == NOBODY) & (coverage(found.boxes, page.ignored).max(axis=1, initial=0) >= _IGNORED)
    rest = order[(mark[order] == NOBODY) & ~ignored[order]]
    misnamed = take(overlap, ~same, rest, free, threshold)
    called = np.full(len(page), BACKGROUND, np.intp)
    reached = np.where(mark != NOBODY, mark, misnamed)
    called[reached[reached != NOBODY]] = found.labels[reached != NOBODY]
    confusion = np.zeros((BACKGROUND + 1, BACKGROUND + 1), np.int64)
    np.add.at(confusion, (page.labels, called), 1)
    np.add.at(confusion, (BACKGROUND, found.labels[(reached == NOBODY) & ~ignored]), 1)
    return Match(mark=mark, misnamed=misnamed, ignored=ignored, called=called, confusion=confusion)


def take(
    overlap: NDArray[np.float64],
    allowed: NDArray[np.bool_],
    order: NDArray[np.intp],
    free: NDArray[np.bool_],
    threshold: float,
) -> NDArray[np.intp]:
    """The mark that each box gets, (N,): in `order`, the free and allowed one that it overlaps most.

    Args:
        overlap: (N, T) IoU of every pair.
        allowed: (N, T) which pairs may be.
        order: Boxes in the order of their turn; those not named get `NOBODY`.
        free: (T,) which marks are still to be had; those taken are crossed out in place.
        threshold: Least IoU.
    """
    taken = np.full(len(overlap), NOBODY, np.intp)
    if not free.size:
        return taken
    for index in order:
        open_to_it = np.where(allowed[index] & free, overlap[index], -1.0)
        best = int(open_to_it.argmax())
        if open_to_it[best] >= threshold:
            taken[index] = best
            free[best] = False
    return taken


LOW_BAR = 0.01
"""Lowest probability for curves and mAP, which try every threshold; a higher threshold of a class's own still holds."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """What one pipeline shows on known pages.

    Attributes:
        version: The pipeline's.
        truth: The pages.
        shown: What an annotator would see, page by page.
        milliseconds: (P, R) times of each page's prediction, from pixels to marks, in each of R rounds.
    """

    version: str
    truth: Truth
    shown: tuple[FoundMarks, ...]
    milliseconds: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Study:
    """A run, and a closer look.

    Attributes:
        run: What is shown.
        ranked: What is found with the bar at `LOW_BAR`, page by page.
        named: Probabilities (T, 4) over `CLASSES` of the crops of the true boxes, page by page.
    """

    run: Run
    ranked: tuple[FoundMarks, ...]
    named: tuple[NDArray[np.float64], ...]


def study(pipeline: Pipeline, truth: Truth, settings: Settings) -> Study:
    """Looks at every page, with a progress bar on a terminal.

    Raises:
        PageError: An image cannot be read.
        EvaluationError: An image has not the size that its boxes were drawn on.
    """
    shown, ranked, named, times = [], [], [], []
    for number, known in enumerate(_bar(truth)):
        page = pixels_of(known, settings, enough=ENOUGH_DPI)
        if number == 0:
            pipeline.marks(page)  # the first prediction also sets up the network's memory: not to be timed
        marks, took = _timed(pipeline, page)
        shown.append(_found(marks))
        times.append(took)
        ranked.append(_found(pipeline.marks(page, confidence=LOW_BAR)))
        named.append(pipeline.classifier.classify(page.pixels, known.boxes * page.scale).probabilities)
    run = Run(version=pipeline.version, truth=truth, shown=tuple(shown), milliseconds=np.array(times)[:, np.newaxis])
    return Study(run=run, ranked=tuple(ranked), named=tuple(named))


def race(
    champion: Pipeline, challenger: Pipeline, truth: Truth, settings: Settings, *, twice: bool = True
) -> tuple[Run, Run]:
    """Both run on each page, in the order A B B A and then B A A B. So whatever else the machine does slows both alike.

    The time of a page is the shorter of two.

    Args:
        champion: One of them.
        challenger: The other one.
        truth: The pages.
        settings: Limits for reading them.
        twice: Whether each runs twice on a page; once will do where nobody asks which one is faster.

    Raises:
        PageError: An image cannot be read.
        EvaluationError: An image has not the size that its boxes were drawn on.
    """
    runners = (champion, challenger)
    shown: tuple[list[FoundMarks], list[FoundMarks]] = ([], [])
    times = np.full((2, len(truth.pages), 1), np.inf)
    for number, known in enumerate(_bar(truth)):
        page = pixels_of(known, settings, enough=ENOUGH_DPI)
        if number == 0:
            for runner in runners:
                runner.marks(page)
        order = (0, 1, 1, 0) if number % 2 == 0 else (1, 0, 0, 1)
        for side in order if twice else order[:2]:
            marks, took = _timed(runners[side], page)
            times[side, number] = min(took, times[side, number, 0])
            if len(shown[side]) == number:
                shown[side].append(_found(marks))
    first, second = (
        Run(version=runner.version, truth=truth, shown=tuple(found), milliseconds=times[side])
        for side, (runner, found) in enumerate(zip(runners, shown, strict=True))
    )
    return first, second


def shown_scores(
    run: Run, matches: Sequence[Match]
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.float64], NDArray[np.intp]]:
    """Of all shown boxes that count: score, whether right, squared error, index of the document; (N,) each."""
    places = {name: place for place, name in enumerate(run.truth.documents)}
    counted = [~one.ignored for one in matches]
    scores = np.concatenate([found.scores[keep] for found, keep in zip(run.shown, counted, strict=True)])
    right = np.concatenate([one.right[keep] for one, keep in zip(matches, counted, strict=True)])
    document = np.concatenate(
        [np.full(keep.sum(), places[page.document]) for page, keep in zip(run.truth.pages, counted, strict=True)]
    )
    return scores, right, (scores - right) ** 2, document.astype(np.intp)


def fingerprints(truth: Truth, settings: Settings) -> tuple[str, ...]:
    """SHA-256 of the pixels of each page, by which the ledger and data sets know it.

    Raises:
        PageError: An image cannot be read.
        EvaluationError: An image has not the size that its boxes were drawn on.
    """
    return tuple(fingerprint(pixels_of(page, settings).pixels) for page in truth.pages)


def pixels_of(known: TruePage, settings: Settings, *, enough: float | None = None) -> Page:
    """The page's pixels.

    Args:
        known: The page.
        settings: Limits.
        enough: Dots an inch that are needed, as when a server looks at it; all there are when `None`.

    Raises:
        PageError: The image cannot be read.
        EvaluationError: It has not the size that its boxes were drawn on.
    """
    page = next(from_path(known.path, settings, pages=slice(0, 1), enough=enough))
    if known.size is not None and known.size != (page.width, page.height):
        raise EvaluationError(
            f"{known.name} is {page.width} x {page.height} px upright, but its boxes were drawn on "
            f"{known.size[0]} x {known.size[1]} px: annotate the image as it is shown, or scale the boxes"
        )
    return page


def _timed(pipeline: Pipeline, page: Page) -> tuple[Marks, float]:
    began = time.perf_counter()
    marks = pipeline.marks(page)
    return marks, 1000 * (time.perf_counter() - began)


def _found(marks: Marks) -> FoundMarks:
    return FoundMarks(boxes=marks.boxes, labels=marks.labels, scores=marks.scores)


def _bar(truth: Truth) -> Iterator[TruePage]:
    with tqdm(truth.pages, unit="page", disable=None, file=sys.stderr) as pages:
        yield from pages
