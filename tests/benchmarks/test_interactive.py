"""What the benchmark of rough boxes draws and counts."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.interactive import CUTS, ROOMS, Answer, rough_boxes, rows_of

MARK = (100.0, 100.0, 200.0, 150.0)


def test_rough_boxes_hold_the_mark_with_more_and_more_room_and_stay_on_the_page() -> None:
    boxes = dict(rough_boxes(MARK, width=220, height=400, seed=[1, 2]))
    assert tuple(boxes) == ROOMS
    for room, box in boxes.items():
        beyond = np.abs(box - MARK) / [100, 50, 100, 50]
        assert (box[:2] <= MARK[:2]).all()
        assert (box[2:] >= MARK[2:]).all()
        assert (beyond <= 1.5 * room + 1e-9).all()
        assert (box <= [220, 400, 220, 400]).all()
    again = dict(rough_boxes(MARK, width=220, height=400, seed=[1, 2]))
    assert all((boxes[room] == again[room]).all() for room in ROOMS)


def test_rough_boxes_that_cut_the_mark_lie_within_it() -> None:
    boxes = dict(rough_boxes(MARK, width=220, height=400, seed=[1, 2], rooms=CUTS))
    assert tuple(boxes) == CUTS
    for room, box in boxes.items():
        lacking = np.abs(box - MARK) / [100, 50, 100, 50]
        assert (box[:2] > MARK[:2]).all()
        assert (box[2:] < MARK[2:]).all()
        assert (lacking <= -1.5 * room + 1e-9).all()


def test_rows_are_of_all_of_each_class_and_of_each_room() -> None:
    found = [
        Answer(label="stamp", room=0.1, drawn=0.7, found=0.9),
        Answer(label="stamp", room=0.2, drawn=0.5, found=0.8),
        Answer(label="signature", room=0.1, drawn=0.7, found=0.6),
        Answer(label="signature", room=0.2, drawn=0.5, found=0.47),
        Answer(label="signature", room=-0.1, drawn=0.6, found=0.3),
    ]
    rows = {row.name: row for row in rows_of(found)}
    assert list(rows) == ["all", "signature", "stamp", "room 0.1", "room 0.2", "cut 0.1"]
    assert (rows["cut 0.1"].boxes, rows["cut 0.1"].worse) == (1, 1.0)
    assert rows["all"].found == pytest.approx(0.6925)
    assert (rows["all"].worse, rows["all"].least) == (0.25, pytest.approx(-0.1))
    assert (rows["stamp"].worse, rows["stamp"].boxes) == (0.0, 2)
    assert rows["signature"].worse == 0.5
