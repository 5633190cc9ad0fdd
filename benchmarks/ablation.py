"""What each of the two networks is worth: the detector alone, the classifier alone, both, and spoilt classifiers.

Usage: python -m benchmarks.ablation [--subset SUBSET…]

The networks look at real pages. How much each one's word counts is fitted for every row by itself, on pages of the
validation side; the figures are of pages that are kept aside. In the last two rows the classifier is replaced, while
the fusion stays as it was fitted for the right one: by one that says anything, and by one that always says "signature".
So much would a broken classifier cost.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from backend.models.serving import Sources
from backend.settings import Settings
from backend.training.fusion import Opinions, fitted, opinions
from backend.training.harvest import KnownMarks
from backend.vision.classifier import Classification, load_classifier
from backend.vision.engine import Fusion
from backend.vision.finders import build_detector
from backend.vision.network_config import CLASSES, MARKS
from backend.vision.pipeline import PipelineConfig, fuse, select
from benchmarks.scoring import Score
from benchmarks.truth import TruePage, real_pages

__all__ = ["main"]

SUBSETS = ("page_full",)
_RANDOM = 1
_SURE = 0.97
_ROW = "{:<40}{:>14}{:>10}{:>9}{:>16}{:>12}{:>10}"

Spoil = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def main(arguments: Sequence[str] | None = None) -> None:
    """Fits, measures, and prints a row for each way of naming."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--subset", nargs="+", default=SUBSETS, help=f"of the real pages {SUBSETS}")
    parser.add_argument("--model", default="bundled", help="weights: bundled, auto, hub or a trained model's name")
    args = parser.parse_args(arguments)
    settings = Settings.from_environment(os.environ, model=args.model)
    weights = Sources.of(settings).at_once()
    detector = build_detector("model", weights.folder, threads=settings.model_threads)
    classifier = load_classifier(weights, threads=settings.model_threads)
    known = opinions(
        detector, classifier, ((page.pixels, page.dpi, _truth(page)) for page in _pages(args.subset, "validation"))
    )
    both = fitted(known.said, known.seen, known.truth)
    rows: dict[str, tuple[Fusion, Spoil]] = {
        "both": (both, _as_it_is),
        "detector alone": (_without(known, said=True), _as_it_is),
        "classifier alone": (_without(known, seen=True), _as_it_is),
        "both, classifier at random": (both, _anything),
        "both, classifier always says signature": (both, _always_signature),
    }
    scores = {name: Score(0.5) for name in rows}
    config, bar = PipelineConfig(), np.maximum(classifier.thresholds, settings.confidence)
    pages = 0
    for page in _pages(args.subset, "gold"):
        pages += 1
        candidates = detector(page.pixels, page.dpi)
        found: Classification = classifier.classify(page.pixels, candidates.boxes)
        for name, (fusion, spoil) in rows.items():
            probabilities = fuse(spoil(found.probabilities), candidates.heat, fusion)
            kept = select(candidates.boxes, probabilities, bar, config)
            labels = probabilities[kept][:, : len(MARKS)].argmax(axis=1)
            names = [MARKS[label] for label in labels]
            scores[name].add(page, candidates.boxes[kept], names, probabilities[kept, labels])
    print(f"{classifier.version}: fitted on {len(known.truth)} candidates, measured on {pages} pages, IoU .5")
    print(_ROW.format("", "signature F1", "stamp F1", "mean F1", "95 %", "classifier", "detector"))
    for name, (fusion, _) in rows.items():
        print(_row(name, scores[name], fusion))


def _row(name: str, score: Score, fusion: Fusion) -> str:
    figures = (*(score.row(label)[2] for label in MARKS[:2]), score.mean_f1(MARKS[:2]))
    low, high = score.f1_interval(MARKS[:2])
    interval = "" if low is None else f"{low:.3f} to {high:.3f}"
    cells = ("" if one is None else f"{one:.3f}" for one in figures)
    return _ROW.format(name, *cells, interval, f"{fusion.classified:.2f}", f"{fusion.seen:.2f}")


def _pages(subsets: Sequence[str], side: str) -> Iterator[TruePage]:
    for subset in subsets:
        yield from tqdm(
            (page for page in real_pages(subset) if page.side == side), unit="page", desc=side, disable=None
        )


def _truth(page: TruePage) -> KnownMarks:
    return KnownMarks(boxes=page.boxes, labels=tuple(mark.label for mark in page.marks), ignored=page.ignored)


def _without(known: Opinions, *, said: bool = False, seen: bool = False) -> Fusion:
    """The fusion where one of the networks has nothing to say, while fitting and after."""
    fusion = fitted(known.said * (not said), known.seen * (not seen), known.truth)
    return dataclasses.replace(fusion, classified=0.0) if said else dataclasses.replace(fusion, seen=0.0)


def _as_it_is(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    return probabilities


def _anything(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """As sure as the right one, of anything: each row's probabilities in another order."""
    return np.asarray(np.random.default_rng(_RANDOM).permuted(probabilities, axis=1))


def _always_signature(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    found = np.full_like(probabilities, (1 - _SURE) / (len(CLASSES) - 1))
    found[:, CLASSES.index("signature")] = _SURE
    return found


if __name__ == "__main__":
    main()
