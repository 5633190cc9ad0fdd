"""Crops in class folders: `<split>/<class>/…png`, hard negatives (`none`) among them.

Marks are those of the pages. `none` are the ledger's samples of that class, boxes that a model showed and annotators
removed, cut from the frozen pages as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from backend.corrections.samples import BACKGROUND
from backend.dataset.manifest import Corners, FrozenPage
from backend.dataset.store import Version, by_split, watched
from backend.pages.encoding import png_bytes

__all__ = ["save"]


def save(version: Version, folder: Path) -> None:
    """Writes a version into an empty folder; a class without a crop has no folder."""
    for split, pages in by_split(version):
        for page in watched(pages, split):
            pixels = version.pixels(page)
            for label, name, box in _boxes(version, page):
                left, top, right, bottom = _whole(box, page)
                target = folder / split / label
                target.mkdir(parents=True, exist_ok=True)
                (target / f"{page.name}-{name}.png").write_bytes(png_bytes(pixels[top:bottom, left:right]))


def _boxes(version: Version, page: FrozenPage) -> Iterator[tuple[str, str, Corners]]:
    """Class, a name that is unique on the page, and box of each crop."""
    boxes = [(mark.label, mark.box) for mark in page.marks]
    samples = [one for one in version.manifest.samples if one.page == page.name]
    boxes += [(BACKGROUND, one.box) for one in samples if one.label == BACKGROUND]
    for number, (label, box) in enumerate(boxes):
        yield label, f"{number:03}", box


def _whole(box: Corners, page: FrozenPage) -> tuple[int, int, int, int]:
    """The pixels that a box touches; at least one, and none off the page."""
    left, top = min(int(box[0]), page.width - 1), min(int(box[1]), page.height - 1)
    right, bottom = int(np.ceil(box[2])), int(np.ceil(box[3]))
    return left, top, max(min(right, page.width), left + 1), max(min(bottom, page.height), top + 1)
