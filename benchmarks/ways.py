"""The ways of finding marks that are compared, before one classifier; and what each does on a set of pages."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from backend.errors import ModelError
from backend.geometry import Boxes
from backend.models.serving import Sources, build_pipeline
from backend.settings import Settings
from backend.vision.candidates import Candidates
from backend.vision.classifier import load_classifier
from backend.vision.engine import Fusion
from backend.vision.finders import DETECTORS, build_detector
from backend.vision.network_config import MARKS
from backend.vision.pipeline import Marks, Pipeline, PipelineConfig
from backend.vision.weights import Weights
from benchmarks.hsv_baseline import hsv_boxes
from benchmarks.scoring import INKS, Score, recalled
from benchmarks.truth import TruePage

__all__ = ["HSV", "IOUS", "WAYS", "Seen", "Tally", "look", "pipeline_of", "pipelines"]

HSV = "hsv"
WAYS = (*DETECTORS, HSV)
IOUS = (0.5, 0.3, 0.75)
"""IoU from which a box is right: the usual one, where a person still takes it for found, and where nobody moves it."""


class HsvDetector:
    """The original model card's rules in the detector's place."""

    name = HSV
    facts: ClassVar[dict[str, str]] = {"rules": "fixed HSV"}
    fusion = Fusion()

    def __call__(self, pixels: NDArray[np.uint8], dpi: float | None = None) -> Candidates:
        """Gives the boxes of red and blue contours; all are equally likely."""
        del dpi
        boxes = hsv_boxes(pixels)
        return Candidates(boxes, np.ones(len(boxes)), np.zeros((len(boxes), len(MARKS))))

    def second_look(
        self, pixels: NDArray[np.uint8], boxes: Boxes, labels: NDArray[np.intp], *, dpi: float | None, times: int
    ) -> Boxes:
        """The boxes as they came."""
        del pixels, labels, dpi, times
        return boxes


def pipeline_of(settings: Settings) -> Pipeline:
    """The pipeline that serves by these settings; ends the program where there are no weights."""
    try:
        return build_pipeline(Sources.of(settings).at_once(), settings)
    except ModelError as error:
        raise SystemExit(f"no weights to measure with: {error}") from error


def pipelines(kinds: Sequence[str], weights: Weights, settings: Settings) -> dict[str, Pipeline]:
    """A pipeline for each of `kinds`, of `WAYS`; all have the same classifier."""
    classifier = load_classifier(weights, threads=settings.model_threads)
    config = PipelineConfig(confidence=settings.confidence)
    threads = settings.model_threads
    return {
        kind: Pipeline(
            HsvDetector() if kind == HSV else build_detector(kind, weights.folder, threads=threads), classifier, config
        )
        for kind in kinds
    }


@dataclass(frozen=True, eq=False)
class Seen:
    """What one way of finding makes of a page: the candidates' boxes, the marks, and the time from pixels to marks."""

    candidates: Boxes
    marks: Marks
    milliseconds: float


def look(page: TruePage, pipeline: Pipeline) -> Seen:
    """Finds and names one page's marks."""
    started = time.perf_counter()
    candidates = pipeline.detector(page.pixels, page.dpi)
    marks = pipeline.judge(candidates, pipeline.classified(page.pixels, candidates))
    return Seen(candidates.boxes, marks, 1000 * (time.perf_counter() - started))


@dataclass
class Tally:
    """What one way of finding does on one set of pages."""

    scores: dict[float, Score] = field(default_factory=lambda: {threshold: Score(threshold) for threshold in IOUS})
    proposed: dict[float, dict[tuple[str, str], list[bool]]] = field(
        default_factory=lambda: {threshold: defaultdict(list) for threshold in IOUS}
    )
    candidates: list[int] = field(default_factory=list)
    milliseconds: list[float] = field(default_factory=list)

    def add(self, page: TruePage, seen: Seen) -> None:
        """Counts what was seen on one page."""
        self.milliseconds.append(seen.milliseconds)
        self.candidates.append(len(seen.candidates))
        for threshold in IOUS:
            self.scores[threshold].add(page, seen.marks.boxes, seen.marks.names, seen.marks.scores)
            for mark, hit in zip(page.marks, recalled(page, seen.candidates, threshold), strict=True):
                for group in mark.groups:
                    self.proposed[threshold][mark.label, group].append(hit)

    def figures(self) -> dict[str, Any]:
        """The figures as plain JSON."""
        return {
            "pages": len(self.candidates),
            "candidates_a_page": float(np.mean(self.candidates)),
            "ms_a_page_median": float(np.median(self.milliseconds)),
            **{f"iou{threshold}": self._at(threshold) for threshold in IOUS},
        }

    def _at(self, threshold: float) -> dict[str, Any]:
        score = self.scores[threshold]
        keys = sorted(score.found, key=lambda key: MARKS.index(key[0]))
        there = list(dict.fromkeys(label for label, _ in keys))
        return {
            "classes": {label: _row(score, label, "all") for label in there},
            "by_ink": {
                f"{label}, {ink}": _row(score, label, ink) for label in there for ink in INKS if (label, ink) in keys
            },
            "macro_f1": score.mean_f1(there),
            "f1_of_signature_and_stamp": _mean_of_all(score, MARKS[:2]),
            "intervals": {
                **{label: score.f1_interval((label,)) for label in there},
                "signature and stamp": score.f1_interval(MARKS[:2]),
            },
            "mean_iou": {label: _mean(score.fits[label]) for label in there},
            "recall": _shares(score.found),
            "candidate_recall": _shares(self.proposed[threshold]),
            "false_boxes_a_page": _mean(score.false_a_page),
            "false_boxes_a_page_without_marks": _mean(score.false_on_empty),
            "pages_without_marks": len(score.false_on_empty),
        }


def _row(score: Score, label: str, group: str) -> dict[str, float | None]:
    return dict(zip(("precision", "recall", "f1"), score.row(label, group), strict=True))


def _mean_of_all(score: Score, labels: Sequence[str]) -> float | None:
    """Mean F1 of classes; None where one of them has none, so that no other class's figure stands for both."""
    return score.mean_f1(labels) if all(score.row(label)[2] is not None for label in labels) else None


def _shares(found: dict[tuple[str, str], list[bool]]) -> dict[str, list[float]]:
    """Share found and number of marks, by "class, group"."""
    return {f"{label}, {group}": [float(np.mean(hits)), len(hits)] for (label, group), hits in sorted(found.items())}


def _mean(counts: Sequence[float]) -> float | None:
    return float(np.mean(counts)) if counts else None
