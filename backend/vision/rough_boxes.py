"""A rough box that an annotator drew, tightened to the mark inside.

Boxes around ink (`backend.vision.rough_ink`) and the detector's candidates compete. What speaks for each of them is
weighed. The mean of the best and of those that may be the same mark, each by the chance that it is right, is what the
box becomes. But where the other boxes leave it in doubt, it stays nearer to what was drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from backend.geometry import Boxes, areas, as_boxes, coverage, iou
from backend.vision.candidates import Candidates
from backend.vision.finders import Detects
from backend.vision.network_config import MARKS
from backend.vision.rough_ink import Mask, RoughInk, at_edge, possible_boxes

__all__ = [
    "EVIDENCE",
    "SECOND_LOOK",
    "WEIGHTS",
    "Rivals",
    "box_evidence",
    "likeliest",
    "proposed_in",
    "rivals",
    "tighten",
    "ventured",
]

_CLOSE = 0.8
"""IoU from which a box is a candidate's own."""
_INSIDE, _OUTSIDE = 0.04, 0.05
"""Of a side: strips along the edges of a box, within it and beyond."""
_BARE, _MOST_IN_STRIP = 0.001, 0.3
_MOST_ASPECT = 2.0

EVIDENCE = (
    "IoU with the detector's candidates, by their probability",
    "probability of a candidate that it is nearly equal to",
    "IoU with any candidate",
    "its side beside the rough box's",
    "the square of its side",
    "the cube of its side",
    "distance of the centres",
    "the larger distance of the two, across or down",
    "its share of the ink that the rough box does not cut",
    "the square of its share of that ink",
    "its share of the coloured ink, where the ink has a colour",
    "share of its ink that the rough box cuts",
    "share of its edges without ink inside",
    "ink along its edges",
    "ink beyond its edges that the rough box does not cut",
    "the logarithm of width by height",
    "the first, by the side",
    "the first, by the share of the ink",
    "the share of the ink, by the side",
)
"""What is measured of each box, in the order of the columns."""

WEIGHTS = (
    *(8.17, 1.7, 9.05, 4.54, -1.46, -9.6, -28.1, -30.8, 4.75, 4.01),
    *(-2.35, 2.31, -13.6, 11.2, -12.4, -0.433, 4.28, 0.849, -0.0102),
)
"""What each is worth where nothing takes a second look; fitted with a detector that had none."""
SECOND_LOOK = (
    *(8.87, 1.87, 8.7, -2.18, -0.877, 0.43, -30.4, -21.1, -2.11, -2.27),
    *(-0.0957, -0.664, 0.311, -4.03, 5.02, -0.813, 7.26, 5.54, -3.01),
)
"""What each is worth where a refiner looked into the rough box, too: ink says less then.

Fitted by `python -m benchmarks.fit_interactive --drawn 24 --pages 36 --real DIR`.
"""


def box_evidence(
    boxes: Boxes,
    rough: NDArray[np.float64],
    *,
    ink: RoughInk,
    candidates: Boxes,
    probabilities: NDArray[np.float64],
) -> NDArray[np.float64]:
    """What speaks for each box: (N, 19), by `EVIDENCE`.

    Args:
        boxes: (N, 4) xyxy, pixels of the page.
        rough: (4,) of the annotator.
        ink: The ink in the rough box.
        candidates: (M, 4) of the detector.
        probabilities: (M,) that each is a mark of the class that was meant.
    """
    on_masks = boxes - ink.offset
    sides, rough_sides = boxes[:, 2:] - boxes[:, :2], rough[2:] - rough[:2]
    overlaps = iou(boxes, candidates)
    seen = (overlaps * probabilities).max(axis=1, initial=0)
    equal = ((overlaps > _CLOSE) * probabilities).max(axis=1, initial=0)
    side = np.sqrt(areas(boxes) / max(float(np.prod(rough_sides)), 1.0))
    centres, centre = (boxes[:, :2] + boxes[:, 2:]) / 2, (rough[:2] + rough[2:]) / 2
    away = np.abs(centres - centre) / np.maximum(rough_sides, 1.0)
    cut = _cut(ink.plain)
    plain, whole, halved, coloured = map(_sums, (ink.plain, ink.plain & (1 - cut), ink.plain & cut, ink.coloured))
    inside = _inked(plain, on_masks)
    free = _inked(whole, on_masks) / max(whole[-1, -1], 1.0)
    colour = _inked(coloured, on_masks) / max(coloured[-1, -1], 1.0)
    edges = _strips(plain, on_masks, sides, within=_INSIDE, beyond=0.0)
    beyond = _strips(whole, on_masks, sides, within=0.0, beyond=_OUTSIDE)
    columns = (
        seen,
        equal,
        overlaps.max(axis=1, initial=0),
        side,
        side**2,
        side**3,
        away.mean(axis=1),
        away.max(axis=1),
        free,
        free**2,
        colour * coloured[-1, -1] / max(plain[-1, -1], 1.0),
        _inked(halved, on_masks) / np.maximum(inside, 1.0),
        (edges < _BARE).mean(axis=1),
        np.minimum(edges, _MOST_IN_STRIP).mean(axis=1),
        np.minimum(beyond, _MOST_IN_STRIP).mean(axis=1),
        np.clip(np.log(sides[:, 0] / sides[:, 1]), -_MOST_ASPECT, _MOST_ASPECT),
        seen * side,
        seen * free,
        free * side,
    )
    return np.stack(columns, axis=1)


def _cut(plain: Mask) -> Mask:
    """The pieces of ink that the rough box cuts, as a mask: most of them belong to something else."""
    height, width = plain.shape
    _, labels, stats, _ = cv2.connectedComponentsWithStats(plain, connectivity=8)
    pieces = stats[:, :4].astype(np.float64)
    pieces[:, 2:] += pieces[:, :2]
    touching = at_edge(pieces, width=width, height=height)
    touching[0] = False  # the paper
    return np.asarray(touching[labels], np.uint8)


def _sums(mask: Mask) -> NDArray[np.float64]:
    """Sums of a mask over all boxes from its corner."""
    return np.asarray(cv2.integral(mask), np.float64)


def _inked(sums: NDArray[np.float64], boxes: Boxes) -> NDArray[np.float64]:
    """The ink in each box."""
    height, width = sums.shape[0] - 1, sums.shape[1] - 1
    left, top, right, bottom = np.clip(boxes.round().astype(int), 0, [width, height, width, height]).T
    return np.asarray(sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left])


def _strips(
    sums: NDArray[np.float64], boxes: Boxes, sides: NDArray[np.float64], *, within: float, beyond: float
) -> NDArray[np.float64]:
    """Share of ink in a strip along each of the four edges of each box, (N, 4)."""
    shares = []
    for edge in range(4):
        strip = boxes.copy()
        size = sides[:, edge % 2]
        inward = 1 if edge < 2 else -1
        strip[:, edge] = boxes[:, edge] - inward * beyond * size
        strip[:, (edge + 2) % 4] = boxes[:, edge] + inward * within * size
        room = np.maximum(np.prod(strip[:, 2:] - strip[:, :2], axis=1), 1.0)
        shares.append(_inked(sums, strip) / room)
    return np.stack(shares, axis=1)


_PEN = 0.004
"""Of the page's height, about a millimetre: how far the answer may leave the rough box."""
_BEGUN = (1.0, 0.75, 0.55)
"""Shares of a rough box's sides from which a second look begins."""
_LOOKS = 2
"""So far from the mark, the second look is worth another."""
_TOLD = 0.9
"""Stands for the heat of what an annotator says is there."""
_SHARPNESS = 2.5
"""How much surer of the best box an answer is than the weights were when they were fitted; 1 blurs what is clear."""
_DOUBT, _DEARNESS, _WORSE = 0.7, 1.0, 0.05
"""How sure of the best box a doubt is, what it costs to be worse than what was drawn beside a gain of IoU, and by how
much of it an answer is worse. Chosen on real pages that the detector's training validated with."""
_STEPS = (1.0, 0.75, 0.5, 0.25, 0.0)
"""Shares of the way from what was drawn."""
_OF_ONE_MARK = 0.1
"""IoU with the best box from which another one may be around the same mark."""
_HOLDS, _SURE, _LARGER = 0.85, 0.5, 4.0
"""A candidate holds a rough box with this share of it within, and this sure of the class; it is so many times larger
at most."""
_COPY, _SAME = 0.85, 0.5
"""IoU with a region that is there from which an answer is a copy of it, and a candidate is that region."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Rivals:
    """The boxes that a mark in a rough box could have.

    Attributes:
        boxes: (N, 4) xyxy, pixels of the page; within the rough box, but for a pen's width.
        evidence: (N, 19) what speaks for each, by `backend.vision.rough_boxes.EVIDENCE`.
    """

    boxes: Boxes
    evidence: NDArray[np.float64]


def proposed_in(
    detector: Detects, pixels: NDArray[np.uint8], dpi: float | None, rough: Boxes, labels: Sequence[int]
) -> tuple[Candidates, bool]:
    """What a mark in a rough box could be: the detector's candidates that touch it, and what a second look sees in it.

    A mark may be much smaller than the rough box, so the second look begins with the box and with smaller ones in its
    middle. Where there is no ink there is nothing to look at.

    Args:
        detector: Proposes.
        pixels: (H, W, 3) RGB page.
        dpi: Its resolution, where it is known.
        rough: (1, 4) xyxy, pixels of the page.
        labels: Indices into `MARKS` of what it may be.

    Returns:
        The candidates, and whether any is of a second look.
    """
    found = detector(pixels, dpi)
    near = coverage(found.boxes, rough)[:, 0] > 0
    middle, half = (rough[:, :2] + rough[:, 2:]) / 2, (rough[:, 2:] - rough[:, :2]) / 2
    begun = as_boxes(
        np.concatenate([np.concatenate([middle - share * half, middle + share * half], axis=1) for share in _BEGUN])
    )
    if not RoughInk.read(pixels, rough[0], pen=_PEN * pixels.shape[0]).every.any():
        begun = begun[:0]
    taken_for = np.repeat(np.array(labels, np.intp), len(begun))
    begun = np.tile(begun, (len(labels), 1))
    looked = detector.second_look(pixels, begun, taken_for, dpi=dpi, times=_LOOKS)
    changed = (looked != begun).any(axis=1)
    heat = np.zeros((int(changed.sum()), len(MARKS)))
    heat[np.arange(len(heat)), taken_for[changed]] = _TOLD
    proposed = Candidates(
        np.concatenate([found.boxes[near], looked[changed]]),
        np.concatenate([found.scores[near], np.full(len(heat), _TOLD)]),
        np.concatenate([found.heat[near], heat]),
    )
    return proposed, bool(changed.any())


def tighten(
    pixels: NDArray[np.uint8],
    rough: Boxes,
    *,
    candidates: Boxes,
    probabilities: NDArray[np.float64],
    taken: Boxes,
    inside: float,
    weights: tuple[float, ...] = WEIGHTS,
) -> Boxes:
    """Tightens a rough box to the mark in it, which the annotator says is of one class.

    The answer lies within the rough box, or a pen's width outside. It is no copy of a region that is there already. If
    there is no better box, or each would more likely do harm, it is the rough box itself.

    Args:
        pixels: (H, W, 3) RGB page.
        rough: (1, 4) xyxy, pixels of the page.
        candidates: (N, 4) of the detector.
        probabilities: (N,) that each is a mark of the class that was meant.
        taken: (T, 4) regions that are there already.
        inside: Share of a candidate in the rough box above which it may be what was meant.
        weights: What each of `EVIDENCE` is worth.

    Returns:
        (1, 4) xyxy, pixels of the page.
    """
    height, width = pixels.shape[:2]
    on_page = _within(rough[0], np.array([0, 0, width, height], np.float64))
    if areas(rough)[0] < 1 or areas(as_boxes([on_page]))[0] < 1:
        return rough
    free = iou(candidates, taken).max(axis=1, initial=0) <= _SAME
    found = rivals(pixels, rough[0], candidates=candidates[free], probabilities=probabilities[free], inside=inside)
    if found is None:
        return rough
    worth = found.evidence @ np.array(weights)
    chosen = ventured(likeliest(found.boxes, worth), rough[0], boxes=found.boxes, worth=worth)
    best = as_boxes([_within(chosen, np.array([0, 0, width, height], np.float64))])
    copies = iou(best, taken).max(initial=0) > _COPY
    return rough if copies or areas(best)[0] < 1 else best


def likeliest(boxes: Boxes, worth: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean (4,) of the best box and its like, each by its chance, which a softmax gives it.

    Two boxes that are equally good may be too narrow and too wide: between them is better than either. A box of little
    in common with the best is around another mark, and nothing is right between two marks.
    """
    chances = np.exp(_SHARPNESS * (worth - worth.max()))
    best = int(worth.argmax())
    chances[iou(boxes[best : best + 1], boxes)[0] < _OF_ONE_MARK] = 0
    return np.asarray(chances @ boxes / chances.sum())


def ventured(
    chosen: NDArray[np.float64], drawn: NDArray[np.float64], *, boxes: Boxes, worth: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The box (4,) on the way from what was drawn to what was chosen that is best on average, if any rival may be true.

    Each of the rivals (N, 4) is true with a chance that grows with its worth (N,). To be worse than what was drawn
    costs more than a gain brings: an annotator takes a good box amiss that was made bad.
    """
    way = as_boxes([drawn + share * (chosen - drawn) for share in _STEPS])
    chances = np.exp(_DOUBT * (worth - worth.max()))
    fit = iou(way, boxes)
    gain = fit - _DEARNESS * (fit < fit[-1] - _WORSE)
    return np.asarray(way[int((gain @ chances).argmax())])


def rivals(
    pixels: NDArray[np.uint8],
    rough: NDArray[np.float64],
    *,
    candidates: Boxes,
    probabilities: NDArray[np.float64],
    inside: float,
) -> Rivals | None:
    """The boxes that the mark in a rough box (4,) could have, and what speaks for each; None where there is no ink.

    A rough box may be drawn so tightly that it cuts the mark. Then a candidate of the class holds it, and speaks for
    the rough box as a whole; without that, what is left would be pieces of the mark.
    """
    drawn = as_boxes([rough])
    held = coverage(candidates, drawn)[:, 0] > inside
    held |= (
        (coverage(drawn, candidates)[0] > _HOLDS)
        & (probabilities > _SURE)
        & (areas(candidates) < _LARGER * areas(drawn))
    )
    own = as_boxes([_within(one, rough) for one in candidates[held]])
    pen = _PEN * pixels.shape[0]
    ink = RoughInk.read(pixels, rough, pen=pen)
    if not ink.every.any() and not len(own):
        return None
    boxes = possible_boxes(ink, rough, own, pen=pen)
    evidence = box_evidence(boxes, rough, ink=ink, candidates=own, probabilities=probabilities[held])
    return Rivals(boxes=boxes, evidence=evidence)


def _within(box: NDArray[np.float64], outer: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate([np.maximum(box[:2], outer[:2]), np.minimum(box[2:], outer[2:])])
