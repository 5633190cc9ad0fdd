"""What a review says: of each page how far its annotation is to be believed, and which of its boxes are doubted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

__all__ = ["DOUBTFUL", "Box", "Doubt", "Kind", "Named", "Place", "Review", "ReviewedPage", "tasks_of"]

DOUBTFUL = 0.5
"""Score below which a box is doubted: the contrary is the likelier."""

Box = tuple[float, float, float, float]


class Kind(StrEnum):
    """What may be wrong with an annotation."""

    OVERLOOKED = "overlooked"
    SWAPPED = "swapped"
    BADLY_PLACED = "badly placed"


@dataclass(frozen=True, kw_only=True)
class Place:
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

    kind: Kind
    score: float
    given: Named | None
    seen: Named
    probability: float

    def __str__(self) -> str:
        sure = f"{self.probability:.2f}"
        match self.kind:
            case Kind.OVERLOOKED:
                return f"{self.seen.label} without a box ({sure})"
            case Kind.SWAPPED:
                called = self.given.label if self.given else "nothing"
                return f"{called}, but the model says {self.seen.label} ({sure})"
            case Kind.BADLY_PLACED:
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

    place: Place
    score: float
    doubts: tuple[Doubt, ...]
    given: tuple[Named, ...]

    @property
    def kinds(self) -> tuple[Kind, ...]:
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

    def count(self, kind: Kind) -> int:
        """How many doubts of a kind there are."""
        return sum(one.kind is kind for page in self.pages for one in page.doubts)


def tasks_of(pages: Sequence[ReviewedPage]) -> dict[int, tuple[float, tuple[Kind, ...]]]:
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
