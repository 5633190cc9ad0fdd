"""The score of a detector by itself: all found is 1, nothing found is 0, and guesses are not held against it."""

from __future__ import annotations

import numpy as np
import pytest

from backend.training.detector.detector_loop import score, seen
from backend.training.detector.scenes import Knowledge, Scene, Stock
from tests.models.detectors import even_network
from tests.training.detector.conftest import known

NETWORK = even_network(heat=0.6, reach=100)
"""On a page of 4 x 4 cells its boxes are the same mark: it sees one of each class, from the cell at the top left."""
SEEN = (-96.0, -96.0, 104.0, 104.0)


def scene(knowledge: Knowledge) -> Scene:
    return Scene(np.full((32, 32, 3), 255, np.uint8), knowledge)


def test_what_the_network_of_these_tests_sees() -> None:
    peaks = seen(NETWORK, scene(known()))
    assert sorted(peaks.labels.tolist()) == [0, 1, 2]
    np.testing.assert_allclose(peaks.boxes, [SEEN] * 3, atol=1e-3)


@pytest.mark.parametrize(
    ("knowledge", "expected"),
    [
        # Found, and of classes without a true mark nothing is said.
        (known([("stamp", SEEN)]), 1.0),
        # Elsewhere.
        (known([("stamp", (300, 300, 340, 340))]), 0.0),
        # Two marks, one of which is found: precision 1, recall 1/2.
        (known([("stamp", SEEN), ("stamp", (300, 300, 340, 340))]), 2 / 3),
        # The mean of a class that is found and one that is not.
        (known([("stamp", SEEN), ("thumb", (300, 300, 340, 340))]), 0.5),
        # One place cannot be two marks of a class.
        (known([("stamp", SEEN), ("stamp", SEEN)]), 2 / 3),
        # Where nobody knows all stamps, they do not count.
        (known([("stamp", SEEN), ("thumb", (300, 300, 340, 340))], complete=["stamp"]), 1.0),
        # No mark at all.
        (known(), 0.0),
    ],
)
def test_the_best_macro_f1(knowledge: Knowledge, expected: float) -> None:
    assert score(NETWORK, Stock((scene(knowledge),), ("drawn",)))["drawn"] == pytest.approx(expected)


def test_false_alarms_count_but_for_those_on_ignored_places() -> None:
    marked = scene(known([("stamp", SEEN)]))
    bare, doubtful = scene(known()), scene(known(ignored=[(-100, -100, 110, 110)]))
    assert score(NETWORK, Stock((marked, bare), ("drawn",) * 2))["drawn"] == pytest.approx(2 / 3)
    assert score(NETWORK, Stock((marked, doubtful), ("drawn",) * 2))["drawn"] == pytest.approx(1)


def test_domains_are_scored_apart() -> None:
    hit, missed = scene(known([("stamp", SEEN)])), scene(known([("stamp", (300, 300, 340, 340))]))
    found = score(NETWORK, Stock((hit, missed, hit), ("drawn", "real/page_full", "real/neg_scan")))
    assert found["drawn"] == 1
    assert 0 < found["real"] < 1
