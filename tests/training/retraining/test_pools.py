"""Hard pools: every batch keeps to its share, every hard example comes as often as any other, nothing is left out."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as budget
from hypothesis import strategies as st

from backend.training.batches import CORRECTED, HARD, pooled_order
from backend.training.classifier_recipe import Corrections
from backend.training.crops import Crop
from backend.vision.network_config import CLASSES


def crops(*, drawn: int, seen: dict[str, int], hard: int) -> list[Crop]:
    def crop(domain: str, origin: str, label: str, number: int) -> Crop:
        return Crop(
            file=f"{domain}-{origin}-{label}-{number}",
            document=str(number),
            split="train",
            label=label,
            domain=domain,
            source="",
            origin=origin,
            licence="",
        )

    return [
        *(crop("drawn", "candidate", "none", number) for number in range(drawn)),
        *(crop(CORRECTED, "seen", label, number) for label, count in seen.items() for number in range(count)),
        *(crop(CORRECTED, HARD, "stamp", number) for number in range(hard)),
    ]


@given(
    counts=st.tuples(st.integers(1, 60), st.integers(0, 80)),
    seen=st.dictionaries(st.sampled_from(CLASSES), st.integers(0, 12)),
    plan=st.builds(Corrections, hard_share=st.floats(0.05, 0.3), hard_times=st.floats(1, 3)),
    batch=st.integers(2, 40),
    seed=st.integers(0, 99),
)
@budget(max_examples=60, deadline=None)
def test_no_batch_has_more_than_its_share_of_hard_examples(
    counts: tuple[int, int], seen: dict[str, int], plan: Corrections, batch: int, seed: int
) -> None:
    drawn, hard = counts
    there = crops(drawn=drawn, seen=seen, hard=hard)
    order = pooled_order(np.arange(drawn), there, plan, batch=batch, seed=(seed,))
    assert len(order)
    assert len(order) % batch == 0
    is_hard = np.array([there[place].origin == HARD for place in order]).reshape(-1, batch)
    assert is_hard.sum(axis=1).max() <= plan.hard_share * batch
    shown = Counter(order.tolist())
    # All that is not hard is shown, drawn crops at least as often as they were given.
    assert all(shown[place] >= 1 for place, crop in enumerate(there) if crop.origin != HARD)
    often = [shown[place] for place, crop in enumerate(there) if crop.origin == HARD]
    assert not often or max(often) - min(often) <= 1
    assert not often or max(often) <= round(plan.hard_factor * plan.hard_times)


def test_where_there_is_room_each_crop_comes_as_often_as_the_plan_says() -> None:
    there = crops(drawn=400, seen={"signature": 5, "stamp": 5, "thumb": 5}, hard=4)
    order = pooled_order(np.arange(400), there, Corrections(), batch=10, seed=(1,))
    shown = Counter(order.tolist())
    by_kind = {
        kind: {shown[place] for place, crop in enumerate(there) if (crop.origin, crop.label) == kind}
        for kind in (("seen", "signature"), ("seen", "stamp"), ("seen", "thumb"), (HARD, "stamp"))
    }
    # The last batch is filled up with a few that come once more; hard ones never do.
    assert by_kind["seen", "signature"] <= {4, 5}
    assert by_kind["seen", "stamp"] <= {6, 7}
    assert by_kind["seen", "thumb"] <= {7, 8}
    assert by_kind[HARD, "stamp"] == {10}


def test_an_epoch_depends_on_its_seed_alone() -> None:
    there = crops(drawn=30, seen={"thumb": 3}, hard=9)
    first, again, other = (
        pooled_order(np.arange(30), there, Corrections(), batch=8, seed=seed) for seed in ((1, 0), (1, 0), (1, 1))
    )
    np.testing.assert_array_equal(first, again)
    assert len(first) != len(other) or (first != other).any()


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"hard_times": 4}, "hard_times is 4"),
        ({"hard_share": 0.5}, "hard_share is 0.5"),
        ({"precision": 1.0}, "precision is 1.0"),
    ],
)
def test_a_plan_keeps_within_its_limits(fields: dict[str, float], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Corrections(**fields)
