"""What a network says of stored crops, prepared as they are when serving."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from backend.classification.preprocessing import network_input
from backend.geometry import Boxes, as_boxes
from backend.nets.config import CLASSES
from backend.nets.network import Network
from backend.training.batches import Crops
from backend.training.crops import MARGIN, Crop

__all__ = ["box_within", "logits_of_crops", "truth_of_crops"]

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
