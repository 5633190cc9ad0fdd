"""Precision over recall as the bar falls: curves, and the mean average precision that COCO defines.

The figures are faster-coco-eval's. Their intervals need the same sums for a thousand resamples: these are made here,
with the library's matching rules, and a test compares the two.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster
from numpy.typing import NDArray

from backend.evaluation.bootstrap import Estimate, interval
from backend.evaluation.study import NOBODY, FoundMarks, take
from backend.evaluation.truth import TruePage
from backend.geometry import areas, coverage, iou
from backend.vision.network_config import MARKS

__all__ = ["THRESHOLDS", "Curve", "average_precision", "coco_map", "curves", "map_estimates"]

THRESHOLDS = np.linspace(0.5, 0.95, 10)
"""COCO's; mAP50 takes the first, mAP50-95 the mean over all."""
_RECALLS = np.linspace(0.0, 1.0, 101)
_MOST = 100
"""Boxes of one class on a page that count, as COCO has it."""
_BATCH = 2_000_000
"""Numbers of one step over resamples: 16 MB an array."""
_ROUNDING = np.finfo(np.float64).eps


@dataclass(frozen=True, kw_only=True, eq=False)
class Curve:
    """Precision and recall of one class as the bar falls; `scores` are the bars.

    Attributes:
        average_precision: Area under the curve made monotone, at 101 recalls.
    """

    label: str
    recall: NDArray[np.float64]
    precision: NDArray[np.float64]
    scores: NDArray[np.float64]
    average_precision: float


@dataclass(frozen=True, kw_only=True, eq=False)
class _Ranked:
    """All N boxes of one class, best first.

    Attributes:
        scores: (N,).
        documents: (N,) index of the document that each is of.
        hits: (N, len(THRESHOLDS)) whether it is on a true mark.
        counts: (N, len(THRESHOLDS)) whether it counts at all.
        marks: (D,) true marks of the class by document.
    """

    scores: NDArray[np.float64]
    documents: NDArray[np.intp]
    hits: NDArray[np.bool_]
    counts: NDArray[np.bool_]
    marks: NDArray[np.float64]


def coco_map(pages: Sequence[TruePage], found: Sequence[FoundMarks]) -> tuple[float, float]:
    """MAP at IoU .5 and mean over IoU .5 to .95, by faster-coco-eval; NaN where there is no mark."""
    truth, boxes = COCO(_truth(pages)), list(_boxes(pages, found))
    if not boxes or not any(len(page) for page in pages):
        return (0.0, 0.0) if any(len(page) for page in pages) else (float("nan"), float("nan"))
    evaluation = COCOeval_faster(truth, truth.loadRes(boxes), iouType="bbox")
    evaluation.params.areaRng, evaluation.params.areaRngLbl = evaluation.params.areaRng[:1], ["all"]
    evaluation.params.maxDets = [_MOST]
    evaluation.evaluate()
    evaluation.accumulate()
    # (IoU, recall, class, area, most boxes); -1 for a class without marks.
    precision = np.asarray(evaluation.eval["precision"])[:, :, :, 0, 0]
    known = precision[:, :, (precision > -1).any(axis=(0, 1))]
    return float(known[0].mean()), float(known.mean())


def map_estimates(
    pages: Sequence[TruePage], found: Sequence[FoundMarks], drawn: NDArray[np.int64]
) -> tuple[Estimate, Estimate]:
    """mAP50 and mAP50-95 with intervals over the resamples `drawn` (R, D)."""
    values = coco_map(pages, found)
    if np.isnan(values[0]):
        return Estimate(None), Estimate(None)
    if drawn.shape[1] < 2:
        return Estimate(values[0]), Estimate(values[1])
    by_class = np.stack([average_precision(one, drawn) for one in _ranked(pages, found) if one.marks.any()])
    known = ~np.isnan(by_class)
    resampled = np.where(known, by_class, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    resampled[~known.any(axis=0)] = np.nan
    return Estimate(values[0], *interval(resampled[:, 0])), Estimate(values[1], *interval(resampled.mean(axis=1)))


def average_precision(ranked: _Ranked, drawn: NDArray[np.int64]) -> NDArray[np.float64]:
    """Average precision of a class in each resample and at each IoU, (R, len(THRESHOLDS)); NaN without marks."""
    found = np.empty((len(drawn), len(THRESHOLDS)))
    step = max(1, _BATCH // max(1, len(ranked.scores)))
    for start in range(0, len(drawn), step):
        part = drawn[start : start + step].astype(np.float64)
        weights, marks = part[:, ranked.documents], part @ ranked.marks
        for column in range(len(THRESHOLDS)):
            precision, recall = _precision_recall(ranked, weights, marks, column)
            found[start : start + step, column] = _area(precision, recall, marks)
    return found


def curves(pages: Sequence[TruePage], found: Sequence[FoundMarks]) -> list[Curve]:
    """Precision-recall curves at IoU .5 of the classes that have marks."""
    result = []
    everything = np.ones((1, len({page.document for page in pages})))
    for label, ranked in zip(MARKS, _ranked(pages, found), strict=True):
        if not ranked.marks.any():
            continue
        marks = everything @ ranked.marks
        precision, recall = _precision_recall(ranked, everything[:, ranked.documents], marks, 0)
        result.append(
            Curve(
                label=label,
                recall=recall[0],
                precision=precision[0],
                scores=ranked.scores,
                average_precision=float(_area(precision, recall, marks)[0]),
            )
        )
    return result


def _precision_recall(
    ranked: _Ranked, weights: NDArray[np.float64], marks: NDArray[np.float64], column: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Precision and recall after each box, (B, N) each."""
    hits = np.cumsum(weights * ranked.hits[:, column], axis=1)
    shown = np.cumsum(weights * ranked.counts[:, column], axis=1)
    return hits / (shown + _ROUNDING), hits / np.maximum(marks, 1)[:, None]


def _area(
    precision: NDArray[np.float64], recall: NDArray[np.float64], marks: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Mean over 101 recalls of the best precision at that recall or above, (B,)."""
    best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    best = np.pad(best, ((0, 0), (0, 1)))
    areas_ = np.empty(len(best))
    for row, (levels, reached) in enumerate(zip(best, recall, strict=True)):
        areas_[row] = levels[np.searchsorted(reached, _RECALLS, side="left")].mean()
    return np.where(marks > 0, areas_, np.nan)


def _ranked(pages: Sequence[TruePage], found: Sequence[FoundMarks]) -> Iterable[_Ranked]:
    """The boxes of each class, ranked over all pages and judged at each IoU."""
    places = {name: place for place, name in enumerate(dict.fromkeys(page.document for page in pages))}
    for label in range(len(MARKS)):
        scores, documents, hits, counts = [], [], [], []
        marks = np.zeros(len(places))
        for page, boxes in zip(pages, found, strict=True):
            marks[places[page.document]] += (page.labels == label).sum()
            one = _judged(page, boxes, label)
            scores.append(one[0])
            documents.append(np.full(len(one[0]), places[page.document], np.intp))
            hits.append(one[1])
            counts.append(one[2])
        flat = np.concatenate(scores)
        order = np.argsort(-flat, kind="stable")
        yield _Ranked(
            scores=flat[order],
            documents=np.concatenate(documents)[order],
            hits=np.concatenate(hits)[order],
            counts=np.concatenate(counts)[order],
            marks=marks,
        )


def _judged(
    page: TruePage, found: FoundMarks, label: int
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]:
    """Scores (N,), hits and counting (N, len(THRESHOLDS)) of one class's boxes on a page, best first."""
    own = np.flatnonzero(found.labels == label)
    own = own[np.argsort(-found.scores[own], kind="stable")][:_MOST]
    overlap = iou(found.boxes[own], page.boxes[page.labels == label])
    order = np.arange(len(own))
    hits = np.zeros((len(own), len(THRESHOLDS)), bool)
    for column, threshold in enumerate(THRESHOLDS):
        free = np.ones(overlap.shape[1], bool)
        hits[:, column] = take(overlap, np.ones_like(overlap, bool), order, free, threshold) != NOBODY
    spared = coverage(found.boxes[own], page.ignored).max(axis=1, initial=0)[:, None] >= THRESHOLDS
    return found.scores[own], hits, hits | ~spared


def _truth(pages: Sequence[TruePage]) -> dict[str, Any]:
    """COCO of the known marks; what does not count is a crowd of each class."""
    annotations: list[dict[str, Any]] = []
    for image, page in enumerate(pages, 1):
        crowds = [(label, box) for box in page.ignored for label in range(len(MARKS))]
        for crowd, members in ((0, zip(page.labels.tolist(), page.boxes, strict=True)), (1, crowds)):
            for label, box in members:
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": image,
                        "category_id": label + 1,
                        "bbox": _xywh(box),
                        "area": float(areas(box[None])[0]),
                        "iscrowd": crowd,
                    }
                )
    return {
        "images": [{"id": image} for image in range(1, len(pages) + 1)],
        "categories": [{"id": place, "name": name} for place, name in enumerate(MARKS, 1)],
        "annotations": annotations,
    }


def _boxes(pages: Sequence[TruePage], found: Sequence[FoundMarks]) -> Iterable[dict[str, Any]]:
    for image, (_, boxes) in enumerate(zip(pages, found, strict=True), 1):
        for box, label, score in zip(boxes.boxes, boxes.labels, boxes.scores, strict=True):
            yield {"image_id": image, "category_id": int(label) + 1, "bbox": _xywh(box), "score": float(score)}


def _xywh(box: NDArray[np.float64]) -> list[float]:
    return [float(side) for side in (box[0], box[1], box[2] - box[0], box[3] - box[1])]
