"""Pages in memory at the detector's resolution, with what is known about them, and marks to paste on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from backend.geometry import as_boxes
from backend.training.detector.detector_network import TAUGHT
from backend.training.detector.targets import Knowledge
from backend.training.pagestore import LabelledPage, Pages
from backend.vision.network_config import MARKS
from backend.vision.network_detector import page_input

__all__ = ["LOG_LIGHT", "PastedMark", "Scene", "Stock", "cut_to_ink", "load_stock"]

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
    store: Pages, pages: Sequence[LabelledPage], marks: Mapping[str, Sequence[tuple[str, Pixels]]] | None = None
) -> Stock:
    """Reads pages at the detector's resolution, and marks as densities."""
    scenes, groups = [], []
    for page in pages:
        small, scale = page_input(store.pixels(page), page.dpi)
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
                # Pages of which not every mark is boxed come from sources that turn them.
                turns=0 if set(MARKS) <= set(page.complete) else -1,
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
