"""A finished run becomes a candidate's folder: calibrated ONNX and safetensors, and the record of the run.

Fits thresholds with the wanted precision, and odds with which no class loses recall.
"""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from backend.evaluation.rates import fit_temperature, softmax
from backend.models.publishing import add_documents, carry_refiner, documents_of
from backend.training.classifier_loop import ClassifierProgress, shown_in
from backend.training.classifier_publishing import (
    RECORD_FILE,
    logits_of_crops,
    none_shift,
    trained_network,
    write_classifier,
)
from backend.training.classifier_recipe import Corrections, Recipe
from backend.training.crops import box_within, truth_of_crops
from backend.training.fusion import fit_fusion, shown_as
from backend.training.harvest import label_boxes, truth_of
from backend.training.quantise import quantise_classifier
from backend.training.training_loop import save
from backend.training.training_record import write_record
from backend.vision.classifier import load_classifier, network_input
from backend.vision.engine import DetectorConfig
from backend.vision.finders import build_detector
from backend.vision.network_config import CLASSES, MARKS, NONE, ClassifierConfig
from backend.vision.pipeline import fuse
from backend.vision.weights import (
    CONFIG_FILE,
    DETECTOR_CONFIG_FILE,
    DETECTOR_WEIGHTS_FILE,
    FLOAT_DETECTOR_FILE,
    Weights,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backend.training.pagestore import LabelledPage, LabelledPages
    from backend.training.retraining.material import Material

__all__ = [
    "TENSORS_FILE",
    "add_detector",
    "quantise_candidate",
    "raised",
    "shifts",
    "shown",
    "thresholds",
    "write_candidate",
]

_STEPS = np.linspace(0, 1.5, 16)
"""Log odds by which a class may be raised."""
TENSORS_FILE = "classifier.safetensors"
_CALIBRATION_CROPS = 200
_MORE = 1.1
"""The candidate is to find this many times the marks that the serving model finds on validation pages: on other pages
it may find fewer."""
_ALL = 0.999
"""Largest share whose odds are taken: those of 1 are infinite."""


def thresholds(
    probabilities: NDArray[np.float64], truth: NDArray[np.integer], *, precision: float, least: int
) -> tuple[float, ...]:
    """For each of `MARKS` the lowest probability from which its boxes are right as often as wanted.

    At least `least` right boxes have to lie at or above it. Otherwise it is 0, and the operator's CONFIDENCE alone
    decides.

    Args:
        probabilities: (N, 4) over `CLASSES`.
        truth: (N,) indices into `CLASSES`.
        precision: Wanted share of right ones.
        least: Fewest right ones at or above a threshold.
    """
    return tuple(
        _threshold(probabilities, np.asarray(truth), place, precision=precision, least=least)
        for place in range(len(MARKS))
    )


def _threshold(
    probabilities: NDArray[np.float64], truth: NDArray[np.integer], place: int, *, precision: float, least: int
) -> float:
    called = probabilities.argmax(axis=1) == place
    order = np.argsort(-probabilities[called, place], kind="stable")
    scores = probabilities[called, place][order]
    right = np.cumsum(truth[called][order] == place)
    if not len(scores):
        return 0.0
    precise = right / np.arange(1, len(scores) + 1) >= precision
    # Crops of one score stay together, so the count ends only where the next score is lower.
    ends = np.append(scores[1:] < scores[:-1], True)
    good = np.flatnonzero(precise & ends & (right >= least))
    if not len(good) or good[-1] == len(scores) - 1:
        return 0.0
    return float(scores[good[-1]])


def shown(
    probabilities: NDArray[np.float64], truth: NDArray[np.integer], *, confidence: float
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """How many boxes of each of `MARKS` would be shown rightly, and how many wrongly: (3,) each.

    As on a page, a box is the likeliest mark, if that is likely enough. `none` may be likelier.

    Args:
        probabilities: (N, 4) over `CLASSES`.
        truth: (N,) indices into `CLASSES`.
        confidence: Lowest probability at which a mark is shown.
    """
    marks = probabilities[:, : len(MARKS)]
    said = np.where(marks.max(axis=1, initial=0) >= confidence, marks.argmax(axis=1), -1)
    called = said[:, None] == np.arange(len(MARKS))
    right = called & (np.asarray(truth)[:, None] == np.arange(len(MARKS)))
    return right.sum(axis=0), (called & ~right).sum(axis=0)


def raised(probabilities: NDArray[np.float64], shift: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities (N, 4) after the log odds of each of `MARKS` grew by `shift` (3,)."""
    weighed = probabilities * np.exp(np.append(shift, np.zeros(probabilities.shape[1] - len(shift))))
    return np.asarray(weighed / weighed.sum(axis=1, keepdims=True))


def shifts(
    probabilities: NDArray[np.float64],
    truth: NDArray[np.integer],
    *,
    wanted: NDArray[np.number],
    most_wrong: NDArray[np.integer],
    precision: float,
    confidence: float,
) -> NDArray[np.float64]:
    """The least that the log odds of each class must grow until as many of its marks are found as wanted: (3,).

    A mark that is not shown is more work for an annotator than a box on nothing. So a better network should not show
    fewer marks. Odds stop growing at the bounds on wrong boxes, even where fewer marks are found than wanted.

    Args:
        probabilities: (N, 4) over `CLASSES`.
        truth: (N,) indices into `CLASSES`.
        wanted: (3,) marks that are to be found.
        most_wrong: (3,) most wrong boxes that are allowed: as many as the serving model shows, so that they do not grow
            with each retraining.
        precision: Least share of right ones that it may come to.
        confidence: Lowest probability at which a mark is shown.
    """
    chosen = np.zeros(len(MARKS))
    right, _ = shown(probabilities, truth, confidence=confidence)
    for place in range(len(MARKS)):
        best = right[place]
        for step in _STEPS[1:]:
            if best >= wanted[place]:
                break
            higher = raised(probabilities, np.where(np.arange(len(MARKS)) == place, step, 0.0))
            hits, wrong = (counts[place] for counts in shown(higher, truth, confidence=confidence))
            if wrong > most_wrong[place] or hits < precision * (hits + wrong):
                break
            if hits > best:
                chosen[place], best = step, hits
    return chosen


def write_candidate(
    run: Path, progress: ClassifierProgress, recipe: Recipe, material: Material, out: Path, *, plan: Corrections
) -> None:
    """Writes the best weights of a run, calibrated on validation documents, as they are going to serve.

    As with the bundled weights, the head's bias is moved from the share of `none` in training to that in serving. The
    documents that it learnt from are beside it, for the gate to ask, also when it waits.

    Args:
        run: The folder that `fit` wrote.
        progress: What `fit` gave.
        recipe: What was followed.
        material: Its validation crops give the temperature and the thresholds.
        out: Made when missing.
        plan: Precision wanted, and how many crops that takes.

    Raises:
        TrainingError: The last stage has no epoch.
    """
    network = trained_network(run, progress, recipe)
    out.mkdir(parents=True, exist_ok=True)
    add_documents(out, material.seen())
    judges = material.side("validation")
    truth = truth_of_crops(judges)
    logits = logits_of_crops(write_classifier(network, out, recipe), material, judges)
    temperature = fit_temperature(logits, truth)
    shift = none_shift(_share_of_none(recipe, material)) * temperature
    with torch.no_grad():
        network.fc.bias[NONE] += shift
    logits[:, NONE] += shift
    bars = thresholds(softmax(logits, temperature), truth, precision=plan.precision, least=plan.least_positives)
    engine = write_classifier(network, out, recipe)
    facts = {"recipe": recipe.digest, "data": material.checksum(), "base": recipe.base}
    config = ClassifierConfig(
        sha256=engine.config.sha256, temperature=temperature, thresholds=bars[: len(MARKS)], provenance=facts
    )
    config.write(out / CONFIG_FILE)
    save(network.state_dict(), out / TENSORS_FILE, {"classes": " ".join(CLASSES)})
    write_record(out / RECORD_FILE, progress)


def quantise_candidate(out: Path, material: Material) -> None:
    """Quantises a candidate's classifier, as the one that serves is; the file in floating point stays.

    Otherwise it could not replace that one, because it would take several times as long. Calibrated on training crops.

    Raises:
        BadWeights: It is quantised already.
    """
    crops = material.side("train")
    some = crops[:: max(1, len(crops) // _CALIBRATION_CROPS)]
    pictures = map(material.image, some)
    inputs = np.concatenate([network_input(one, box_within(one)) for one in pictures])
    quantise_classifier(Weights.open(out, name="candidate"), out, inputs, note=f"int8, calibrated on {len(some)} crops")


def add_detector(
    out: Path,
    place: Path,
    pages: LabelledPages,
    *,
    serving: Weights,
    kind: str,
    confidence: float,
    plan: Corrections,
    threads: int,
) -> None:
    """Gives a candidate a detector, and weighs its word against the new classifier's.

    Each box's score then combines both networks' opinions, so the thresholds are fitted anew on whole pages. If fewer
    marks of a class would be shown than before, the class's odds are raised (see `shifts`).

    Args:
        out: The candidate's folder.
        place: The folder of the detector; the candidate's own, where it has a new one.
        pages: Those of validation documents decide, where all of their marks are known.
        serving: What the candidate is to take the place of.
        kind: The DETECTOR setting; without a network in it, there is nothing to add.
        confidence: The CONFIDENCE setting: the marks that it shows are counted.
        plan: Precision wanted, and how many candidates that takes.
        threads: That may compute.
    """
    if kind == "colour":
        return
    if place != out:
        add_documents(out, documents_of(place) or ())
        for name in (DETECTOR_WEIGHTS_FILE, DETECTOR_CONFIG_FILE, FLOAT_DETECTOR_FILE):
            if (place / name).is_file():
                shutil.copyfile(place / name, out / name)
        carry_refiner(place, out)
    judges = [page for page in pages.read() if page.split == "validation" and set(MARKS) <= set(page.complete)]
    fusion = fit_fusion(out, pages, judges, threads=threads, anchored=True)
    candidate = Weights.open(out, name="candidate")
    right, wrong = shown(*_said_together(serving, pages, judges, kind=kind, threads=threads), confidence=confidence)
    said, truth = _said_together(candidate, pages, judges, kind=kind, threads=threads)
    shift = shifts(
        said,
        truth,
        wanted=np.ceil(_MORE * right),
        most_wrong=wrong,
        precision=plan.precision,
        confidence=confidence,
    )
    path = out / DETECTOR_CONFIG_FILE
    biases = tuple(round(float(bias + more), 4) for bias, more in zip(fusion.biases, shift, strict=True))
    dataclasses.replace(DetectorConfig.read(path), fusion=dataclasses.replace(fusion, biases=biases)).write(path)
    bars = thresholds(raised(said, shift), truth, precision=plan.precision, least=plan.least_positives)
    dataclasses.replace(candidate.config, thresholds=bars).write(out / CONFIG_FILE)


def _said_together(
    weights: Weights, store: LabelledPages, pages: Sequence[LabelledPage], *, kind: str, threads: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The fused probabilities of the candidates of pages, (N, 4), and their true classes, (N,).

    Each mark counts once, however many candidates are on it. A candidate near a mark does not count: for an annotator
    it is work in either case.
    """
    detector = build_detector(kind, weights.folder, threads=threads)
    classifier = load_classifier(weights, threads=threads)
    said, truth = [np.zeros((0, len(CLASSES)))], []
    for page in pages:
        pixels = store.pixels(page)
        candidates = detector(pixels, page.dpi)
        known = truth_of(page)
        near = [label is None for label in label_boxes(candidates.boxes, known)]
        one_each = shown_as(candidates, known)
        labels = [None if argued else label for argued, label in zip(near, one_each, strict=True)]
        rows = [row for row, label in enumerate(labels) if label is not None]
        probabilities = classifier.classify(pixels, candidates.boxes[rows]).probabilities
        said.append(fuse(probabilities, candidates.heat[rows], detector.fusion))
        truth += [CLASSES.index(label) for label in labels if label is not None]
    return np.concatenate(said), np.array(truth, np.int64)


def _share_of_none(recipe: Recipe, material: Material) -> float:
    """The share of the last stage's crops that are `none`, kept off 0 and 1, whose odds are infinite."""
    crops = material.side("train")
    shown = shown_in(recipe, crops, stage=len(recipe.stages) - 1, epoch=0)
    share = float(np.mean([crops[place].label == CLASSES[NONE] for place in shown]))
    return min(max(share, 1 - _ALL), _ALL)
