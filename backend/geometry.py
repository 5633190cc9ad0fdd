"""Boxes as (N, 4) arrays of x1, y1, x2, y2 in pixels from the top left; pure functions that never mutate."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Boxes", "areas", "as_boxes", "clip", "coverage", "iou", "suppress", "to_percent", "turned_left", "union"]

Boxes = NDArray[np.float64]


def as_boxes(values: ArrayLike) -> Boxes:
    """Gives a fresh (N, 4) array; no boxes at all become (0, 4)."""
    return np.array(values, dtype=np.float64).reshape(-1, 4)


def areas(boxes: Boxes) -> NDArray[np.float64]:
    """Area of each box in square pixels, (N,); inverted boxes have area 0."""
    return np.clip(boxes[:, 2] - boxes[:, 0], 0, None) * np.clip(boxes[:, 3] - boxes[:, 1], 0, None)


def _intersections(a: Boxes, b: Boxes) -> NDArray[np.float64]:
    """Shared area of every pair, (N, M), in square pixels."""
    top_left = np.maximum(a[:, None, :2], b[None, :, :2])
    bottom_right = np.minimum(a[:, None, 2:], b[None, :, 2:])
    sides = np.clip(bottom_right - top_left, 0, None)
    return np.asarray(sides[..., 0] * sides[..., 1])


def iou(a: Boxes, b: Boxes) -> NDArray[np.float64]:
    """Intersection over union of every pair, (N, M); 0 where both boxes are empty."""
    shared = _intersections(a, b)
    total = areas(a)[:, None] + areas(b)[None, :] - shared
    return np.divide(shared, total, out=np.zeros_like(shared), where=total > 0)


def coverage(a: Boxes, b: Boxes) -> NDArray[np.float64]:
    """Share of each box of `a` that lies inside each box of `b`, (N, M); 0 for an empty box."""
    own = np.broadcast_to(areas(a)[:, None], (len(a), len(b)))
    shared = _intersections(a, b)
    return np.divide(shared, own, out=np.zeros_like(shared), where=own > 0)


def clip(boxes: Boxes, *, width: int, height: int) -> Boxes:
    """Copies `boxes`, cut to a page of `width` x `height` pixels."""
    return np.clip(boxes, 0, [width, height, width, height])


def turned_left(boxes: Boxes, quarters: int, *, width: int, height: int) -> Boxes:
    """(N, 4) boxes of a page of `width` x `height` pixels, where they lie when it is turned left by quarter turns.

    `np.rot90(pixels, quarters)` turns the pixels. Negative numbers turn right.
    """
    for _ in range(quarters % 4):
        left, top, right, bottom = boxes.T
        boxes = np.stack([top, width - right, bottom, width - left], axis=1)
        width, height = height, width
    return as_boxes(boxes)


def union(boxes: Boxes) -> Boxes:
    """The smallest box around all of `boxes`, (1, 4).

    Raises:
        ValueError: There are no boxes.
    """
    if not len(boxes):
        raise ValueError("no boxes to unite")
    return np.concatenate([boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)])[None]


def suppress(boxes: Boxes, scores: NDArray[np.floating], *, threshold: float) -> NDArray[np.intp]:
    """Greedy non-maximum suppression: indices of the kept boxes, best score first, (K,).

    A box goes when its IoU with a better one is above `threshold`; of equal scores the earlier box wins.
    """
    order = np.argsort(-scores, kind="stable")
    overlaps = iou(boxes, boxes) > threshold
    kept: list[int] = []
    for index in order:
        if not overlaps[index, kept].any():
            kept.append(int(index))
    return np.array(kept, dtype=np.intp)


def to_percent(boxes: Boxes, *, width: int, height: int) -> Boxes:
    """Label Studio's units: x, y, width, height as percent of the page, (N, 4)."""
    scale = 100.0 / np.array([width, height, width, height], dtype=np.float64)
    return np.column_stack([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]]).reshape(-1, 4) * scale
