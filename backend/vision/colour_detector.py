"""Finds the candidates of a page: every place where ink may be a mark.

Layers of ink, by hue and by strength: what keeps a pen stroke apart from the faded stamp under it.

Ink whose shape tells it from print where its colour does not: strokes too large for letters, and solid patches.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from backend.geometry import Boxes, as_boxes, iou, suppress
from backend.vision.candidates import Candidates
from backend.vision.engine import Fusion
from backend.vision.ink import OD_STEPS, DetectionConfig, PageInk, ink_of, paper_colour
from backend.vision.network_config import MARKS
from backend.vision.regions import (
    KINDS,
    WEIGHTS,
    RegionProposals,
    Regions,
    features_of,
    halve,
    likelihood,
    pieces_of,
    regions_of,
    spread_out,
)
from backend.vision.working_raster import rasterise

__all__ = ["ColourDetector"]

_HUES = 180
_HUE_SPREAD = 5.0
"""Standard deviation, in steps of 2 degrees, by which the hue histogram is smoothed: one ink makes one peak."""
_LEAST_PEAK = 0.04
_EDGE = np.ones((5, 5), np.uint8)
"""Reach of a strong stroke's soft edge, which is as pale as weak ink."""
_BLUR = 4
"""Working pixels averaged to one on either axis, about 1 mm: two ridges of a thumb."""

_CROSSING = np.ones((9, 1), np.uint8)
"""Reach over a rule with its edges, working pixels."""


def _hue_modes(ink: PageInk) -> list[NDArray[np.bool_]]:
    """Splits the circle of hues at the valleys of the page's hue histogram.

    Returns:
        A (180,) membership table for each ink of the page; none when there is but one ink.
    """
    strong = ink.colour >= ink.weakest * 1.5
    counts = np.bincount(ink.hue[strong], weights=ink.colour[strong].astype(np.float64), minlength=_HUES)
    steps = np.arange(_HUES)
    kernel = np.exp(-0.5 * (np.minimum(steps, _HUES - steps) / _HUE_SPREAD) ** 2)
    smooth = np.fft.irfft(np.fft.rfft(counts) * np.fft.rfft(kernel), n=_HUES)
    is_peak = (smooth > np.roll(smooth, 1)) & (smooth >= np.roll(smooth, -1)) & (smooth > _LEAST_PEAK * smooth.max())
    peaks = np.flatnonzero(is_peak)
    if len(peaks) < 2:
        return []
    valleys = []
    for here, there in zip(peaks, [*peaks[1:], peaks[0] + _HUES], strict=True):
        between = np.arange(here, there) % _HUES
        valleys.append(int(between[np.argmin(smooth[between])]))
    tables = []
    for start, stop in zip(valleys, [*valleys[1:], valleys[0]], strict=True):
        tables.append((steps - start) % _HUES < (stop - start) % _HUES)
    return tables


def _layers_of(ink: PageInk, config: DetectionConfig) -> Iterator[NDArray[np.uint8]]:
    """Gives (h, w) uint8 masks, 0 or 255: all coloured ink, then each hue by itself, each at every strength."""
    colours = [ink.colour]
    for table in _hue_modes(ink):
        member = np.zeros(256, np.uint8)
        member[:_HUES][table] = 255
        colours.append(np.asarray(cv2.bitwise_and(ink.colour, cv2.LUT(ink.hue, member)), np.uint8))
    for colour in colours:
        masks = [cv2.inRange(colour, math.ceil(ink.weakest * strength), 255) for strength in config.strengths]
        yield from (np.asarray(mask, np.uint8) for mask in masks)
        # What is left of a faded stamp when the pen stroke across it is taken away.
        for weak, strong in pairwise(masks):
            yield np.asarray(cv2.subtract(weak, cv2.dilate(strong, _EDGE)), np.uint8)


def _stroke_layers_of(ink: PageInk, config: DetectionConfig) -> Iterator[NDArray[np.uint8]]:
    """Gives (h, w) uint8 masks, 0 or 255, of the pieces of dark ink that no line of print would make.

    About half of real signatures are written in black, which no rule on colour can find. A pen's stroke hangs together
    over more than a line's height; a letter or a word does not. A rule is straight for longer than a pen stroke.
    """
    masks = [
        np.asarray(cv2.inRange(ink.neutral, math.ceil(density * OD_STEPS), 255), np.uint8)
        for density in config.dark_ods
    ]
    rules = _ruled(masks[0], config)
    for mask in masks:
        yield _without_print(_without_rules(mask, rules), config)


def _patch_layers_of(ink: PageInk, config: DetectionConfig) -> Iterator[NDArray[np.uint8]]:
    """Gives (h, w) uint8 masks, 0 or 255, of ink that covers the paper without a gap, as a thumb does.

    At a scale that blurs ridges together, an opening takes away everything with white in it: lines of print, strokes
    and the rings of stamps.
    """
    height, width = ink.neutral.shape
    size = (max(1, width // _BLUR), max(1, height // _BLUR))
    side = round(config.patch_mm / (_BLUR * config.pixel_mm)) | 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    for density in (ink.neutral, ink.colour):
        coarse = cv2.resize(density, size, interpolation=cv2.INTER_AREA)
        opened = cv2.dilate(cv2.morphologyEx(coarse, cv2.MORPH_OPEN, disc), np.ones((3, 3), np.uint8))
        for level in config.patch_ods:
            solid = cv2.inRange(opened, math.ceil(level * OD_STEPS), 255)
            near = cv2.resize(solid, (width, height), interpolation=cv2.INTER_NEAREST)
            inked = cv2.inRange(density, math.ceil(level * OD_STEPS), 255)
            yield np.asarray(cv2.bitwise_and(near, inked), np.uint8)


def _pale_layers_of(ink: PageInk, config: DetectionConfig) -> Iterator[NDArray[np.uint8]]:
    """Gives an (h, w) uint8 mask, 0 or 255, of grey ink that is paler than print: faded stamps of a grey scan."""
    lowest, highest = (round(density * OD_STEPS) for density in config.pale_ods)
    print_and_edges = cv2.dilate(cv2.inRange(ink.neutral, highest, 255), np.ones((7, 7), np.uint8))
    yield np.asarray(cv2.subtract(cv2.inRange(ink.neutral, lowest, 255), print_and_edges), np.uint8)


def _ruled(mask: NDArray[np.uint8], config: DetectionConfig) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Where lines are ruled across and down, a pixel wider than they are."""
    length = round(config.rule_mm / config.pixel_mm)
    edge = np.ones((3, 3), np.uint8)
    across = cv2.dilate(cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((1, length), np.uint8)), edge)
    down = cv2.dilate(cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((length, 1), np.uint8)), edge)
    return np.asarray(across, np.uint8), np.asarray(down, np.uint8)


def _without_rules(mask: NDArray[np.uint8], rules: tuple[NDArray[np.uint8], NDArray[np.uint8]]) -> NDArray[np.uint8]:
    for ruled, bridge in zip(rules, (_CROSSING, _CROSSING.T), strict=True):
        if not ruled.any():
            continue
        kept = cv2.subtract(mask, ruled)
        # A stroke that crosses a rule stays whole: what has ink on both sides of the rule is given back.
        crossing = cv2.bitwise_and(cv2.morphologyEx(kept, cv2.MORPH_CLOSE, bridge), ruled)
        mask = np.asarray(cv2.bitwise_or(kept, crossing), np.uint8)
    return mask


def _without_print(mask: NDArray[np.uint8], config: DetectionConfig) -> NDArray[np.uint8]:
    pieces = pieces_of(mask)
    sides = (pieces.boxes[:, 2:] - pieces.boxes[:, :2]) * config.pixel_mm
    shorter, longer = sides.min(axis=1), sides.max(axis=1)
    fill = pieces.ink * config.pixel_mm**2 / (shorter * longer)
    large = (shorter >= config.text_mm) & (longer >= config.shortest_mm) & (longer <= config.longest_mm)
    return pieces.mask_of(large & (fill <= config.most_fill))


_LAYERS = dict(zip(KINDS, (_layers_of, _stroke_layers_of, _patch_layers_of, _pale_layers_of), strict=True))


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

    def second_look(
        self, pixels: NDArray[np.uint8], boxes: Boxes, labels: NDArray[np.intp], *, dpi: float | None, times: int
    ) -> Boxes:
        """The boxes as they came: ink is looked at once."""
        del pixels, labels, dpi, times
        return boxes

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


def _regions(ink: PageInk, cell: float, config: DetectionConfig) -> RegionProposals:
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
    return RegionProposals(every, np.concatenate(inked), np.concatenate(kinds), np.zeros(len(every)))


def _distinct(found: RegionProposals, config: DetectionConfig) -> RegionProposals:
    """Leaves one of those regions that are nearly the same, with the number of them as its votes."""
    votes = (iou(found.boxes, found.boxes) > config.duplicate_iou).sum(axis=1).astype(np.float64)
    kept = suppress(found.boxes, votes * np.sqrt(found.ink), threshold=config.duplicate_iou)
    return RegionProposals(found.boxes, found.ink, found.kind, votes)[kept]


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
