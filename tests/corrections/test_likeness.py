"""Two crops are the same where both show the same print or rubber; what is of the same sort is something else."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from backend.corrections.likeness import Likeness, Look, decoded, encoded, likeness, look_at
from backend.corrections.recall import RecalledVerdict, Remembered, Voter, unit
from backend.geometry import iou
from backend.synthetic.drawn_page import draw_page

BOX = np.array([60.0, 60.0, 260.0, 200.0])


def crop(seed: int, *, words: int = 4, turn: float = 0.0, scale: float = 1.0, noise: float = 0.0) -> NDArray[np.uint8]:
    """Lines and words in a frame, of which each seed has its own, pressed with a turn."""
    drawing = np.random.default_rng(seed)
    pixels = np.full((260, 320, 3), 255, np.uint8)
    cv2.rectangle(pixels, (62, 62), (258, 198), (40, 40, 160), 3)
    for line in range(words):
        word = "".join(chr(int(letter)) for letter in drawing.integers(65, 91, 7))
        size, left = (0.9, 72) if words == 4 else (float(drawing.uniform(0.6, 1.2)), int(drawing.integers(66, 90)))
        cv2.putText(pixels, word, (left, 92 + 120 // words * line), cv2.FONT_HERSHEY_SIMPLEX, size, (40, 40, 160), 2)
    moved = cv2.getRotationMatrix2D((160, 130), turn, scale)
    pixels = np.asarray(cv2.warpAffine(pixels, moved, (320, 260), borderValue=(255, 255, 255)), np.uint8)
    grain = np.random.default_rng(seed + 1).normal(0, noise, pixels.shape)
    return np.clip(pixels + grain, 0, 255).astype(np.uint8)


def look(seed: int, **changes: float) -> Look:
    return look_at(crop(seed, **changes), BOX)


@pytest.mark.parametrize(
    ("changes", "printed"),
    [
        pytest.param({}, True, id="to the pixel"),
        pytest.param({"noise": 12.0}, True, id="scanned again"),
        pytest.param({"turn": 8.0, "scale": 0.95, "noise": 6.0}, False, id="pressed again"),
    ],
)
def test_the_same_thing_is_the_same(changes: dict[str, float], printed: bool) -> None:
    found = likeness(look(3), look(3, **changes))
    assert found.same
    assert found.print is printed


@pytest.mark.parametrize(
    ("found", "printed"),
    [
        (Likeness(points=13, ink=0.8, strokes=0.64, turn=-0.5), True),
        (Likeness(points=40, ink=0.746, strokes=0.754, turn=0.0), True),  # a seal, twice scanned at 150 dots an inch
        (Likeness(points=40, ink=0.72, strokes=0.6, turn=0.0), False),  # impressions of one rubber are no closer
        (Likeness(points=40, ink=0.9, strokes=0.9, turn=4.0), False),
        (Likeness(points=9, ink=0.9, strokes=0.9, turn=0.0), False),
    ],
)
def test_print_is_the_same_to_the_dot(found: Likeness, printed: bool) -> None:
    assert found.print is printed


def test_another_of_the_same_sort_is_not_the_same() -> None:
    assert not any(likeness(look(3), look_at(crop(other, words=3), BOX)).same for other in range(4, 10))


def test_other_words_in_the_same_frame_are_never_the_same_print() -> None:
    assert not any(likeness(look(3), look(other)).print for other in range(4, 10))


def test_marks_of_drawn_pages_are_like_themselves_and_like_no_other() -> None:
    page = draw_page(4, dpi=100, marks=6)
    boxes = np.array([mark.box for mark in page.marks])
    looks = [look_at(page.pixels, box) for box in boxes]
    again = [look_at(page.pixels, box) for box in boxes + np.array([-3, 2, 2, 3])]
    alike = np.array([[likeness(one, other).same for other in again] for one in looks])
    assert not alike[iou(boxes, boxes) == 0].any()
    assert np.diag(alike).mean() >= 0.5


@pytest.mark.parametrize("pixels", [np.full((50, 50, 3), 255, np.uint8), np.zeros((1, 1, 3), np.uint8)])
def test_nothing_is_like_nothing(pixels: NDArray[np.uint8]) -> None:
    blank = look_at(pixels, np.array([0.0, 0.0, 1.0, 1.0]))
    assert not likeness(blank, blank).same


def test_a_stored_picture_is_as_good_as_the_crop() -> None:
    one = look(3)
    assert likeness(decoded(encoded(one), list(one.box)), look(3, noise=6.0)).same


def memory(*taught: tuple[str, str, bool, bool, Look]) -> Remembered:
    """Samples by name, label, whether they act, whether they are weak, and how they look; of one embedding all."""
    embeddings = unit(np.ones((len(taught), 512), np.float32))
    return Remembered(
        crops=tuple(name for name, *_ in taught),
        voters=tuple((Voter(sample=one[0], label=one[1], acts=one[2], weak=one[3]),) for one in taught),
        embeddings=embeddings,
        looks=[look for *_, look in taught].__getitem__,
    )


def verdict(known: Remembered, one: Look) -> RecalledVerdict | None:
    [found] = known.recall(np.ones((1, 512), np.float32), lambda _: one, distance=0.1)
    return found


ANOTHER = look_at(crop(4, words=3), BOX)
PRINTED, PRESSED = {"noise": 5.0}, {"turn": 8.0, "noise": 5.0}


@pytest.mark.parametrize(
    ("taught", "changes", "said"),
    [
        pytest.param([("1-a", "none", True, False, look(3))], PRINTED, "none", id="deleted print is none at once"),
        pytest.param([("1-a", "none", True, False, look(3))], PRESSED, None, id="a deleted impression is not, at once"),
        pytest.param(
            [("1-a", "none", True, False, look(3)), ("2-a", "none", True, False, look(3, turn=-4.0))],
            PRESSED,
            "none",
            id="deleted by two annotations it is",
        ),
        pytest.param(
            [("1-a", "none", True, False, look(3)), ("1-b", "none", True, False, look(3, turn=-4.0))],
            PRESSED,
            None,
            id="twice by one it is not",
        ),
        pytest.param([("1-a", "thumb", True, False, look(3))], PRESSED, "thumb", id="a name is followed at once"),
        pytest.param([("1-a", "thumb", True, False, ANOTHER)], {}, None, id="another of the sort has no say"),
        pytest.param(
            [("1-a", "thumb", True, False, look(3)), ("2-a", "stamp", False, False, look(3))],
            {},
            None,
            id="a confirmed one stands against it",
        ),
        pytest.param(
            [("1-a", "none", True, False, look(3)), ("2-a", "stamp", False, True, look(3))],
            {},
            "none",
            id="one left untouched is outvoted",
        ),
        pytest.param(
            [
                ("1-a", "none", True, False, look(3)),
                ("2-a", "stamp", False, True, look(3)),
                ("3-a", "stamp", False, True, look(3)),
            ],
            {},
            None,
            id="two left untouched are not",
        ),
        pytest.param(
            [("1-a", "thumb", True, False, look(3)), ("2-a", "stamp", False, False, ANOTHER)],
            {},
            "thumb",
            id="a confirmed one of the sort has no say either",
        ),
    ],
)
def test_what_counts_as_evidence(
    taught: list[tuple[str, str, bool, bool, Look]], changes: dict[str, float], said: str | None
) -> None:
    found = verdict(memory(*taught), look(3, **changes))
    assert (found and found.label) == said
