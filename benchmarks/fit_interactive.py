"""Fits what speaks for a box in a rough box: the weights of `backend.vision.rough_boxes`.

    python -m benchmarks.fit_interactive [--drawn N] [--real DIR] [--pages N] [--model NAME]

Rough boxes are drawn about true marks as `benchmarks.interactive` draws them, on other pages: drawn ones of other
seeds, and real ones of documents that trainings may see. Of each rough box's rivals one is to be chosen. Under the
weights that come out, the IoU of the chosen one with the mark is the highest, each rival chosen with the probability
that a softmax gives it. A rival that is worse than the rough box by more than .05 counts as worse still.

Prints the weights, to be copied, and the mean IoU on every fourth page, which a first fit leaves out.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import softmax
from tqdm import tqdm

from backend.geometry import as_boxes, iou
from backend.settings import Settings
from backend.vision.network_config import MARKS
from backend.vision.pipeline import Pipeline, fuse
from backend.vision.rough_boxes import proposed_in, rivals
from benchmarks.interactive import Remembering, rough_boxes
from benchmarks.truth import TruePage, drawn_pages, real_pages
from benchmarks.ways import pipeline_of

FIRST_SEED = 31_000
_RIDGE, _SHARPNESS, _DECAY = 0.1, 8.0, 2e-4
_WORSE, _MOST_WORSE, _PENALTY = 0.05, 0.3, 2.0
_HELD_OUT = 4


@dataclass(frozen=True, kw_only=True, eq=False)
class Choice:
    """The rivals in one rough box.

    Attributes:
        evidence: (N, F) what speaks for each.
        fit: (N,) IoU of each with the mark.
        drawn: IoU of the rough box with the mark.
    """

    evidence: NDArray[np.float64]
    fit: NDArray[np.float64]
    drawn: float


def choices(pipeline: Pipeline, page: TruePage, *, seed: int) -> Iterator[Choice]:
    """The rivals in all rough boxes about the marks of a page."""
    height, width = page.pixels.shape[:2]
    detector = Remembering(pipeline)
    for place, mark in enumerate(page.marks):
        truth = as_boxes([mark.box])
        for _, rough in rough_boxes(mark.box, width=width, height=height, seed=[seed, place]):
            label = MARKS.index(mark.label)
            candidates, _ = proposed_in(detector, page.pixels, page.dpi, as_boxes([rough]), [label])
            classified = pipeline.classifier.classify(page.pixels, candidates.boxes).probabilities
            some = rivals(
                page.pixels,
                rough,
                candidates=candidates.boxes,
                probabilities=fuse(classified, candidates.heat, detector.fusion)[:, label],
                inside=pipeline.config.inside,
            )
            if some is not None:
                fit = iou(some.boxes, truth)[:, 0]
                yield Choice(evidence=some.evidence, fit=fit, drawn=float(iou(as_boxes([rough]), truth)[0, 0]))


def fitted(known: list[Choice]) -> NDArray[np.float64]:
    """The weights: begun with those that foretell the IoU by least squares, and bettered from there (L-BFGS)."""
    evidence = np.concatenate([one.evidence for one in known])
    shares = np.concatenate([np.full(len(one.fit), 1 / len(one.fit)) for one in known])
    fit = np.concatenate([one.fit for one in known])
    middle, spread = evidence.mean(axis=0), evidence.std(axis=0) + 1e-6
    level = (evidence - middle) / spread
    weighed = level * shares[:, None]
    squares = weighed.T @ level + _RIDGE * np.eye(level.shape[1])
    start = _SHARPNESS * np.linalg.solve(squares, weighed.T @ (fit - np.average(fit, weights=shares)))
    levels = [(one.evidence - middle) / spread for one in known]
    worth = [one.fit - _PENALTY * np.clip(one.drawn - _WORSE - one.fit, 0, _MOST_WORSE) for one in known]

    def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """What is lost on average, and its slope."""
        value, slope = _DECAY / 2 * float(weights @ weights), _DECAY * weights
        for rows, gain in zip(levels, worth, strict=True):
            chances = softmax(rows @ weights)
            value -= float(chances @ gain) / len(levels)
            slope = slope - rows.T @ (chances * (gain - chances @ gain)) / len(levels)
        return value, slope

    return np.asarray(minimize(loss, start, jac=True, method="L-BFGS-B").x / spread)


def chosen(known: Iterable[Choice], weights: NDArray[np.float64]) -> float:
    """The mean IoU of what these weights choose."""
    return float(np.mean([one.fit[int((one.evidence @ weights).argmax())] for one in known]))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--drawn", type=int, default=40, metavar="N", help="drawn pages (40)")
    parser.add_argument("--real", type=Path, metavar="DIR", help="a folder of real pages with its manifest.json")
    parser.add_argument("--pages", type=int, default=60, metavar="N", help="real pages at most (60)")
    parser.add_argument("--model", help="as MODEL")
    args = parser.parse_args()
    settings = Settings.from_environment(os.environ, model=args.model)
    pipeline = pipeline_of(settings)
    pages: Iterable[TruePage] = drawn_pages(range(FIRST_SEED, FIRST_SEED + args.drawn))
    if args.real:
        seen = (page for page in real_pages("page_full", args.real) if page.marks and not page.held_out)
        pages = chain(pages, islice(seen, 0, 8 * args.pages, 8))
    known: list[list[Choice]] = [
        list(choices(pipeline, page, seed=number))
        for number, page in enumerate(tqdm(pages, unit="page", disable=None, file=sys.stderr))
    ]
    aside = [one for page in known[::_HELD_OUT] for one in page]
    rest = [one for number, page in enumerate(known) if number % _HELD_OUT for one in page]
    weights = fitted(rest)
    best = np.mean([one.fit.max() for one in aside])
    print(f"{len(rest)} rough boxes; {len(aside)} left out: {chosen(aside, weights):.3f}, at best {best:.3f}")
    print(", ".join(f"{one:.3g}" for one in fitted(rest + aside)))


if __name__ == "__main__":
    main()
