"""Drawn pages become crops: the detector's own candidates, labelled by the marks that were drawn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from backend.detection import ColourDetector
from backend.geometry import Boxes, as_boxes, iou
from backend.nets.config import CLASSES, NONE
from backend.synthetic.page import draw_page
from backend.training.crops import CropStore, Found, split_of
from backend.training.labelling import HIT, Truth, label_boxes

__all__ = ["drawn_crops", "finds", "harvest_drawn"]

DRAWN_SEED = 1_000_000
"""Seed of the first drawn page: far from those that tests and benchmarks draw."""
_MARKS = (3, 9)
"""Marks of a page, least and most: fuller pages than most contracts teach more for the time they take to draw."""
_MOST_NONE = 16
_MOST_HITS = 2
_PATCHES = 2
_SQUASHED = 0.35
_RESOLUTIONS = (100, 150, 200)
_LEAST_CONTRAST = 6.0


def harvest_drawn(store: CropStore, *, pages: int, first: int = DRAWN_SEED, step: int = 1, offset: int = 0) -> None:
    """Draws `pages` pages and adds what the detector finds on them to `store`; pages that are in it are passed over.

    Args:
        store: Where the crops go.
        pages: How many pages there are in all.
        first: Seed of the first one.
        step: Of several processes, how many there are.
        offset: Which of them this is.
    """
    detector = ColourDetector()
    for seed in tqdm(range(first + offset, first + pages, step), unit="page", desc="drawn", disable=None):
        name = f"drawn-{seed}"
        if name in store:
            continue
        pixels, found = drawn_crops(seed, detector)
        facts = {
            "document": name,
            "split": split_of(name),
            "domain": "drawn",
            "source": "drawn",
            "licence": "Apache-2.0",
        }
        store.add(name, pixels, found, facts)


def drawn_crops(seed: int, detector: ColourDetector) -> tuple[NDArray[np.uint8], list[Found]]:
    """Draws one page as an office would scan or shrink it, and labels what the detector proposes there."""
    rng = np.random.default_rng([seed, 1])
    dpi = int(rng.choice(_RESOLUTIONS))
    size = (640, 640) if rng.random() < _SQUASHED else None
    page = draw_page(seed, dpi=dpi, marks=int(rng.integers(*_MARKS, endpoint=True)), size=size)
    truth = Truth(boxes=as_boxes([mark.box for mark in page.marks]), labels=tuple(mark.label for mark in page.marks))
    known = page.dpi if rng.random() < 0.5 and page.pixels.shape[0] != page.pixels.shape[1] else None
    candidates = detector(page.pixels, known).boxes
    return page.pixels, finds(candidates, truth, rng) + _patches(page.pixels, truth, rng)


def finds(candidates: Boxes, truth: Truth, rng: np.random.Generator, *, most_none: int = _MOST_NONE) -> list[Found]:
    """What a page teaches: of each mark its best candidates, or else its true box; of the rest, some as `none`."""
    labels = label_boxes(candidates, truth)
    found = []
    overlap = iou(candidates, truth.boxes)
    for mark, label in enumerate(truth.labels):
        hits = [row for row in np.argsort(-overlap[:, mark], kind="stable") if overlap[row, mark] >= HIT]
        found += [_found(candidates[row], labels[row], "candidate") for row in hits[:_MOST_HITS]]
        if not hits or rng.random() < 0.25:
            found.append(_found(truth.boxes[mark], label, "truth"))
    misses = [row for row, label in enumerate(labels) if label == CLASSES[NONE]]
    kept = rng.permutation(misses)[:most_none] if len(misses) > most_none else misses
    return found + [_found(candidates[row], CLASSES[NONE], "candidate") for row in sorted(kept)]


def _patches(pixels: NDArray[np.uint8], truth: Truth, rng: np.random.Generator) -> list[Found]:
    """A few random places that show something, but no mark."""
    height, width = pixels.shape[:2]
    sides = rng.uniform([0.05, 0.02], [0.35, 0.15], (6 * _PATCHES, 2)) * [width, height]
    corners = rng.uniform(0, 1, sides.shape) * ([width, height] - sides)
    boxes = np.concatenate([corners, corners + sides], axis=1)
    labels = label_boxes(boxes, truth)
    shown = [box for box, label in zip(boxes, labels, strict=True) if label == CLASSES[NONE] and _contrast(pixels, box)]
    return [_found(box, CLASSES[NONE], "patch") for box in shown[:_PATCHES]]


def _contrast(pixels: NDArray[np.uint8], box: Sequence[float] | Boxes) -> bool:
    left, top, right, bottom = (int(value) for value in box)
    return float(pixels[top : bottom + 1, left : right + 1].std()) > _LEAST_CONTRAST


def _found(box: Boxes, label: str | None, origin: str) -> Found:
    if label is None:
        raise ValueError("a box that teaches nothing cannot become a crop")
    left, top, right, bottom = (float(value) for value in box)
    return Found(box=(left, top, right, bottom), label=label, origin=origin)
