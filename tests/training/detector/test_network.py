"""The networks' outputs have the sizes that they promise, whatever their depth, and frozen parts stay as they are."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from backend.training.detector.detector_network import ResidualShape
from backend.training.detector.detector_recipe import Shape, build_network
from backend.training.detector.lite_network import LiteNet, LiteShape, body_from_imagenet
from tests.models.detectors import TINY, TINY_LITE, even_network


@pytest.mark.parametrize(
    "shape",
    [
        TINY,
        ResidualShape(stem=4, widths=(4, 8), blocks=(0, 0), pyramid=4),  # a pyramid of one level
        ResidualShape(stem=4, widths=(4, 6, 8), blocks=(1, 0, 2), pyramid=6),
        TINY_LITE,
        LiteShape(stem=4, widths=(2, 4, 4, 6, 6, 8, 8), repeats=(1,) * 7, expansion=1, pyramid=4),  # nothing is widened
        LiteShape(stem=4, widths=(4, 4, 6, 6, 8, 8, 10), repeats=(2, 1, 2, 1, 1, 3, 1), expansion=3, pyramid=6),
    ],
)
@pytest.mark.parametrize(("height", "width"), [(32, 32), (96, 64), (608, 416)])
def test_outputs_have_the_stride_of_their_promise(shape: Shape, height: int, width: int) -> None:
    network = build_network(shape).eval()
    with torch.inference_mode():
        heat, edges, turns = network(torch.rand(2, 3, height, width))
    cells = height // network.stride, width // network.stride
    assert heat.shape == (2, network.taught, *cells)
    assert edges.shape == (2, 12, *cells)
    assert (edges > 0).all()
    assert (turns is not None) == network.tells_turns
    assert turns is None or turns.shape == (2, 4)


@pytest.mark.parametrize("shape", [TINY, TINY_LITE], ids=["residual", "lite"])
def test_before_training_marks_are_rare(shape: Shape) -> None:
    torch.manual_seed(1)
    network = build_network(shape)
    torch.nn.init.zeros_(network.heat[-1].weight)  # type: ignore[arg-type]
    with torch.inference_mode():
        heat, *_ = network(torch.rand(1, 3, 64, 64))
    np.testing.assert_allclose(heat.sigmoid().numpy(), 0.01, atol=1e-6)


@pytest.mark.parametrize("shape", [TINY, TINY_LITE], ids=["residual", "lite"])
def test_sides_that_are_no_multiples_of_32_are_refused(shape: Shape) -> None:
    network = build_network(shape).eval()
    with torch.inference_mode(), pytest.raises(RuntimeError, match="must match"):
        network(torch.rand(1, 3, 32, 40))


@pytest.mark.parametrize("shape", [TINY, TINY_LITE], ids=["residual", "lite"])
def test_a_network_of_even_outputs_says_what_it_was_told_in_pixels(shape: Shape) -> None:
    with torch.inference_mode():
        heat, edges, _ = even_network(heat=0.75, reach=20, shape=shape)(torch.rand(1, 3, 32, 64))
    np.testing.assert_allclose(heat.sigmoid().numpy(), 0.75, atol=1e-5)
    np.testing.assert_allclose(edges.numpy(), 20, atol=1e-4)


@pytest.mark.parametrize("shape", [TINY, TINY_LITE], ids=["residual", "lite"])
def test_a_dot_is_seen_where_it_is(shape: Shape) -> None:
    """Rows are rows and columns are columns, all the way through the pyramid."""
    torch.manual_seed(0)
    network = build_network(shape).eval()
    blank = torch.ones(1, 3, 256, 256)
    dotted = blank.clone()
    dotted[:, :, 40:48, 200:208] = 0
    with torch.inference_mode():
        change = (network(dotted)[0] - network(blank)[0]).abs().sum(dim=1)[0].numpy()
    row, column = np.unravel_index(change.argmax(), change.shape)
    assert abs(row - 44 // network.stride) <= 32 // network.stride
    assert abs(column - 204 // network.stride) <= 32 // network.stride


def test_what_is_frozen_keeps_its_weights_and_statistics_and_the_rest_learns() -> None:
    torch.manual_seed(2)
    network = LiteNet(TINY_LITE).train()
    network.freeze(2)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    optimiser = torch.optim.SGD([one for one in network.parameters() if one.requires_grad], lr=1.0)
    heat, edges, turns = network(torch.rand(2, 3, 64, 64))
    assert turns is not None
    (heat.square().mean() + edges.mean() + turns.square().mean()).backward()
    optimiser.step()
    same = {name for name, tensor in network.state_dict().items() if torch.equal(tensor, before[name])}
    frozen = {name for name in before if name.startswith(("stem.", "stages.0.", "stages.1."))}
    assert frozen <= same
    assert not {name for name in same - frozen if name.endswith(("weight", "running_mean"))}
    network.freeze(0)
    assert all(one.requires_grad for one in network.parameters())


def test_blocks_are_left_out_only_while_training() -> None:
    torch.manual_seed(3)
    network = LiteNet(LiteShape(stem=4, widths=(4,) * 7, repeats=(3,) * 7, expansion=2, pyramid=4), dropped=0.9)
    page = torch.rand(1, 3, 64, 64)
    network.eval()
    with torch.inference_mode():
        assert torch.equal(network(page)[0], network(page)[0])
        for block in (block for stage in network.stages for block in stage):  # type: ignore[attr-defined]
            block.train()
        assert not torch.equal(network(page)[0], network(page)[0])


def test_the_body_takes_the_tensors_of_a_checkpoint_in_their_order() -> None:
    torch.manual_seed(4)
    donor, network = LiteNet(TINY_LITE), LiteNet(TINY_LITE)
    parts = {
        "expand": ("_expand_conv", "_bn0"),
        "filter": ("_depthwise_conv", "_bn1"),
        "project": ("_project_conv", "_bn2"),
    }
    checkpoint: dict[str, torch.Tensor] = {}
    number = 0
    for stage, repeats in enumerate(TINY_LITE.repeats):
        for block in range(repeats):
            for name, tensor in donor.state_dict().items():
                head = f"stages.{stage}.{block}."
                if name.startswith(head):
                    part, layer, field = name.removeprefix(head).split(".")
                    checkpoint[f"_blocks.{number}.{parts[part][int(layer)]}.{field}"] = tensor
            number += 1
    for name, tensor in donor.state_dict().items():
        if name.startswith("stem."):
            _, layer, field = name.split(".")
            checkpoint[f"{('_conv_stem', '_bn0')[int(layer)]}.{field}"] = tensor
    network.load_state_dict(body_from_imagenet(network, checkpoint))
    mine, theirs = network.state_dict(), donor.state_dict()
    body = [name for name in mine if name.startswith(("stem.", "stages."))]
    assert all(torch.equal(mine[name], theirs[name]) for name in body)
    assert not torch.equal(mine["laterals.0.0.weight"], theirs["laterals.0.0.weight"])
    with pytest.raises(KeyError):
        body_from_imagenet(network, {name: value for name, value in checkpoint.items() if name != "_bn0.bias"})
