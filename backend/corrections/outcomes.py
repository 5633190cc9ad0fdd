"""Which shown mark became which annotated mark: one to one, by region id first, then by IoU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from backend.geometry import as_boxes, coverage, iou
from backend.labelstudio.annotations import Region, Unplaced
from backend.labelstudio.vocabulary import UNKNOWN

__all__ = ["MatchRow", "Outcome", "match"]

SAME_PLACE = 0.5
SAME_MARK = 0.1
MOSTLY = 0.5
"""Share of a box from which it lies within another one for the most part."""


class Outcome(StrEnum):
    """What an annotator made of one mark."""

    ACCEPTED = "accepted"
    MOVED = "moved"
    RELABELLED = "relabelled"
    REJECTED = "rejected"
    DUPLICATE = "duplicate"
    MISSED = "missed"
    UNKNOWN = "unknown"
    """A label that nobody knows stands in the way: it teaches nothing, and makes no sample."""


@dataclass(frozen=True, kw_only=True)
class MatchRow:
    """One row of the verdict: a shown mark, an annotated mark, or the pair of them.

    Attributes:
        shown: What the backend proposed; None for a missed mark.
        drawn: What the annotator left; None for a rejected mark, or one that a label nobody knows lies on. A duplicate
            names the mark it repeats.
        overlap: IoU of the two, 0 where one is missing.
    """

    outcome: Outcome
    shown: Region | None
    drawn: Region | None
    overlap: float


_NOWHERE = Unplaced()


def match(shown: Sequence[Region], drawn: Sequence[Region], *, unplaced: Unplaced = _NOWHERE) -> tuple[MatchRow, ...]:
    """Pairs what was shown with what was left, and names each outcome.

    The result depends on the two sets alone, not on their order: ties go to the smaller region id.

    Args:
        shown: The regions of one prediction.
        drawn: The regions of one submitted annotation on the same task.
        unplaced: Further ones of the annotation, of which nobody can say where they are: what they may be was not
            deleted.
    """
    shown = sorted(shown, key=lambda region: region.id)
    drawn = sorted(drawn, key=lambda region: region.id)
    overlaps, together = _overlaps(shown, drawn)
    pairs = _pairs(shown, drawn, overlaps, together)
    rows = [
        row for s, d in pairs for row in _paired(shown[s], drawn[d], float(overlaps[s, d]), near=bool(together[s, d]))
    ]
    rows += [
        _only_shown(shown[s], drawn, overlaps[s], together[s], unplaced)
        for s in range(len(shown))
        if s not in {pair[0] for pair in pairs}
    ]
    rows += [
        MatchRow(outcome=_of_drawn(drawn[d]), shown=None, drawn=drawn[d], overlap=0.0)
        for d in range(len(drawn))
        if d not in {pair[1] for pair in pairs}
    ]
    return tuple(rows)


def _of_drawn(drawn: Region) -> Outcome:
    return Outcome.UNKNOWN if drawn.label == UNKNOWN else Outcome.MISSED


def _overlaps(shown: Sequence[Region], drawn: Sequence[Region]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """IoU of every pair, (S, D), 0 across pages; and whether both can be of one mark.

    That is so from `SAME_MARK` on, and where one lies within the other for the most part: a piece of a signature that
    was boxed alone, or a box around several of them, holds no other mark and is not empty, however small the IoU is.
    """
    boxes = as_boxes([region.box for region in shown]), as_boxes([region.box for region in drawn])
    here = np.array([[one.page == other.page for other in drawn] for one in shown], bool).reshape(
        len(shown), len(drawn)
    )
    overlaps = iou(*boxes) * here
    within = np.maximum(coverage(*boxes), coverage(*reversed(boxes)).T) * here
    return overlaps, (overlaps >= SAME_MARK) | (within >= MOSTLY)


def _pairs(
    shown: Sequence[Region],
    drawn: Sequence[Region],
    overlaps: NDArray[np.float64],
    together: NDArray[np.bool_],
) -> list[tuple[int, int]]:
    """One-to-one pairs: equal ids, then the same label by falling IoU, then any label by falling IoU.

    Boxes of different labels are one mark only at the same place: a stamp that was deleted where a signature was drawn
    beside it became nothing. Of a box whose label is not known nobody can say so, and it is paired with any near it.
    """
    by_id = {region.id: d for d, region in enumerate(drawn)}
    pairs = [(s, by_id[region.id]) for s, region in enumerate(shown) if region.id in by_id]
    near = [
        (s, d)
        for s, one in enumerate(shown)
        for d, other in enumerate(drawn)
        if (together[s, d] if _could_be_one(one, other) else overlaps[s, d] >= SAME_PLACE)
    ]
    near.sort(key=lambda pair: (shown[pair[0]].label != drawn[pair[1]].label, -overlaps[pair], pair))
    for s, d in near:
        if all(s != taken_s and d != taken_d for taken_s, taken_d in pairs):
            pairs.append((s, d))
    return pairs


def _could_be_one(one: Region, other: Region) -> bool:
    return one.label == other.label or UNKNOWN in (one.label, other.label)


def _paired(shown: Region, drawn: Region, overlap: float, *, near: bool) -> tuple[MatchRow, ...]:
    """What became of a pair: one row, or two where a box was dragged to another mark and renamed for it.

    Nobody had called that mark by the wrong name. What the box left behind is not known: it was needed elsewhere.
    """
    if drawn.label == UNKNOWN:
        outcome = Outcome.UNKNOWN
    elif shown.label not in (drawn.label, UNKNOWN):
        if not near:
            left = MatchRow(outcome=Outcome.UNKNOWN, shown=shown, drawn=None, overlap=0.0)
            return left, MatchRow(outcome=Outcome.MISSED, shown=None, drawn=drawn, overlap=0.0)
        outcome = Outcome.RELABELLED
    else:
        outcome = Outcome.ACCEPTED if overlap >= SAME_PLACE else Outcome.MOVED
    return (MatchRow(outcome=outcome, shown=shown, drawn=drawn, overlap=overlap),)


def _only_shown(
    shown: Region,
    drawn: Sequence[Region],
    overlaps: NDArray[np.float64],
    together: NDArray[np.bool_],
    unplaced: Unplaced,
) -> MatchRow:
    """A shown mark that no annotated one answers to: a second box on a mark of its class, or no mark of it at all."""
    here = {d: float(overlap) for d, overlap in enumerate(overlaps) if together[d]}
    same = [d for d in here if drawn[d].label == shown.label]
    unread = shown.label == UNKNOWN or any(drawn[d].label == UNKNOWN for d in here)
    if unread or shown.id in unplaced.ids or (shown.page in unplaced.pages and not same):
        return MatchRow(outcome=Outcome.UNKNOWN, shown=shown, drawn=None, overlap=0.0)
    if same:
        best = max(same, key=lambda d: (here[d], -d))
        return MatchRow(outcome=Outcome.DUPLICATE, shown=shown, drawn=drawn[best], overlap=here[best])
    return MatchRow(outcome=Outcome.REJECTED, shown=shown, drawn=None, overlap=0.0)
