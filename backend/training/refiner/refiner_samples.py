"""What the refiner learns from: windows of pages, changed as the detector's are, and candidates on them.

Half of the boxes are marks', moved and resized by chance as far as a detector is off. Or they are those of an
overlapping mark: for a signature on a stamp, a detector often gives the stamp's. The others are what a detector
proposes, and places chosen by lot: so the network learns what is no mark.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from backend.geometry import Boxes, areas, as_boxes, coverage, iou
from backend.training.detector.changes import Changes, changed
from backend.training.detector.scenes import Scene, Stock
from backend.vision.box_refiner import looked_at, window_of
from backend.vision.engine import DetectorConfig, DetectorNetwork
from backend.vision.network_config import MARKS
from backend.vision.network_detector import padded, peaks_in
from backend.vision.weights import DETECTOR_CONFIG_FILE, DETECTOR_WEIGHTS_FILE

__all__ = [
    "Lesson",
    "Lessons",
    "Proposals",
    "anywhere",
    "jittered",
    "lessons_at",
    "lessons_of",
    "overlapping_marks",
    "whole_marks",
]

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
_USUAL_SIDE = (4.0, 0.6)
"""Mean and standard deviation of the logarithm of a mark's side, pixels."""
_TOUCHED = 0.1
"""IoU of a candidate with a mark, from which it could be taken for that mark."""
_DOUBTFUL = 0.3
"""Share of a candidate in places about which nothing is said, from which nothing is said of it."""
_BORDER = 2.0
"""Pixels from the window's border within which a mark may be cut off."""


class Proposals:
    """What a detector proposes on a window, before any second look: it is read when it is first asked.

    Args:
        folder: Holds the detector's weights and config.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._network: DetectorNetwork | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"_folder": self._folder, "_network": None}

    def __call__(self, pixels: NDArray[np.uint8]) -> Boxes:
        """Candidates (N, 4) on (H, W, 3) RGB pixels of the detector's resolution, as its config says."""
        if self._network is None:
            config = DetectorConfig.read(self._folder / DETECTOR_CONFIG_FILE)
            self._network = DetectorNetwork(self._folder / DETECTOR_WEIGHTS_FILE, config, threads=1)
        config = self._network.config
        return peaks_in(self._network.run(padded(pixels, config.multiple)), config).boxes


@dataclass(frozen=True, eq=False)
class Lesson:
    """What the network sees of one candidate, and what it should say.

    Attributes:
        pixels: (S, S, 3) RGB, uint8.
        edges: (C, 4) true edges of the mark of each class that the candidate touches, shares of what is seen; 0 where
            there is none.
        there: (C,) whether there is such a mark: 1, 0, or -1 where nobody knows.
        label: Index into `MARKS` of the mark that the candidate was made from; -1 where a detector proposed it.
    """

    pixels: NDArray[np.uint8]
    edges: NDArray[np.float32]
    there: NDArray[np.int64]
    label: int


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
    return [_of_mark(scene, int(index), side=side, margin=margin, mirrored=mirrored, rng=rng) for index in order]


def lessons_at(
    scene: Scene, boxes: Boxes, *, side: int, margin: float, mirrored: bool, rng: np.random.Generator
) -> list[Lesson]:
    """A lesson of each candidate (N, 4) of a scene, whatever is there."""
    return [_lesson(scene, box, -1, side=side, margin=margin, mirrored=mirrored, rng=rng) for box in boxes]


def anywhere(scene: Scene, count: int, rng: np.random.Generator) -> Boxes:
    """Boxes (count, 4) of the size of marks, anywhere on a scene."""
    height, width = scene.pixels.shape[:2]
    sides = np.minimum(np.exp(rng.normal(*_USUAL_SIDE, (count, 2))), [width, height])
    corners = rng.uniform(0, 1, (count, 2)) * ([width, height] - sides)
    return as_boxes(np.concatenate([corners, corners + sides], axis=1))


def whole_marks(scene: Scene) -> NDArray[np.intp]:
    """The marks of a scene that no border cuts off, as rows of its boxes."""
    height, width = scene.pixels.shape[:2]
    boxes, labels = scene.knowledge.boxes, scene.knowledge.labels
    inside = (boxes[:, :2] >= _BORDER).all(axis=1) & (boxes[:, 2:] <= np.array([width, height]) - _BORDER).all(axis=1)
    large = (boxes[:, 2:] - boxes[:, :2] >= _LEAST_SIDE).all(axis=1) & (areas(boxes) > 0)
    return np.flatnonzero((labels < len(MARKS)) & inside & large)


def _of_mark(scene: Scene, index: int, *, side: int, margin: float, mirrored: bool, rng: np.random.Generator) -> Lesson:
    box = scene.knowledge.boxes[index]
    others = overlapping_marks(scene, index, margin=margin)
    start = scene.knowledge.boxes[rng.choice(others)] if len(others) and rng.random() < _FROM_OTHER else box
    moved = jittered(start, rng)
    if _share_within(box, window_of(moved, margin)) < _SEEN:
        moved = jittered(box, rng)
    label = int(scene.knowledge.labels[index])
    return _lesson(scene, moved, label, side=side, margin=margin, mirrored=mirrored, rng=rng)


def _lesson(
    scene: Scene,
    box: NDArray[np.float64],
    label: int,
    *,
    side: int,
    margin: float,
    mirrored: bool,
    rng: np.random.Generator,
) -> Lesson:
    window = window_of(box, margin)
    seen = looked_at(scene.pixels, window, side)
    found = [_truth(scene, box, window, one) for one in range(len(MARKS))]
    edges = np.stack([(true - np.tile(window[:2], 2)) / np.tile(window[2:] - window[:2], 2) for true, _ in found])
    there = np.array([known for _, known in found], np.int64)
    if mirrored:
        seen, edges = _turned(seen, edges, rng)
    edges = np.where(there[:, None] > 0, np.clip(edges, 0, 1), 0)
    return Lesson(np.ascontiguousarray(seen), edges.astype(np.float32), there, label)


def _truth(
    scene: Scene, box: NDArray[np.float64], window: NDArray[np.float64], label: int
) -> tuple[NDArray[np.float64], int]:
    """The mark (4,) of a class that is to be found from a candidate, and whether there is one: 1, 0, or -1.

    A mark that the candidate hardly touches is not to be found from there. Nobody can say where one ends of which only
    a part is seen.
    """
    known = scene.knowledge
    own = np.flatnonzero(known.labels == label)
    overlap = iou(known.boxes[own], box[None])[:, 0]
    if len(own) and overlap.max() > 0:
        best = own[overlap.argmax()]
        if best in whole_marks(scene) and _share_within(known.boxes[best], window) >= _SEEN:
            return known.boxes[best], 1
        if overlap.max() >= _TOUCHED:
            return box, -1
    doubtful = coverage(box[None], known.ignored).max(initial=0) >= _DOUBTFUL
    return box, -1 if doubtful or not known.complete[label] else 0


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
    """Mirrored, turned by a quarter, or left, with the edges (C, 4): where a mark ends does not depend on it."""
    if rng.random() < 0.5:
        left, top, right, bottom = edges.T
        seen, edges = seen[:, ::-1], np.stack([1 - right, top, 1 - left, bottom], axis=1)
    if rng.random() < 0.25:
        seen, edges = seen.transpose(1, 0, 2), edges[:, [1, 0, 3, 2]]
    return seen, edges


class Lessons(Dataset[tuple[torch.Tensor, ...]]):
    """An epoch's lessons, some of one changed window together; any process gives the same for the same position.

    Each item is pixels (K, S, S, 3) uint8, edges (K, C, 4) and there (K, C). Half of the candidates are made from
    marks, as far as there are some. The others are what a detector proposes, and places chosen by lot.

    Args:
        stock: The pages, and the marks that are pasted on them.
        order: Which page each position shows.
        positions: Those that are shown here.
        changes: What happens to each page.
        each: K, lessons of a window.
        side: S, pixels.
        margin: See `RefinerConfig`.
        seed: Names the epoch.
        proposes: The detector; None for none.
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
        proposes: Proposals | None,
    ) -> None:
        self._stock, self._order, self._positions, self._changes = stock, order, positions, changes
        self._each, self._side, self._margin, self._seed = each, side, margin, seed
        self._proposes = proposes

    def __len__(self) -> int:
        return len(self._positions)

    def __getitem__(self, place: int) -> tuple[torch.Tensor, ...]:
        position = int(self._positions[place])
        rng = np.random.default_rng([*self._seed, 1, position])
        scene = changed(self._stock.scenes[self._order[position]], self._stock.marks, self._changes, rng)
        how: dict[str, Any] = {"side": self._side, "margin": self._margin, "mirrored": True, "rng": rng}
        found = lessons_of(scene, most=-(-self._each // 2), **how)
        proposed = self._proposes(scene.pixels) if self._proposes else as_boxes([])
        beside = rng.permutation(proposed)[: self._each - len(found)]
        found += lessons_at(scene, beside, **how)
        found += lessons_at(scene, anywhere(scene, self._each - len(found), rng), **how)
        return (
            torch.from_numpy(np.stack([lesson.pixels for lesson in found])),
            torch.from_numpy(np.stack([lesson.edges for lesson in found])),
            torch.from_numpy(np.stack([lesson.there for lesson in found])),
        )
