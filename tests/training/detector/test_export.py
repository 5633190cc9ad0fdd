"""The file that serves computes what the network that was trained does, and gives its weights back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from backend.errors import BadWeights
from backend.training.detector.detector_network import DetectorNet, Shape
from backend.training.export import export_detector, half_precision, state_dict_from_onnx
from backend.vision.engine import DetectorConfig, DetectorNetwork
from backend.vision.network_config import sha256_of
from tests.models.detectors import TINY, random_network

SHAPES = [
    TINY,
    Shape(stem=4, widths=(4, 8), blocks=(0, 0), pyramid=4),  # a pyramid of one level
    Shape(stem=4, widths=(4, 6, 8), blocks=(1, 0, 2), pyramid=6),
]
PAGE = np.kron(np.random.default_rng(2).integers(0, 256, (12, 8, 3), dtype=np.uint8), np.ones((8, 8, 1), np.uint8))


def served(path: Path) -> tuple[np.ndarray, np.ndarray]:
    return DetectorNetwork(path, DetectorConfig(sha256=sha256_of(path)), threads=1).run(PAGE)


def computed(network: DetectorNet) -> tuple[np.ndarray, np.ndarray]:
    with torch.inference_mode():
        heat, edges = network(torch.from_numpy(PAGE).permute(2, 0, 1)[None].float().div(255))
    return heat[0].sigmoid().numpy(), edges[0].numpy()


@pytest.mark.parametrize("shape", SHAPES)
def test_the_file_equals_the_network(shape: Shape, tmp_path: Path) -> None:
    network = random_network(3, shape)
    export_detector(network, tmp_path / "detector.onnx", half=False)
    (heat, edges), (expected_heat, expected_edges) = served(tmp_path / "detector.onnx"), computed(network)
    assert np.ptp(heat) > 0.05, "a network that says the same everywhere would prove nothing"
    np.testing.assert_allclose(heat, expected_heat, atol=1e-4)
    np.testing.assert_allclose(edges, expected_edges, atol=1e-2)


def test_halved_it_equals_the_network_of_rounded_kernels(tmp_path: Path) -> None:
    network = random_network(3)
    export_detector(network, tmp_path / "whole.onnx", half=False)
    export_detector(network, tmp_path / "half.onnx")
    heat, edges = served(tmp_path / "half.onnx")
    whole_heat, whole_edges = served(tmp_path / "whole.onnx")
    np.testing.assert_allclose(heat, whole_heat, atol=0.01)
    np.testing.assert_allclose(edges, whole_edges, atol=0.5)
    network.load_state_dict(half_precision(network.state_dict()))
    expected_heat, expected_edges = computed(network)
    np.testing.assert_allclose(heat, expected_heat, atol=1e-4)
    np.testing.assert_allclose(edges, expected_edges, atol=1e-2)
    sizes = [(tmp_path / name).stat().st_size for name in ("half.onnx", "whole.onnx")]
    assert sizes[0] < sizes[1]


@pytest.mark.parametrize("half", [False, True])
def test_equal_weights_give_equal_bytes_and_others_do_not(half: bool, tmp_path: Path) -> None:
    for name, seed in (("one", 1), ("same", 1), ("other", 2)):
        export_detector(random_network(seed), tmp_path / name, half=half)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "same").read_bytes()
    assert (tmp_path / "one").read_bytes() != (tmp_path / "other").read_bytes()


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_weights_come_back(shape: Shape, half: bool, tmp_path: Path) -> None:
    network = random_network(4, shape)
    export_detector(network, tmp_path / "detector.onnx", half=half)
    again = DetectorNet(shape)
    again.load_state_dict(state_dict_from_onnx(tmp_path / "detector.onnx"))
    state = network.state_dict()
    expected = half_precision(state) if half else state
    for name, tensor in again.state_dict().items():
        assert torch.equal(tensor, expected[name]), name


def test_what_is_no_onnx_file_gives_no_weights(tmp_path: Path) -> None:
    (tmp_path / "detector.onnx").write_bytes(b"not an ONNX file")
    with pytest.raises(BadWeights, match=r"detector\.onnx"):
        state_dict_from_onnx(tmp_path / "detector.onnx")
