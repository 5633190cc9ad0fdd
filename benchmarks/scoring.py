"""Scores marks against known ones: misses and background boxes count, one prediction answers one mark."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from backend.geometry import Boxes, coverage, iou
from benchmarks.truth import TruePage

__all__ = ["Score", "recalled"]

_IGNORED = 0.5
"""Share of a box inside a thing that does not count, above which the box does not count either."""


def recalled(page: TruePage, candidates: Boxes, threshold: float) -> list[bool]:
    """Whether some candidate, of whatever class, reaches each mark of the page at IoU `threshold`."""
    return [bool(value) for value in iou(page.boxes, candidates).max(axis=1, initial=0) >= threshold]


@dataclass
class Score:
    """Right, false and missed marks by class at one IoU.

    Attributes:
        threshold: IoU at which a box is right.
        found: For each (class, trait), whether each such mark was found.
        false_on_empty: False boxes on each page that has no mark.
    """

    threshold: float
    right: Counter[str] = field(default_factory=Counter)
    false: Counter[str] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)
    found: dict[tuple[str, str], list[bool]] = field(default_factory=lambda: defaultdict(list))
    false_on_empty: list[int] = field(default_factory=list)

    def add(self, page: TruePage, boxes: Boxes, labels: Sequence[str], scores: NDArray[np.float64]) -> None:
        """Counts one page's predictions, best first: each takes the free mark of its class that it overlaps most."""
        overlap = iou(boxes, page.boxes)
        ignored = coverage(boxes, page.ignored).max(axis=1, initial=0) >= _IGNORED
        taken: set[int] = set()
        false = 0
        for index in np.argsort(-scores, kind="stable"):
            free = [n for n, mark in enumerate(page.marks) if n not in taken and mark.label == labels[index]]
            best = max(free, key=lambda n: overlap[index, n], default=None)
            if best is not None and overlap[index, best] >= self.threshold:
                taken.add(best)
                self.right[labels[index]] += 1
            elif not ignored[index]:
                self.false[labels[index]] += 1
                false += 1
        for n, mark in enumerate(page.marks):
            self.missed[mark.label] += n not in taken
            for trait in ("all", *mark.traits):
                self.found[mark.label, trait].append(n in taken)
        if not page.marks:
            self.false_on_empty.append(false)

    def row(self, label: str) -> tuple[float, float, float]:
        """Precision, recall and F1 of a class; NaN where it has no marks."""
        right, false, missed = self.right[label], self.false[label], self.missed[label]
        if right + missed == 0:
            return float("nan"), float("nan"), float("nan")
        precision, recall = right / max(1, right + false), right / (right + missed)
        return precision, recall, 2 * right / (2 * right + false + missed)

    def macro_f1(self, labels: Sequence[str]) -> float:
        """Mean F1 of the classes that have marks."""
        return float(np.nanmean([self.row(label)[2] for label in labels]))
