"""The losses: nothing to gain where all is right, nothing to learn where nobody knows, and values by hand."""

from __future__ import annotations

import math

import pytest
import torch

from backend.training.detector.scenes import edge_loss, heat_loss, targets_of, turn_loss
from tests.training.detector.conftest import known


def perfect() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Targets of a page with two marks, as a batch of one."""
    made = targets_of(
        known([("stamp", (16, 16, 90, 90)), ("thumb", (100, 30, 120, 60))]), height=128, width=128, stride=8
    )
    heat, seen, edges, weight = (
        torch.from_numpy(one)[None] for one in (made.heat, made.known, made.edges, made.weight)
    )
    return heat, seen, edges, weight


def test_a_network_that_says_it_all_has_nothing_to_lose() -> None:
    heat, seen, edges, weight = perfect()
    sure = torch.where(heat > 0.999, 20.0, -20.0)
    assert heat_loss(sure, heat, seen).item() == pytest.approx(0, abs=1e-6)
    assert edge_loss(edges.clamp(min=0.1), edges, weight).item() == pytest.approx(0, abs=1e-6)


def test_one_that_says_nothing_or_everything_loses() -> None:
    heat, seen, edges, weight = perfect()
    low = heat_loss(torch.full_like(heat, -4.6), heat, seen).item()
    assert low > 1
    assert heat_loss(torch.full_like(heat, 4.6), heat, seen).item() > low
    assert edge_loss(torch.full_like(edges, 500.0), edges, weight).item() > 0.9


@pytest.mark.parametrize(
    ("heat", "chance", "expected"),
    [
        # A missed middle: log(.2) x .8^2.
        (1.0, 0.2, -math.log(0.2) * 0.64),
        # A false alarm far from every mark: log(.8) x .2^2.
        (0.0, 0.2, -math.log(0.8) * 0.04),
        # The same beside a middle costs (1 - .5)^4 of that.
        (0.5, 0.2, -math.log(0.8) * 0.04 * 0.5**4),
    ],
)
def test_the_focal_loss_of_one_cell(heat: float, chance: float, expected: float) -> None:
    logit = torch.tensor(math.log(chance / (1 - chance))).reshape(1, 1, 1, 1)
    loss = heat_loss(logit, torch.full((1, 1, 1, 1), heat), torch.ones(1, 1, 1, 1))
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_it_is_shared_among_the_marks() -> None:
    heat = torch.tensor([1.0, 1.0, 0.0, 0.0]).reshape(1, 1, 1, 4)
    logits = torch.zeros(1, 1, 1, 4)
    # Half of the two hits' and the two misses' -log(.5) / 4.
    assert heat_loss(logits, heat, torch.ones_like(heat)).item() == pytest.approx(4 * math.log(2) / 4 / 2)


def test_where_nobody_knows_there_is_no_gradient() -> None:
    heat, seen, edges, weight = perfect()
    hidden = seen.clone()
    hidden[:, :, :, 8:] = 0
    logits = torch.zeros_like(heat, requires_grad=True)
    heat_loss(logits, heat, hidden).backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert (logits.grad[..., 8:] == 0).all()
    assert (logits.grad[..., :8] != 0).any()

    found = torch.full_like(edges, 9.0, requires_grad=True)
    edge_loss(found, edges, weight).backward()  # type: ignore[no-untyped-call]
    assert found.grad is not None
    taught = weight.repeat_interleave(4, dim=1) > 0
    assert (found.grad[~taught] == 0).all()
    assert (found.grad[taught] != 0).any()


def one_cell(*edges: float) -> torch.Tensor:
    return torch.tensor(edges).reshape(1, 4, 1, 1)


@pytest.mark.parametrize(
    ("found", "wanted", "giou"),
    [
        # The same box.
        ((5, 5, 5, 5), (5, 5, 5, 5), 1.0),
        # 10 x 10 in 20 x 20: IoU 1/4, and the box around both is the larger.
        ((5, 5, 5, 5), (10, 10, 10, 10), 0.25),
        # 20 x 10 across 10 x 20: they share 100 of 300, and a box of 400 holds both: 1/3 - 100/400.
        ((10, 5, 10, 5), (5, 10, 5, 10), 1 / 3 - 1 / 4),
        # 10 x 10 beside 10 x 10, 5 apart: they share 50 of 150, and a box of 150 holds both.
        ((10, 5, 0, 5), (5, 5, 5, 5), 1 / 3),
    ],
)
def test_the_generalised_iou_of_two_boxes_from_one_cell(
    found: tuple[float, ...], wanted: tuple[float, ...], giou: float
) -> None:
    loss = edge_loss(one_cell(*found), one_cell(*wanted), torch.ones(1, 1, 1, 1))
    assert loss.item() == pytest.approx(1 - giou, abs=1e-6)


def test_cells_count_by_their_weight() -> None:
    found, wanted = torch.full((1, 4, 1, 2), 5.0), torch.full((1, 4, 1, 2), 5.0)
    wanted[..., 1] = 10
    weight = torch.tensor([0.8, 0.2]).reshape(1, 1, 1, 2)
    assert edge_loss(found, wanted, weight).item() == pytest.approx(0.2 * 0.75, abs=1e-6)


def test_a_page_without_marks_teaches_no_edges() -> None:
    found = torch.full((1, 12, 2, 2), 5.0, requires_grad=True)
    loss = edge_loss(found, torch.zeros(1, 12, 2, 2), torch.zeros(1, 3, 2, 2))
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == 0
    assert found.grad is not None
    assert (found.grad == 0).all()


def test_which_way_is_up_costs_what_it_is_unlikely_and_nothing_where_nobody_knows() -> None:
    logits = torch.log(torch.tensor([[0.7, 0.1, 0.1, 0.1], [0.25, 0.25, 0.25, 0.25], [0.1, 0.1, 0.7, 0.1]]))
    assert turn_loss(logits, torch.tensor([0, -1, 1])).item() == pytest.approx(-(math.log(0.7) + math.log(0.1)) / 2)
    assert turn_loss(logits, torch.tensor([-1, -1, -1])).item() == 0
