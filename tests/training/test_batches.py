"""What an epoch shows: shares, order, and the same pixels from any process."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch

from backend.errors import TrainingError
from backend.training.augment import Augmentation
from backend.training.batches import CropArrays, epoch_order, plain_batches, training_batches
from backend.training.crops import Crop, CropFolder
from backend.vision.network_config import CLASSES


def test_each_group_has_its_share_and_shows_all_before_any_twice() -> None:
    groups = ["drawn/none"] * 50 + ["real/stamp"] * 5 + ["drawn/thumb"] * 20
    order = epoch_order(groups, {"drawn/none": 0.5, "real/stamp": 0.2, "drawn/thumb": 0.3}, samples=60, seed=(1,))
    assert Counter(groups[index] for index in order) == {"drawn/none": 30, "real/stamp": 12, "drawn/thumb": 18}
    times = Counter(order.tolist())
    assert {times[index] for index in range(50, 55)} == {2, 3}  # 12 of 5
    assert max(times[index] for index in range(50)) == 1


def test_a_group_without_crops_leaves_its_part_to_the_others() -> None:
    order = epoch_order(["drawn/none"] * 9, {"drawn/none": 0.1, "real/none": 0.9}, samples=20, seed=(1,))
    assert len(order) == 20


def test_an_epoch_depends_on_its_seed_alone() -> None:
    groups = ["drawn/none"] * 30
    first, again, other = (
        epoch_order(groups, {"drawn/none": 1.0}, samples=30, seed=seed) for seed in ((1, 0, 0), (1, 0, 0), (1, 0, 1))
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_groups_that_nobody_asked_for_are_an_error() -> None:
    with pytest.raises(ValueError, match="real/stamp"):
        epoch_order(["real/stamp"], {"drawn/none": 1.0}, samples=4, seed=(1,))


def test_a_store_without_the_split_is_an_error(tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.raises(TrainingError, match="harvest some first"):
        CropArrays.load(CropFolder(tmp_path_factory.mktemp("empty")), "train", 16)


def test_batches_are_pixels_of_the_unit_interval_with_their_labels(store: CropFolder) -> None:
    memory = CropArrays.load(store, "train", 16)
    order = np.arange(len(memory))
    batches = list(training_batches(memory, order, batch=8, strength=Augmentation(), seed=(1, 0, 0), workers=0))
    assert [tuple(pixels.shape) for pixels, _ in batches] == [(8, 3, 16, 16)] * (len(memory) // 8)
    assert all(0 <= float(pixels.min()) <= float(pixels.max()) <= 1 for pixels, _ in batches)
    labels = torch.cat([part for _, part in batches]).numpy()
    np.testing.assert_array_equal(labels, memory.labels[: len(labels)])
    assert Counter(labels.tolist()).keys() == set(range(len(CLASSES)))


@pytest.mark.parametrize(
    ("label", "overlap", "changes"),
    [
        # A recipe without overlaps is what it was before there were any.
        ("stamp", 0.0, False),
        # A signature is printed over the stamp.
        ("stamp", 1.0, True),
        # What shows no mark would show one then.
        ("none", 1.0, False),
    ],
)
def test_marks_are_printed_over_by_marks_of_other_classes_alone(label: str, overlap: float, changes: bool) -> None:
    pixels = np.random.default_rng(1).integers(100, 256, (4, 20, 20, 3), dtype=np.uint8)
    facts = {"document": "d", "split": "train", "domain": "drawn", "source": "drawn", "origin": "truth"}
    crops = [
        Crop(file=f"{number}.jpg", label=name, licence="MIT", **facts)
        for number, name in enumerate((label, "none", "none", "signature"))
    ]
    shown = []
    for count in (3, 4):  # without the signature, and with it
        memory = CropArrays(
            pixels[:count], np.array([CLASSES.index(one.label) for one in crops[:count]]), crops[:count], 16
        )
        strength = Augmentation(overlap=overlap)
        [(batch, _)] = training_batches(memory, np.array([0]), batch=1, strength=strength, seed=(1, 0, 0), workers=0)
        shown.append(batch)
    assert torch.equal(*shown) is not changes


def test_plain_crops_are_the_box_without_its_margin(store: CropFolder) -> None:
    memory = CropArrays.load(store, "gold", 16)
    pixels = torch.cat(list(plain_batches(memory)))
    assert pixels.shape == (len(memory), 3, 16, 16)
    np.testing.assert_allclose(pixels[0].permute(1, 2, 0).numpy() * 255, memory.pixels[0][2:-2, 2:-2], atol=1e-3)


def test_of_a_domain_with_too_many_crops_as_many_are_read_evenly_spaced(store: CropFolder) -> None:
    every = CropArrays.load(store, "validation", 16)
    some = CropArrays.load(store, "validation", 16, most=6)
    assert Counter(crop.domain for crop in some.crops) == {"drawn": 6, "real": 6}
    assert set(some.crops) <= set(every.crops)
    assert len(set(some.labels.tolist())) > 1, "evenly spaced, not the first"
    assert len(CropArrays.load(store, "validation", 16, most=10**6)) == len(every)
