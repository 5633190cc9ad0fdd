"""Single marks that are pasted onto pages: real ones, those that can be cut out of pages, and drawn ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backend.geometry import as_boxes, coverage
from backend.synthetic.lookalikes import Lookalike, draw_lookalike
from backend.training.detector.detector_network import TAUGHT
from backend.training.pagestore import LabelledPage, PageStore
from backend.training.training_pages import real_marks
from backend.vision.network_config import MARKS

__all__ = ["marks_to_paste"]

_CUT: Mapping[str, tuple[str, ...]] = {"page_full": TAUGHT, "page_photo_sig": MARKS, "drawn": ("thumb",)}
"""What is cut out of pages, to be pasted on others, by the pages' source."""
_MOST_CUT = 1000
"""Of one class and source."""
_LOOKALIKES: Mapping[Lookalike, str] = {"entry": "handwriting", "brand": "print", "smudge": "print"}
"""What is drawn to be pasted because no page has enough of it, and what the detector is told that it is."""
_DRAWN_EACH = 200
_DRAWN_DPI = 150.0
_ALONE = 0.1
"""Largest share of a mark that another one may cover where it is cut out: both would be pasted."""


def marks_to_paste(
    store: PageStore, pages: Sequence[LabelledPage], real: Path | None
) -> dict[str, list[tuple[str, NDArray[np.uint8]]]]:
    """Single marks of documents that train, by where they come from, each with its class of `TAUGHT` and RGB pixels.

    Thumbs, and part of what is taken for marks, are drawn.

    Args:
        store: Holds the pages.
        pages: Those of the training side are cut up.
        real: Folder of real pages and crops, whose single marks are pasted as well.

    Raises:
        TrainingError: `real` is no folder of real pages with their manifest.
    """
    found: dict[str, list[tuple[str, NDArray[np.uint8]]]] = {}
    for mark, pixels in real_marks(real) if real else ():
        if mark.split == "train":
            found.setdefault(mark.source, []).append((mark.labels[0], pixels))
    for page in pages:
        if page.split == "train" and page.source in _CUT:
            for label, pixels in _cut_marks(store, page):
                group = found.setdefault(f"{page.source} {label}", [])
                if len(group) < _MOST_CUT:
                    group.append((label, pixels))
    for number, (kind, label) in enumerate(_LOOKALIKES.items()):
        draws = (np.random.default_rng([3, number, place]) for place in range(_DRAWN_EACH))
        found[f"drawn {kind}"] = [(label, draw_lookalike(rng, kind, dpi=_DRAWN_DPI)) for rng in draws]
    return found


def _cut_marks(store: PageStore, page: LabelledPage) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """The things on a page that lie alone, of the classes that are cut out of its source."""
    boxes = as_boxes([*page.boxes, *page.handwriting, *page.logos])
    names = [*page.labels, *["handwriting"] * len(page.handwriting), *["print"] * len(page.logos)]
    wanted = [row for row, name in enumerate(names) if name in _CUT[page.source]]
    if not wanted:
        return
    pixels, hidden = store.pixels(page), coverage(boxes, boxes)
    np.fill_diagonal(hidden, 0)
    for row in wanted:
        left, top, right, bottom = (int(value) for value in boxes[row])
        if hidden[row].max(initial=0) <= _ALONE and min(right - left, bottom - top) > 6:
            yield names[row], pixels[max(0, top) : bottom + 1, max(0, left) : right + 1].copy()
