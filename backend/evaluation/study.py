"""Pages through a pipeline: what it shows, what it would show with a lower bar, and what it calls the true boxes."""

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
from backend.evaluation.matching import FoundMarks, Match
from backend.evaluation.truth import TruePage, Truth
from backend.pages.decode import ENOUGH_DPI
from backend.pages.source import from_path

if TYPE_CHECKING:
    from backend.pages.page import Page
    from backend.settings import Settings
    from backend.vision.pipeline import Marks, Pipeline

__all__ = ["LOW_BAR", "Run", "Study", "fingerprints", "pixels_of", "race", "shown_scores", "study"]

LOW_BAR = 0.01
"""Lowest probability for curves and mAP, which look at every bar; a class's own threshold above it still stands."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """What one pipeline shows on known pages.

    Attributes:
        version: The pipeline's.
        truth: The pages.
        shown: What an annotator would see, page by page.
        milliseconds: (P,) time of each page's prediction, from pixels to marks.
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
    run = Run(version=pipeline.version, truth=truth, shown=tuple(shown), milliseconds=np.array(times))
    return Study(run=run, ranked=tuple(ranked), named=tuple(named))


def race(champion: Pipeline, challenger: Pipeline, truth: Truth, settings: Settings) -> tuple[Run, Run]:
    """Both run on each page, in the order A B B A and then B A A B. So whatever else the machine does slows both alike.

    The time of a page is the shorter of two.

    Raises:
        PageError: An image cannot be read.
        EvaluationError: An image has not the size that its boxes were drawn on.
    """
    runners = (champion, challenger)
    shown: tuple[list[FoundMarks], list[FoundMarks]] = ([], [])
    times = np.full((2, len(truth.pages)), np.inf)
    for number, known in enumerate(_bar(truth)):
        page = pixels_of(known, settings, enough=ENOUGH_DPI)
        if number == 0:
            for runner in runners:
                runner.marks(page)
        for side in (0, 1, 1, 0) if number % 2 == 0 else (1, 0, 0, 1):
            marks, took = _timed(runners[side], page)
            times[side, number] = min(took, times[side, number])
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
