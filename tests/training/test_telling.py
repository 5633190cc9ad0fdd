"""How far a training is, in words."""

from __future__ import annotations

import pytest

from backend.training.training_loop import how_far


@pytest.mark.parametrize(
    ("over", "seconds", "said"),
    [
        (0, 50.0, "epoch 1 of 13, 11 min left at most"),
        (3, 50.0, "epoch 4 of 13, 9 min left at most"),
        (12, 0.4, "epoch 13 of 13, 1 min left at most"),
        (13, 50.0, "all 13 epochs are over"),
    ],
)
def test_the_next_epoch_and_the_time_that_is_left(over: int, seconds: float, said: str) -> None:
    assert how_far(over, 13, seconds=seconds) == said
