"""Finds the candidates of a page with a trained network, whatever the colour of their ink.

The peaks of the detector network's heat-maps, and the boxes that its edges give them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from backend.geometry import Boxes, as_boxes, clip, iou, suppress, turned_left
from backend.vision.box_refiner import BoxRefiner
from backend.vision.candidates import Candidates
from backend.vision.engine import PIXEL_MM, DetectorConfig, DetectorNetwork, DetectorOutput
from backend.vision.network_config import MARKS
from backend.vision.print_lines import CLEAR, lines_across
from backend.vision.working_raster import rasterise

__all__ = ["ModelDetector", "Peaks", "padded", "page_input", "peaks_in", "peaks_of"]

_DOUBT = 0.05
"""Probability that a page is not upright, from which it is looked at from all sides: few upright pages reach it."""
_LEAST = 1e-6
"""Least probability that one look can give, so that none decides alone."""
_EACH_MARK = np.arange(len(MARKS))
_ONE_BOX = 0.8
"""IoU above which peaks of different classes are one candidate: the classifier would see the same pixels."""


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
    heat: NDArray[np.float32],
    edges: NDArray[np.float32],
    *,
    stride: int,
    least: float,
    most: int,
    same: float,
    reach: float | None = None,
) -> Peaks:
    """Reads one page's output.

    Args:
        heat: (C, h, w) in [0, 1].
        edges: (4C, h, w) distances from the cells' middles to left, top, right and bottom, pixels of the input.
        stride: Pixels to a cell.
        least: Lowest heat of a peak.
        most: Peaks of one class at most, before those that are the same mark are put together.
        same: IoU above which two peaks of one class are the same mark.
        reach: Share of a box's sides, to each side of its peak, within which the cells' boxes are averaged by their
            heat; None for the box of the peak's cell alone.
    """
    boxes, labels, scores = [as_boxes([])], [np.zeros(0, np.intp)], [np.zeros(0)]
    for label, values in enumerate(heat):
        around = cv2.dilate(values, np.ones((3, 3), np.uint8))
        rows, columns = np.nonzero((values >= around) & (values >= least))
        found = values[rows, columns].astype(np.float64)
        best = np.argsort(-found, kind="stable")[:most]
        rows, columns, found = rows[best], columns[best], found[best]
        own = edges[4 * label : 4 * label + 4]
        these = _boxes_at(own, rows, columns, stride=stride)
        if reach is not None:
            these = as_boxes(
                [
                    _mean_box(values, own, box, int(row), int(column), stride=stride, reach=reach)
                    for box, row, column in zip(these, rows, columns, strict=True)
                ]
            )
        kept = suppress(these, found, threshold=same)
        boxes.append(these[kept])
        labels.append(np.full(len(kept), label, np.intp))
        scores.append(found[kept])
    every, order = np.concatenate(scores), np.argsort(-np.concatenate(scores), kind="stable")
    return Peaks(np.concatenate(boxes)[order], np.concatenate(labels)[order], every[order])


def peaks_in(seen: DetectorOutput, config: DetectorConfig) -> Peaks:
    """Reads one page's output as a detector's config says."""
    return peaks_of(
        seen.heat,
        seen.edges,
        stride=config.stride,
        least=config.least_heat,
        most=config.most,
        same=config.same_iou,
        reach=config.box_reach,
    )


def _boxes_at(edges: NDArray[np.float32], rows: NDArray[np.intp], columns: NDArray[np.intp], *, stride: int) -> Boxes:
    """The boxes (N, 4) that N cells give: from edges (4, h, w), distances from the cells' middles."""
    left, top, right, bottom = edges[:, rows, columns].astype(np.float64)
    x, y = (columns + 0.5) * stride, (rows + 0.5) * stride
    return as_boxes(np.stack([x - left, y - top, x + right, y + bottom], axis=1))


def _mean_box(
    heat: NDArray[np.float32],
    edges: NDArray[np.float32],
    box: NDArray[np.float64],
    row: int,
    column: int,
    *,
    stride: int,
    reach: float,
) -> NDArray[np.float64]:
    """The mean of the boxes that the cells about a peak give, each weighed by its heat (h, w): (4,) xyxy.

    At least the nearest cells have a say, so that the errors of single cells cancel out.
    """
    width, height = np.maximum(np.round(reach * (box[2:] - box[:2]) / stride), 1).astype(int)
    first_row, first_column = max(row - height, 0), max(column - width, 0)
    weights = heat[first_row : row + height + 1, first_column : column + width + 1].astype(np.float64)
    near_rows, near_columns = np.indices(weights.shape)
    boxes = _boxes_at(edges, near_rows.ravel() + first_row, near_columns.ravel() + first_column, stride=stride)
    return np.asarray(np.average(boxes, axis=0, weights=weights.ravel()))


@dataclass(frozen=True)
class _View:
    """A look at a page from one of its sides.

    Attributes:
        small: The network's input.
        scale: (4,) what boxes of the page are multiplied by.
        seen: What the network says of it.
    """

    small: NDArray[np.uint8]
    scale: NDArray[np.float64]
    seen: DetectorOutput


class ModelDetector:
    """Proposes what a network takes for a mark, with its heat for each class.

    Args:
        network: The network.
        name: What its part of the version begins with, such as `bundled`.
        refiner: Gives the candidates their edges; None leaves those of the network.
    """

    def __init__(self, network: DetectorNetwork, *, name: str = "model", refiner: BoxRefiner | None = None) -> None:
        self._network = network
        self._refiner = refiner
        self.name = name
        self.fusion = network.config.fusion

    @property
    def facts(self) -> dict[str, Any]:
        """Everything that decides what is proposed, as plain JSON: a change of it is a change of version."""
        own = {} if self._refiner is None else {"refiner": self._refiner.config.digest}
        return self._network.config.facts | own

    def __call__(self, pixels: NDArray[np.uint8], dpi: float | None = None) -> Candidates:
        """Gives the candidates of an (H, W, 3) uint8 RGB page, best first, in the page's own frame.

        A page that does not look upright is looked at from all four sides. Of one that lies on its side or upside down
        the look counts that sees it upright.

        Args:
            pixels: The page.
            dpi: Its resolution, where it is known; otherwise the page is taken for A4.
        """
        turns, view = self._upright(pixels, dpi)
        height, width = pixels.shape[:2] if turns % 2 == 0 else pixels.shape[1::-1]
        found = self._candidates(view, width=width, height=height)
        if not turns:
            return found
        return Candidates(turned_left(found.boxes, turns, width=width, height=height), found.scores, found.heat, turns)

    def second_look(
        self, pixels: NDArray[np.uint8], boxes: Boxes, labels: NDArray[np.intp], *, dpi: float | None, times: int
    ) -> Boxes:
        """The boxes (N, 4), pixels of the page, with the edges that the refiner gives them, if there is one."""
        if self._refiner is None:
            return boxes
        small, scale = page_input(pixels, dpi, pixel_mm=self._network.config.pixel_mm)
        found = boxes * scale
        for _ in range(times):
            found, _ = self._refiner(small, found, labels)
        return clip(found / scale, width=pixels.shape[1], height=pixels.shape[0])

    def _look(self, pixels: NDArray[np.uint8], dpi: float | None) -> _View:
        small, scale = page_input(pixels, dpi, pixel_mm=self._network.config.pixel_mm)
        return _View(small, scale, self._network.run(padded(small, self._network.config.multiple)))

    def _upright(self, pixels: NDArray[np.uint8], dpi: float | None) -> tuple[int, _View]:
        """How many quarters the page was turned to the left, 0 where that is not clear, and how it looks upright.

        Most pages are upright and look so. Of one that does not, a single look tells little: the paper between the
        lines looks the same from all sides. So it is looked at from all four, and the looks have to fit each other. A
        page that is surely not upright is turned the likeliest way: a wrong one costs no more than leaving it so.
        Where its lines of print clearly run down the page, it lies on its side; where they run across, it does not.

        Each side has a scale of its own: print tells it, and lies differently.
        """
        least = self._network.config.least_turn
        views = [self._look(pixels, dpi)]
        if least is None or 1 - views[0].seen.turns[0] < _DOUBT:
            return 0, views[0]
        views += [self._look(np.ascontiguousarray(np.rot90(pixels, view)), dpi) for view in (1, 2, 3)]
        said = np.log(np.maximum(np.stack([view.seen.turns for view in views]).astype(np.float64), _LEAST))
        # A page that was turned by t quarters was turned by t + v in the view that turns it by v more.
        fits = np.array([sum(said[view, (turns + view) % 4] for view in range(4)) for turns in range(4)])
        chances = np.exp(fits - fits.max())
        across = lines_across(views[0].small)
        if abs(across) >= CLEAR:
            chances[1 if across > 0 else 0 :: 2] = 0
        chances /= chances.sum()
        turns = int(chances.argmax()) if 1 - chances[0] >= least else 0
        return turns, views[-turns]

    def _candidates(self, view: _View, *, width: int, height: int) -> Candidates:
        """The peaks of a view as candidates of the page, `width` x `height` pixels as it is viewed."""
        peaks = peaks_in(view.seen, self._network.config)
        found = Candidates(peaks.boxes, peaks.scores, peaks.scores[:, None] * (peaks.labels[:, None] == _EACH_MARK))
        if self._refiner is not None:
            refined, chances = self._refiner(view.small, peaks.boxes, peaks.labels)
            heat = self._refiner.weighed(found.heat, chances)
            own = heat[np.arange(len(heat)), peaks.labels]
            kept = _distinct(refined, peaks.labels, own, same=self._network.config.same_iou)
            found = Candidates(refined[kept], own[kept], heat[kept])
        boxes = clip(found.boxes / view.scale, width=width, height=height)
        # The network also looks at the padding, which is beyond the page.
        shown = (boxes[:, 2:] - boxes[:, :2] >= 1).all(axis=1)
        return _merged(Candidates(boxes[shown], found.scores[shown], found.heat[shown]))


def _distinct(boxes: Boxes, labels: NDArray[np.intp], scores: NDArray[np.float64], *, same: float) -> NDArray[np.intp]:
    """Which boxes (N, 4) are not marks that a better one of their class is, best first."""
    kept = np.zeros(len(scores), bool)
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        kept[own[suppress(boxes[own], scores[own], threshold=same)]] = True
    return np.asarray([row for row in np.argsort(-scores, kind="stable") if kept[row]], np.intp)


def _merged(found: Candidates) -> Candidates:
    """One candidate for peaks of several classes in nearly one place: the box of the hottest, the heat of all."""
    overlap = iou(found.boxes, found.boxes)
    kept: list[int] = []
    heat = found.heat.copy()
    for row in range(len(found)):
        same = [place for place in kept if overlap[row, place] > _ONE_BOX]
        if same:
            heat[same[0]] = np.maximum(heat[same[0]], heat[row])
        else:
            kept.append(row)
    return Candidates(as_boxes(found.boxes[kept]), found.scores[kept], heat[kept])


def page_input(
    pixels: NDArray[np.uint8], dpi: float | None, *, pixel_mm: float = PIXEL_MM
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """An (H, W, 3) RGB page at the network's resolution, and what boxes of the page are multiplied by, (4,).

    It is averaged from twice the resolution, so that thin strokes do not depend on the page's own.
    """
    raster = rasterise(pixels, dpi, pixel_mm=pixel_mm / 2)
    height, width = raster.pixels.shape[:2]
    small = cv2.resize(raster.pixels, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    across, down = small.shape[1] / pixels.shape[1], small.shape[0] / pixels.shape[0]
    return np.asarray(small, np.uint8), np.array([across, down, across, down])


def padded(pixels: NDArray[np.uint8], multiple: int) -> NDArray[np.uint8]:
    """The page with more of its right and lower edges, so that its sides are multiples."""
    down, right = (-side % multiple for side in pixels.shape[:2])
    return np.asarray(cv2.copyMakeBorder(pixels, 0, down, 0, right, cv2.BORDER_REPLICATE), np.uint8)
