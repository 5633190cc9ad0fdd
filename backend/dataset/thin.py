"""What a version has too little of, by a plain rule: what should be collected next, the scarcest first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from backend.dataset.manifest import SPLITS
from backend.dataset.statistics import SLICES, Statistics
from backend.nets.config import MARKS

__all__ = ["LEAST", "Want", "wants"]

LEAST = {"train": 100, "validation": 20, "gold": 20}
"""Marks of a class on each side. 20: with fewer a retraining fits no threshold (see docs/training.md). 100: a third of
the signatures that the seed's model began with."""
_LEAST_DOCUMENTS = 20
"""Gold documents: with fewer, intervals over documents are too narrow (see docs/evaluation.md)."""
_LEAST_SHARE = 0.05
"""Of a class's training marks, in each group of a slice that the version knows."""
_LEAST_WITHOUT_MARKS = 0.1
"""Of the pages on each side: without them nobody sees boxes on nothing."""


@dataclass(frozen=True, kw_only=True)
class Want:
    """One thing to collect.

    Attributes:
        what: In words.
        have: How much there is.
        want: How much there should be.
    """

    what: str
    have: int
    want: int

    def __str__(self) -> str:
        return f"{self.what}: {self.have}, should be {self.want}"


def wants(found: Statistics) -> list[Want]:
    """What is thin, by how little of it there is; a group within a class only where the class itself is not thin."""
    rows = [*_classes(found), *_documents(found), *_without_marks(found), *_groups(found)]
    return sorted((row for row in rows if row.have < row.want), key=lambda row: row.have / row.want)


def _classes(found: Statistics) -> Iterator[Want]:
    for split in SPLITS:
        for label in MARKS:
            yield Want(what=f"{label} marks for {split}", have=found.counts[split][label], want=LEAST[split])


def _documents(found: Statistics) -> Iterator[Want]:
    yield Want(what="gold documents", have=found.counts["gold"]["documents"], want=_LEAST_DOCUMENTS)


def _without_marks(found: Statistics) -> Iterator[Want]:
    for split in SPLITS:
        row = found.counts[split]
        wanted = round(_LEAST_WITHOUT_MARKS * row["pages"])
        yield Want(what=f"pages without marks for {split}", have=row["pages_without_marks"], want=wanted)


def _groups(found: Statistics) -> Iterator[Want]:
    for kind in SLICES:
        groups = sorted({group for row in found.slices(kind).values() for group in row} - {"unknown", "pale"})
        for label, row in found.slices(kind, "train").items():
            marks = found.counts["train"][label]
            if marks >= LEAST["train"]:
                for group in groups:
                    what = f"{label} marks for train, {kind}: {group}"
                    yield Want(what=what, have=row[group], want=round(_LEAST_SHARE * marks))
