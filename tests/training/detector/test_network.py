"""The network's outputs: an eighth of the page, three heats and twelve edges, whatever its depth."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from backend.training.detector.detector_network import STRIDE, DetectorNet, Shape
from tests.models.detectors import TINY, even_network


@pytest.mark.parametrize(
    "shape",
    [
        TINY,
        Shape(stem=4, widths=(4, 8), blocks=(0, 0), pyramid=4),  # a pyramid of one level
        Shape(stem=4, widths=(4, 6, 8), blocks=(1, 0, 2), pyramid=6),
    ],
)
@pytest.mark.parametrize(("height", "width"), [(32, 32), (96, 64), (608, 416)])
def test_outputs_have_the_stride_of_their_promise(shape: Shape, height: int, width: int) -> None:
    network = DetectorNet(shape).eval()
    with torch.inference_mode():
        heat, edges = network(torch.rand(2, 3, height, width))
    assert heat.shape == (2, 3, height // STRIDE, width // STRIDE)
    assert edges.shape == (2, 12, height // STRIDE, width // STRIDE)
    assert (edges > 0).all()


def test_before_training_marks_are_rare() -> None:
    torch.manual_seed(1)
    network = DetectorNet(TINY)
    torch.nn.init.zeros_(network.heat[-1].weight)  # type: ignore[arg-type]
    with torch.inference_mode():
        heat, _ = network(torch.rand(1, 3, 64, 64))
    np.testing.assert_allclose(heat.sigmoid().numpy(), 0.01, atol=1e-6)


def test_sides_that_are_no_multiples_of_32_are_refused() -> None:
    network = DetectorNet(TINY).eval()
    with torch.inference_mode(), pytest.raises(RuntimeError, match="must match"):
        network(torch.rand(1, 3, 32, 40))


def test_a_network_of_even_outputs_says_what_it_was_told_in_pixels() -> None:
    with torch.inference_mode():
        heat, edges = even_network(heat=0.75, reach=20)(torch.rand(1, 3, 32, 64))
    np.testing.assert_allclose(heat.sigmoid().numpy(), 0.75, atol=1e-5)
    np.testing.assert_allclose(edges.numpy(), 20, atol=1e-4)


def test_a_dot_is_seen_where_it_is() -> None:
    """Rows are rows and columns are columns, all the way through the pyramid."""
    torch.manual_seed(0)
    network = DetectorNet(TINY).eval()
    blank = torch.ones(1, 3, 256, 256)
    dotted = blank.clone()
    dotted[:, :, 40:48, 200:208] = 0
    with torch.inference_mode():
        change = (network(dotted)[0] - network(blank)[0]).abs().sum(dim=1)[0].numpy()
    row, column = np.unravel_index(change.argmax(), change.shape)
    assert abs(row - 5) <= 4
    assert abs(column - 25) <= 4
