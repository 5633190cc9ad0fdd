"""The ink in a rough box that an annotator drew, and the boxes that the mark in it could have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from backend.geometry import Boxes, as_boxes, coverage, union

__all__ = ["RoughInk", "possible_boxes"]

Mask = NDArray[np.uint8]

_FAINTEST, _OF_OTSU = 0.12, 0.6
_PAPER_PERCENTILE = 85
_LEAST_CHROMA, _CHROMA_SHARE = 0.12, 0.3
"""Density apart between channels from which ink is coloured, and its least share of the density."""
_LINE_SHARES, _LEAST_LINE, _LINE_THICKNESS = (0.35, 0.5), 15, 0.02
"""Across and down: share of the rough box that a ruled line runs through, and its thickness as a share of the longer
side."""
_LEAST_LAYER = 0.1
_SPECK, _SPECK_PIXELS = 0.004, 6
_BIG, _TALL = 0.03, 0.35
"""Pieces that are large beside the largest, and high beside the highest: print beside a mark is neither."""
_GAPS = (0.01, 0.03, 0.07, 0.12)
"""Shares of the rough box's side over which pieces are grouped."""
_MOST_PIECES, _MOST_GROUPS = 80, 3
_AROUND, _OWN = 0.04, 0.5
_SHRINK = (0.0, 0.05, 0.12)
_LEAST_SIDE = 2.0


@dataclass(frozen=True, kw_only=True, eq=False)
class RoughInk:
    """The ink in a rough box and a pen's width around it; masks are (h, w) uint8 of 0 and 1.

    Attributes:
        corner: Left and top of the masks on the page, in pixels.
        every: All ink.
        plain: Without ruled lines.
        coloured: Ink of a colour.
    """

    corner: tuple[int, int]
    every: Mask
    plain: Mask
    coloured: Mask

    @classmethod
    def read(cls, pixels: NDArray[np.uint8], rough: NDArray[np.float64], *, pen: float) -> RoughInk:
        """The ink on an (H, W, 3) RGB page in a rough box (4,), xyxy, and `pen` pixels around it."""
        height, width = pixels.shape[:2]
        left, top = np.floor(np.maximum(rough[:2] - pen, 0)).astype(int).tolist()
        right, bottom = np.ceil(np.minimum(rough[2:] + pen, [width, height])).astype(int).tolist()
        part = pixels[top : max(bottom, top + 1), left : max(right, left + 1)].astype(np.float32)
        if not part.size:
            nothing = np.zeros((1, 1), np.uint8)
            return cls(corner=(left, top), every=nothing, plain=nothing, coloured=nothing)
        darkest = part.min(axis=2)
        paper = max(float(np.percentile(darkest, _PAPER_PERCENTILE)), 1.0)
        dark = np.clip((paper - darkest) / paper, 0, 1)
        limit, _ = cv2.threshold((255 * dark).astype(np.uint8), 0, 255, cv2.THRESH_OTSU)
        every = (dark > max(_FAINTEST, _OF_OTSU * limit / 255)).astype(np.uint8)
        tint = np.percentile(part.reshape(-1, 3), _PAPER_PERCENTILE, axis=0)
        density = np.clip(1 - part / np.maximum(tint, 1), 0, 1)
        strongest = density.max(axis=2)
        chroma = strongest - density.min(axis=2)
        coloured = (chroma > np.maximum(_LEAST_CHROMA, _CHROMA_SHARE * strongest)) & (every > 0)
        return cls(corner=(left, top), every=every, plain=_unruled(every), coloured=coloured.astype(np.uint8))

    @property
    def offset(self) -> NDArray[np.float64]:
        """(4,) by which boxes on the page differ from boxes on the masks."""
        return np.array([*self.corner, *self.corner], np.float64)

    def layers(self) -> Iterator[Mask]:
        """Ink that may be the mark's alone: all of it, without lines, and where both are there, coloured and black."""
        yield self.every
        yield self.plain
        black = (self.plain & (1 - self.coloured)).astype(np.uint8)
        if self.coloured.sum() > _LEAST_LAYER * self.every.sum():
            yield np.asarray(cv2.medianBlur(self.coloured, 3), np.uint8)
            if black.sum() > 2 * _LEAST_LAYER * self.every.sum():
                yield np.asarray(cv2.medianBlur(black, 3), np.uint8)


def possible_boxes(ink: RoughInk, rough: NDArray[np.float64], candidates: Boxes, *, pen: float) -> Boxes:
    """Boxes (N, 4) that the mark in a rough box could have, xyxy in pixels of the page: at least one.

    They go around ink: all, what the rough box does not cut, large pieces, groups of near ones, what a candidate of the
    detector holds. The candidates themselves are among them, and the rough box, as it is and a little smaller.

    Args:
        ink: The ink in the rough box.
        rough: (4,) xyxy.
        candidates: (M, 4) of the detector, cut to the rough box.
        pen: Pixels that a box may reach out of the rough one.
    """
    side = max(float(np.prod(rough[2:] - rough[:2])), 1.0) ** 0.5
    found: list[NDArray[np.float64]] = []
    for layer in ink.layers():
        pieces, inked, cut = _pieces(layer)
        if not len(pieces):
            continue
        whole = np.logical_not(cut)
        for some in (np.ones(len(pieces), np.bool_), whole):
            if some.any():
                found += _around(pieces[some], inked[some], side)
        for candidate in candidates - ink.offset:
            size = np.tile(candidate[2:] - candidate[:2], 2)
            reach = candidate + np.array([-1.0, -1.0, 1.0, 1.0]) * _AROUND * size
            own = coverage(pieces, as_boxes([reach]))[:, 0] >= _OWN
            if own.any():
                hull = union(pieces[own])[0]
                found += [hull, (hull + candidate) / 2]
    sides = np.tile(rough[2:] - rough[:2], 2)
    smaller = [rough + np.array([1.0, 1.0, -1.0, -1.0]) * share * sides for share in _SHRINK]
    boxes = as_boxes([*(one + ink.offset for one in found), *candidates, *smaller])
    boxes = np.concatenate([np.maximum(boxes[:, :2], rough[:2] - pen), np.minimum(boxes[:, 2:], rough[2:] + pen)], 1)
    large = (boxes[:, 2:] - boxes[:, :2] > _LEAST_SIDE).all(axis=1)
    return np.unique(boxes[large].round(1), axis=0) if large.any() else as_boxes([rough])


def _around(pieces: Boxes, inked: NDArray[np.float64], side: float) -> list[NDArray[np.float64]]:
    """Boxes around all pieces, the large ones, the high ones, and groups of near ones."""
    heights = pieces[:, 3] - pieces[:, 1]
    found = [union(pieces)[0]]
    found += [union(pieces[some])[0] for some in (inked >= _BIG * inked.max(), heights >= _TALL * heights.max())]
    most = np.argsort(-inked, kind="stable")[:_MOST_PIECES]
    for gap in _GAPS:
        found += _groups(pieces[most], inked[most], gap * side)
    return found


def _groups(pieces: Boxes, inked: NDArray[np.float64], gap: float) -> list[NDArray[np.float64]]:
    """Boxes around the groups of the most ink, of pieces that are no further apart than a gap."""
    reach = pieces + np.array([-1.0, -1.0, 1.0, 1.0]) * gap / 2
    lowest = np.maximum(reach[:, None, :2], reach[None, :, :2])
    highest = np.minimum(reach[:, None, 2:], reach[None, :, 2:])
    meet = (highest > lowest).all(axis=2)
    group = np.arange(len(pieces))
    while True:
        least = np.where(meet, group[None, :], len(pieces)).min(axis=1)
        if (least == group).all():
            break
        group = least
    ranked = sorted(set(group.tolist()), key=lambda one: -float(inked[group == one].sum()))
    return [union(pieces[group == one])[0] for one in ranked[:_MOST_GROUPS]]


def _pieces(layer: Mask) -> tuple[Boxes, NDArray[np.float64], NDArray[np.bool_]]:
    """Connected pieces of ink: boxes (P, 4) on the mask, inked pixels, and whether the mask's edge cuts each."""
    height, width = layer.shape
    _, _, stats, _ = cv2.connectedComponentsWithStats(layer, connectivity=8)
    stats = stats[1:].astype(np.float64)
    if not len(stats):
        return as_boxes([]), np.zeros(0), np.zeros(0, bool)
    inked = stats[:, cv2.CC_STAT_AREA]
    stats = stats[inked >= max(_SPECK_PIXELS, _SPECK * inked.max())]
    boxes = as_boxes(np.concatenate([stats[:, :2], stats[:, :2] + stats[:, 2:4]], axis=1))
    return boxes, stats[:, cv2.CC_STAT_AREA], at_edge(boxes, width=width, height=height)


def at_edge(boxes: Boxes, *, width: int, height: int) -> NDArray[np.bool_]:
    """Which boxes (N, 4) touch the edge of a mask."""
    return np.asarray((boxes[:, :2] <= 0).any(axis=1) | (boxes[:, 2] >= width) | (boxes[:, 3] >= height))


def _unruled(mask: Mask) -> Mask:
    """A mask without thin straight lines that run through much of it."""
    height, width = mask.shape
    left = mask.copy()
    lengths = [max(_LEAST_LINE, int(share * side)) for share, side in zip(_LINE_SHARES, (width, height), strict=True)]
    kernels: Sequence[tuple[int, int]] = ((1, lengths[0]), (lengths[1], 1))
    for kernel in kernels:
        lines = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones(kernel, np.uint8))
        number, labels, stats, _ = cv2.connectedComponentsWithStats(lines)
        for one in range(1, number):
            if min(stats[one, 2], stats[one, 3]) <= max(3.0, _LINE_THICKNESS * max(height, width)):
                left[labels == one] = 0
    return left
