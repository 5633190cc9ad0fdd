"""The pieces of every training loop: the learning rate's curve, the average's step, and files that are whole."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

from backend.training.training_loop import averaged, part, rate_at, save


@pytest.mark.parametrize(
    ("done", "expected"),
    [
        (0.0, 0.02),  # never nothing
        (0.05, 1.0),  # half way up
        (0.1, 2.0),  # the top
        (0.55, 2 * (0.01 + 0.99 / 2)),  # half way down
        (1.0, 0.02),  # the end
    ],
)
def test_the_learning_rate_goes_up_and_then_down_along_a_cosine(done: float, expected: float) -> None:
    assert rate_at(2.0, done) == pytest.approx(expected)


def test_the_learning_rate_never_jumps() -> None:
    rates = [rate_at(1.0, step / 1000) for step in range(1001)]
    assert max(abs(after - before) for before, after in itertools.pairwise(rates)) < 0.011
    assert all(math.isfinite(rate) and rate > 0 for rate in rates)


def test_the_average_moves_a_step_towards_the_network() -> None:
    network = nn.BatchNorm1d(2)
    nn.init.constant_(network.weight, 1.0)
    followed = averaged(network, 0.75)
    average = followed.module
    assert isinstance(average, nn.BatchNorm1d)
    nn.init.constant_(network.weight, 3.0)
    assert network.running_mean is not None
    assert network.num_batches_tracked is not None
    network.running_mean.fill_(10)
    network.num_batches_tracked.fill_(7)
    followed.update_parameters(network)
    assert average.weight.tolist() == [1.5, 1.5]
    assert average.running_mean is not None
    assert average.running_mean.tolist() == [2.5, 2.5], "what BatchNorm counts is averaged as well"
    assert average.num_batches_tracked is not None
    assert average.num_batches_tracked.item() == 7, "a count is no average"
    assert network.weight.tolist() == [3, 3]


@pytest.mark.parametrize(("averaging", "expected"), [(1.0, 1.0), (0.0, 3.0)])
def test_an_average_of_only_the_past_or_none_of_it(averaging: float, expected: float) -> None:
    network = nn.Linear(1, 1, bias=False)
    nn.init.constant_(network.weight, 1.0)
    average = averaged(network, averaging)
    nn.init.constant_(network.weight, 3.0)
    average.update_parameters(network)
    assert next(average.parameters()).item() == expected


def test_the_part_of_a_checkpoint_that_has_a_prefix() -> None:
    one, two, three = (torch.tensor(value) for value in (1, 2, 3))
    found = part({"network.a": one, "network.b.network.": two, "average.a": three}, "network.")
    assert found == {"a": one, "b.network.": two}


def test_what_is_saved_comes_back_with_its_metadata_and_nothing_stays_aside(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    turned = torch.arange(6.0).reshape(2, 3).T
    for value in (0.0, 5.0):
        save({"a": torch.tensor([value]), "turned": turned}, path, {"progress": "half"})
    tensors = load_file(path)
    assert tensors["a"].item() == 5
    assert torch.equal(tensors["turned"], turned)
    with safe_open(path, "pt") as file:
        assert file.metadata() == {"progress": "half"}
    assert list(tmp_path.iterdir()) == [path]


def test_a_writing_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    save({"a": torch.tensor([1.0])}, path, {})
    shared = torch.zeros(4)
    with pytest.raises(RuntimeError, match="share memory"):
        save({"a": shared, "b": shared}, path, {})
    assert load_file(path)["a"].item() == 1
