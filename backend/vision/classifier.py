"""Crops of a page to probabilities of signature, stamp, thumb and none.

A page's boxes cut out and brought to the network's input, as the original model card does it, to the bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from backend.geometry import Boxes, clip
from backend.vision.engine import EMBEDDING, Network
from backend.vision.network_config import CLASSES, INPUT_SIZE, NONE
from backend.vision.weights import Weights

__all__ = [
    "Classification",
    "Classifier",
    "Classifies",
    "GatedClassifier",
    "crop_bounds",
    "load_classifier",
    "network_input",
]

_BATCH = 8
"""Crops of one inference: more are no faster, and the activations of 16 take 60 MB more."""


def crop_bounds(boxes: Boxes, *, width: int, height: int) -> NDArray[np.intp]:
    """Whole pixels (N, 4) of each box's crop: every pixel that the box touches, at least one, inside the page."""
    inside = clip(boxes, width=width, height=height)
    low = np.minimum(np.floor(inside[:, :2]), [width - 1, height - 1])
    high = np.maximum(np.ceil(inside[:, 2:]), low + 1)
    return np.concatenate([low, high], axis=1).astype(np.intp)


def network_input(pixels: NDArray[np.uint8], boxes: Boxes) -> NDArray[np.float32]:
    """Crops `boxes` (N, 4) from an (H, W, 3) RGB page: (N, 3, 224, 224) in [0, 1].

    Equals torchvision's `ToTensor()(Resize((224, 224))(crop))` of the original model card: Pillow's bilinear filter,
    which averages over all of the crop's pixels when it shrinks. OpenCV's filters give other values.
    """
    height, width = pixels.shape[:2]
    crops = np.empty((len(boxes), INPUT_SIZE, INPUT_SIZE, 3), np.uint8)
    for place, (left, top, right, bottom) in enumerate(crop_bounds(boxes, width=width, height=height)):
        crop = Image.fromarray(pixels[top:bottom, left:right])
        crops[place] = np.asarray(crop.resize((INPUT_SIZE, INPUT_SIZE), Image.Resampling.BILINEAR))
    # Division, and not multiplication by 1/255, which rounds otherwise.
    return np.divide(np.ascontiguousarray(crops.transpose(0, 3, 1, 2)), np.float32(255), dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Classification:
    """What the network makes of N boxes, in their order.

    Attributes:
        probabilities: (N, 4) over `CLASSES`; rows sum to 1.
        embeddings: (N, 512) features before the head, float32.
        recalled: For each box the correction that decided instead of the network, None where none did; empty where
            corrections are not asked.
        settled: For each box whether a correction speaks about it, so that nothing else is weighed against it; empty
            where corrections are not asked.
    """

    probabilities: NDArray[np.float64]
    embeddings: NDArray[np.float32]
    recalled: tuple[str | None, ...] = ()
    settled: tuple[bool, ...] = ()

    def __len__(self) -> int:
        return len(self.probabilities)


class Classifies(Protocol):
    """What the pipeline asks of a classifier."""

    @property
    def version(self) -> str: ...

    @property
    def thresholds(self) -> tuple[float, ...]: ...

    def classify(self, pixels: NDArray[np.uint8], boxes: Boxes) -> Classification: ...


class Classifier:
    """One network with its calibration.

    Args:
        network: The network, with its classes, temperature and thresholds.
        name: What its version begins with, such as `bundled`.
    """

    def __init__(self, network: Network, *, name: str) -> None:
        self._network = network
        self._config = network.config
        self.version = f"{name}-{network.config.digest}"
        self.thresholds = network.config.thresholds

    def classify(self, pixels: NDArray[np.uint8], boxes: Boxes) -> Classification:
        """Classifies `boxes` (N, 4) of an (H, W, 3) RGB page; probability of `none` is 0 where the network lacks it."""
        probabilities = np.zeros((len(boxes), len(CLASSES)))
        embeddings = np.zeros((len(boxes), EMBEDDING), np.float32)
        for start in range(0, len(boxes), _BATCH):
            batch = slice(start, start + _BATCH)
            logits, embeddings[batch] = self._network.run(network_input(pixels, boxes[batch]))
            probabilities[batch, : len(self._config.classes)] = _softmax(logits / self._config.temperature)
        return Classification(probabilities, embeddings)


class GatedClassifier:
    """A four-class model decides whether a box is a mark at all; a three-class one, which cannot say `none`, names it.

    The probability of `none` is the gate's, and the names share the rest. Where the gate says `none` its answer stands
    whole, and the names are not asked for. Embeddings are the gate's, so that all of them live in one space.
    """

    def __init__(self, *, names: Classifies, gate: Classifies) -> None:
        self._names = names
        self._gate = gate
        self.version = f"{names.version}+{gate.version}"
        self.thresholds = tuple(max(pair) for pair in zip(names.thresholds, gate.thresholds, strict=True))

    def classify(self, pixels: NDArray[np.uint8], boxes: Boxes) -> Classification:
        """Classifies `boxes` (N, 4) of an (H, W, 3) RGB page."""
        gate = self._gate.classify(pixels, boxes)
        probabilities = gate.probabilities.copy()
        named = probabilities[:, NONE] < 0.5  # at a half no mark is more probable than `none`
        marks = self._names.classify(pixels, boxes[named]).probabilities[:, :NONE]
        probabilities[named, :NONE] = marks * (1 - probabilities[named, NONE:])
        return Classification(probabilities, gate.embeddings)


def load_classifier(weights: Weights, *, threads: int = 0) -> Classifies:
    """Loads weights, and their gate where they have one.

    Args:
        weights: What to load.
        threads: Threads one inference may use; 0 for as many as there are cores.

    Raises:
        BadWeights: A file is not what its config promises.
    """
    classifier = Classifier(Network(weights.path, weights.config, threads=threads), name=weights.name)
    if weights.gate is None:
        return classifier
    return GatedClassifier(names=classifier, gate=load_classifier(weights.gate, threads=threads))


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Softmax of each row, (N, C) → (N, C)."""
    values = logits.astype(np.float64)
    powers = np.exp(values - values.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))
