"""What is laid onto windows beside single marks: watermarks and pages full of handwriting, none of them a mark."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from backend.training.detector.changes import Changes, changed
from backend.training.detector.detector_network import TAUGHT
from backend.training.detector.pasting import watermark, write_over
from backend.training.detector.scenes import PastedMark
from tests.training.detector.conftest import CANVAS, STILL, known, plain_scene

BOX = (150.0, 250.0, 230.0, 300.0)
SEEDS = range(12)


def rng(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


def mark(label: str, height: int = 60, width: int = 60) -> PastedMark:
    """A ring of ink, denser above than below: it looks like nothing else when it is turned."""
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    ring = (np.hypot(x, y) < 0.95) & (np.hypot(x, y) > 0.6)
    return TAUGHT.index(label), np.repeat((ring * (1.5 - 0.5 * y))[..., None], 3, axis=2).astype(np.float32)


def printed(label: str, seed: int) -> NDArray[np.float32]:
    density = np.zeros((256, 256, 3), np.float32)
    watermark(density, known(), ((mark(label),),), rng(seed))
    return density


@pytest.mark.parametrize("label", ["print", "stamp"])
def test_a_watermark_is_one_emblem_again_and_again(label: str) -> None:
    for seed in SEEDS:
        grey = printed(label, seed).mean(axis=2)
        assert 0 < np.percentile(grey[grey > 0], 90) < 0.8, "pale"
        count, pieces, stats, _ = cv2.connectedComponentsWithStats((grey > 1e-4).astype(np.uint8))
        whole = [piece for piece in range(1, count) if not _is_cut(stats[piece], grey.shape)]
        assert count - 1 >= 4, "in rows, and all over the window"
        assert len({tuple(stats[piece][2:]) for piece in whole}) == 1, "all of one size"
        first, *others = [grey[pieces == piece] for piece in whole]
        for other in others:
            np.testing.assert_allclose(other, first, atol=1e-6)


def _is_cut(place: NDArray[np.int32], window: tuple[int, ...]) -> bool:
    """Whether a piece, by its left, top, width and height, reaches the edge of the window."""
    left, top, width, height = (int(value) for value in place[:4])
    return left == 0 or top == 0 or left + width == window[1] or top + height == window[0]


def test_nothing_of_a_watermark_is_a_mark_and_nothing_is_said_of_prints() -> None:
    before = known([("stamp", BOX)], complete=TAUGHT)
    after = watermark(np.zeros((*CANVAS, 3), np.float32), before, ((mark("print"),),), rng())
    np.testing.assert_array_equal(after.boxes, before.boxes)
    np.testing.assert_array_equal(after.labels, before.labels)
    assert [name for name, complete in zip(TAUGHT, after.complete, strict=True) if not complete] == ["print"]
    assert before.complete.all(), "what was known before is not touched"


@pytest.mark.parametrize("label", ["signature", "thumb", "handwriting"])
def test_people_print_no_watermark_of_what_is_written_by_hand(label: str) -> None:
    assert not printed(label, 1).any()


def test_a_watermark_of_an_emblem_without_ink_is_none() -> None:
    density, empty = np.zeros((256, 256, 3), np.float32), (TAUGHT.index("print"), np.zeros((40, 40, 3), np.float32))
    watermark(density, known(), ((empty,),), rng())
    assert not density.any()


def test_a_page_is_filled_with_handwriting_and_all_of_it_is_known_as_that() -> None:
    marks = ((mark("signature"), mark("handwriting", 20, 90)), (mark("stamp"),))
    most = 0
    for seed in SEEDS:
        density = np.zeros((*CANVAS, 3), np.float32)
        after = write_over(density, known([("stamp", BOX)]), marks, rng(seed), most=9)
        assert {TAUGHT[label] for label in after.labels[1:]} == {"handwriting"}
        most = max(most, len(after.labels) - 1)
        for left, top, right, bottom in after.boxes[1:].astype(int):
            assert density[top:bottom, left:right].any()
    assert 4 <= most <= 9


def test_where_there_is_no_handwriting_none_is_written() -> None:
    density, before = np.zeros((*CANVAS, 3), np.float32), known([("stamp", BOX)])
    assert write_over(density, before, ((mark("stamp"),),), rng(), most=9) is before
    assert not density.any()


def test_no_mark_is_enlarged_until_it_is_squares() -> None:
    tiny = (TAUGHT.index("signature"), np.full((8, 16, 3), 1.0, np.float32))
    once = dataclasses.replace(STILL, paste=1, most_pasted=1)
    for seed in SEEDS:
        boxes = changed(plain_scene(), ((tiny,),), once, rng(seed)).knowledge.boxes
        # One and a half times as large, squeezed by chance and turned a little.
        assert not len(boxes) or (boxes[:, 2:] - boxes[:, :2]).max() < 16 * 1.5 * 1.5


@pytest.mark.parametrize("change", ["watermark", "written"])
def test_both_are_changes_like_the_others(change: str) -> None:
    marks = ((mark("print"),), (mark("handwriting", 20, 90),))
    plain, always = plain_scene(), dataclasses.replace(STILL, **{change: 1.0})
    assert (changed(plain, marks, always, rng()).pixels < plain.pixels).any()
    np.testing.assert_array_equal(changed(plain, marks, STILL, rng()).pixels, plain.pixels)


def test_a_recipe_without_them_is_the_recipe_that_it_was() -> None:
    assert not {"watermark", "written", "most_written"} & set(Changes().as_json())
    assert {"watermark", "written", "most_written"} <= set(Changes(watermark=0.1, written=0.1).as_json())
