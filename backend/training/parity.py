"""How far networks of whole numbers are from those in floating point that they were made of, and how much faster."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from backend.evaluation.rates import macro_f1, softmax
from backend.evaluation.study import Run, match, race
from backend.evaluation.truth import Truth, read_coco
from backend.files import write_private
from backend.models.serving import build_pipeline
from backend.pages.encoding import png_bytes
from backend.synthetic import coco
from backend.synthetic.drawn_page import draw_page
from backend.training.quantise import CALIBRATION_SEED, CalibrationInputs
from backend.vision.box_refiner import BoxRefiner
from backend.vision.engine import DetectorConfig, DetectorNetwork, Network
from backend.vision.network_config import MARKS
from backend.vision.weights import DETECTOR_CONFIG_FILE, DETECTOR_WEIGHTS_FILE, Weights, home_of

if TYPE_CHECKING:
    from backend.settings import Settings

__all__ = ["Parity", "compare", "drawn_truth"]

_IOU = 0.5
_COMPARED_AT_ONCE = 32
_DPI = 150


@dataclass(frozen=True, kw_only=True)
class Parity:
    """What changed.

    Attributes:
        crops: How many the classifiers were compared on.
        mean: Mean distance of a class's probability.
        largest: The largest.
        same: Share of crops that keep their name.
        heat_mean: Mean distance of the detectors' heat.
        heat_largest: The largest.
        edges_mean: Mean distance of the places where the refiners see edges, shares of what they look at; None where
            boxes are not refined.
        edges_largest: The largest.
        pages: How many whole pages both saw.
        f1: Macro F1 on them at IoU .5, before and after; None where there is no mark.
        milliseconds: Median of a page, before and after.
    """

    crops: int
    mean: float
    largest: float
    same: float
    heat_mean: float
    heat_largest: float
    edges_mean: float | None
    edges_largest: float | None
    pages: int
    f1: tuple[float | None, float | None]
    milliseconds: tuple[float, float]

    def as_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        before, after = ("none" if one is None else f"{one:.3f}" for one in self.f1)
        refined = ""
        if self.edges_mean is not None:
            refined = f"edges of the refiner differ by {self.edges_mean:.4f}, at most {self.edges_largest:.3f}\n"
        return (
            f"{self.crops} crops: probabilities differ by {self.mean:.4f}, at most {self.largest:.3f}; "
            f"{self.same:.1%} keep their name\n"
            f"heat of the detector differs by {self.heat_mean:.4f}, at most {self.heat_largest:.3f}\n"
            f"{refined}"
            f"{self.pages} pages: macro F1 {before} → {after}; "
            f"{self.milliseconds[0]:.0f} → {self.milliseconds[1]:.0f} ms a page"
        )


def compare(before: Weights, after: Weights, seen: CalibrationInputs, truth: Truth, settings: Settings) -> Parity:
    """Both on the same crops and pages.

    Args:
        before: In floating point.
        after: In whole numbers.
        seen: Crops for the classifiers, and inputs for the detectors.
        truth: Pages for both together, as they serve.
        settings: Threads, and how marks are found and selected.

    Raises:
        BadWeights: One of the two cannot be loaded.
        PageError: A page cannot be read.
    """
    threads = settings.model_threads
    old, new = (_probabilities(one, seen.crops, threads=threads) for one in (before, after))
    heat, whole = (_heat(one, seen, threads=threads) for one in (before, after))
    distance, heat_distance = np.abs(old - new), np.abs(heat - whole)
    edges_distance = None
    if seen.looks is not None:
        exact, coarse = (_edges(one, seen.looks, threads=threads) for one in (before, after))
        edges_distance = np.abs(exact - coarse)
    runs = race(build_pipeline(before, settings), build_pipeline(after, settings), truth, settings)
    first, second = (_f1(run) for run in runs)
    slow, fast = (float(np.median(run.milliseconds)) for run in runs)
    return Parity(
        crops=len(seen.crops),
        mean=float(distance.mean()),
        largest=float(distance.max()),
        same=float((old.argmax(axis=1) == new.argmax(axis=1)).mean()),
        heat_mean=float(heat_distance.mean()),
        heat_largest=float(heat_distance.max()),
        edges_mean=None if edges_distance is None else float(edges_distance.mean()),
        edges_largest=None if edges_distance is None else float(edges_distance.max()),
        pages=len(truth.pages),
        f1=(first, second),
        milliseconds=(slow, fast),
    )


def drawn_truth(folder: Path, *, pages: int) -> Truth:
    """The drawn pages that were calibrated on, with their marks, in a folder that is made."""
    folder.mkdir()
    known = []
    for seed in range(CALIBRATION_SEED, CALIBRATION_SEED + pages):
        page, name = draw_page(seed, dpi=_DPI), f"page-{seed}.png"
        write_private(folder / name, png_bytes(page.pixels))
        known.append(coco.truth_of(page, name))
    coco.write(known, folder / "annotations.json")
    return read_coco(folder / "annotations.json", folder)


def _probabilities(weights: Weights, crops: NDArray[np.float32], *, threads: int) -> NDArray[np.float64]:
    network = Network(weights.path, weights.config, threads=threads)
    parts = [
        network.run(crops[start : start + _COMPARED_AT_ONCE])[0] for start in range(0, len(crops), _COMPARED_AT_ONCE)
    ]
    return softmax(np.concatenate(parts), weights.config.temperature)


def _heat(weights: Weights, seen: CalibrationInputs, *, threads: int) -> NDArray[np.float32]:
    """The heat of all pages, one number after the other."""
    folder = home_of("detector", weights.folder)
    config = DetectorConfig.read(folder / DETECTOR_CONFIG_FILE)
    network = DetectorNetwork(folder / DETECTOR_WEIGHTS_FILE, config, threads=threads)
    return np.concatenate([network.run(page[0]).heat.ravel() for page in seen.pages])


def _edges(weights: Weights, looks: NDArray[np.uint8], *, threads: int) -> NDArray[np.float64]:
    """Where the refiner sees the edges of each mark, (N, 3, 4), shares of what it looks at."""
    refiner = BoxRefiner.open(home_of("refiner", weights.folder), threads=threads)
    parts = [
        refiner.look(looks[start : start + _COMPARED_AT_ONCE])[0] for start in range(0, len(looks), _COMPARED_AT_ONCE)
    ]
    return np.concatenate(parts)


def _f1(run: Run) -> float | None:
    matches = [match(page, shown, _IOU) for page, shown in zip(run.truth.pages, run.shown, strict=True)]
    value = float(macro_f1(np.sum([one.confusion for one in matches], axis=0), len(MARKS)))
    return None if np.isnan(value) else value
