"""Finds the candidates of a page: every place where ink may be a mark."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.detection.candidates import Candidates
from backend.detection.config import DetectionConfig
from backend.detection.dark import pale_layers_of, patch_layers_of, stroke_layers_of
from backend.detection.grouping import Regions, halve, regions_of
from backend.detection.ink import Ink, ink_of
from backend.detection.layers import layers_of
from backend.detection.paper import paper_colour
from backend.detection.ranking import KINDS, WEIGHTS, Proposals, features_of, likelihood, spread_out
from backend.detection.raster import rasterise
from backend.geometry import as_boxes, iou, suppress
from backend.nets.config import MARKS
from backend.nets.detector import Fusion

__all__ = ["ColourDetector"]

_LAYERS = dict(zip(KINDS, (layers_of, stroke_layers_of, patch_layers_of, pale_layers_of), strict=True))


class ColourDetector:
    """Proposes the places of a page where ink may be a mark: coloured ink first of all, and dark ink that is not print.

    Args:
        config: The detector's numbers; they go into the version string.
    """

    def __init__(self, config: DetectionConfig = DetectionConfig()) -> None:  # noqa: B008 - frozen
        self.config = config
        self.name = "ink"
        self.fusion = Fusion()

    @property
    def facts(self) -> dict[str, Any]:
        """Everything that decides what is proposed, as plain JSON: a change of it is a change of version."""
        return {**asdict(self.config), "ranking": WEIGHTS}

    def __call__(self, pixels: NDArray[np.uint8], dpi: float | None = None) -> Candidates:
        """Gives the candidates of an (H, W, 3) uint8 RGB page, best first.

        Args:
            pixels: The page.
            dpi: Its resolution, where it is known; otherwise the page is taken for A4.
        """
        config = self.config
        boxes, features = self.proposals(pixels, dpi)
        order, scores = spread_out(boxes, likelihood(features))
        place = np.arange(len(order))
        kept = (scores >= config.least_score) | (place < config.fewest_candidates)
        kept &= place < config.most_candidates
        return Candidates(boxes[order[kept]], scores[kept], np.zeros((int(kept.sum()), len(MARKS))))

    def proposals(
        self, pixels: NDArray[np.uint8], dpi: float | None = None
    ) -> tuple[NDArray[np.float64], dict[str, NDArray[np.float64]]]:
        """Gives every region that has a mark's size, before ranking: boxes (N, 4) in pixels, and their features."""
        config = self.config
        raster = rasterise(pixels, dpi, pixel_mm=config.pixel_mm)
        paper = paper_colour(raster.pixels, widest=config.paper_mm / config.pixel_mm)
        ink = ink_of(raster.pixels, paper, config)
        cell = 2 * config.pixel_mm
        found = _distinct(_regions(ink, cell, config), config)
        return raster.to_page(2.0 * found.boxes), features_of(found, ink, cell_mm=cell)


def _regions(ink: Ink, cell: float, config: DetectionConfig) -> Proposals:
    """The regions of all layers at all distances; a cell is `cell` mm wide."""
    gaps = [(across / cell, down / cell) for across, down in config.gaps_mm]
    boxes, inked, kinds = [as_boxes([])], [np.zeros(0)], [np.zeros(0, np.intp)]
    for kind, name in enumerate(KINDS):
        for layer in _LAYERS[name](ink, config):
            for regions in regions_of(halve(layer), gaps=gaps):
                fitting = _plausible(regions, cell, config)
                boxes.append(fitting.boxes)
                inked.append(fitting.ink)
                kinds.append(np.full(len(fitting.ink), kind, np.intp))
    every = np.concatenate(boxes)
    return Proposals(every, np.concatenate(inked), np.concatenate(kinds), np.zeros(len(every)))


def _distinct(found: Proposals, config: DetectionConfig) -> Proposals:
    """Leaves one of those regions that are nearly the same, with the number of them as its votes."""
    votes = (iou(found.boxes, found.boxes) > config.duplicate_iou).sum(axis=1).astype(np.float64)
    kept = suppress(found.boxes, votes * np.sqrt(found.ink), threshold=config.duplicate_iou)
    return Proposals(found.boxes, found.ink, found.kind, votes)[kept]


def _plausible(regions: Regions, cell: float, config: DetectionConfig) -> Regions:
    """Those regions that have a mark's size; a cell of the mask is `cell` mm wide."""
    sides = (regions.boxes[:, 2:] - regions.boxes[:, :2]) * cell
    shorter, longer = sides.min(axis=1), sides.max(axis=1)
    fits = (
        (longer >= config.shortest_mm)
        & (longer <= config.longest_mm)
        & (shorter >= config.thinnest_mm)
        & (regions.ink * cell**2 >= config.least_ink_mm2)
    )
    return Regions(regions.boxes[fits], regions.ink[fits])
