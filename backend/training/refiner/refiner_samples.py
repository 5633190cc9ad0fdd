"""What the refiner learns from: windows of pages, changed as the detector's are, and boxes that lie about their marks.

Each box is a mark's, moved and resized by chance as far as a detector is off. Or it is the box of an overlapping mark:
for a signature on a stamp, a detector often gives the stamp's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from backend.geometry import areas, iou
from backend.training.detector.changes import Changes, changed
from backend.training.detector.scenes import Scene, Stock
from backend.vision.box_refiner import looked_at, window_of
from backend.vision.network_config import MARKS

__all__ = ["Lesson", "Lessons", "jittered", "lessons_of", "overlapping_marks", "whole_marks", "with_marks"]

_MOVED = 0.14
"""Standard deviation of a box's middle, as a share of its sides."""
_RESIZED = 0.28
"""Standard deviation of the logarithm of a side."""
_LEAST_IOU = 0.2
"""Below it a box is no candidate for the mark."""
_FROM_OTHER = 0.35
"""How often the box of an overlapping mark is given for a mark, where there is one."""
_SEEN = 0.9
"""Share of a mark that must be seen from there."""
_TRIES = 8
_LEAST_SIDE = 5.0
_BORDER = 2.0
"""Pixels from the window's border within which a mark may be cut off."""

Lesson = tuple[NDArray[np.uint8], NDArray[np.float32], int]
"""(S, S, 3) what is seen, (4,) the true edges as shares of it, and the index into `MARKS`."""


def jittered(box: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """A box (4,) as a detector might give it for the mark `box`."""
    sides, middle = box[2:] - box[:2], (box[2:] + box[:2]) / 2
    for _ in range(_TRIES):
        strength = rng.uniform(0.1, 1.3)
        new_middle = middle + strength * _MOVED * rng.normal(size=2) * sides
        new_sides = sides * np.exp(strength * _RESIZED * rng.normal(size=2))
        moved = np.concatenate([new_middle - new_sides / 2, new_middle + new_sides / 2])
        if iou(moved[None], box[None])[0, 0] >= _LEAST_IOU:
            return moved
    return box


def lessons_of(
    scene: Scene, *, most: int, side: int, margin: float, mirrored: bool, rng: np.random.Generator
) -> list[Lesson]:
    """At most `most` lessons of the marks of a scene, each mark as often as the others."""
    marks = whole_marks(scene)
    if not len(marks):
        return []
    order = np.concatenate([rng.permutation(marks) for _ in range(-(-most // len(marks)))])[:most]
    return [_lesson(scene, int(index), side=side, margin=margin, mirrored=mirrored, rng=rng) for index in order]


def with_marks(stock: Stock) -> Stock:
    """The stock without the pages on which no mark lies whole."""
    kept = [place for place, scene in enumerate(stock.scenes) if len(whole_marks(scene))]
    return Stock(
        tuple(stock.scenes[place] for place in kept), tuple(stock.groups[place] for place in kept), stock.marks
    )


def whole_marks(scene: Scene) -> NDArray[np.intp]:
    """The marks of a scene that no border cuts off, as rows of its boxes."""
    height, width = scene.pixels.shape[:2]
    boxes, labels = scene.knowledge.boxes, scene.knowledge.labels
    inside = (boxes[:, :2] >= _BORDER).all(axis=1) & (boxes[:, 2:] <= np.array([width, height]) - _BORDER).all(axis=1)
    large = (boxes[:, 2:] - boxes[:, :2] >= _LEAST_SIDE).all(axis=1) & (areas(boxes) > 0)
    return np.flatnonzero((labels < len(MARKS)) & inside & large)


def _lesson(scene: Scene, index: int, *, side: int, margin: float, mirrored: bool, rng: np.random.Generator) -> Lesson:
    box = scene.knowledge.boxes[index]
    others = overlapping_marks(scene, index, margin=margin)
    start = scene.knowledge.boxes[rng.choice(others)] if len(others) and rng.random() < _FROM_OTHER else box
    window = window_of(jittered(start, rng), margin)
    if _share_within(box, window) < _SEEN:
        window = window_of(jittered(box, rng), margin)
    seen = looked_at(scene.pixels, window, side)
    edges = (box - np.tile(window[:2], 2)) / np.tile(window[2:] - window[:2], 2)
    if mirrored:
        seen, edges = _turned(seen, edges, rng)
    return np.ascontiguousarray(seen), np.clip(edges, 0, 1).astype(np.float32), int(scene.knowledge.labels[index])


def overlapping_marks(scene: Scene, index: int, *, margin: float) -> NDArray[np.intp]:
    """The marks of other classes whose box a detector may give for a mark, as rows of the scene's boxes, (K,).

    Each overlaps the mark, and the mark can be seen from its box. Of the marks of one class, only the one that overlaps
    it most is looked for from there.

    Args:
        scene: The page.
        index: Row of the mark.
        margin: See `RefinerConfig`.
    """
    boxes, labels = scene.knowledge.boxes, scene.knowledge.labels
    own = np.flatnonzero(labels == labels[index])
    return np.array(
        [
            other
            for other in np.flatnonzero((labels < len(MARKS)) & (labels != labels[index]))
            if _share_within(boxes[index], window_of(boxes[other], margin)) >= _SEEN
            and _share_within(boxes[index], boxes[other]) > 0
            and own[iou(boxes[own], boxes[other][None])[:, 0].argmax()] == index
        ],
        np.intp,
    )


def _share_within(box: NDArray[np.float64], window: NDArray[np.float64]) -> float:
    """The share of the area of a box (4,) that lies within a window (4,)."""
    sides = np.minimum(box[2:], window[2:]) - np.maximum(box[:2], window[:2])
    return float(np.maximum(sides, 0).prod() / (box[2:] - box[:2]).prod())


def _turned(
    seen: NDArray[np.uint8], edges: NDArray[np.float64], rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Mirrored, turned by a quarter, or left: where a mark ends does not depend on it."""
    if rng.random() < 0.5:
        seen, edges = seen[:, ::-1], np.array([1 - edges[2], edges[1], 1 - edges[0], edges[3]])
    if rng.random() < 0.25:
        seen, edges = seen.transpose(1, 0, 2), edges[[1, 0, 3, 2]]
    return seen, edges


class Lessons(Dataset[tuple[torch.Tensor, ...]]):
    """An epoch's lessons, some of one changed window together; any process gives the same for the same position.

    Each item is pixels (K, S, S, 3) uint8, edges (K, 4) and labels (K,).

    Args:
        stock: The pages, and the marks that are pasted on them.
        order: Which page each position shows.
        positions: Those that are shown here.
        changes: What happens to each page.
        each: K, lessons of a window.
        side: S, pixels.
        margin: See `RefinerConfig`.
        seed: Names the epoch.
    """

    def __init__(
        self,
        stock: Stock,
        order: NDArray[np.intp],
        positions: NDArray[np.intp],
        changes: Changes,
        *,
        each: int,
        side: int,
        margin: float,
        seed: Sequence[int],
    ) -> None:
        self._stock, self._order, self._positions, self._changes = stock, order, positions, changes
        self._each, self._side, self._margin, self._seed = each, side, margin, seed

    def __len__(self) -> int:
        return len(self._positions)

    def __getitem__(self, place: int) -> tuple[torch.Tensor, ...]:
        position = int(self._positions[place])
        rng = np.random.default_rng([*self._seed, 1, position])
        page = self._stock.scenes[self._order[position]]
        for scene in self._scenes(page, rng):
            found = lessons_of(scene, most=self._each, side=self._side, margin=self._margin, mirrored=True, rng=rng)
            if found:
                pixels, edges, labels = zip(*found, strict=True)
                return (
                    torch.from_numpy(np.stack(pixels)),
                    torch.from_numpy(np.stack(edges)),
                    torch.tensor(labels, dtype=torch.long),
                )
        raise ValueError("a page without a whole mark is no lesson: leave it out of the stock")

    def _scenes(self, page: Scene, rng: np.random.Generator) -> Iterator[Scene]:
        """Changed windows, and in the end the page itself: its marks may be larger than a window."""
        for _ in range(_TRIES):
            yield changed(page, self._stock.marks, self._changes, rng)
        yield page
