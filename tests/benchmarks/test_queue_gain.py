"""What an order saves is counted as a person would count it, over pages whose best order is plain."""

from __future__ import annotations

import numpy as np
import pytest

from backend.commands.select_tasks import LookedTask
from benchmarks.queue_gain import ORDERS, Material, Namer, corrected_until, curve, half_of, ordered

CLASSES = 4
EYE = np.eye(8)


def material(*kinds: tuple[int, int], new: bool = True) -> Material:
    """A page of marks, each given by its direction and its class."""
    vectors = np.stack([EYE[direction] for direction, _ in kinds])
    labels = np.array([label for _, label in kinds], np.intp)
    return Material(shown=vectors, taught=vectors, labels=labels, new=new)


def looked(task: int, certainty: float, direction: int) -> LookedTask:
    return LookedTask(task=task, certainty=certainty, vector=EYE[direction], marks=1)


def test_orders_take_what_they_say() -> None:
    # Three of one doubt, one of another that is a little smaller, and one that is sure.
    tasks = [looked(0, 0.5, 0), looked(1, 0.51, 0), looked(2, 0.52, 0), looked(3, 0.6, 1), looked(4, 0.99, 2)]
    assert ordered("doubtful first", tasks, 3, seed=0, known=()) == [0, 1, 2]
    assert ordered("select", tasks, 2, seed=0, known=()) == [0, 3]
    assert ordered("select", tasks, 2, seed=0, known=[EYE[0]]) == [3, 4], "the first doubt was corrected on other pages"
    drawn = [ordered("random", tasks, 5, seed=seed, known=()) for seed in range(20)]
    assert all(sorted(one) == [0, 1, 2, 3, 4] for one in drawn)
    assert len({tuple(one) for one in drawn}) > 1
    assert ordered("random", tasks, 5, seed=3, known=()) == drawn[3]


def test_a_namer_names_what_it_was_taught() -> None:
    pages = [material((0, 0), (1, 1), (2, 2), (3, 3))] * 5
    namer = Namer(np.concatenate([one.taught for one in pages]), np.concatenate([one.labels for one in pages]))
    shares = namer.shares(EYE[:4])
    assert shares.argmax(axis=1).tolist() == [0, 1, 2, 3]
    assert shares.sum(axis=1) == pytest.approx(np.ones(4))
    # Of what it was never taught it is not sure.
    assert namer.shares(EYE[4:5]).max() < shares.max(axis=1).min()


@pytest.mark.parametrize("order", ORDERS)
def test_a_curve_ends_where_everything_is_corrected(order: str) -> None:
    known = [material((0, 0), (1, 1), (2, 2), (3, 3), new=False)] * 4
    # The new style: stamps that look like nothing before, among pages that teach nothing new.
    pool = [material((4, 1)), *[material((0, 0), new=False)] * 5]
    held_out = [material((0, 0), (2, 2), (4, 1))]
    found = curve(order, pool, known, held_out, pages=1, seed=1)
    assert len(found) == len(pool) + 1
    assert found[-1] == pytest.approx(1.0)
    if order != "random":
        assert corrected_until(0.99, found, 1) == 1, "the one page that is new is the doubtful one"


def test_pages_until_an_aim_are_counted_in_rounds() -> None:
    assert corrected_until(0.9, [0.5, 0.8, 0.92, 0.91], 4) == 8
    assert corrected_until(0.9, [0.95, 0.8], 4) == 0
    assert corrected_until(0.99, [0.5, 0.8], 4) is None


def test_a_half_of_the_pool_holds_as_many_new_pages_as_are_asked_for() -> None:
    pool = [material((0, 0), new=bool(number % 2)) for number in range(24)]
    assert [len(half_of(pool, rare=rare, seed=5)) for rare in (None, 2)] == [12, 12]
    assert sum(one.new for one in half_of(pool, rare=2, seed=5)) == 2
    assert half_of(pool, rare=2, seed=5) != half_of(pool, rare=2, seed=6)
