"""One annotated page through the model: the marks that it finds, and what it makes of the annotated boxes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from backend.classification.classifier import Classification
from backend.evaluation.matching import Found
from backend.evaluation.running import LOW_BAR
from backend.geometry import Boxes, coverage, iou
from backend.nets.config import NONE

if TYPE_CHECKING:
    from backend.pipeline import Pipeline
    from backend.review.examples import Examples
    from backend.review.sources import AnnotatedPage

__all__ = ["Look", "look"]

_ON_IT = 0.5
"""Least IoU at which a candidate is a crop of an annotated mark."""
_BESIDE = 0.1
"""IoU up to which a candidate is no crop of an annotated mark, unless half of it lies inside one."""
_HALF = 0.5


@dataclass(frozen=True, kw_only=True, eq=False)
class Look:
    """What the model makes of a page.

    Attributes:
        found: The marks that it finds, with a low bar, of those classes that the annotator had a label for.
        own: (A, 4) the network's probabilities over `CLASSES` of the annotated boxes.
        embeddings: (A, 512) of the annotated boxes.
    """

    found: Found
    own: NDArray[np.float64]
    embeddings: NDArray[np.float32]


def look(annotated: AnnotatedPage, pipeline: Pipeline, examples: Examples, *, document: int) -> Look:
    """Looks at a page, and adds its crops to the examples: the annotated ones, and the candidates that are none.

    A candidate keeps the network's own probabilities: what no annotation speaks about, no annotation taught.

    Args:
        annotated: The page.
        pipeline: The model, without the memory of corrections, which would repeat the annotator.
        examples: Takes the crops.
        document: Number of the page's document.
    """
    page, boxes = annotated.page, annotated.boxes
    candidates = pipeline.detector(page.pixels, page.dpi)
    count = len(candidates)
    seen = pipeline.classifier.classify(page.pixels, np.concatenate([candidates.boxes, boxes]))
    first = Classification(seen.probabilities[:count], seen.embeddings[:count])
    marks = pipeline.judge(candidates, first, confidence=LOW_BAR)
    kept = np.isin(marks.labels, annotated.classes)
    labels = np.concatenate([_labels(candidates.boxes, annotated), annotated.labels])
    known = labels >= 0
    examples.add(seen.embeddings[known], labels[known], document=document)
    return Look(
        found=Found(boxes=marks.boxes[kept], labels=marks.labels[kept], scores=marks.scores[kept]),
        own=seen.probabilities[count:],
        embeddings=seen.embeddings[count:],
    )


def _labels(candidates: Boxes, annotated: AnnotatedPage) -> NDArray[np.intp]:
    """What each candidate is by the annotation, (N,) over `CLASSES`; -1 where it does not say."""
    overlap = iou(candidates, annotated.boxes)
    best = overlap.max(axis=1, initial=0.0)
    silent = np.concatenate([annotated.boxes, annotated.ignored])
    beside = (best < _BESIDE) & (coverage(candidates, silent).max(axis=1, initial=0.0) < _HALF)
    labels = np.where(beside, NONE, -1)
    on = best >= _ON_IT
    if on.any():
        labels[on] = annotated.labels[overlap[on].argmax(axis=1)]
    return labels.astype(np.intp)
