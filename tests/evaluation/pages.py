"""Pages, boxes and runs without a picture: what the figures need, and no more."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from backend.evaluation.study import FoundMarks, Run
from backend.evaluation.truth import TruePage, Truth
from backend.evaluation.verdict import Verdict
from backend.geometry import as_boxes
from backend.vision.network_config import MARKS

Box = tuple[float, float, float, float]
Mark = tuple[str, Box]

PLACES = {
    "signature": (100.0, 100.0, 300.0, 200.0),
    "stamp": (400.0, 400.0, 600.0, 600.0),
    "thumb": (700.0, 800.0, 800.0, 950.0),
}


def known(
    *marks: Mark, document: str = "lease", ignored: Sequence[Box] = (), traits: Sequence[Sequence[str]] = ()
) -> TruePage:
    return TruePage(
        name=f"{document}.jpg",
        path=Path(f"{document}.jpg"),
        document=document,
        size=(1000, 1400),
        boxes=as_boxes([box for _, box in marks]),
        labels=np.array([MARKS.index(name) for name, _ in marks], dtype=np.intp),
        traits=tuple(frozenset(one) for one in traits) or (frozenset(),) * len(marks),
        ignored=as_boxes(list(ignored)),
    )


def found(*boxes: tuple[str, Box, float]) -> FoundMarks:
    return FoundMarks(
        boxes=as_boxes([box for _, box, _ in boxes]),
        labels=np.array([MARKS.index(name) for name, _, _ in boxes], dtype=np.intp),
        scores=np.array([score for _, _, score in boxes], dtype=np.float64),
    )


def truth(*pages: TruePage, sha256: str = "a" * 64) -> Truth:
    return Truth(pages=pages, sha256=sha256)


def run(version: str, gold: Truth, shown: Sequence[FoundMarks], milliseconds: float = 100.0) -> Run:
    times = np.full((len(gold.pages), 1), milliseconds)
    return Run(version=version, truth=gold, shown=tuple(shown), milliseconds=times)


def page_hash(number: int) -> str:
    """What a gold page is known by, where only that counts."""
    return hashlib.sha256(str(number).encode()).hexdigest()


def failed(one: Verdict) -> set[str]:
    """The names of the checks that a verdict failed."""
    return {check.name for check in one.checks if not check.passed}
