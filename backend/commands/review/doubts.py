"""What a review says: of each page how far its annotation is to be believed, and which of its boxes are doubted.

How far each box of a page is to be believed: 1 where the model agrees, towards 0 the surer it is of the contrary.

The scores are those of ObjectLab (Tkachenko, Thyagarajan and Mueller 2023, arXiv:2309.00832), written from its
formulas: three kinds of doubt, each a score for each box; the boxes of a page pooled by a soft minimum; the three kinds
brought together by their geometric mean. Where this program knows more than the paper's detectors do, it departs:

- The paper asks how near the surest box of another name is. Here the classifier is asked about the annotator's own box:
  how sure is the model of another name for it?
- A confident box without an annotation scores by its confidence, above all bars, where the paper has one high bar.
- A box says where a mark is only to the annotation that it belongs to, one to one: two marks that touch do not accuse
  each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.evaluation.study import NOBODY, FoundMarks, take
from backend.geometry import Boxes, coverage, iou

__all__ = [
    "DOUBTFUL",
    "Box",
    "Doubt",
    "DoubtKind",
    "Named",
    "PagePlace",
    "Review",
    "ReviewedPage",
    "badly_placed",
    "overlooked",
    "page_score",
    "similarity",
    "soft_min",
    "swapped",
    "tasks_of",
]

Scores = NDArray[np.float64]

_BY_IOU = 0.9
"""Weight of the IoU in a similarity; the rest is for the distance of the centres."""
_TEMPERATURE = 0.1
_SURE_OF_PLACE = 0.5
"""Least probability at which the model's box tells where a mark is."""
_SAME_MARK = 0.1
"""Least IoU of two boxes of one name that can mean one mark, as the ledger has it."""
_SAME_PIXELS = 0.5
"""Least IoU at which a box of another name stands at the same place."""
_PART = 0.75
"""Share of one box within another of its name above which it is a part of it."""
_LEAST = 1e-6
"""Stands for a score of zero where a logarithm is to come."""
DOUBTFUL = 0.5
"""Score below which a box is doubted: the contrary is the likelier."""

Box = tuple[float, float, float, float]


def similarity(a: Boxes, b: Boxes) -> Scores:
    """How alike two boxes are, for every pair, (N, M): 1 for the same, 0 for far away.

    Nine tenths IoU, one tenth nearness of the centres. As in DIoU (Zheng et al. 2020, arXiv:1911.08287), the distance
    is measured by the diagonal of the smallest box around both. So a page's resolution does not matter.
    """
    apart = np.linalg.norm(_centres(a)[:, None] - _centres(b)[None], axis=2)
    around = np.maximum(a[:, None, 2:], b[None, :, 2:]) - np.minimum(a[:, None, :2], b[None, :, :2])
    diagonal = np.linalg.norm(around, axis=2)
    far = np.divide(apart, diagonal, out=np.zeros_like(apart), where=diagonal > 0)
    return np.asarray(_BY_IOU * iou(a, b) + (1 - _BY_IOU) * (1 - far))


def overlooked(found: FoundMarks, boxes: Boxes, labels: NDArray[np.intp], *, ignored: Boxes) -> Scores:
    """For each of the model's M marks how far the annotation is to be believed that has no box there, (M,).

    A mark that an annotated box explains scores 1. A box of its name explains it by overlapping it, holding it or lying
    in it. A box of another name does so at the same place; then its name is the question. Any other mark scores 1 - its
    probability.

    Args:
        found: The model's marks.
        boxes: (A, 4) annotated.
        labels: (A,) their names, indices into `MARKS`.
        ignored: (I, 4) places about which the annotation says nothing.
    """
    overlap = iou(found.boxes, boxes)
    part = np.maximum(coverage(found.boxes, boxes), coverage(boxes, found.boxes).T) > _PART
    own = found.labels[:, None] == labels[None, :]
    there = (own & ((overlap >= _SAME_MARK) | part)) | (overlap >= _SAME_PIXELS)
    silent = coverage(found.boxes, ignored).max(axis=1, initial=0) >= _SAME_PIXELS
    return np.where(there.any(axis=1) | silent, 1.0, 1.0 - found.scores)


def swapped(labels: NDArray[np.intp], words: NDArray[np.float64]) -> Scores:
    """For each annotated box how far its name is to be believed, (A,): 1 - the probability of the best other name.

    Args:
        labels: (A,) indices into `MARKS`.
        words: (A, 4) probabilities over `CLASSES` of the annotated boxes; that it is no mark at all is a name as well.
    """
    others = words.copy()
    others[np.arange(len(labels)), labels] = 0.0
    return np.asarray(1.0 - others.max(axis=1, initial=0.0))


def badly_placed(found: FoundMarks, boxes: Boxes, labels: NDArray[np.intp]) -> tuple[Scores, NDArray[np.intp]]:
    """For each annotated box how far its place is to be believed, (A,), and which mark of the model says so, (A,).

    That is its similarity to the model's mark of its name that belongs to it; 1, and `NOBODY`, where none does. Marks
    take the boxes that they overlap most, the surest mark first, each box once.
    """
    overlap = iou(found.boxes, boxes)
    own = found.labels[:, None] == labels[None, :]
    sure = np.argsort(-found.scores, kind="stable")
    sure = sure[found.scores[sure] >= _SURE_OF_PLACE]
    taken = take(overlap, own, sure, np.ones(len(boxes), bool), _SAME_MARK)
    scores, partner = np.ones(len(boxes)), np.full(len(boxes), NOBODY, np.intp)
    [marks] = np.nonzero(taken != NOBODY)
    scores[taken[marks]] = similarity(found.boxes, boxes)[marks, taken[marks]]
    partner[taken[marks]] = marks
    return scores, partner


def soft_min(scores: Scores) -> float:
    """The scores of a page's boxes as one: near the least of them, a little less when several are low; 1 for none.

    The mean of the scores, weighted by the softmax of (1 - score) / 0.1.
    """
    from scipy.special import softmax  # noqa: PLC0415  a third of a second to load, which help need not wait for

    if not len(scores):
        return 1.0
    return float(scores @ softmax(-scores / _TEMPERATURE))


def page_score(*kinds: Scores) -> float:
    """The geometric mean of the soft minima of the kinds."""
    pooled = np.array([soft_min(scores) for scores in kinds])
    return float(np.exp(np.log(np.maximum(pooled, _LEAST)).mean()))


def _centres(boxes: Boxes) -> NDArray[np.float64]:
    return (boxes[:, :2] + boxes[:, 2:]) / 2


class DoubtKind(StrEnum):
    """What may be wrong with an annotation."""

    OVERLOOKED = "overlooked"
    SWAPPED = "swapped"
    BADLY_PLACED = "badly placed"


@dataclass(frozen=True, kw_only=True)
class PagePlace:
    """Where a page is to be found again.

    Attributes:
        name: For people: `task 31, page 2`, or the page's name in its frozen version.
        project: Label Studio's project; None for pages that are not of a Label Studio.
        task: Its task.
        annotation: The annotation that rules.
        page: Index of the page within the task, from 0.
        source: What the place is read from: the task's reference, or the name of the frozen page.
    """

    name: str
    source: str
    project: int | None = None
    task: int | None = None
    annotation: int | None = None
    page: int = 0


@dataclass(frozen=True, kw_only=True)
class Named:
    """A box, x1, y1, x2, y2 in pixels of the upright page, and what it is called."""

    box: Box
    label: str


@dataclass(frozen=True, kw_only=True)
class Doubt:
    """One thing that may be wrong.

    Attributes:
        kind: What.
        score: How far the annotation is to be believed here, from 0.
        given: The annotator's box; None where there is none, but should be one.
        seen: What the model has instead.
        probability: How sure the model is of that.
    """

    kind: DoubtKind
    score: float
    given: Named | None
    seen: Named
    probability: float

    def __str__(self) -> str:
        sure = f"{self.probability:.2f}"
        match self.kind:
            case DoubtKind.OVERLOOKED:
                return f"{self.seen.label} without a box ({sure})"
            case DoubtKind.SWAPPED:
                called = self.given.label if self.given else "nothing"
                return f"{called}, but the model says {self.seen.label} ({sure})"
            case DoubtKind.BADLY_PLACED:
                return f"{self.seen.label} elsewhere: boxes agree by {self.score:.2f} (model {sure})"


@dataclass(frozen=True, kw_only=True)
class ReviewedPage:
    """One page of an annotation.

    Attributes:
        place: Which.
        score: How far its annotation is to be believed, from 0 to 1, all boxes and kinds together.
        doubts: What is doubted, the least believed first.
        given: All boxes of the annotation.
    """

    place: PagePlace
    score: float
    doubts: tuple[Doubt, ...]
    given: tuple[Named, ...]

    @property
    def kinds(self) -> tuple[DoubtKind, ...]:
        """The kinds of its doubts, each once, the least believed first."""
        return tuple(dict.fromkeys(one.kind for one in self.doubts))

    def as_json(self) -> dict[str, Any]:
        place = self.place
        return {
            "page": place.name,
            "project": place.project,
            "task": place.task,
            "annotation": place.annotation,
            "index": place.page,
            "score": round(self.score, 4),
            "doubts": [_as_json(one) for one in self.doubts],
        }


@dataclass(frozen=True, kw_only=True)
class Review:
    """A whole review.

    Attributes:
        version: Of the model that doubts.
        pages: All that were looked at, the least believed first.
        missing: Pages that could not be looked at, one sentence each.
        told: On whose word names are doubted, in sentences.
    """

    version: str
    pages: tuple[ReviewedPage, ...]
    missing: tuple[str, ...]
    told: tuple[str, ...]

    @property
    def doubted(self) -> tuple[ReviewedPage, ...]:
        """Pages with a doubt."""
        return tuple(page for page in self.pages if page.doubts)

    def count(self, kind: DoubtKind) -> int:
        """How many doubts of a kind there are."""
        return sum(one.kind is kind for page in self.pages for one in page.doubts)


def tasks_of(pages: Sequence[ReviewedPage]) -> dict[int, tuple[float, tuple[DoubtKind, ...]]]:
    """By task: the score of its least believed page, and the kinds of all its doubts, the least believed first."""
    scores: dict[int, float] = {}
    doubts: dict[int, list[Doubt]] = {}
    for page in pages:
        task = page.place.task
        if task is not None:
            scores[task] = min(page.score, scores.get(task, 1.0))
            doubts.setdefault(task, []).extend(page.doubts)
    return {
        task: (score, tuple(dict.fromkeys(one.kind for one in sorted(doubts[task], key=lambda one: one.score))))
        for task, score in scores.items()
    }


def _as_json(one: Doubt) -> dict[str, Any]:
    return {
        "kind": one.kind,
        "score": round(one.score, 4),
        "given": _named(one.given),
        "seen": _named(one.seen),
        "probability": round(one.probability, 4),
    }


def _named(one: Named | None) -> dict[str, Any] | None:
    return None if one is None else {"label": one.label, "box": [round(side, 2) for side in one.box]}
