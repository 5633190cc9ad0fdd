"""Crops become calibrated probabilities; a checkpoint that cannot say `none` is led by one that can."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from backend.geometry import Boxes, as_boxes
from backend.vision.classifier import Classification, Classifier, GatedClassifier, load_classifier, network_input
from backend.vision.engine import Network
from backend.vision.network_config import NONE, ClassifierConfig
from backend.vision.weights import WEIGHTS_FILE, Weights

PAGE = np.random.default_rng(1).integers(0, 256, (300, 400, 3), dtype=np.uint8)
BOXES = as_boxes([[10 * n, 5 * n, 10 * n + 60, 5 * n + 50] for n in range(20)])


@pytest.fixture(scope="module")
def network(four_class_folder: Path) -> Network:
    weights = Weights.open(four_class_folder, name="four")
    return Network(weights.path, weights.config)


def test_probabilities_of_every_box_whatever_their_number(network: Network) -> None:
    found = Classifier(network, name="four").classify(PAGE, BOXES)
    assert found.probabilities.shape == (20, 4)
    assert found.embeddings.shape == (20, 512)
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1, atol=1e-12)
    last, _ = network.run(network_input(PAGE, BOXES[-1:]))
    powers = np.exp(last[0].astype(np.float64))
    np.testing.assert_allclose(found.probabilities[-1], powers / powers.sum(), atol=1e-5)


def test_no_boxes(network: Network) -> None:
    found = Classifier(network, name="four").classify(PAGE, as_boxes([]))
    assert found.probabilities.shape == (0, 4)
    assert found.embeddings.shape == (0, 512)


def test_temperature_softens_without_changing_the_winner(four_class_folder: Path, network: Network) -> None:
    config = dataclasses.replace(network.config, temperature=4.0)
    warm = Classifier(Network(four_class_folder / WEIGHTS_FILE, config), name="four").classify(PAGE, BOXES)
    cold = Classifier(network, name="four").classify(PAGE, BOXES)
    np.testing.assert_array_equal(warm.probabilities.argmax(axis=1), cold.probabilities.argmax(axis=1))
    assert (warm.probabilities.max(axis=1) < cold.probabilities.max(axis=1)).all()


def test_three_classes_leave_none_at_zero(three_class_folder: Path) -> None:
    config = ClassifierConfig.read(three_class_folder / "classifier.json")
    found = Classifier(Network(three_class_folder / WEIGHTS_FILE, config), name="hub").classify(PAGE, BOXES[:2])
    np.testing.assert_array_equal(found.probabilities[:, NONE], 0)
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1, atol=1e-12)


class Fixed:
    """A classifier that knows its answers, and notes what it was asked."""

    def __init__(self, version: str, probabilities: list[list[float]]) -> None:
        self.version = version
        self.thresholds = (0.0, 0.0, 0.0)
        self.asked = 0
        self._answers = np.array(probabilities)

    def classify(self, pixels: NDArray[np.uint8], boxes: Boxes) -> Classification:
        del pixels
        answers = self._answers[self.asked : self.asked + len(boxes)]
        self.asked += len(boxes)
        return Classification(answers, np.full((len(boxes), 512), len(self.version), np.float32))


def test_the_gate_says_whether_and_the_checkpoint_says_what() -> None:
    gate = Fixed("bundled-1", [[0.1, 0.1, 0.1, 0.7], [0.6, 0.1, 0.1, 0.2]])
    names = Fixed("hub-2", [[0.1, 0.8, 0.1, 0.0]])
    found = GatedClassifier(names=names, gate=gate).classify(PAGE, BOXES[:2])
    np.testing.assert_allclose(found.probabilities, [[0.1, 0.1, 0.1, 0.7], [0.08, 0.64, 0.08, 0.2]])
    assert names.asked == 1, "what is no mark needs no name"


def test_the_version_names_both(three_class_folder: Path, four_class_folder: Path) -> None:
    weights = Weights.open(three_class_folder, name="hub", gate_folder=four_class_folder)
    assert weights.gate is not None
    loaded = load_classifier(weights)
    assert loaded.version == f"hub-{weights.config.digest}+bundled-{weights.gate.config.digest}"
