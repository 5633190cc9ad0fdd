"""A rejected box takes its parts along, and nothing else, however sure the network is and however low the threshold."""

from __future__ import annotations

import numpy as np
import pytest

from backend.corrections.recall import RecalledVerdict, follow
from backend.geometry import as_boxes
from backend.vision.classifier import Classification
from backend.vision.engine import EMBEDDING
from backend.vision.network_config import CLASSES, NONE

WHOLE, PART, BESIDE = (100.0, 100.0, 300.0, 300.0), (110.0, 110.0, 200.0, 200.0), (320.0, 100.0, 420.0, 200.0)
REJECTED = RecalledVerdict(sample="7-logo", label="none", distance=0.01)
STAMP, SIGNATURE = (0.05, 0.9, 0.0, 0.05), (0.9, 0.05, 0.0, 0.05)
DOUBTED_STAMP = (0.0, 0.42, 0.0, 0.58)
"""Shown at a low threshold, although the network rather calls it none."""


def followed(*rows: tuple[tuple[float, ...], tuple[float, ...], RecalledVerdict | None]) -> Classification:
    """What becomes of candidates: their box, their probabilities, and the verdict on each."""
    boxes, probabilities, verdicts = zip(*rows, strict=True)
    found = Classification(np.array(probabilities), np.zeros((len(rows), EMBEDDING), np.float32))
    return follow(found, as_boxes(boxes), verdicts)


@pytest.mark.parametrize("whole", [STAMP, DOUBTED_STAMP])
@pytest.mark.parametrize("part", [STAMP, DOUBTED_STAMP])
def test_a_part_of_a_rejected_box_is_no_mark(whole: tuple[float, ...], part: tuple[float, ...]) -> None:
    found = followed((WHOLE, whole, REJECTED), (PART, part, None))
    assert found.settled == (True, True)
    assert found.recalled[1] == "7-logo"
    assert found.probabilities.argmax(axis=1).tolist() == [NONE, NONE]


@pytest.mark.parametrize(
    ("box", "probabilities", "verdict"),
    [
        # A signature on the rejected stamp.
        (PART, SIGNATURE, None),
        # Another stamp beside it.
        (BESIDE, STAMP, None),
        # A stamp of which somebody said so.
        (PART, STAMP, RecalledVerdict(sample="8-stamp", label="stamp", distance=0.01)),
    ],
)
def test_what_is_no_part_of_it_stays(
    box: tuple[float, ...], probabilities: tuple[float, ...], verdict: RecalledVerdict | None
) -> None:
    found = followed((WHOLE, STAMP, REJECTED), (box, probabilities, verdict))
    assert found.recalled == ("7-logo", None)
    np.testing.assert_array_equal(found.probabilities[1], probabilities)


def test_a_verdict_that_names_a_mark_has_no_parts() -> None:
    named = RecalledVerdict(sample="9-thumb", label="thumb", distance=0.01)
    found = followed((WHOLE, STAMP, named), (PART, STAMP, None))
    assert [CLASSES[row] for row in found.probabilities.argmax(axis=1)] == ["thumb", "stamp"]
