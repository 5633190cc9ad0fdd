"""Finds the candidates of a page: every place where coloured ink may be a mark."""

from __future__ import annotations

from itertools import chain

import numpy as np
from numpy.typing import NDArray

from backend.detection.candidates import Candidates
from backend.detection.config import DetectionConfig
from backend.detection.dark import pale_layers_of, patch_layers_of, stroke_layers_of
from backend.detection.grouping import Regions, halve, regions_of
from backend.detection.ink import ink_of
from backend.detection.layers import layers_of
from backend.detection.paper import paper_colour
from backend.detection.raster import rasterise
from backend.geometry import as_boxes, iou, suppress

__all__ = ["ColourDetector"]


class ColourDetector:
    """Proposes the places of a page where coloured ink may be a mark.

    Args:
        config: The detector's numbers; they go into the version string.
    """

    def __init__(self, config: DetectionConfig = DetectionConfig()) -> None:  # noqa: B008 - frozen
        self.config = config

    def __call__(self, pixels: NDArray[np.uint8], dpi: float | None = None) -> Candidates:
        """Gives the candidates of an (H, W, 3) uint8 RGB page, best first.

        Args:
            pixels: The page.
            dpi: Its resolution, where it is known; otherwise the page is taken for A4.
        """
        config = self.config
        raster = rasterise(pixels, dpi, pixel_mm=config.pixel_mm)
        paper = paper_colour(raster.pixels, widest=config.paper_mm / config.pixel_mm)
        cell = 2 * config.pixel_mm
        found = []
        ink = ink_of(raster.pixels, paper, config)
        for layer in chain(layers_of(ink, config), stroke_layers_of(ink, config), patch_layers_of(ink, config), pale_layers_of(ink, config)):
            gaps = [(across / cell, down / cell) for across, down in config.gaps_mm]
            found += [_plausible(regions, cell, config) for regions in regions_of(halve(layer), gaps=gaps)]
        boxes = np.concatenate([as_boxes([]), *(regions.boxes for regions in found)])
        inked = np.concatenate([np.zeros(0), *(regions.ink for regions in found)])
        # A region that keeps its shape over many layers and distances is a thing of its own (as in MSER).
        votes = (iou(boxes, boxes) > config.duplicate_iou).sum(axis=1)
        scores = votes * np.sqrt(inked)
        kept = suppress(boxes, scores, threshold=config.duplicate_iou)[: config.most_candidates]
        return Candidates(raster.to_page(2.0 * boxes[kept]), scores[kept])


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
