"""The bundled weights are what their configs and their cards say, and no larger than they may be."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest

from backend.training.convert import LITE0_SHA256
from backend.vision.box_refiner import RefinerConfig
from backend.vision.finders import build_detector
from backend.vision.weights import (
    BUNDLED,
    CONFIG_FILE,
    DETECTOR_CONFIG_FILE,
    DETECTOR_WEIGHTS_FILE,
    REFINER_CONFIG_FILE,
    REFINER_WEIGHTS_FILE,
    WEIGHTS_FILE,
)

ROOT = Path(__file__).parents[2]
LARGEST = 25 * 1024 * 1024
NETS = [
    (WEIGHTS_FILE, CONFIG_FILE, "MODEL_CARD.md"),
    (DETECTOR_WEIGHTS_FILE, DETECTOR_CONFIG_FILE, "DETECTOR_CARD.md"),
    (REFINER_WEIGHTS_FILE, REFINER_CONFIG_FILE, "REFINER_CARD.md"),
]


@pytest.mark.parametrize(("weights", "config", "card"), NETS)
def test_config_and_card_name_the_file_that_is_there(weights: str, config: str, card: str) -> None:
    checksum = hashlib.sha256((BUNDLED / weights).read_bytes()).hexdigest()
    assert json.loads((BUNDLED / config).read_text())["sha256"] == checksum
    named = re.findall(r"^\| SHA-256 \| `([0-9a-f]{64})` \|$", (BUNDLED / card).read_text(), flags=re.MULTILINE)
    assert named == [checksum]


@pytest.mark.parametrize(("weights", "config", "card"), NETS)
def test_each_net_is_small_enough_to_be_bundled(weights: str, config: str, card: str) -> None:
    assert (BUNDLED / weights).stat().st_size <= LARGEST


def test_the_weights_that_the_detector_began_with_are_named_with_their_checksum() -> None:
    _, _, start = json.loads((BUNDLED / DETECTOR_CONFIG_FILE).read_text())["provenance"]["base"].partition("@")
    assert LITE0_SHA256.startswith(start)
    for told in (ROOT / "NOTICE", BUNDLED / "DETECTOR_CARD.md"):
        assert LITE0_SHA256 in told.read_text(), told


def test_the_bundled_detectors_boxes_are_refined_by_the_bundled_refiner() -> None:
    assert json.loads((BUNDLED / DETECTOR_CONFIG_FILE).read_text())["refined"] is True
    refiner = RefinerConfig.read(BUNDLED / REFINER_CONFIG_FILE)
    assert build_detector("model").facts["refiner"] == refiner.digest
