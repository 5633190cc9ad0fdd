"""Labelled pages become crops: the detector's own candidates, named by the marks that are known to be there.

What a box on a page with known marks teaches: a class, `none`, or nothing because it could be argued about.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from backend.geometry import Boxes, as_boxes, coverage, iou
from backend.training.crops import CropFolder, LabelledBox
from backend.training.pagestore import LabelledPage, PageStore
from backend.training.training_pages import real_marks
from backend.vision.finders import Detects
from backend.vision.network_config import CLASSES, MARKS, NONE

__all__ = [
    "DONT_CARE",
    "HIT",
    "KnownMarks",
    "finds",
    "found_on",
    "harvest_marks",
    "harvest_pages",
    "label_boxes",
    "truth_of",
]

HIT = 0.5
NEAR = 0.3
"""From this IoU a box is too good a guess to be called wrong."""
INSIDE = 0.7
"""A box with this share of itself within a mark shows nothing but that mark."""
FRAGMENT = 0.2
"""A box that shows less than this share of a mark is a fragment; a larger part might be taken for the whole."""
LOOSE = 0.15
"""A box around most of a mark and much else still teaches nothing from this IoU."""
TOUCHING = 0.5
DONT_CARE = 0.3
_MOST_NONE = 16
_MOST_HITS = 2
_PATCHES = 2
_LEAST_CONTRAST = 6.0


@dataclass(frozen=True, kw_only=True)
class KnownMarks:
    """What is known about a page.

    Attributes:
        boxes: (N, 4) xyxy pixels of its marks.
        labels: N classes.
        ignored: (M, 4) places about which nothing is said, such as handwriting that is no signature.
        complete: Whether every mark of the page is among `boxes`; only then can a box be called `none`.
    """

    boxes: Boxes
    labels: tuple[str, ...]
    ignored: Boxes = field(default_factory=lambda: as_boxes([]))
    complete: bool = True


def label_boxes(boxes: Boxes, truth: KnownMarks) -> list[str | None]:
    """Gives the class of each box (N, 4), `none` included; None where it should be left out of the training data.

    A fragment of a mark becomes `none`. So a piece of a stamp's ring or a stroke of a name never outranks the whole. A
    box between a hit and a fragment is left out, since people would argue about it as well.
    """
    if not len(truth.boxes):
        empty = [CLASSES[NONE] if truth.complete else None] * len(boxes)
        return _without_ignored(boxes, empty, truth)
    overlap = iou(boxes, truth.boxes)
    own = coverage(boxes, truth.boxes)
    part = coverage(truth.boxes, boxes).T
    labels = [
        truth.labels[int(np.argmax(overlap[row]))]
        if overlap[row].max() >= HIT
        else _miss(overlap[row], own[row], part[row])
        if truth.complete
        else None
        for row in range(len(boxes))
    ]
    return _without_ignored(boxes, labels, truth)


def _miss(overlap: np.ndarray, own: np.ndarray, part: np.ndarray) -> str | None:
    """The label of a box that hits no mark, from its relation to each of them."""
    within = own >= INSIDE
    arguable = (
        overlap.max() >= NEAR
        or bool((within & (part >= FRAGMENT)).any())
        or bool(((part >= TOUCHING) & (overlap >= LOOSE)).any())
        or bool((~within & (own >= TOUCHING)).any())
    )
    return None if arguable else CLASSES[NONE]


def _without_ignored(boxes: Boxes, labels: Sequence[str | None], truth: KnownMarks) -> list[str | None]:
    """Leaves out what would be `none` but lies on a place about which nothing is said."""
    if not len(truth.ignored):
        return list(labels)
    doubtful = coverage(boxes, truth.ignored).max(axis=1) >= DONT_CARE
    return [None if doubtful[row] and label == CLASSES[NONE] else label for row, label in enumerate(labels)]


def harvest_pages(store: CropFolder, pages: PageStore, detector: Detects, *, step: int = 1, offset: int = 0) -> None:
    """Adds what the detector finds on the pages to `store`; pages that are in it are passed over.

    Args:
        store: Where the crops go.
        pages: Where they come from.
        detector: Proposes them.
        step: Of several processes, how many there are.
        offset: Which of them this is.
    """
    for page in tqdm(pages.read()[offset::step], unit="page", desc="crops", disable=None):
        if page.name in store:
            continue
        pixels = pages.pixels(page)
        rng = np.random.default_rng([2, *page.name.encode()])
        store.add(page.name, pixels, found_on(page, pixels, detector(pixels, page.dpi).boxes, rng), _facts(page))


def harvest_marks(store: CropFolder, folder: Path) -> None:
    """Adds the images of single marks that `folder/manifest.json` lists to `store`.

    Raises:
        TrainingError: There is no readable manifest, or it names an image that is missing or unreadable.
    """
    for mark, pixels in real_marks(folder):
        if mark.name not in store:
            store.add(
                mark.name, pixels, [LabelledBox(box=mark.boxes[0], label=mark.labels[0], origin="crop")], _facts(mark)
            )


def _facts(page: LabelledPage) -> dict[str, str]:
    return {name: getattr(page, name) for name in ("document", "split", "domain", "source", "licence")}


def truth_of(page: LabelledPage) -> KnownMarks:
    """What is known about a page."""
    return KnownMarks(
        boxes=as_boxes(page.boxes),
        labels=page.labels,
        ignored=as_boxes(page.ignored),
        complete=set(MARKS) <= set(page.complete),
    )


def found_on(
    page: LabelledPage, pixels: NDArray[np.uint8], candidates: Boxes, rng: np.random.Generator
) -> list[LabelledBox]:
    """What a page teaches, given the detector's `candidates` (N, 4).

    Only where every mark is boxed can an unmatched candidate be called `none`. Where only stamps are boxed there may be
    unboxed signatures, and even unboxed stamps. A logo that somebody boxed is `none`, and so is what was drawn to be
    mistaken for a mark. Real pages are few: each of their
    marks and all that is none of them teaches; of a drawn page, some.
    """
    truth = truth_of(page)
    if page.domain == "drawn":
        mistaken = [_found(as_boxes(box)[0], CLASSES[NONE], "truth") for box in (*page.logos, *page.handwriting)]
        return finds(candidates, truth, rng) + mistaken + _patches(pixels, truth, rng)
    found = finds(candidates, truth, rng, most_none=len(candidates))
    given = {one.box for one in found if one.origin == "truth"}
    missing = [
        _found(as_boxes(box)[0], label, "truth")
        for box, label in zip(page.boxes, page.labels, strict=True)
        if box not in given
    ]
    return found + missing + [_found(as_boxes(box)[0], CLASSES[NONE], "truth") for box in page.logos]


def finds(
    candidates: Boxes, truth: KnownMarks, rng: np.random.Generator, *, most_none: int = _MOST_NONE
) -> list[LabelledBox]:
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


def _patches(pixels: NDArray[np.uint8], truth: KnownMarks, rng: np.random.Generator) -> list[LabelledBox]:
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


def _found(box: Boxes, label: str | None, origin: str) -> LabelledBox:
    if label is None:
        raise ValueError("a box that teaches nothing cannot become a crop")
    left, top, right, bottom = (float(value) for value in box)
    return LabelledBox(box=(left, top, right, bottom), label=label, origin=origin)
