"""Where a page's processor time goes, and that two kinds of weights find the same: `python -m benchmarks.steps`.

One thread computes, and its processor time counts, not the clock on the wall: other work on the machine matters less.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from backend.errors import BackendError
from backend.geometry import iou
from backend.models.serving import Sources
from backend.pages.raster import PictureFile
from backend.pages.source import ENOUGH_DPI
from backend.settings import Settings
from backend.vision.box_refiner import BoxRefiner, RefinerConfig
from backend.vision.classifier import Classifier
from backend.vision.engine import DetectorConfig, DetectorNetwork, DetectorOutput, Network
from backend.vision.network_detector import ModelDetector
from backend.vision.pipeline import Pipeline, PipelineConfig
from backend.vision.weights import (
    DETECTOR_CONFIG_FILE,
    DETECTOR_WEIGHTS_FILE,
    REFINER_CONFIG_FILE,
    REFINER_WEIGHTS_FILE,
    Weights,
    home_of,
)
from benchmarks.page_speed import contract

__all__ = ["main"]

_DPI = 300
_SAME_BOX = 0.99
_SAME_SCORE = 1e-3


class Clock:
    """Processor milliseconds by step; of steps within steps, each has its own alone."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._inner = [0.0]

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Adds what is done within to a step."""
        begun = time.process_time()
        self._inner.append(0.0)
        try:
            yield
        finally:
            took = 1000 * (time.process_time() - begun)
            self.laps[name] = self.laps.get(name, 0.0) + took - self._inner.pop()
            self._inner[-1] += took


class _TimedDetector(DetectorNetwork):
    clock: Clock

    def run(self, pixels: NDArray[np.uint8]) -> DetectorOutput:
        with self.clock.step("detector: network"):
            return super().run(pixels)


class _TimedRefiner(BoxRefiner):
    clock: Clock

    def look(self, seen: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        with self.clock.step("refiner: network"):
            return super().look(seen)


class _TimedClassifier(Network):
    clock: Clock

    def run(self, pixels: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        with self.clock.step("classifier: network"):
            return super().run(pixels)


class _Desk:
    """Takes any page, at the resolution that serving asks for."""

    dpi = _DPI
    enough: float | None = ENOUGH_DPI

    def __init__(self) -> None:
        self.pixels = np.zeros((0, 0, 3), np.uint8)

    def admit(self, width: int, height: int, *, what: str = "", hint: str = "", bytes_a_pixel: int = 10) -> None:
        pass

    def canvas(self, height: int, width: int) -> NDArray[np.uint8]:
        self.pixels = np.empty((height, width, 3), np.uint8)
        return self.pixels


@dataclass(frozen=True, eq=False)
class Found:
    """What was found on a page: boxes (N, 4), labels (N,), scores (N,); and how many candidates there were."""

    boxes: NDArray[np.float64]
    labels: NDArray[np.intp]
    scores: NDArray[np.float64]
    candidates: int


class Timed:
    """The networks of some weights, each with the same clock.

    Args:
        weights: Of four classes.

    Raises:
        BadWeights: A file is not what its config promises.
    """

    def __init__(self, weights: Weights) -> None:
        self.clock = Clock()
        place, near = home_of("detector", weights.folder), home_of("refiner", weights.folder)
        config = DetectorConfig.read(place / DETECTOR_CONFIG_FILE)
        network = _TimedDetector(place / DETECTOR_WEIGHTS_FILE, config, threads=1)
        network.clock = self.clock
        refiner = None
        if config.refined:
            known = RefinerConfig.read(near / REFINER_CONFIG_FILE)
            refiner = _TimedRefiner(near / REFINER_WEIGHTS_FILE, known, threads=1)
            refiner.clock = self.clock
        classifier = _TimedClassifier(weights.path, weights.config, threads=1)
        classifier.clock = self.clock
        detector = ModelDetector(network, refiner=refiner)
        self.pipeline = Pipeline(detector, Classifier(classifier, name=weights.name), PipelineConfig())

    def look(self, jpeg: bytes) -> Found:
        """Finds the marks of a JPEG of 300 dpi; the clock says how long each step took."""
        self.clock.laps = {}
        desk = _Desk()
        with self.clock.step("decode"):
            PictureFile(jpeg, "JPEG").page(0, desk)
        with self.clock.step("detector: the rest"):
            candidates = self.pipeline.detector(desk.pixels, ENOUGH_DPI)
        with self.clock.step("classifier: crops"):
            classified = self.pipeline.classifier.classify(desk.pixels, candidates.boxes)
        with self.clock.step("select"):
            marks = self.pipeline.judge(candidates, classified)
        return Found(marks.boxes, marks.labels, marks.scores, len(candidates))


def same(one: Found, other: Found) -> int:
    """How many marks of one are among those of the other: of one class, nearly the same box and score."""
    alike = (
        (iou(one.boxes, other.boxes) > _SAME_BOX)
        & (one.labels[:, None] == other.labels[None, :])
        & (np.abs(one.scores[:, None] - other.scores[None, :]) < _SAME_SCORE)
    )
    return int(alike.any(axis=1).sum())


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures in turns, and prints a table with a column for each of the weights."""
    parser = argparse.ArgumentParser(description="Measure where a page's processor time goes.")
    parser.add_argument("--model", nargs="+", default=["bundled"], help="weights: bundled or names of models (bundled)")
    parser.add_argument("--pages", type=int, default=3, help="drawn pages (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="turns on each page (%(default)s)")
    parser.add_argument("--marks", type=int, default=8, help="marks on each page (%(default)s)")
    parser.add_argument("--seed", type=int, default=5, help="of the first page (%(default)s)")
    args = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    settings = [Settings.from_environment(os.environ, model=name, model_threads=1) for name in args.model]
    sides = [Timed(Sources.of(one).at_once()) for one in settings]
    pages = [contract(args.seed + number, marks=args.marks).jpeg for number in range(args.pages)]
    laps: list[list[dict[str, float]]] = [[] for _ in sides]
    found: list[list[Found]] = [[] for _ in sides]
    for turn in range(args.rounds + 1):
        for page in pages:
            for side, taken, marks in zip(sides, laps, found, strict=True):
                seen = side.look(page)
                if turn:  # the first is to warm up
                    taken.append(side.clock.laps)
                if turn == 1:
                    marks.append(seen)
    print(f"A4 at 300 dpi, JPEG in memory, {args.pages} drawn pages: median processor ms, one thread")
    print(f"{'':<24}" + "".join(f"{name[:20]:>22}" for name in args.model))
    for step in laps[0][0]:
        print(f"{step:<24}" + "".join(f"{statistics.median(lap.get(step, 0) for lap in one):22.1f}" for one in laps))
    print(f"{'in all':<24}" + "".join(f"{statistics.median(sum(lap.values()) for lap in one):22.1f}" for one in laps))
    print(f"{'candidates a page':<24}" + "".join(f"{np.mean([one.candidates for one in row]):22.1f}" for row in found))
    print(f"{'marks':<24}" + "".join(f"{sum(len(one.boxes) for one in row):22}" for row in found))
    equal = [sum(same(one, other) for one, other in zip(found[0], row, strict=True)) for row in found]
    print(f"{'same as the first':<24}" + "".join(f"{count:22}" for count in equal))
    print(f"same: one class, IoU above {_SAME_BOX}, scores that differ by less than {_SAME_SCORE}")
    return os.EX_OK


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BackendError as error:
        sys.exit(f"benchmarks.steps: {error}")
