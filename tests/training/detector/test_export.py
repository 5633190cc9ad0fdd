"""The file that serves computes what the network that was trained does, and gives its weights back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from backend.errors import BadWeights
from backend.training.detector.detector_network import DetectorNet, ResidualShape
from backend.training.detector.detector_recipe import Shape, build_network
from backend.training.detector.lite_network import LiteShape
from backend.training.export import export_detector, half_precision, state_dict_from_onnx
from backend.vision.engine import DetectorConfig, DetectorNetwork, DetectorOutput
from backend.vision.network_config import MARKS, sha256_of
from tests.models.detectors import TINY, TINY_LITE, even_network, random_network

SHAPES = [
    TINY,
    ResidualShape(stem=4, widths=(4, 8), blocks=(0, 0), pyramid=4),  # a pyramid of one level
    ResidualShape(stem=4, widths=(4, 6, 8), blocks=(1, 0, 2), pyramid=6),
    TINY_LITE,
    LiteShape(stem=4, widths=(2, 4, 4, 6, 6, 8, 8), repeats=(1,) * 7, expansion=1, pyramid=4),  # nothing is widened
    LiteShape(stem=4, widths=(4, 4, 6, 6, 8, 8, 10), repeats=(2, 1, 2, 1, 1, 3, 1), expansion=3, pyramid=6),
]
PAGE = np.kron(np.random.default_rng(2).integers(0, 256, (12, 8, 3), dtype=np.uint8), np.ones((8, 8, 1), np.uint8))


def served(path: Path, network: DetectorNet) -> DetectorOutput:
    least = 0.9 if network.tells_turns else None
    config = DetectorConfig(sha256=sha256_of(path), stride=network.stride, least_turn=least)
    return DetectorNetwork(path, config, threads=1).run(PAGE)


def computed(network: DetectorNet) -> DetectorOutput:
    with torch.inference_mode():
        heat, edges, turns = network(torch.from_numpy(PAGE).permute(2, 0, 1)[None].float().div(255))
    upright = torch.tensor([1.0, 0, 0, 0]) if turns is None else turns[0].softmax(0)
    return DetectorOutput(heat=heat[0, : len(MARKS)].sigmoid().numpy(), edges=edges[0].numpy(), turns=upright.numpy())


def check(found: DetectorOutput, expected: DetectorOutput, *, heat: float = 1e-4, edges: float = 1e-2) -> None:
    np.testing.assert_allclose(found.heat, expected.heat, atol=heat)
    np.testing.assert_allclose(found.edges, expected.edges, atol=edges)
    np.testing.assert_allclose(found.turns, expected.turns, atol=heat)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_file_equals_the_network(shape: Shape, tmp_path: Path) -> None:
    network = random_network(3, shape)
    export_detector(network, tmp_path / "detector.onnx", half=False)
    found = served(tmp_path / "detector.onnx", network)
    assert np.ptp(found.heat) > 0.01, "a network that says the same everywhere would prove nothing"
    check(found, computed(network))


@pytest.mark.parametrize("shape", [TINY, TINY_LITE], ids=["residual", "lite"])
def test_halved_it_equals_the_network_of_rounded_kernels(shape: Shape, tmp_path: Path) -> None:
    network = random_network(3, shape)
    export_detector(network, tmp_path / "whole.onnx", half=False)
    export_detector(network, tmp_path / "half.onnx")
    found = served(tmp_path / "half.onnx", network)
    check(found, served(tmp_path / "whole.onnx", network), heat=0.02, edges=0.5)
    network.load_state_dict(half_precision(network.state_dict()))
    check(found, computed(network))
    sizes = [(tmp_path / name).stat().st_size for name in ("half.onnx", "whole.onnx")]
    assert sizes[0] < sizes[1]


@pytest.mark.parametrize("reach", [0.001, 0.5, 40.0, 2000.0])
def test_distances_are_right_however_short_or_long(reach: float, tmp_path: Path) -> None:
    network = even_network(heat=0.5, reach=reach)
    export_detector(network, tmp_path / "detector.onnx", half=False)
    edges = served(tmp_path / "detector.onnx", network).edges
    np.testing.assert_allclose(edges, reach, rtol=1e-4, atol=1e-5)


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
    again = build_network(shape)
    again.load_state_dict(state_dict_from_onnx(tmp_path / "detector.onnx"))
    state = network.state_dict()
    expected = half_precision(state) if half else state
    for name, tensor in again.state_dict().items():
        assert torch.equal(tensor, expected[name]), name


def test_what_is_no_onnx_file_gives_no_weights(tmp_path: Path) -> None:
    (tmp_path / "detector.onnx").write_bytes(b"not an ONNX file")
    with pytest.raises(BadWeights, match=r"detector\.onnx"):
        state_dict_from_onnx(tmp_path / "detector.onnx")
