"""What a network says of stored crops, and the bars above which its word has the wanted precision."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from backend.classification.preprocessing import network_input
from backend.geometry import Boxes, as_boxes
from backend.nets.config import CLASSES, MARKS
from backend.nets.network import Network
from backend.training.batches import Crops
from backend.training.crops import MARGIN, Crop

__all__ = ["box_within", "logits_of_crops", "thresholds", "truth_of_crops"]

_BATCH = 64


def box_within(crop: NDArray[np.uint8]) -> Boxes:
    """The box of a stored crop within its pixels, (1, 4)."""
    height, width = crop.shape[:2]
    margin = np.array([width, height, -width, -height]) * MARGIN / (1 + 2 * MARGIN)
    return as_boxes(np.array([0, 0, width, height]) + margin)


def logits_of_crops(engine: Network, store: Crops, crops: Sequence[Crop]) -> NDArray[np.float32]:
    """The served network's outputs (N, C) for the boxes of `crops`, prepared as they are when serving."""
    outputs = [np.zeros((0, len(engine.config.classes)), np.float32)]
    for start in range(0, len(crops), _BATCH):
        pixels = [store.image(crop) for crop in crops[start : start + _BATCH]]
        outputs.append(engine.run(np.concatenate([network_input(one, box_within(one)) for one in pixels]))[0])
    return np.concatenate(outputs)


def truth_of_crops(crops: Sequence[Crop]) -> NDArray[np.int64]:
    """Indices into `CLASSES`, (N,)."""
    return np.array([CLASSES.index(crop.label) for crop in crops], np.int64)


def thresholds(
    probabilities: NDArray[np.float64], truth: NDArray[np.integer], *, precision: float, least: int
) -> tuple[float, ...]:
    """For each of `MARKS` the lowest probability from which on what is called so is right as often as wanted.

    Never above what the data can tell: at least `least` right ones have to lie at or above it, else it is 0, which
    leaves the operator's own bar alone.

    Args:
        probabilities: (N, 4) over `CLASSES`.
        truth: (N,) indices into `CLASSES`.
        precision: Wanted share of right ones.
        least: Fewest right ones at or above a threshold.
    """
    return tuple(
        _threshold(probabilities, np.asarray(truth), place, precision=precision, least=least)
        for place in range(len(MARKS))
    )


def _threshold(
    probabilities: NDArray[np.float64], truth: NDArray[np.integer], place: int, *, precision: float, least: int
) -> float:
    called = probabilities.argmax(axis=1) == place
    order = np.argsort(-probabilities[called, place], kind="stable")
    scores = probabilities[called, place][order]
    right = np.cumsum(truth[called][order] == place)
    if not len(scores):
        return 0.0
    precise = right / np.arange(1, len(scores) + 1) >= precision
    # A bar takes all crops of its score: only where the next one is lower does the count end.
    ends = np.append(scores[1:] < scores[:-1], True)
    good = np.flatnonzero(precise & ends & (right >= least))
    if not len(good) or good[-1] == len(scores) - 1:
        return 0.0
    return float(scores[good[-1]])
