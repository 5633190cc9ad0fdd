"""Marks and prints laid onto a window of a page: real ones pasted, on each other too, and emblems printed all over.

Inks multiply: a pasted mark darkens the page by its optical density, D = -log(I / paper).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from backend.geometry import Boxes, areas, as_boxes, coverage
from backend.training.augment import hue_turn
from backend.training.detector.detector_network import TAUGHT
from backend.training.detector.scenes import Knowledge, PastedMark, cut_to_ink
from backend.vision.engine import PIXEL_MM

__all__ = ["GREY", "in_some_ink", "paste_some", "watermark", "write_over"]

Floats = NDArray[np.float32]

GREY = np.array([0.299, 0.587, 0.114], np.float32)
"""Red, green and blue in a grey."""
_FREE = 0.25
"""Share of a pasted mark that may lie on others where it is to stand free."""
_SIZES_MM = {
    "signature": (10.0, 70.0),
    "stamp": (12.0, 60.0),
    "thumb": (13.0, 28.0),
    "handwriting": (8.0, 70.0),
    "print": (8.0, 60.0),
}
"""Longer sides that pasted marks have."""
_OVER = {"signature": "stamp", "stamp": "signature"}
"""What a mark is put on where it is put on another."""
_SIDEWAYS = 0.08
"""How often a signature or handwriting stands sideways, as names in margins do."""
_TURNED = 0.35
"""How often a stamp, a thumb or a printed thing is turned to any angle."""
_TILT = 7.0
"""Standard deviation of the angle of all others, degrees."""
_SHIFT = 0.28
"""How far a mark's middle is from that of the mark below, as a share of the latter's sides: standard deviation."""
_MOST_ENLARGED = 1.5
"""Beyond that a mark cut out of a small page is a few squares, and no pen's stroke."""
_EMBLEMS = frozenset({"print", "stamp"})
"""Of what watermarks are made."""
_EMBLEM_MM = (7.0, 18.0)
"""Longer sides that a watermark's emblems have."""
_EMBLEM_DENSITY = (0.08, 0.5)
_GREY_EMBLEMS = 0.7
_PITCH = (1.2, 2.1)
"""From one emblem to the next, in sides of one. A window of 87 mm shows several: one faint stamp alone is a stamp."""


def paste_some(
    density: Floats,
    knowledge: Knowledge,
    marks: Sequence[Sequence[PastedMark]],
    rng: np.random.Generator,
    *,
    most: int,
    over: float,
) -> Knowledge:
    """Prints one to `most` marks on an (h, w, 3) density, which changes; gives what is known then.

    Args:
        density: Of the window.
        knowledge: What is known of it.
        marks: To choose from: a group first, then one of its marks.
        rng: Decides.
        most: Marks at most.
        over: How often a signature is put on a stamp, or a stamp on a signature.
    """
    for _ in range(int(rng.integers(1, most, endpoint=True))):
        label, mark = _any(marks, rng)
        if TAUGHT[label] in _OVER and rng.random() < over:
            knowledge = _on_another(density, knowledge, (label, mark), marks, rng)
        else:
            small = _printed(label, mark, rng)
            placed = _free_place(knowledge, small, density.shape[:2], rng)
            if placed is not None:
                knowledge = _put(density, knowledge, (label, small), placed, rng)
    return knowledge


def write_over(
    density: Floats, knowledge: Knowledge, marks: Sequence[Sequence[PastedMark]], rng: np.random.Generator, *, most: int
) -> Knowledge:
    """Fills an (h, w, 3) density, which changes, with up to `most` pieces of handwriting; gives what is known then."""
    written = [[one for one in group if TAUGHT[one[0]] == "handwriting"] for group in marks]
    written = [group for group in written if group]
    return paste_some(density, knowledge, written, rng, most=most, over=0) if written else knowledge


def watermark(
    density: Floats, knowledge: Knowledge, marks: Sequence[Sequence[PastedMark]], rng: np.random.Generator
) -> Knowledge:
    """Prints one emblem pale and in rows all over an (h, w, 3) density, which changes, as some offices' paper has it.

    None of them is a mark, and whether each is a printed thing that people take for one is left open.
    """
    emblems = [mark for group in marks for label, mark in group if TAUGHT[label] in _EMBLEMS]
    if not emblems:
        return knowledge
    emblem = emblems[int(rng.integers(len(emblems)))]
    side = float(np.exp(rng.uniform(*np.log(_EMBLEM_MM)))) / PIXEL_MM
    angle = float(rng.choice([0.0, rng.uniform(-45, 45)]))
    small = _laid(emblem, side / max(emblem.shape[:2]), 1.0, angle)
    if not small.size:
        return knowledge
    if rng.random() < _GREY_EMBLEMS:
        small = np.repeat((small @ GREY)[..., None], 3, axis=2)
    small = small * np.float32(rng.uniform(*_EMBLEM_DENSITY) / max(float(np.percentile(small, 90)), 0.1))
    (height, width), (rows, columns) = small.shape[:2], density.shape[:2]
    down, across = (np.array([height, width]) * rng.uniform(*_PITCH)).astype(int) + 1
    shift = int(across * float(rng.choice([0.0, 0.5])))
    sheet = np.zeros((rows + 2 * height, columns + 2 * width, 3), np.float32)
    first, start = int(rng.integers(0, down)), int(rng.integers(0, across))
    for row, top in enumerate(range(first, rows + height, down)):
        for left in range((start + row % 2 * shift) % across, columns + width, across):
            sheet[top : top + height, left : left + width] += small
    density += sheet[height : height + rows, width : width + columns]
    complete = knowledge.complete.copy()
    complete[TAUGHT.index("print")] = False
    return replace(knowledge, complete=complete)


def _any(marks: Sequence[Sequence[PastedMark]], rng: np.random.Generator) -> PastedMark:
    group = marks[int(rng.integers(len(marks)))]
    return group[int(rng.integers(len(group)))]


def _on_another(
    density: Floats,
    knowledge: Knowledge,
    mark: PastedMark,
    marks: Sequence[Sequence[PastedMark]],
    rng: np.random.Generator,
) -> Knowledge:
    """Puts a signature on a stamp, or a stamp on a signature: one that lies free there, else one printed first."""
    below = TAUGHT.index(_OVER[TAUGHT[mark[0]]])
    there = knowledge.boxes[knowledge.labels == below]
    others = knowledge.boxes[knowledge.labels == mark[0]]
    there = there[coverage(there, others).max(axis=1, initial=0) < _FREE]
    if not len(there):
        candidates = [one for group in marks for one in group if one[0] == below]
        if not candidates:
            return knowledge
        small = _printed(*candidates[int(rng.integers(len(candidates)))], rng)
        placed = _free_place(knowledge, small, density.shape[:2], rng)
        if placed is None:
            return knowledge
        knowledge = _put(density, knowledge, (below, small), placed, rng)
        there = knowledge.boxes[-1:]
    left, top, right, bottom = there[int(rng.integers(len(there)))]
    small = _printed(*mark, rng)
    height, width = small.shape[:2]
    x = (left + right) / 2 + rng.normal(0, _SHIFT) * (right - left) - width / 2
    y = (top + bottom) / 2 + rng.normal(0, _SHIFT) * (bottom - top) - height / 2
    if not (0 <= x <= density.shape[1] - width and 0 <= y <= density.shape[0] - height):
        return knowledge
    return _put(density, knowledge, (mark[0], small), (int(x), int(y)), rng)


def _printed(label: int, mark: NDArray[np.floating], rng: np.random.Generator) -> Floats:
    """The mark in a size and at an angle that such marks have, cut to its ink; empty where nothing is left of it."""
    name = TAUGHT[label]
    smallest, largest = np.log(_SIZES_MM[name])
    scale = min(_MOST_ENLARGED, float(np.exp(rng.uniform(smallest, largest))) / PIXEL_MM / max(mark.shape[:2]))
    angle = rng.normal(0, _TILT)
    if name in ("signature", "handwriting"):
        angle += 90 * float(rng.choice([-1, 1])) if rng.random() < _SIDEWAYS else 0
    elif rng.random() < _TURNED:
        angle = rng.uniform(-180, 180)
    squeezed = np.sqrt(np.exp(rng.normal(0, 0.1)))
    return _laid(mark, scale, squeezed, angle)


def _laid(mark: NDArray[np.floating], scale: float, squeezed: float, angle: float) -> Floats:
    """The mark `scale` times as large, wider than high by `squeezed` squared, turned by `angle` degrees, cut to ink."""
    size = max(4, round(mark.shape[1] * scale * squeezed)), max(4, round(mark.shape[0] * scale / squeezed))
    small = np.asarray(cv2.resize(mark.astype(np.float32), size, interpolation=cv2.INTER_AREA), np.float32)
    radians = np.radians(angle)
    cos, sin = abs(np.cos(radians)), abs(np.sin(radians))
    width, height = int(size[0] * cos + size[1] * sin) + 2, int(size[0] * sin + size[1] * cos) + 2
    matrix = cv2.getRotationMatrix2D((size[0] / 2, size[1] / 2), angle, 1.0)
    matrix = matrix + np.array([[0, 0, (width - size[0]) / 2], [0, 0, (height - size[1]) / 2]])
    return cut_to_ink(np.asarray(cv2.warpAffine(small, matrix, (width, height), flags=cv2.INTER_LINEAR), np.float32))


def _free_place(
    knowledge: Knowledge, mark: Floats, window: tuple[int, ...], rng: np.random.Generator
) -> tuple[int, int] | None:
    """Left and top of a place where hardly anything else is; None where none was found."""
    height, width = mark.shape[:2]
    if not mark.size or height >= window[0] or width >= window[1]:
        return None
    taken = np.concatenate([knowledge.boxes, knowledge.ignored])
    for _ in range(5):
        left, top = int(rng.integers(0, window[1] - width)), int(rng.integers(0, window[0] - height))
        if coverage(as_boxes([(left, top, left + width, top + height)]), taken).max(initial=0) <= _FREE:
            return left, top
    return None


def in_some_ink(mark: Floats, rng: np.random.Generator) -> Floats:
    """An (h, w, 3) density, now and then in grey or in an ink of another hue."""
    if rng.random() < 0.35:
        return np.repeat((mark @ GREY)[..., None], 3, axis=2)
    if rng.random() < 0.4:
        return np.asarray(np.maximum(mark @ hue_turn(rng.uniform(-180, 180)), 0), np.float32)
    return mark


def _put(
    density: Floats, knowledge: Knowledge, printed: PastedMark, place: tuple[int, int], rng: np.random.Generator
) -> Knowledge:
    """Prints a mark, in an ink of its own now and then, and adds it to what is known."""
    label, mark = printed
    if not mark.size:
        return knowledge
    (left, top), (height, width) = place, mark.shape[:2]
    mark = in_some_ink(mark, rng)
    density[top : top + height, left : left + width] += mark * np.float32(rng.uniform(0.45, 1.5))
    box: Boxes = as_boxes([(left, top, left + width, top + height)])
    hidden = (coverage(knowledge.boxes, box)[:, 0] > 0.9) & (knowledge.labels == label) & (areas(knowledge.boxes) > 0)
    return Knowledge(
        boxes=np.concatenate([knowledge.boxes[~hidden], box]),
        labels=np.append(knowledge.labels[~hidden], label),
        ignored=knowledge.ignored,
        complete=knowledge.complete,
    )
