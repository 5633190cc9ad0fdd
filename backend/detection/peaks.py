"""The peaks of the detector network's heat-maps, and the boxes that its edges give them."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from backend.geometry import Boxes, as_boxes, suppress

__all__ = ["Peaks", "peaks_of"]


@dataclass(frozen=True)
class Peaks:
    """What the network sees on a page, best first.

    Attributes:
        boxes: (N, 4) xyxy, pixels of the network's input.
        labels: (N,) indices into `MARKS`.
        scores: (N,) heat, in [0, 1].
    """

    boxes: Boxes
    labels: NDArray[np.intp]
    scores: NDArray[np.float64]


def peaks_of(
    heat: NDArray[np.float32], edges: NDArray[np.float32], *, stride: int, least: float, most: int, same: float
) -> Peaks:
    """Reads one page's output.

    Args:
        heat: (C, h, w) in [0, 1].
        edges: (4C, h, w) distances from the cells' middles to left, top, right and bottom, pixels of the input.
        stride: Pixels to a cell.
        least: Lowest heat of a peak.
        most: Peaks of one class at most, before those that are the same mark are put together.
        same: IoU above which two peaks of one class are the same mark.
    """
    boxes, labels, scores = [as_boxes([])], [np.zeros(0, np.intp)], [np.zeros(0)]
    for label, values in enumerate(heat):
        around = cv2.dilate(values, np.ones((3, 3), np.uint8))
        rows, columns = np.nonzero((values >= around) & (values >= least))
        found = values[rows, columns].astype(np.float64)
        best = np.argsort(-found, kind="stable")[:most]
        rows, columns, found = rows[best], columns[best], found[best]
        left, top, right, bottom = edges[4 * label : 4 * label + 4, rows, columns].astype(np.float64)
        x, y = (columns + 0.5) * stride, (rows + 0.5) * stride
        these = as_boxes(np.stack([x - left, y - top, x + right, y + bottom], axis=1))
        kept = suppress(these, found, threshold=same)
        boxes.append(these[kept])
        labels.append(np.full(len(kept), label, np.intp))
        scores.append(found[kept])
    every, order = np.concatenate(scores), np.argsort(-np.concatenate(scores), kind="stable")
    return Peaks(np.concatenate(boxes)[order], np.concatenate(labels)[order], every[order])
