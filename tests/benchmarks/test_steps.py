"""The table of steps counts each millisecond once, and marks that are the same once each."""

from __future__ import annotations

import time

import numpy as np

from benchmarks.steps import Clock, Found, same


def test_what_a_step_within_a_step_takes_is_not_counted_twice() -> None:
    clock, begun = Clock(), time.process_time()
    with clock.step("outer"):
        for _ in range(2):
            with clock.step("inner"):
                sum(range(100_000))
    whole = 1000 * (time.process_time() - begun)
    assert set(clock.laps) == {"outer", "inner"}
    assert 0 < clock.laps["inner"] <= whole
    assert 0 <= clock.laps["outer"] <= whole
    assert sum(clock.laps.values()) <= whole


def found(*marks: tuple[float, int, float]) -> Found:
    """Marks of 100 by 100 pixels: their left edges, labels and scores."""
    lefts, labels, scores = zip(*marks, strict=True)
    boxes = np.array([[left, 0, left + 100, 100] for left in lefts], np.float64)
    return Found(boxes, np.array(labels, np.intp), np.array(scores, np.float64), len(marks))


def test_a_mark_is_the_same_in_one_place_by_one_name_and_with_one_score() -> None:
    one = found((0, 0, 0.9), (200, 1, 0.8), (400, 2, 0.7), (600, 0, 0.6))
    assert same(one, one) == 4
    assert same(one, found((0.2, 0, 0.9), (203, 1, 0.8), (400, 1, 0.7), (600, 0, 0.61))) == 1
