"""Fits how much the detector counts beside the classifier, on pages that trained neither."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional
from tqdm import tqdm

from backend.errors import TrainingError
from backend.geometry import coverage, iou
from backend.training.harvest import DONT_CARE, HIT, KnownMarks, truth_of
from backend.training.pagestore import LabelledPage, LabelledPages
from backend.vision.candidates import Candidates
from backend.vision.classifier import Classifies, load_classifier
from backend.vision.engine import DetectorConfig, Fusion
from backend.vision.finders import Detects, build_detector
from backend.vision.network_config import CLASSES, MARKS, NONE
from backend.vision.pipeline import evidence
from backend.vision.weights import DETECTOR_CONFIG_FILE, Weights

__all__ = ["Opinions", "fit_fusion", "fitted", "opinions", "shown_as"]

_RIDGE = 1e-3
_SURE = 0.15
"""How far a fusion may lie from one that was fitted on many more pages: standard deviation of its numbers."""
_FEW = 10
"""Marks of a class below which pages do not tell its bias."""
_OWN_CLASS = 0.5
"""What the right class is worth beside overlap, where two candidates hit one mark."""
_TAKEN_FOR = 0.5
"""Share of a candidate's highest heat above which the detector also takes it for another class."""


def fit_fusion(
    folder: Path,
    store: LabelledPages,
    pages: Sequence[LabelledPage],
    *,
    threads: int,
    stand_ins: Sequence[LabelledPage] = (),
    anchored: bool = False,
) -> Fusion:
    """Fits the fusion of the detector and the classifier in `folder`, and writes it to the detector's config.

    Args:
        folder: Holds both.
        store: Of the pages.
        pages: Whose marks are all known, and that trained neither.
        threads: Threads that may compute.
        stand_ins: More pages, which decide only the bias of classes that `pages` have hardly a mark of.
        anchored: Expects a result near the fusion in the detector's config: a few pages alone would give a worse one.

    Raises:
        TrainingError: There are no pages, or the folder has no detector.
    """
    if not pages:
        raise TrainingError("there is no page of the validation side whose marks are all known: draw more pages")
    if not (folder / DETECTOR_CONFIG_FILE).is_file():
        raise TrainingError(f"{folder} holds no detector: do the step `detector` first")
    detector = build_detector("model", folder, threads=threads)
    classifier = load_classifier(Weights.open(folder, name="bundled", gate_folder=folder), threads=threads)

    def asked(some: Sequence[LabelledPage]) -> Opinions:
        looked = tqdm(some, unit="page", desc="fusion", disable=None)
        return opinions(detector, classifier, ((store.pixels(page), page.dpi, truth_of(page)) for page in looked))

    found = asked(pages)
    path = folder / DETECTOR_CONFIG_FILE
    config = DetectorConfig.read(path)
    prior = config.fusion if anchored and config.fusion.seen else None
    fusion = fitted(found.said, found.seen, found.truth, prior=prior)
    rare = [label for label in range(len(MARKS)) if np.count_nonzero(found.truth == label) < _FEW]
    if stand_ins and rare:
        beside = asked(stand_ins)
        fusion = fitted(beside.said, beside.seen, beside.truth, prior=fusion, biases_of=rare)
    dataclasses.replace(config, fusion=fusion).write(path)
    return fusion


@dataclasses.dataclass(frozen=True, eq=False)
class Opinions:
    """What both networks say of the candidates of some pages, and what these should be shown as.

    Attributes:
        said: (N, 4) log probabilities of the classifier.
        seen: (N, 3) log odds of the detector's heat.
        truth: (N,) indices into `CLASSES`.
    """

    said: NDArray[np.float64]
    seen: NDArray[np.float64]
    truth: NDArray[np.intp]


def opinions(
    detector: Detects, classifier: Classifies, pages: Iterable[tuple[NDArray[np.uint8], float | None, KnownMarks]]
) -> Opinions:
    """Asks both networks about pages: their (H, W, 3) RGB pixels, their resolution where it is known, and the truth."""
    said, seen, truth = [np.zeros((0, len(CLASSES)))], [np.zeros((0, len(MARKS)))], []
    for pixels, dpi, known in pages:
        candidates = detector(pixels, dpi)
        labels = shown_as(candidates, known)
        rows = [row for row, label in enumerate(labels) if label is not None]
        found = classifier.classify(pixels, candidates.boxes[rows])
        one, other = evidence(found.probabilities, candidates.heat[rows])
        said.append(one)
        seen.append(other)
        truth += [CLASSES.index(label) for label in labels if label is not None]
    return Opinions(np.concatenate(said), np.concatenate(seen), np.array(truth, np.intp))


def shown_as(candidates: Candidates, truth: KnownMarks) -> list[str | None]:
    """What each candidate should be shown as, `none` included; None for what selection decides, not a probability.

    Each mark is one candidate's, the one with the best overlap, and rather one that the detector took for its class. A
    second candidate on it teaches nothing, since selection will take one of them. What hits no mark is `none`, however
    near it comes: shown, it would be a wrong box.
    """
    overlap = iou(candidates.boxes, truth.boxes)
    own = np.array([MARKS.index(label) for label in truth.labels], np.intp)
    taken_for = candidates.heat[:, own] > _TAKEN_FOR * candidates.heat.max(axis=1, initial=0, keepdims=True)
    wanted = overlap + _OWN_CLASS * taken_for
    hits = overlap >= HIT
    doubtful = coverage(candidates.boxes, truth.ignored).max(axis=1, initial=0) >= DONT_CARE
    undecided = np.asarray(hits.any(axis=1) | doubtful)
    labels: list[str | None] = [None if one else CLASSES[NONE] for one in undecided]
    left = np.where(hits, wanted, 0.0)
    while left.size and left.max() > 0:
        row, mark = np.unravel_index(int(left.argmax()), left.shape)
        labels[row] = truth.labels[mark]
        left[row], left[:, mark] = 0, 0
    return labels


def fitted(
    said: NDArray[np.float64],
    seen: NDArray[np.float64],
    truth: NDArray[np.intp],
    *,
    prior: Fusion | None = None,
    biases_of: Sequence[int] | None = None,
) -> Fusion:
    """The fusion with the highest likelihood, by L-BFGS; with a prior, the most probable one.

    Args:
        said: (N, 4) log probabilities of the classifier.
        seen: (N, 3) log odds of the detector's heat.
        truth: (N,) indices into `CLASSES`.
        prior: One that was fitted before, on many more pages.
        biases_of: Indices into `MARKS` whose biases alone are fitted, all else staying as in the prior; None for all.
    """
    start = [1.0, 0.5] + [0.0] * len(MARKS) if prior is None else [prior.classified, prior.seen, *prior.biases]
    expected = torch.tensor(start, dtype=torch.float64)
    free = (
        [True] * len(start) if biases_of is None else [False, False, *(row in biases_of for row in range(len(MARKS)))]
    )
    moved = expected[free].clone().requires_grad_()
    if prior is None:
        ridge, middle = _RIDGE, torch.zeros_like(expected[free])
    else:
        ridge = _RIDGE if biases_of is not None else 1 / (2 * _SURE**2 * max(len(truth), 1))
        middle = expected[free]
    said_, seen_, truth_ = torch.from_numpy(said), torch.from_numpy(seen), torch.from_numpy(truth)
    optimiser = torch.optim.LBFGS([moved], max_iter=200, line_search_fn="strong_wolfe")

    def whole() -> torch.Tensor:
        return expected.masked_scatter(torch.tensor(free), moved)

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        weights = whole()
        marks = weights[1] * seen_ + weights[2:]
        scores = weights[0] * said_ + functional.pad(marks, (0, 1))
        value = functional.cross_entropy(scores, truth_) + ridge * ((moved - middle) ** 2).sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimiser.step(loss)  # type: ignore[no-untyped-call]
    classified, seen_weight, *biases = (round(float(value), 4) for value in whole().detach())
    return Fusion(classified=classified, seen=seen_weight, biases=tuple(biases))
