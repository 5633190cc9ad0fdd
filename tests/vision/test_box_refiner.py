"""The refiner: what it looks at, whose edges it takes, and that it refuses weights that are not its own."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from backend.errors import BadWeights
from backend.geometry import as_boxes
from backend.vision.box_refiner import (
    REFINER_CONFIG_FILE,
    REFINER_WEIGHTS_FILE,
    BoxRefiner,
    RefinerConfig,
    looked_at,
    window_of,
)
from backend.vision.network_config import MARKS, sha256_of

SIDE = 32
OWN = {"signature": (0.25, 0.25, 0.75, 0.75), "stamp": (0.0, 0.25, 0.5, 1.0), "thumb": (0.6, 0.6, 0.6, 0.6)}
"""What the refiner of these tests answers for each mark: the box itself, another one, and nothing that is a box."""
CONFIG = RefinerConfig(sha256="ab" * 32, side=SIDE)


def write_refiner(folder: Path, *, side: int = SIDE, outputs: int = 4 * len(MARKS)) -> BoxRefiner:
    """One that answers the same of whatever it sees."""
    answers = np.array([OWN[name] for name in MARKS], np.float32).reshape(1, -1)[:, :outputs]
    nodes = [
        helper.make_node("Shape", ["pixels"], ["count"], start=0, end=1),
        helper.make_node("Concat", ["count", "one"], ["repeats"], axis=0),
        helper.make_node("Tile", ["answers", "repeats"], ["edges"]),
    ]
    constants = [numpy_helper.from_array(answers, "answers"), numpy_helper.from_array(np.array([1], np.int64), "one")]
    graph = helper.make_graph(
        nodes,
        "refiner",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["N", side, side, 3])],
        [helper.make_tensor_value_info("edges", TensorProto.FLOAT, ["N", outputs])],
        constants,
    )
    path = folder / REFINER_WEIGHTS_FILE
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    RefinerConfig(sha256=sha256_of(path), side=SIDE).write(folder / REFINER_CONFIG_FILE)
    return BoxRefiner.open(folder, threads=1)


def page(width: int = 400, height: int = 300) -> NDArray[np.uint8]:
    return np.full((height, width, 3), 255, np.uint8)


def refined(refiner: BoxRefiner, boxes: list[tuple[float, float, float, float]], mark: str) -> list[list[float]]:
    labels = np.full(len(boxes), MARKS.index(mark), np.intp)
    return [list(map(float, box)) for box in refiner(page(), as_boxes(boxes), labels)]


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


CHANGES: list[dict[str, object]] = [{"sha256": "cd" * 32}, {"side": 64}, {"margin": 0.4}]


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
