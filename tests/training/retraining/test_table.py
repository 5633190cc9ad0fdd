"""The original model card's table: its own figures, and ours counted from what an epoch really shows."""

from __future__ import annotations

from backend.training.retraining.gathering_material import ORIGINAL, went_in
from backend.training.retraining.retraining_recipe import RETRAINING
from backend.vision.network_config import CLASSES
from tests.training.retraining.test_pools import crops


def test_the_seeds_figures_are_those_of_its_card() -> None:
    assert {name: row.total for name, row in ORIGINAL.items()} == {"signature": 1528, "stamp": 835, "thumb": 1220}
    assert sum(row.total for row in ORIGINAL.values()) == 3583
    factors = {name: round(row.augmented / row.original) for name, row in ORIGINAL.items()}
    plan = RETRAINING.corrections
    assert plan is not None
    assert {name: plan.factors[name] for name in factors} == factors
    assert {round(row.augmented_misclassified / row.misclassified) for row in ORIGINAL.values()} == {plan.hard_factor}


def test_samples_are_counted_by_class_as_an_epoch_shows_them() -> None:
    there = crops(drawn=50, seen={"signature": 5, "thumb": 2}, hard=3)
    table = went_in(there, RETRAINING)
    assert list(table.rows) == list(CLASSES)
    signature, stamp = table.rows["signature"], table.rows["stamp"]
    assert (signature.original, signature.misclassified) == (5, 0)
    assert 20 <= signature.augmented <= 25
    assert (stamp.original, stamp.augmented, stamp.misclassified, stamp.augmented_misclassified) == (0, 0, 3, 30)
    assert stamp.total == 33
    assert table.drawn == {"signature": 0, "stamp": 0, "thumb": 0, "none": 50}
    assert table.drawn_shown["none"] >= RETRAINING.samples


def test_the_text_has_both_side_by_side() -> None:
    lines = str(went_in(crops(drawn=50, seen={"signature": 5}, hard=3), RETRAINING)).splitlines()
    assert lines[0].split() == ["original", "augmented", "misclassified", "augmented", "total"]
    assert lines[1].split()[:2] == ["signature", "5"]
    assert lines[2].split() == ["original", "card", "279", "1,104", "29", "116", "1,528"]
    assert any(line.split() == ["original", "card", "490", "2,487", "117", "489", "3,583"] for line in lines)
