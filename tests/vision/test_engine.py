"""Weights that are not what their config promises never serve; those that are answer many threads alike."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from backend.errors import BadWeights
from backend.vision.engine import Network
from backend.vision.network_config import MARKS, ClassifierConfig, sha256_of
from backend.vision.weights import CONFIG_FILE, WEIGHTS_FILE


def config_of(folder: Path) -> ClassifierConfig:
    return ClassifierConfig.read(folder / CONFIG_FILE)


def test_any_number_of_crops(four_class_folder: Path) -> None:
    network = Network(four_class_folder / WEIGHTS_FILE, config_of(four_class_folder))
    pixels = np.random.default_rng(0).random((3, 3, 224, 224), dtype=np.float32)
    logits, embeddings = network.run(pixels)
    assert logits.shape == (3, 4)
    assert embeddings.shape == (3, 512)
    alone, _ = network.run(pixels[1:2])
    np.testing.assert_allclose(alone, logits[1:2], atol=1e-4)


def test_threads_share_it(four_class_folder: Path) -> None:
    network = Network(four_class_folder / WEIGHTS_FILE, config_of(four_class_folder), threads=1)
    pixels = np.random.default_rng(0).random((4, 1, 3, 224, 224), dtype=np.float32)
    expected = [network.run(crop)[0] for crop in pixels]
    with ThreadPoolExecutor(4) as pool:
        for (logits, _), alone in zip(pool.map(network.run, pixels), expected, strict=True):
            np.testing.assert_array_equal(logits, alone)


def test_damaged_file(four_class_folder: Path, tmp_path: Path) -> None:
    path = tmp_path / WEIGHTS_FILE
    path.write_bytes((four_class_folder / WEIGHTS_FILE).read_bytes()[:-1])
    with pytest.raises(BadWeights, match="SHA-256"):
        Network(path, config_of(four_class_folder))


def test_no_onnx_at_all(tmp_path: Path) -> None:
    path = tmp_path / WEIGHTS_FILE
    path.write_bytes(b"not an ONNX file")
    with pytest.raises(BadWeights, match="no ONNX model"):
        Network(path, ClassifierConfig(sha256=sha256_of(path)))


def test_outputs_that_the_config_does_not_know(four_class_folder: Path) -> None:
    config = dataclasses.replace(config_of(four_class_folder), classes=MARKS)
    with pytest.raises(BadWeights, match="inputs and outputs"):
        Network(four_class_folder / WEIGHTS_FILE, config)


def test_fixed_batch(tmp_path: Path) -> None:
    shape = [1, 3, 224, 224]
    graph = helper.make_graph(
        [helper.make_node("Identity", ["pixels"], ["logits"])],
        "fixed",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, shape)],
    )
    path = tmp_path / WEIGHTS_FILE
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    with pytest.raises(BadWeights, match="free batch size"):
        Network(path, ClassifierConfig(sha256=sha256_of(path)))
