"""Scores marks against known ones: misses and background boxes count, one prediction answers one mark."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from backend.evaluation.bootstrap import estimate, weights
from backend.geometry import Boxes, coverage, iou
from benchmarks.inks import is_coloured
from benchmarks.truth import TruePage

__all__ = ["INKS", "Score", "recalled"]

INKS = ("coloured ink", "black ink")
_IGNORED = 0.5
"""Share of a box inside a thing that does not count, above which the box does not count either."""


def recalled(page: TruePage, candidates: Boxes, threshold: float) -> list[bool]:
    """Whether some candidate, of whatever class, reaches each mark of the page at IoU `threshold`."""
    return [bool(value) for value in iou(page.boxes, candidates).max(axis=1, initial=0) >= threshold]


@dataclass
class Score:
    """Right, false and missed marks at one IoU; keys are a class and `all` or one of `INKS`.

    The ink of a true mark is what is known of it; that of a false box is measured on its pixels.

    Attributes:
        threshold: IoU at which a box is right.
        found: For each class and group of marks, whether each such mark was found.
        complete: Classes of which every mark is known on every page: those that a false box can be told of.
        false_a_page: False boxes of each page of which all marks are known.
        false_on_empty: The same of pages that have no mark.
        documents: By document and class, right, false and missed marks.
        fits: By class, the overlaps (IoU) of the right boxes.
    """

    threshold: float
    right: Counter[tuple[str, str]] = field(default_factory=Counter)
    false: Counter[tuple[str, str]] = field(default_factory=Counter)
    missed: Counter[tuple[str, str]] = field(default_factory=Counter)
    found: dict[tuple[str, str], list[bool]] = field(default_factory=lambda: defaultdict(list))
    complete: frozenset[str] | None = None
    false_a_page: list[int] = field(default_factory=list)
    false_on_empty: list[int] = field(default_factory=list)
    documents: dict[str, Counter[tuple[str, str]]] = field(default_factory=lambda: defaultdict(Counter))
    fits: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def add(self, page: TruePage, boxes: Boxes, labels: Sequence[str], scores: NDArray[np.float64]) -> None:
        """Counts one page's predictions, best first: each takes the free mark of its class that it overlaps most."""
        self.documents[page.document]  # a document without a mark or a box counts in the resamples, too
        overlap = iou(boxes, page.boxes)
        ignored = coverage(boxes, page.ignored).max(axis=1, initial=0) >= _IGNORED
        taken: set[int] = set()
        false: list[int] = []
        for index in np.argsort(-scores, kind="stable"):
            free = [n for n, mark in enumerate(page.marks) if n not in taken and mark.label == labels[index]]
            best = max(free, key=lambda n: overlap[index, n], default=None)
            if best is not None and overlap[index, best] >= self.threshold:
                taken.add(best)
                self.fits[labels[index]].append(float(overlap[index, best]))
            elif not ignored[index]:
                false.append(int(index))
        for n, mark in enumerate(page.marks):
            counter = self.right if n in taken else self.missed
            for group in mark.groups[:2]:
                counter[mark.label, group] += 1
            for group in mark.groups:
                self.found[mark.label, group].append(n in taken)
            self.documents[page.document][mark.label, "right" if n in taken else "missed"] += 1
        for index, coloured in zip(false, is_coloured(page.pixels, boxes[false]), strict=True):
            for group in ("all", INKS[0] if coloured else INKS[1]):
                self.false[labels[index], group] += 1
            self.documents[page.document][labels[index], "false"] += 1
        self._note(page, len(false))

    def _note(self, page: TruePage, false: int) -> None:
        known = frozenset(page.complete)
        self.complete = known if self.complete is None else self.complete & known
        if known >= {"signature", "stamp", "thumb"}:
            self.false_a_page.append(false)
            if not page.marks:
                self.false_on_empty.append(false)

    def row(self, label: str, group: str = "all") -> tuple[float | None, float | None, float | None]:
        """Precision, recall and F1 of a class.

        None without such marks; precision and F1 are None too where not every mark of the class is known.
        """
        key = label, group
        right, false, missed = self.right[key], self.false[key], self.missed[key]
        if right + missed == 0:
            return None, None, None
        recall = right / (right + missed)
        if label not in (self.complete or ()):
            return None, recall, None
        return right / max(1, right + false), recall, 2 * right / (2 * right + false + missed)

    def mean_f1(self, labels: Sequence[str]) -> float | None:
        """Mean F1 of those classes that have one; None where none has."""
        known = [f1 for label in labels if (f1 := self.row(label)[2]) is not None]
        return float(np.mean(known)) if known else None

    def f1_interval(self, labels: Sequence[str]) -> tuple[float, float] | tuple[None, None]:
        """The 95 % interval of the mean F1 of classes, over documents; none where one of them has no F1."""
        if any(self.row(label)[2] is None for label in labels) or len(self.documents) < 2:
            return None, None
        counts = np.array(
            [
                [[one[label, kind] for kind in ("right", "false", "missed")] for label in labels]
                for one in self.documents.values()
            ]
        )
        found = estimate(_mean_f1, counts.astype(np.float64), weights(len(counts)))
        return (None, None) if found.low is None or found.high is None else (found.low, found.high)


def _mean_f1(summed: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean F1 (B,) of counts (B, classes, 3); a resample without a class leaves it out."""
    right, false, missed = np.moveaxis(summed, 2, 0)
    total = 2 * right + false + missed
    values = np.divide(2 * right, total, out=np.full(total.shape, np.nan), where=total > 0)
    return np.asarray(np.nanmean(values, axis=1))
