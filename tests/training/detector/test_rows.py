"""Rows of handwriting: forms teach that what is filled in is no signature, tables that touching signatures are many."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from backend.geometry import areas, as_boxes, coverage
from backend.training.detector.changes import Changes, changed
from backend.training.detector.detector_network import TAUGHT
from backend.training.detector.rows import write_rows
from backend.training.detector.scenes import Knowledge, PastedMark
from tests.training.detector.conftest import CANVAS, STILL, known, plain_scene

BOX = (20.0, 30.0, 120.0, 90.0)
SEEDS = range(40)


def line(label: str) -> PastedMark:
    """Wide ink, dense from edge to edge."""
    return TAUGHT.index(label), np.full((24, 70, 3), 1.2, np.float32)


MARKS = ((line("signature"),), (line("handwriting"), line("stamp")))


def written(seed: int, before: Knowledge | None = None) -> tuple[np.ndarray, Knowledge]:
    density = np.zeros((*CANVAS, 3), np.float32)
    return density, write_rows(density, before or known(), MARKS, np.random.default_rng(seed))


def test_all_rows_of_a_place_are_of_one_kind_below_each_other() -> None:
    kinds = set()
    for seed in SEEDS:
        density, after = written(seed)
        kinds |= {TAUGHT[label] for label in after.labels}
        assert len(set(after.labels)) <= 1
        middles = (after.boxes[:, 1] + after.boxes[:, 3]) / 2
        assert (np.diff(middles) > 10).all()
        for left, top, right, bottom in after.boxes.astype(int):
            assert density[top:bottom, left:right].any()
    assert kinds == {"signature", "handwriting"}


def test_names_of_a_narrow_table_touch_and_each_has_a_box_of_its_own() -> None:
    touching = 0
    for seed in SEEDS:
        _, after = written(seed)
        if len(after.boxes) > 1 and TAUGHT[after.labels[0]] == "signature":
            touching += int((after.boxes[:-1, 3] > after.boxes[1:, 1]).any())
            shared = coverage(after.boxes, after.boxes)
            np.fill_diagonal(shared, 0)
            assert shared.max() < 0.7
    assert touching >= 5


@pytest.mark.parametrize("where", ["mark", "ignored"])
def test_nothing_that_is_known_or_left_open_is_covered(where: str) -> None:
    before = known([("stamp", BOX)]) if where == "mark" else known(ignored=[BOX])
    left, top, right, bottom = map(int, BOX)
    for seed in SEEDS:
        density, after = written(seed, before)
        assert not density[top:bottom, left:right].any()
        np.testing.assert_array_equal(after.ignored, before.ignored)
        np.testing.assert_array_equal(after.boxes[: len(before.boxes)], before.boxes)
        rest = after.boxes[len(before.boxes) :]
        assert coverage(rest, as_boxes([BOX])).max(initial=0) == 0
        assert (areas(rest) > 0).all()


def test_a_window_without_room_or_without_handwriting_stays_as_it_is() -> None:
    full = known([("stamp", (0.0, 0.0, float(CANVAS[1]), float(CANVAS[0])))])
    density, after = written(1, full)
    assert after is full
    assert not density.any()
    before, density = known(), np.zeros((*CANVAS, 3), np.float32)
    assert write_rows(density, before, ((line("stamp"),),), np.random.default_rng(1)) is before
    assert not density.any()


def test_rows_are_a_change_like_the_others_and_a_recipe_without_them_is_as_it_was() -> None:
    plain, always = plain_scene(), dataclasses.replace(STILL, rows=1.0)
    shown = [changed(plain, MARKS, always, np.random.default_rng(seed)) for seed in SEEDS]
    assert any((one.pixels < plain.pixels).any() for one in shown)
    assert "rows" not in Changes().as_json()
    assert Changes(rows=0.1).as_json()["rows"] == 0.1
