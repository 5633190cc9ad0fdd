"""Detection and classification together: a page to its marks; server, command line and evaluation share this object.

Weighs what the detector and the classifier say into one probability.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from backend.geometry import Boxes, areas, as_boxes, coverage, iou, turned_left
from backend.vision.candidates import Candidates, log_odds
from backend.vision.classifier import Classification, Classifies
from backend.vision.engine import Fusion
from backend.vision.finders import Detects
from backend.vision.network_config import MARKS, NONE
from backend.vision.rough_boxes import SECOND_LOOK, WEIGHTS, proposed_in, tighten

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backend.pages.page import Page

__all__ = ["Marks", "Pipeline", "PipelineConfig", "Rejected", "evidence", "fuse", "select"]

_LEAST_ODDS = 1e-6
_LOG = logging.getLogger(__name__)
_LOGIT_LIMIT = 6.0
_LEAST = 1e-9
"""Stands for a probability of zero where a logarithm or a division is to come."""


def evidence(
    probabilities: NDArray[np.float64], heat: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What `Fusion` weighs: log probabilities (N, 4), and log odds of the heat (N, 3)."""
    return np.log(np.maximum(probabilities, _LEAST_ODDS)), log_odds(heat)


def fuse(probabilities: NDArray[np.float64], heat: NDArray[np.float64], fusion: Fusion) -> NDArray[np.float64]:
    """Probabilities (N, 4) over `CLASSES`; rows sum to 1.

    Args:
        probabilities: (N, 4) of the classifier.
        heat: (N, 3) of the detector, 0 where it said nothing.
        fusion: The weights of both.
    """
    said, seen = evidence(probabilities, heat)
    scores = fusion.classified * said
    scores[:, : len(MARKS)] += fusion.seen * seen + np.array(fusion.biases)
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


@dataclass(frozen=True, kw_only=True)
class PipelineConfig:
    """How classified candidates become marks.

    Attributes:
        confidence: Lowest probability at which a candidate is a mark.
        same_iou: IoU above which two candidates of one class are the same mark.
        same_cover: Share of the smaller candidate inside the larger above which they are the same mark, of one class.
        same_crop: IoU above which two candidates are the same pixels, so that only one class can be right.
        size_weight: What a candidate of e times the area is worth beside its rival, in units of log odds.
        inside: Share of a candidate inside an annotator's rough box above which it belongs to what was meant.
    """

    confidence: float = 0.25
    same_iou: float = 0.5
    same_cover: float = 0.75
    same_crop: float = 0.85
    size_weight: float = 0.5
    inside: float = 0.7


@dataclass(frozen=True, kw_only=True)
class Rejected:
    """A candidate that became no mark.

    Attributes:
        name: The likeliest mark that it could have been, such as `stamp`.
        score: Probability of that.
        bar: Lowest probability at which it would have been one.
        none: Probability that it is none.
    """

    name: str
    score: float
    bar: float
    none: float


@dataclass(frozen=True, eq=False)
class Marks:
    """The marks of one page as parallel arrays, best first.

    Attributes:
        boxes: (N, 4) xyxy, pixels of the upright page.
        probabilities: (N, 4) over `CLASSES`.
        labels: (N,) index into `MARKS`.
        scores: (N,) probability of the label.
        embeddings: (N, 512) features of the crops.
        certainty: Least of the highest probabilities among all that was judged, rejected candidates included; 1 where
            there was nothing to judge.
        version: Version of the pipeline that found them.
        recalled: For each mark the correction that decided instead of the network, None where none did; empty where
            corrections are not asked.
        candidates: How many candidates were looked at.
        nearest: Where none of them became a mark, the one that came nearest.
    """

    boxes: Boxes
    probabilities: NDArray[np.float64]
    labels: NDArray[np.intp]
    scores: NDArray[np.float64]
    embeddings: NDArray[np.float32]
    certainty: float
    version: str
    recalled: tuple[str | None, ...] = ()
    candidates: int = 0
    nearest: Rejected | None = None

    def __len__(self) -> int:
        return len(self.boxes)

    @property
    def names(self) -> list[str]:
        """The label of each mark, such as `stamp`."""
        return [MARKS[label] for label in self.labels]


class Pipeline:
    """Finds, names and selects the marks of a page.

    Args:
        detector: Gives the candidates.
        classifier: Gives their probabilities.
        config: How they become marks.

    Example:
        >>> marks = pipeline.marks(page)  # doctest: +SKIP
        >>> list(zip(marks.names, marks.scores))  # doctest: +SKIP
        [('stamp', 0.98), ('signature', 0.93)]
    """

    def __init__(self, detector: Detects, classifier: Classifies, config: PipelineConfig = PipelineConfig()) -> None:
        self.detector = detector
        self.classifier = classifier
        self.config = config
        facts = {"detector": detector.facts, "pipeline": dataclasses.asdict(config)}
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:8]
        self._version = f"{classifier.version}.{detector.name}-{digest}"

    @property
    def version(self) -> str:
        """Changes exactly when weights, thresholds or settings of detector and selection do."""
        return self._version

    def marks(self, page: Page, *, confidence: float | None = None) -> Marks:
        """Finds the marks of a page, in pixels of the page, whatever its `pixels` were made smaller by.

        Args:
            page: The page.
            confidence: Takes the place of the configured one, as a label config may ask.
        """
        candidates = self.detector(page.pixels, page.pixels_dpi)
        if candidates.turns:
            _LOG.info("%s was turned by %d degrees: its marks are read upright", page.reference, 90 * candidates.turns)
        marks = self.marks_among(page.pixels, candidates, confidence=confidence)
        return dataclasses.replace(marks, boxes=marks.boxes / page.scale)

    def marks_among(
        self, pixels: NDArray[np.uint8], candidates: Candidates, *, confidence: float | None = None
    ) -> Marks:
        """The marks among the candidates of an (H, W, 3) RGB page as it lies, in its pixels."""
        return self.judge(candidates, self.classified(pixels, candidates), confidence=confidence)

    def classified(self, pixels: NDArray[np.uint8], candidates: Candidates) -> Classification:
        """What the classifier says of the candidates of an (H, W, 3) RGB page as it lies; it sees them upright."""
        boxes, turns = candidates.boxes, candidates.turns
        if turns:
            boxes = turned_left(boxes, -turns, width=pixels.shape[1], height=pixels.shape[0])
            pixels = np.ascontiguousarray(np.rot90(pixels, -turns))
        return self.classifier.classify(pixels, boxes)

    def judge(self, candidates: Candidates, found: Classification, *, confidence: float | None = None) -> Marks:
        """Selects the marks among classified candidates."""
        boxes, probabilities = candidates.boxes, self._fused(found, candidates.heat)
        bar = np.maximum(self.classifier.thresholds, self.config.confidence if confidence is None else confidence)
        kept = select(boxes, probabilities, bar, self.config, rejected=_rejected(found))
        labels, scores = _labels(probabilities)
        return Marks(
            boxes[kept],
            probabilities[kept],
            labels[kept],
            scores[kept],
            found.embeddings[kept],
            _certainty(boxes, probabilities, kept, self.config),
            self.version,
            tuple(found.recalled[index] for index in kept) if found.recalled else (),
            len(boxes),
            None if len(kept) else _nearest(probabilities, bar),
        )

    def _fused(self, found: Classification, heat: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probabilities of detector and classifier together; what a correction speaks about stays as it is."""
        both = fuse(found.probabilities, heat, self.detector.fusion)
        if found.settled:
            settled = np.array(found.settled)
            both[settled] = found.probabilities[settled]
        return both

    def refine(self, page: Page, box: Boxes, *, meant: Sequence[int] = (), taken: Boxes | None = None) -> Marks:
        """Tightens the rough `box` (1, 4) of an annotator to the mark inside, and names it: always exactly one mark.

        The annotator has said that there is a mark, so the probabilities are those given that it is one: `none` gets 0.

        Args:
            page: The page.
            box: What was drawn, pixels of the page.
            meant: Indices into `MARKS` of what the annotator says it is; nothing where that was not said.
            taken: (T, 4) regions that are there already; the answer is a copy of none of them.
        """
        labels = list(meant) or list(range(len(MARKS)))
        candidates, looked = proposed_in(self.detector, page.pixels, page.dpi, box, labels)
        found = self._fused(self.classifier.classify(page.pixels, candidates.boxes), candidates.heat)
        wanted = found[:, labels].sum(axis=1)
        tight = tighten(
            page.pixels,
            box,
            candidates=candidates.boxes,
            probabilities=wanted,
            taken=as_boxes([]) if taken is None else taken,
            inside=self.config.inside,
            weights=SECOND_LOOK if looked else WEIGHTS,
        )
        judged = self.classifier.classify(page.pixels, tight)
        # A network that is certain of `none` still has to choose.
        probabilities = np.maximum(judged.probabilities, _LEAST)
        probabilities[:, NONE] = 0
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        names, scores = _labels(probabilities)
        return Marks(
            tight / page.scale,
            probabilities,
            names,
            scores,
            judged.embeddings,
            float(scores[0]),
            self.version,
            # A correction that says "no mark" is not followed here.
            judged.recalled if judged.probabilities[0].argmax() != NONE else (),
        )


def select(
    boxes: Boxes,
    probabilities: NDArray[np.float64],
    bar: NDArray[np.float64],
    config: PipelineConfig,
    *,
    rejected: NDArray[np.bool_] | None = None,
) -> NDArray[np.intp]:
    """Chooses the candidates that are marks: indices, best score first, (K,).

    A detector proposes one mark several times: whole, in parts, in several inks. Among candidates of one class that
    overlap or lie in each other, the best stays and the others go. Best is the highest log odds of the score plus
    `size_weight` times the log of the area. So a whole signature beats a fragment of it of like score. The classifier
    doubts a box around two marks, so it loses to each of them. Classes do not suppress each other (a signature on a
    stamp is two marks), except where two boxes hold the same pixels.

    Args:
        boxes: (N, 4) candidates.
        probabilities: (N, 4) over `CLASSES`.
        bar: (3,) lowest probability for each of `MARKS`.
        config: The limits.
        rejected: (N,) what annotators said is no mark, so that it passes no threshold, however low; None for nothing.
    """
    labels, scores = _labels(probabilities)
    passing = scores >= bar[labels]
    if rejected is not None:
        passing &= ~rejected
    odds = np.clip(np.log(np.maximum(scores, _LEAST) / np.maximum(1 - scores, _LEAST)), -_LOGIT_LIMIT, _LOGIT_LIMIT)
    rank = odds + config.size_weight * np.log(np.maximum(areas(boxes), 1.0))
    same = _same(boxes, labels, config)
    kept: list[int] = []
    for index in np.argsort(-rank, kind="stable"):
        if passing[index] and not same[index, kept].any():
            kept.append(int(index))
    chosen = np.array(kept, dtype=np.intp)
    return chosen[np.argsort(-scores[chosen], kind="stable")]


def _labels(probabilities: NDArray[np.float64]) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """The likeliest mark of each row, and its probability."""
    labels = probabilities[:, : len(MARKS)].argmax(axis=1)
    return labels, probabilities[np.arange(len(labels)), labels]


def _rejected(found: Classification) -> NDArray[np.bool_] | None:
    """What a correction says is no mark, (N,); None where corrections are not asked."""
    if not found.settled:
        return None
    return np.asarray(np.array(found.settled) & (found.probabilities.argmax(axis=1) == NONE))


def _nearest(probabilities: NDArray[np.float64], bar: NDArray[np.float64]) -> Rejected | None:
    """The best of candidates that are all no marks."""
    if not len(probabilities):
        return None
    labels, scores = _labels(probabilities)
    best = int(scores.argmax())
    return Rejected(
        name=MARKS[labels[best]],
        score=float(scores[best]),
        bar=float(bar[labels[best]]),
        none=float(probabilities[best, NONE]),
    )


def _same(boxes: Boxes, labels: NDArray[np.intp], config: PipelineConfig) -> NDArray[np.bool_]:
    """Which pairs of candidates, (N, N), cannot both be marks."""
    overlap = iou(boxes, boxes)
    inside = coverage(boxes, boxes)
    one_mark = (overlap > config.same_iou) | (np.maximum(inside, inside.T) > config.same_cover)
    return np.asarray((one_mark & (labels[:, None] == labels[None, :])) | (overlap > config.same_crop))


def _certainty(
    boxes: Boxes, probabilities: NDArray[np.float64], kept: NDArray[np.intp], config: PipelineConfig
) -> float:
    """Least of the highest probabilities among the marks and the candidates that no mark explains."""
    judged = coverage(boxes, boxes[kept]).max(axis=1, initial=0) <= config.same_cover
    judged[kept] = True
    return float(probabilities.max(axis=1)[judged].min(initial=1.0))
