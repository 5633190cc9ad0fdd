"""The DETECTOR setting names a way of finding, and the folder that serves says with which weights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from backend.errors import BadWeights
from backend.vision.colour_detector import ColourDetector
from backend.vision.engine import Fusion
from backend.vision.finders import DETECTORS, BothDetectors, build_detector
from backend.vision.network_detector import ModelDetector
from backend.vision.weights import BUNDLED, DETECTOR_CONFIG_FILE, DETECTOR_WEIGHTS_FILE
from tests.models.detectors import ink_detector

PAGE = np.full((585, 413, 3), 255, np.uint8)
FUSION = Fusion(classified=0.8, seen=0.4, biases=(0.1, 0.2, 0.3))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("weights")
    ink_detector(made, [[20.0] * 4] * 3, fusion=FUSION)
    return made


@pytest.mark.parametrize(
    ("kind", "made", "name", "fusion"),
    [
        ("model", ModelDetector, "model", FUSION),
        ("colour", ColourDetector, "ink", Fusion()),  # has nothing to say about classes
        ("both", BothDetectors, "model+ink", FUSION),
    ],
)
def test_each_kind(kind: str, made: type, name: str, fusion: Fusion, folder: Path) -> None:
    detector = build_detector(kind, folder, threads=1)
    assert isinstance(detector, made)
    assert (detector.name, detector.fusion) == (name, fusion)
    found = detector(PAGE, 50)
    assert found.boxes.shape == (0, 4)
    assert found.heat.shape == (0, 3)
    json.dumps(detector.facts)


def test_each_kind_has_facts_of_its_own(folder: Path) -> None:
    facts = [json.dumps(build_detector(kind, folder, threads=1).facts, sort_keys=True) for kind in DETECTORS]
    assert len(set(facts)) == len(DETECTORS) == 3


def test_rules_on_ink_need_no_weights(tmp_path: Path) -> None:
    (tmp_path / DETECTOR_CONFIG_FILE).write_text("no JSON")
    assert build_detector("colour", tmp_path).name == "ink"


def test_damaged_weights_never_serve_in_silence(folder: Path, tmp_path: Path) -> None:
    (tmp_path / DETECTOR_CONFIG_FILE).write_bytes((folder / DETECTOR_CONFIG_FILE).read_bytes())
    (tmp_path / DETECTOR_WEIGHTS_FILE).write_bytes((folder / DETECTOR_WEIGHTS_FILE).read_bytes()[:-1])
    with pytest.raises(BadWeights, match="SHA-256"):
        build_detector("both", tmp_path)


@pytest.mark.skipif(not (BUNDLED / DETECTOR_WEIGHTS_FILE).is_file(), reason="no bundled detector has been made yet")
def test_a_folder_without_a_detector_is_served_by_the_bundled_one(tmp_path: Path) -> None:
    detector = build_detector("model", tmp_path, threads=1)
    assert detector.facts == build_detector("model", BUNDLED, threads=1).facts
