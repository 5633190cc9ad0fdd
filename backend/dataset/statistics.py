"""What a version is made of: its marks by class, side, size, ink, overlap and language, and its pages without marks.

The colour of a mark's ink, by the optical density of what is coloured in its box.

What a version has too little of, by a plain rule: what should be collected next, the scarcest first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.dataset.manifest import SPLITS, FrozenMark, FrozenPage
from backend.dataset.store import Version
from backend.evaluation.bootstrap import LEAST_DOCUMENTS
from backend.geometry import Boxes, as_boxes, clip, coverage
from backend.vision.ink import OD_STEPS, DetectionConfig, PageInk, ink_of, paper_colour
from backend.vision.network_config import MARKS
from backend.vision.working_raster import Raster, rasterise

__all__ = ["INKS", "LEAST", "SLICES", "MarkFacts", "Statistics", "Want", "statistics", "wants"]

INKS = ("blue", "violet", "red", "green", "black", "pale")
"""Names of ink groups; `pale` is too weak to tell, `black` has no colour, grey and pencil among it."""
_SECTORS = (("violet", 38), ("red", 64), ("green", 130), ("blue", 173))
"""Where a name's hues end and this name's begin, in OpenCV's steps of 2 degrees, of the density: blue ink, which
absorbs red and some green, is at 14 to 32, purple at 45, magenta to red at 73 to 84, green at 165."""
_DARK_OD = 0.12
_COLOURED = 0.35
"""Share of a mark's inked pixels that are coloured, from which its ink is: text under a stamp is black as well."""
_LEAST_PIXELS = 12
_STRONG = 2.0
SLICES = ("size", "ink", "overlap", "language")
"""Ways of sorting the marks of a class."""
SMALL_MM, LARGE_MM = 20.0, 45.0
"""Longer side below which a mark is small, and from which it is large: a thumbprint, and a wide signature or seal."""
_TOUCHING = 0.05
"""Share of a mark's box within another's from which they overlap."""
_UNKNOWN = "unknown"
LEAST = {"train": 100, "validation": 20, "gold": 20}
"""Marks of a class on each side. 20: with fewer a retraining fits no threshold (see docs/training.md). 100: a third of
the signatures that the original model began with."""
_LEAST_SHARE = 0.05
"""Of a class's training marks, in each group of a slice that the version knows."""
_LEAST_WITHOUT_MARKS = 0.1
"""Of the pages on each side: without them nobody sees boxes on nothing."""


def _ink_names(ink: PageInk, boxes: Boxes) -> list[str]:
    """Names the ink in each box.

    Args:
        ink: Of the page, at the working resolution.
        boxes: (N, 4) pixels of that resolution.
    """
    height, width = ink.colour.shape
    inside = clip(boxes, width=width, height=height)
    whole = np.column_stack([np.floor(inside[:, :2]), np.ceil(inside[:, 2:])]).astype(int)
    return [_name(ink, box) for box in whole]


def _name(ink: PageInk, box: NDArray[np.int_]) -> str:
    left, top, right, bottom = box
    place = slice(top, bottom), slice(left, right)
    colour, neutral, hue = ink.colour[place], ink.neutral[place], ink.hue[place]
    coloured = colour >= _STRONG * ink.weakest
    dark = ~coloured & (neutral >= _DARK_OD * OD_STEPS)
    inked = int(coloured.sum()) + int(dark.sum())
    if inked < _LEAST_PIXELS:
        return "pale"
    if coloured.sum() < _COLOURED * inked:
        return "black"
    weights = np.bincount(hue[coloured], weights=colour[coloured].astype(np.float64), minlength=256)
    totals = dict.fromkeys(INKS, 0.0)
    for step, weight in enumerate(weights[:180]):
        totals[_sector(step)] += float(weight)
    return max(totals, key=lambda name: totals[name])


def _sector(step: int) -> str:
    """The name of a hue."""
    name = "blue"
    for other, begin in _SECTORS:
        if step >= begin:
            name = other
    return name


@dataclass(frozen=True, kw_only=True)
class MarkFacts:
    """A mark and what was measured on it.

    Attributes:
        page: Its page.
        mark: As it was frozen.
        size_mm: Longer side in mm.
        ink: Of `backend.dataset.statistics.INKS`.
        size: small, medium or large.
        overlap: overlaps or alone.
        language: Of the document, or unknown.
    """

    page: FrozenPage
    mark: FrozenMark
    size_mm: float
    ink: str
    size: str
    overlap: str
    language: str


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """What was counted and measured.

    Attributes:
        counts: By split, as the manifest has them.
        marks: Each mark, in the order of the pages.
        without_dpi: Pages whose file tells no plausible resolution: they are taken for A4 where sizes are in mm.
        turned: Marks whose rectangle was turned.
        copies: Pages whose pixels an earlier page has as well.
        outcomes: Samples of the ledger by outcome.
    """

    counts: Mapping[str, Mapping[str, int]]
    marks: tuple[MarkFacts, ...]
    without_dpi: int
    turned: int
    copies: int
    outcomes: Mapping[str, int]

    def slices(self, kind: str, split: str | None = None) -> dict[str, Counter[str]]:
        """Number of marks by class and group of one of `SLICES`, on one side of the split or on all."""
        found: dict[str, Counter[str]] = {label: Counter() for label in MARKS}
        for one in self.marks:
            if split in (None, one.page.split):
                found[one.mark.label][str(getattr(one, kind))] += 1
        return found

    def total(self, key: str) -> int:
        """A count over all sides of the split."""
        return sum(self.counts[split][key] for split in SPLITS)

    def as_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "counts": {split: dict(row) for split, row in self.counts.items()},
            **{kind: {label: dict(row) for label, row in self.slices(kind).items()} for kind in SLICES},
            "pages_taken_for_a4": self.without_dpi,
            "turned_marks": self.turned,
            "copied_pages": self.copies,
            "samples": dict(self.outcomes),
        }


def statistics(version: Version, progress: Callable[[], object] = lambda: None) -> Statistics:
    """Measures a version; reads, and so checks, every page that bears a mark.

    Raises:
        DatasetError: A page is damaged.
    """
    pages = version.manifest.pages
    found: list[MarkFacts] = []
    for page in pages:
        if page.marks:
            found += _measured(page, version)
        progress()
    marks = [one.mark for one in found]
    return Statistics(
        counts=version.manifest.counts(),
        marks=tuple(found),
        without_dpi=sum(page.dpi is None for page in pages),
        turned=sum(bool(mark.rotation) for mark in marks),
        copies=len(pages) - len({page.sha256 for page in pages}),
        outcomes=Counter(sample.outcome for sample in version.manifest.samples),
    )


def _measured(page: FrozenPage, version: Version) -> Iterator[MarkFacts]:
    config = DetectionConfig()
    raster = rasterise(version.pixels(page), page.dpi, pixel_mm=config.pixel_mm)
    paper = paper_colour(raster.pixels, widest=config.paper_mm / config.pixel_mm)
    boxes = as_boxes([mark.box for mark in page.marks])
    inks = _ink_names(ink_of(raster.pixels, paper, config), raster.from_page(boxes))
    sizes = _sizes_mm(raster, page)
    shared = coverage(boxes, boxes) - np.eye(len(boxes))
    for mark, ink, size, within in zip(page.marks, inks, sizes, shared.max(axis=1), strict=True):
        yield MarkFacts(
            page=page,
            mark=mark,
            size_mm=round(size, 1),
            ink=ink,
            size="small" if size < SMALL_MM else "medium" if size < LARGE_MM else "large",
            overlap="overlaps" if within >= _TOUCHING else "alone",
            language=page.language or _UNKNOWN,
        )


def _sizes_mm(raster: Raster, page: FrozenPage) -> list[float]:
    """The longer side of each mark."""
    boxes = raster.from_page(as_boxes([mark.box for mark in page.marks])) * raster.pixel_mm
    return [float(side) for side in np.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])]


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
    yield Want(what="gold documents", have=found.counts["gold"]["documents"], want=LEAST_DOCUMENTS)


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
