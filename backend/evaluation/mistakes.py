"""What an annotator would have to correct, in the words of the ledger; and the corrections worth looking at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from backend.evaluation.matching import Found, Match, match
from backend.evaluation.truth import TruePage
from backend.feedback.matching import Outcome
from backend.feedback.matching import match as pair
from backend.labelstudio.annotations import Region
from backend.nets.config import MARKS

__all__ = ["KINDS", "Box", "Mistake", "corrections", "worst"]

KINDS = (Outcome.RELABELLED, Outcome.REJECTED, Outcome.MOVED, Outcome.DUPLICATE, Outcome.MISSED)
"""Outcomes that are work for an annotator."""
_IOU = 0.5
_HARD = frozenset({"faded", "overlap", "partial", "small", "black ink"})

Box = tuple[float, float, float, float]


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """One thing to correct on a page.

    Attributes:
        page: Index of the page.
        kind: One of `KINDS`.
        true: Box and label of the mark; None where there is none.
        shown: Box and label of what was shown; None where nothing was.
        score: Of what was shown; 0 where nothing was.
        traits: What is known of the mark.
    """

    page: int
    kind: Outcome
    true: tuple[Box, str] | None
    shown: tuple[Box, str] | None
    score: float
    traits: frozenset[str] = frozenset()


def corrections(page: int, known: TruePage, found: Found) -> list[Mistake]:
    """What an annotator would change on page number `page`; boxes on things that do not count are left out."""
    judged: Match = match(known, found, _IOU)
    shown = {f"shown {index:06d}": index for index in np.flatnonzero(~judged.ignored).tolist()}
    drawn = {f"true {index:06d}": index for index in range(len(known))}
    rows = pair(
        [_region(name, found.boxes[index], found.labels[index]) for name, index in shown.items()],
        [_region(name, known.boxes[index], known.labels[index]) for name, index in drawn.items()],
    )
    return [
        Mistake(
            page=page,
            kind=row.outcome,
            true=(row.drawn.box, row.drawn.label) if row.drawn else None,
            shown=(row.shown.box, row.shown.label) if row.shown else None,
            score=float(found.scores[shown[row.shown.id]]) if row.shown else 0.0,
            traits=known.traits[drawn[row.drawn.id]] if row.drawn else frozenset(),
        )
        for row in rows
        if row.outcome in KINDS
    ]


def worst(mistakes: Sequence[Mistake], kind: Outcome, most: int) -> list[Mistake]:
    """The `most` worst of a kind: the surest boxes; of missed marks those with the fewest excuses, large ones first."""
    own = [one for one in mistakes if one.kind is kind]
    if kind is Outcome.MISSED:
        return sorted(own, key=lambda one: (len(one.traits & _HARD), -_area(one.true)))[:most]
    return sorted(own, key=lambda one: -one.score)[:most]


def _region(name: str, box: np.ndarray[tuple[int], np.dtype[np.float64]], label: int) -> Region:
    left, top, right, bottom = (float(side) for side in box)
    return Region(id=name, page=0, label=MARKS[label], box=(left, top, right, bottom))


def _area(mark: tuple[Box, str] | None) -> float:
    if mark is None:
        return 0.0
    left, top, right, bottom = mark[0]
    return (right - left) * (bottom - top)
