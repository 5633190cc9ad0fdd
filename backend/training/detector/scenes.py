"""Pages in memory at the detector's resolution: what is known about them, and what the network should say of that.

That is a heat-map and four edges for each class, and where nobody knows. The training makes a focal loss of the heat
small, and 1 - the generalised IoU of the boxes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from backend.geometry import Boxes, as_boxes
from backend.training.detector.detector_network import TAUGHT
from backend.training.pagestore import LabelledPage, LabelledPages
from backend.vision.engine import PIXEL_MM
from backend.vision.network_config import MARKS
from backend.vision.network_detector import page_input
from backend.vision.print_lines import CLEAR, lines_across

__all__ = [
    "LOG_LIGHT",
    "Knowledge",
    "PastedMark",
    "Scene",
    "Stock",
    "Targets",
    "cut_to_ink",
    "edge_loss",
    "heat_loss",
    "load_stock",
    "targets_of",
    "turn_loss",
]

_SPREAD = 0.54
"""Share of a mark's sides over which its heat extends (TTFNet, arXiv:1909.00700)."""
_EDGES_FROM = 0.25
"""Heat from which a cell learns a mark's edges."""
_LEAST_SIGMA = 0.45
_AROUND = 0.3
"""Share of a mark's sides by which it is known around it that there is no other."""


def heat_loss(logits: torch.Tensor, heat: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """The penalty-reduced focal loss of CornerNet and CenterNet (arXiv:1808.01244, eq. 1), for each mark.

    Args:
        logits: (N, C, h, w).
        heat: (N, C, h, w), 1 in the middle of marks.
        known: (N, C, h, w), 1 where the heat is known.
    """
    sure, not_sure = functional.logsigmoid(logits), functional.logsigmoid(-logits)
    chance = logits.sigmoid()
    middle = (heat > 0.999).float()
    hits = sure * (1 - chance) ** 2 * middle
    misses = not_sure * chance**2 * (1 - heat) ** 4 * (1 - middle)
    return -((hits + misses) * known).sum() / (middle * known).sum().clamp(min=1)


def turn_loss(logits: torch.Tensor, turns: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of the quarter turns.

    Args:
        logits: (N, 4).
        turns: (N,) 0 to 3; -1 where nobody knows.
    """
    known = turns >= 0
    return functional.cross_entropy(logits[known], turns[known]) if known.any() else logits.sum() * 0


def edge_loss(found: torch.Tensor, wanted: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """1 - GIoU (Rezatofighi et al. 2019, arXiv:1902.09630) of boxes seen from the same cell, averaged over the marks.

    Args:
        found: (N, 4C, h, w) distances to left, top, right and bottom, above 0.
        wanted: The same.
        weight: (N, C, h, w), 0 where there is no mark.
    """
    batch, classes, height, width = weight.shape
    cells = weight > 0
    rows = [edges.view(batch, classes, 4, height, width).permute(0, 1, 3, 4, 2)[cells] for edges in (found, wanted)]
    one, other = rows
    both = (torch.minimum(one[:, :2], other[:, :2]) + torch.minimum(one[:, 2:], other[:, 2:])).prod(dim=1)
    around = (torch.maximum(one[:, :2], other[:, :2]) + torch.maximum(one[:, 2:], other[:, 2:])).prod(dim=1)
    areas = [(edges[:, :2] + edges[:, 2:]).prod(dim=1) for edges in rows]
    union = areas[0] + areas[1] - both
    overlap = both / union - (around - union) / around
    return ((1 - overlap) * weight[cells]).sum() / weight.sum().clamp(min=1)


@dataclass(frozen=True, kw_only=True)
class Knowledge:
    """What is known about the pixels of a page.

    Attributes:
        boxes: (N, 4) xyxy pixels.
        labels: (N,) indices into `TAUGHT`.
        ignored: (M, 4) places about which nothing is said.
        complete: (5,) whether every mark of a class is among the boxes. Of a class that is not complete, only its boxes
            are known, and nothing beyond them. What lies in them is what they say and nothing else.
    """

    boxes: Boxes
    labels: NDArray[np.intp]
    ignored: Boxes
    complete: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Targets:
    """For each of the C classes that are taught, the M marks among them, and each cell of the h x w output.

    Attributes:
        heat: (C, h, w) 1 in the middle of marks, falling to 0.
        known: (C, h, w) whether the heat is known.
        edges: (4M, h, w) distances to the edges, pixels, where `weight` is above 0.
        weight: (M, h, w) how much a cell teaches of the edges; the sum over a mark is 1.
    """

    heat: NDArray[np.float32]
    known: NDArray[np.float32]
    edges: NDArray[np.float32]
    weight: NDArray[np.float32]


def targets_of(knowledge: Knowledge, *, height: int, width: int, stride: int) -> Targets:
    """The targets of a page of `height` x `width` pixels, multiples of `stride`, the pixels to a cell."""
    rows, columns = height // stride, width // stride
    heat = np.zeros((len(TAUGHT), rows, columns), np.float32)
    edges = np.zeros((len(MARKS), 4, rows, columns), np.float32)
    weight = np.zeros((len(MARKS), rows, columns), np.float32)
    known = _known(knowledge, rows, columns, stride)
    y = (np.arange(rows, dtype=np.float32) + 0.5)[:, None] * stride
    x = (np.arange(columns, dtype=np.float32) + 0.5)[None] * stride
    sides = knowledge.boxes[:, 2:] - knowledge.boxes[:, :2]
    # The largest first, so that a small mark keeps its cells.
    for index in np.argsort(-sides.prod(axis=1), kind="stable"):
        label, (left, top, right, bottom) = knowledge.labels[index], knowledge.boxes[index]
        # The middle of the nearest cell, so that each mark has one cell with full heat.
        middle_x = (np.clip(np.floor((left + right) / 2 / stride), 0, columns - 1) + 0.5) * stride
        middle_y = (np.clip(np.floor((top + bottom) / 2 / stride), 0, rows - 1) + 0.5) * stride
        sigma_x, sigma_y = np.maximum(_SPREAD * sides[index] / 6, _LEAST_SIGMA * stride)
        glow = np.exp(-(((x - middle_x) / sigma_x) ** 2 + ((y - middle_y) / sigma_y) ** 2) / 2).astype(np.float32)
        heat[label] = np.maximum(heat[label], glow)
        if label >= len(MARKS):
            continue
        near = glow >= _EDGES_FROM
        weight[label][near] = glow[near] / glow[near].sum()
        for side, distance in enumerate((x - left, y - top, right - x, bottom - y)):
            edges[label, side][near] = np.broadcast_to(distance, glow.shape)[near]
    known[heat > 0.1] = 1
    return Targets(heat, known, edges.reshape(-1, rows, columns), weight * (edges.min(axis=1) > 0))


def _known(knowledge: Knowledge, rows: int, columns: int, stride: int) -> NDArray[np.float32]:
    known = np.repeat(knowledge.complete.astype(np.float32), rows * columns).reshape(-1, rows, columns)
    margin = np.tile(knowledge.boxes[:, 2:] - knowledge.boxes[:, :2], 2) * [-_AROUND, -_AROUND, _AROUND, _AROUND]
    for box in knowledge.boxes + margin:
        known[(slice(None), *_cells(box, stride))] = 1
    for box in knowledge.ignored:
        known[(slice(None), *_cells(box, stride))] = 0
    return np.asarray(known, np.float32)


def _cells(box: Boxes, stride: int) -> tuple[slice, slice]:
    left, top, right, bottom = (max(0, int(value // stride)) for value in box)
    return slice(top, bottom + 1), slice(left, right + 1)


Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]
PastedMark = tuple[int, NDArray[np.floating]]

LOG_LIGHT = -np.log(np.maximum(np.arange(256, dtype=np.float32), 1) / 255).astype(np.float32)
"""Optical density of each of the 256 values that a pixel has."""
_PAPER_NOISE = 0.06
_LONGEST = 320


@dataclass(frozen=True, eq=False)
class Scene:
    """A page, or a window of one, at the detector's resolution.

    Attributes:
        pixels: (h, w, 3) uint8 RGB.
        knowledge: What is known about it.
        turns: Quarter turns to the left that it was given, 0 to 3; -1 where nobody knows which way is up.
    """

    pixels: Pixels
    knowledge: Knowledge
    turns: int = 0


@dataclass(frozen=True, eq=False)
class Stock:
    """What scenes are made of.

    Attributes:
        scenes: Pages as they are.
        groups: Their domains and sources, as `drawn` or `real/page_full`.
        marks: Single marks to paste, by where they come from, each with its class of `TAUGHT`: (h, w, 3) optical
            densities.
    """

    scenes: tuple[Scene, ...]
    groups: tuple[str, ...]
    marks: tuple[tuple[PastedMark, ...], ...] = field(default=())


def load_stock(
    store: LabelledPages,
    pages: Sequence[LabelledPage],
    marks: Mapping[str, Sequence[tuple[str, Pixels]]] | None = None,
    *,
    pixel_mm: float = PIXEL_MM,
) -> Stock:
    """Reads pages at the detector's resolution, `pixel_mm` to a pixel, and marks as densities."""
    scenes, groups = [], []
    for page in pages:
        small, scale = page_input(store.pixels(page), page.dpi, pixel_mm=pixel_mm)
        boxes = np.concatenate([as_boxes(rows) for rows in (page.boxes, page.handwriting, page.logos)])
        names = [*page.labels, *["handwriting"] * len(page.handwriting), *["print"] * len(page.logos)]
        scenes.append(
            Scene(
                small,
                Knowledge(
                    boxes=boxes * scale,
                    labels=np.array([TAUGHT.index(name) for name in names], np.intp),
                    ignored=as_boxes(page.ignored) * scale,
                    complete=np.array([name in page.complete for name in TAUGHT]),
                ),
                # Sources of which not every mark is boxed turn their pages; a few others lie on their side.
                turns=0 if set(MARKS) <= set(page.complete) and lines_across(small) > -CLEAR else -1,
            )
        )
        groups.append(page.domain if page.domain == "drawn" else f"{page.domain}/{page.source}")
    found = [
        # Thousands of them: in half precision they take half the memory.
        tuple((TAUGHT.index(label), ink.astype(np.float16)) for label, mark in group if (ink := _density(mark)).size)
        for group in (marks or {}).values()
    ]
    return Stock(tuple(scenes), tuple(groups), tuple(group for group in found if group))


def _density(mark: Pixels) -> Floats:
    """Optical density of a mark beyond its paper, cut to where there is ink; empty where there is none."""
    scale = _LONGEST / max(mark.shape[:2])
    if scale < 1:
        mark = np.asarray(cv2.resize(mark, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
    paper = np.percentile(mark.reshape(-1, 3), 85, axis=0)
    light = LOG_LIGHT[np.clip(np.round(paper), 1, 255).astype(np.uint8)]
    return cut_to_ink(np.maximum(LOG_LIGHT[mark] - light - _PAPER_NOISE, 0))


def cut_to_ink(density: Floats) -> Floats:
    """The part of an (h, w, 3) density in which there is ink; empty where there is next to none."""
    rows, columns = np.nonzero(density.max(axis=2) > 0.12)
    if len(rows) < 30:
        return np.zeros((0, 0, 3), np.float32)
    (top, bottom), (left, right) = (np.percentile(values, (0.3, 99.7)).astype(int) for values in (rows, columns))
    return np.asarray(density[top : bottom + 1, left : right + 1], np.float32)
