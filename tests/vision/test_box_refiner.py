"""The refiner: what it looks at, whose edges it takes, and that it refuses weights that are not its own."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from backend.errors import BadWeights
from backend.geometry import as_boxes
from backend.vision.box_refiner import (
    BoxRefiner,
    RefinerConfig,
    looked_at,
    window_of,
)
from backend.vision.network_config import MARKS
from backend.vision.weights import REFINER_CONFIG_FILE
from tests.models.detectors import REFINER_SIDE as SIDE
from tests.models.detectors import write_refiner

CONFIG = RefinerConfig(sha256="ab" * 32, side=SIDE)


def page(width: int = 400, height: int = 300) -> NDArray[np.uint8]:
    return np.full((height, width, 3), 255, np.uint8)


def refined(refiner: BoxRefiner, boxes: list[tuple[float, float, float, float]], mark: str) -> list[list[float]]:
    labels = np.full(len(boxes), MARKS.index(mark), np.intp)
    found, _ = refiner(page(), as_boxes(boxes), labels)
    return [list(map(float, box)) for box in found]


def test_the_margins_are_seen() -> None:
    assert list(window_of(np.array([100.0, 40.0, 140.0, 60.0]), 0.5)) == [80, 30, 160, 70]
    seen = page()
    seen[30:70, 80:160] = 0
    assert not looked_at(seen, np.array([80.0, 30.0, 160.0, 70.0]), SIDE).any()


def test_beyond_the_page_there_is_more_of_its_edge() -> None:
    dark = page()
    dark[:, :5] = 10
    seen = looked_at(dark, np.array([-20.0, -10.0, 5.0, 15.0]), SIDE)
    assert seen.shape == (SIDE, SIDE, 3)
    assert (seen == 10).all()


@pytest.mark.parametrize("window", [(-90.0, -80.0, -50.0, -40.0), (500.0, 400.0, 540.0, 440.0), (0.0, 0.0, 1.0, 1.0)])
def test_any_window_can_be_looked_at(window: tuple[float, ...]) -> None:
    assert looked_at(page(), np.array(window), SIDE).shape == (SIDE, SIDE, 3)


def test_edges_are_those_of_what_the_box_is_taken_for(tmp_path: Path) -> None:
    refiner, box = write_refiner(tmp_path), (100.0, 40.0, 140.0, 60.0)
    assert refined(refiner, [box], "signature") == [[100, 40, 140, 60]]
    assert refined(refiner, [box], "stamp") == [[80, 40, 120, 70]]


@pytest.mark.parametrize(
    ("again", "expected"), [(None, [80, 40, 120, 70]), (0.2, [80, 40, 120, 70]), (0.5, [60, 40, 100, 85])]
)
def test_a_box_that_moved_far_is_looked_at_once_more(again: float | None, expected: list[int], tmp_path: Path) -> None:
    write_refiner(tmp_path)
    config = RefinerConfig.read(tmp_path / REFINER_CONFIG_FILE)
    dataclasses.replace(config, again=again).write(tmp_path / REFINER_CONFIG_FILE)
    refiner, box = BoxRefiner.open(tmp_path, threads=1), (100.0, 40.0, 140.0, 60.0)
    assert refined(refiner, [box], "stamp") == [expected]
    assert refined(refiner, [box, box], "signature") == [list(box)] * 2


def test_the_chances_are_those_of_each_box(tmp_path: Path) -> None:
    refiner, boxes = write_refiner(tmp_path, chances=(0.9, 0.2, 0.1)), as_boxes([(100, 40, 140, 60), (10, 10, 50, 30)])
    _, chances = refiner(page(), boxes, np.array([0, 1]))
    np.testing.assert_allclose(chances, [[0.9, 0.2, 0.1]] * 2, atol=1e-6)


def test_heat_and_chances_are_weighed_by_their_log_odds(tmp_path: Path) -> None:
    refiner = write_refiner(tmp_path, chances=(0.9, 0.2, 0.1))
    heat, chances = np.array([[0.5, 0.2, 0.0]]), np.array([[0.9, 0.2, 1.0]])
    # Odds of 1 and 9 make 3; what is the same stays; odds of 3/97 and 97/3 make 1.
    np.testing.assert_allclose(refiner.weighed(heat, chances), [[0.75, 0.2, 0.5]], atol=1e-9)


def test_a_refiner_without_chances_leaves_the_heat(tmp_path: Path) -> None:
    refiner, heat = write_refiner(tmp_path), np.array([[0.5, 0.2, 0.0]])
    _, chances = refiner(page(), as_boxes([(100, 40, 140, 60)]), np.array([0]))
    assert (refiner.weighed(heat, chances) == heat).all()


def test_an_answer_that_is_no_box_changes_nothing(tmp_path: Path) -> None:
    assert refined(write_refiner(tmp_path), [(100.0, 40.0, 140.0, 60.0)], "thumb") == [[100, 40, 140, 60]]


def test_boxes_end_where_the_page_does(tmp_path: Path) -> None:
    assert refined(write_refiner(tmp_path), [(-20.0, 280.0, 20.0, 320.0)], "signature") == [[0, 280, 20, 300]]


@pytest.mark.parametrize("count", [0, 1, 8, 9, 21])
def test_any_number_of_boxes_is_refined_in_order(count: int, tmp_path: Path) -> None:
    boxes = [(10.0 * place, 20.0, 10.0 * place + 8, 40.0) for place in range(count)]
    assert refined(write_refiner(tmp_path), boxes, "signature") == [list(box) for box in boxes]


def test_a_config_survives_the_disk_and_says_when_answers_change(tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIG, provenance={"recipe": "x"})
    config.write(tmp_path / REFINER_CONFIG_FILE)
    assert RefinerConfig.read(tmp_path / REFINER_CONFIG_FILE) == config
    assert config.digest == CONFIG.digest
    assert len({CONFIG.digest, *(dataclasses.replace(CONFIG, **one).digest for one in CHANGES)}) == 1 + len(CHANGES)


CHANGES: list[dict[str, object]] = [
    {"sha256": "cd" * 32},
    {"side": 64},
    {"margin": 0.4},
    {"again": 0.5},
    {"trust": 0.5},
]


def described(**facts: object) -> str:
    return json.dumps({"sha256": CONFIG.sha256} | facts)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("no JSON", "does not describe a refiner"),
        ("[1]", "does not describe a refiner"),
        ('{"side": 32}', "sha256"),
        (described(sha256="ab"), "64 hexadecimal digits"),
        (described(sha256=7), "64 hexadecimal digits"),
        (described(colour="red"), "colour"),
        (described(side=0), "side is 0"),
        (described(side="32"), "side is 32"),
        (described(margin=-0.1), "margin is -0.1"),
        (described(margin=9), "margin is 9"),
        (described(again=1.5), "again is 1.5"),
        (described(trust=-0.1), "trust is -0.1"),
        (described(trust=1.1), "trust is 1.1"),
        (described(margin="wide"), "does not describe a refiner"),
    ],
)
def test_a_config_that_is_none_is_refused(text: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / REFINER_CONFIG_FILE).write_text(text)
    with pytest.raises(BadWeights, match=reason):
        RefinerConfig.read(tmp_path / REFINER_CONFIG_FILE)


def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadWeights, match="cannot be read"):
        BoxRefiner.open(tmp_path)


def test_weights_of_another_checksum_are_refused(tmp_path: Path) -> None:
    write_refiner(tmp_path)
    CONFIG.write(tmp_path / REFINER_CONFIG_FILE)
    with pytest.raises(BadWeights, match="SHA-256"):
        BoxRefiner.open(tmp_path)


@pytest.mark.parametrize("change", [{"side": 64}, {"outputs": 4}])
def test_a_network_of_another_shape_is_refused(change: dict[str, int], tmp_path: Path) -> None:
    with pytest.raises(BadWeights, match="expected"):
        write_refiner(tmp_path, **change)
