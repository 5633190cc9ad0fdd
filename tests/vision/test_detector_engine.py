"""A detector's config and weights: they survive the disk, say when answers change, and refuse what cannot serve."""

from __future__ import annotations

import dataclasses
import json
import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backend.errors import BadWeights
from backend.vision.engine import DetectorConfig, DetectorNetwork, Fusion
from backend.vision.network_config import sha256_of
from backend.vision.weights import DETECTOR_CONFIG_FILE, DETECTOR_WEIGHTS_FILE, WEIGHTS_FILE
from tests.models.detectors import random_network, write_detector

CHECKSUM = "ab" * 32
FUSION = Fusion(classified=0.9, seen=0.5, biases=(0.1, -0.2, 0.3))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("detector")
    write_detector(random_network(), made)
    return made


def test_a_config_survives_the_disk(tmp_path: Path) -> None:
    config = DetectorConfig(
        sha256=CHECKSUM,
        pixel_mm=0.4,
        stride=4,
        multiple=16,
        least_heat=0.2,
        most=7,
        same_iou=0.6,
        fusion=FUSION,
        provenance={"source": "here"},
    )
    config.write(tmp_path / DETECTOR_CONFIG_FILE)
    again = DetectorConfig.read(tmp_path / DETECTOR_CONFIG_FILE)
    assert again == config
    assert again.digest == config.digest


def test_only_the_checksum_is_needed(tmp_path: Path) -> None:
    (tmp_path / DETECTOR_CONFIG_FILE).write_text(json.dumps({"sha256": CHECKSUM}))
    assert DetectorConfig.read(tmp_path / DETECTOR_CONFIG_FILE) == DetectorConfig(sha256=CHECKSUM)


@pytest.mark.parametrize(
    ("change", "changes"),
    [
        # Other weights.
        ({"sha256": "cd" * 32}, True),
        # Other resolution.
        ({"pixel_mm": 0.4}, True),
        # Other meaning of the outputs.
        ({"stride": 4}, True),
        # Other padding.
        ({"multiple": 64}, True),
        # Other candidates.
        ({"least_heat": 0.2}, True),
        ({"most": 21}, True),
        ({"same_iou": 0.6}, True),
        # Other pages are looked at twice.
        ({"least_turn": 0.9}, True),
        # Other boxes.
        ({"box_reach": 0.15}, True),
        # Boxes get other edges.
        ({"refined": True}, True),
        # Other weighing.
        ({"fusion": FUSION}, True),
        ({"fusion": Fusion(biases=(0.0, 0.0, 0.1))}, True),
        # Another story about the same weights.
        ({"provenance": {"note": "none"}}, False),
    ],
)
def test_digest_changes_exactly_when_answers_do(change: dict[str, Any], changes: bool) -> None:
    config = DetectorConfig(sha256=CHECKSUM)
    other = dataclasses.replace(config, **change)
    assert (other.digest != config.digest) is changes
    assert (other.facts != config.facts) is changes


def test_every_field_is_in_the_table_above() -> None:
    fields = {field.name for field in dataclasses.fields(DetectorConfig)}
    everything = DetectorConfig(sha256=CHECKSUM, least_turn=0.9, box_reach=0.15, refined=True)
    assert set(everything.facts) == fields - {"provenance"}


@pytest.mark.parametrize("later", [{"least_turn": 0.9}, {"box_reach": 0.15}, {"refined": True}])
def test_weights_from_before_a_field_are_called_as_they_were(later: dict[str, Any]) -> None:
    assert not set(later) & set(DetectorConfig(sha256=CHECKSUM).facts)
    assert DetectorConfig(sha256=CHECKSUM).digest != DetectorConfig(sha256=CHECKSUM, **later).digest


def described(**facts: object) -> str:
    return json.dumps({"sha256": CHECKSUM} | facts)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        # Cut off.
        ('{"sha256": "', "does not describe a detector"),
        # Not an object.
        ("[]", "does not describe a detector"),
        ("7", "does not describe a detector"),
        # No checksum, or none that could be one.
        ("{}", "sha256"),
        ('{"sha256": "xyz"}', "64 hexadecimal"),
        ('{"sha256": 5}', "64 hexadecimal digits"),
        # Resolutions at which a page would be a dot or would not fit into memory.
        (described(pixel_mm=0.01), "pixel_mm is 0.01"),
        (described(pixel_mm=6), "pixel_mm is 6"),
        (described(pixel_mm="fine"), "does not describe a detector"),
        # Numbers of things.
        (described(stride=0), "stride is 0"),
        (described(multiple=0), "multiple is 0"),
        (described(most=0), "most is 0"),
        (described(most=2.5), "most is 2.5"),
        (described(stride="8"), "stride is 8"),
        # Shares.
        (described(least_heat=0), "least_heat is 0"),
        (described(least_heat=1), "least_heat is 1"),
        (described(least_heat=math.nan), "least_heat is nan"),
        (described(same_iou=1.5), "same_iou is 1.5"),
        # A fusion that does not fit the classes, or would give no number.
        (described(fusion={"biases": [0, 0]}), "fusion has 2 biases"),
        (described(fusion={"biases": 3}), "does not describe a detector"),
        (described(fusion={"seen": math.inf}), "not finite"),
        (described(fusion={"classified": "much"}), "does not describe a detector"),
        (described(fusion=[]), "does not describe a detector"),
        (described(fusion={"guessed": 1}), "guessed"),
        # Written by a later version that means more than this one understands.
        (described(tiles=4), "tiles"),
    ],
)
def test_refuses_what_it_cannot_serve(text: str, reason: str, tmp_path: Path) -> None:
    path = tmp_path / DETECTOR_CONFIG_FILE
    path.write_text(text)
    with pytest.raises(BadWeights, match=reason) as caught:
        DetectorConfig.read(path)
    assert str(path) in str(caught.value)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadWeights, match=r"detector\.json cannot be read: No such file"):
        DetectorConfig.read(tmp_path / DETECTOR_CONFIG_FILE)


def open_network(folder: Path) -> DetectorNetwork:
    config = DetectorConfig.read(folder / DETECTOR_CONFIG_FILE)
    return DetectorNetwork(folder / DETECTOR_WEIGHTS_FILE, config, threads=1)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (64, 96), (608, 416)])
def test_outputs_are_an_eighth_of_the_page(folder: Path, height: int, width: int) -> None:
    found = open_network(folder).run(np.full((height, width, 3), 200, np.uint8))
    heat, edges = found.heat, found.edges
    assert heat.shape == (3, height // 8, width // 8)
    assert edges.shape == (12, height // 8, width // 8)
    assert ((heat >= 0) & (heat <= 1)).all()
    assert (edges > 0).all()


def test_threads_share_it(folder: Path) -> None:
    network = open_network(folder)
    pages = np.random.default_rng(0).integers(0, 256, (6, 64, 96, 3), dtype=np.uint8)
    expected = [network.run(page) for page in pages]
    with ThreadPoolExecutor(4) as pool:
        for found, alone in zip(pool.map(network.run, pages), expected, strict=True):
            np.testing.assert_array_equal(found.heat, alone.heat)
            np.testing.assert_array_equal(found.edges, alone.edges)


def test_damaged_file(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / DETECTOR_WEIGHTS_FILE
    path.write_bytes((folder / DETECTOR_WEIGHTS_FILE).read_bytes()[:-1])
    with pytest.raises(BadWeights, match="SHA-256"):
        DetectorNetwork(path, DetectorConfig.read(folder / DETECTOR_CONFIG_FILE))


def test_no_onnx_at_all(tmp_path: Path) -> None:
    path = tmp_path / DETECTOR_WEIGHTS_FILE
    path.write_bytes(b"not an ONNX file")
    with pytest.raises(BadWeights, match="no ONNX model"):
        DetectorNetwork(path, DetectorConfig(sha256=sha256_of(path)))


def test_a_classifier_is_no_detector(four_class_folder: Path) -> None:
    path = four_class_folder / WEIGHTS_FILE
    with pytest.raises(BadWeights, match="inputs and outputs"):
        DetectorNetwork(path, DetectorConfig(sha256=sha256_of(path)))


def test_missing_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadWeights, match=r"detector\.onnx cannot be read"):
        DetectorNetwork(tmp_path / DETECTOR_WEIGHTS_FILE, DetectorConfig(sha256=CHECKSUM))
