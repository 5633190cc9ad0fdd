"""Both ways of finding: the network's candidates, and the ink that it passed over."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from backend.geometry import iou
from backend.vision.colour_detector import ColourDetector
from backend.vision.finders import BothDetectors
from backend.vision.network_detector import ModelDetector
from tests.models.detectors import ink_detector, open_detector
from tests.vision.drawing import paper, ring

CYAN, RED = (0, 160, 255), (230, 40, 60)
RADIUS = 0.4
"""Of the rings, inches: 20 pixels at 50 dpi."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelDetector:
    """Sees cells that are full of cyan ink, and boxes them as wide as the rings are."""
    folder = tmp_path_factory.mktemp("ink")
    ink_detector(folder, [[20.5] * 4] * 3, least_heat=0.85)
    return open_detector(folder)


@pytest.fixture(scope="module")
def page() -> NDArray[np.uint8]:
    """Two rings of two inks, the cyan one with a full cell in its middle."""
    drawn = paper()
    ring(drawn, (3.28, 4.88), RADIUS, CYAN)
    ring(drawn, (6, 8), RADIUS, RED)
    drawn[480:496, 320:336] = CYAN
    return drawn


def test_the_networks_candidates_come_first_then_the_ink_that_is_none_of_them(
    model: ModelDetector, page: NDArray[np.uint8]
) -> None:
    seen, inked = model(page, 100), ColourDetector()(page, 100)
    found = BothDetectors(model, ColourDetector())(page, 100)
    assert len(seen) == 1
    np.testing.assert_array_equal(found.boxes[:1], seen.boxes)
    np.testing.assert_array_equal(found.heat[:1], seen.heat)
    overlap = iou(inked.boxes, seen.boxes)[:, 0]
    assert (overlap >= 0.5).any(), "the ink's rules see the cyan ring as well"
    np.testing.assert_array_equal(found.boxes[1:], inked.boxes[overlap < 0.5])
    np.testing.assert_array_equal(found.scores[1:], inked.scores[overlap < 0.5])


def test_ink_has_no_heat_since_nobody_has_said(model: ModelDetector, page: NDArray[np.uint8]) -> None:
    found = BothDetectors(model, ColourDetector())(page, 100)
    assert found.heat[0].max() > 0.85
    assert len(found) > 1
    assert (found.heat[1:] == 0).all()
    assert iou(found.boxes[1:], np.array([[560, 760, 640, 840.0]])).max() > 0.8, "the red ring"


def test_where_the_network_sees_nothing_the_ink_is_all_there_is(model: ModelDetector) -> None:
    page = paper()
    ring(page, (6, 8), RADIUS, RED)
    found, inked = BothDetectors(model, ColourDetector())(page, 100), ColourDetector()(page, 100)
    np.testing.assert_array_equal(found.boxes, inked.boxes)
    np.testing.assert_array_equal(found.scores, inked.scores)


def test_bare_paper_has_no_candidates(model: ModelDetector) -> None:
    found = BothDetectors(model, ColourDetector())(np.full((585, 413, 3), 255, np.uint8), 50)
    assert found.boxes.shape == (0, 4)
    assert found.heat.shape == (0, 3)


def test_facts_name_and_fusion_are_of_both(model: ModelDetector) -> None:
    both = BothDetectors(model, ColourDetector())
    assert both.name == "model+ink"
    assert both.facts["model"] == model.facts
    assert both.facts["colour"] == ColourDetector().facts
    assert both.fusion == model.fusion
