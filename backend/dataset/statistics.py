"""What a version is made of: its marks by class, side, size, ink, overlap and language, and its pages without marks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from backend.dataset.inks import ink_names
from backend.dataset.manifest import SPLITS, FrozenMark, FrozenPage
from backend.dataset.store import Version
from backend.detection.config import DetectionConfig
from backend.detection.ink import ink_of
from backend.detection.paper import paper_colour
from backend.detection.raster import Raster, rasterise
from backend.geometry import as_boxes, coverage
from backend.nets.config import MARKS

__all__ = ["SLICES", "MarkFacts", "Statistics", "statistics"]

SLICES = ("size", "ink", "overlap", "language")
"""Ways of sorting the marks of a class."""
SMALL_MM, LARGE_MM = 20.0, 45.0
"""Longer side below which a mark is small, and from which it is large: a thumbprint, and a wide signature or seal."""
_TOUCHING = 0.05
"""Share of a mark's box within another's from which they overlap."""
_UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class MarkFacts:
    """A mark and what was measured on it.

    Attributes:
        page: Its page.
        mark: As it was frozen.
        size_mm: Longer side in mm.
        ink: Of `backend.dataset.inks.INKS`.
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
    inks = ink_names(ink_of(raster.pixels, paper, config), raster.from_page(boxes))
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
