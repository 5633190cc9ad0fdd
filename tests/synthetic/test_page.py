"""A drawn page keeps its promises: the same from a seed, true tight boxes, true overlap flags, sizes in millimetres."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from backend.geometry import as_boxes, iou
from backend.synthetic.drawn_page import draw_count, draw_page
from backend.synthetic.marks import LANGUAGES, DrawnPage, Language
from backend.synthetic.scan import ScanStyle

LOW = 100.0
CLEAN = ScanStyle(quality=100, subsampled=False)
PHOTO = ScanStyle(quality=100, subsampled=False, photo=True, surround=0.4)


def changed(page: DrawnPage, bare: DrawnPage) -> NDArray[np.bool_]:
    """Where the marks darkened the page by more than the codec's own error, (H, W)."""
    return np.asarray((bare.pixels.astype(int) - page.pixels).max(axis=2) > 14)


@pytest.mark.parametrize("seed", [0, 7, 2026])
def test_the_same_seed_gives_the_same_page(seed: int) -> None:
    first, second = draw_page(seed, dpi=LOW), draw_page(seed, dpi=LOW)
    assert first.pixels.tobytes() == second.pixels.tobytes()
    assert first.marks == second.marks


def test_two_seeds_differ() -> None:
    assert draw_page(1, dpi=LOW).pixels.tobytes() != draw_page(2, dpi=LOW).pixels.tobytes()


@pytest.mark.parametrize("style", [CLEAN, PHOTO], ids=["flat", "curled"])
@pytest.mark.parametrize("seed", [11, 12, 13, 14])
def test_boxes_hold_the_ink_and_are_tight_to_it(seed: int, style: ScanStyle) -> None:
    page, bare = draw_page(seed, dpi=LOW, marks=4, style=style), draw_page(seed, dpi=LOW, marks=0, style=style)
    difference = changed(page, bare)
    outside = difference.copy()
    for mark in page.marks:
        left, top, right, bottom = (int(side) for side in mark.box)
        # One pixel of slack: the codec's blocks spread a mark's edge.
        outside[max(top - 1, 0) : bottom + 1, max(left - 1, 0) : right + 1] = False
        inside = difference[top:bottom, left:right]
        columns, rows = np.flatnonzero(inside.any(axis=0)), np.flatnonzero(inside.any(axis=1))
        # Ink at the edge of the box may be fainter than the threshold, or lie on black print; it is never far away.
        slack = 2 + 0.05 * max(right - left, bottom - top)
        assert columns[0] <= slack
        assert rows[0] <= slack
        assert columns[-1] >= right - left - 1 - slack
        assert rows[-1] >= bottom - top - 1 - slack
    assert page.marks
    assert np.count_nonzero(outside) <= 3


@pytest.mark.parametrize("seed", range(20, 32))
def test_boxes_lie_on_the_page(seed: int) -> None:
    page = draw_page(seed, dpi=72)
    height, width = page.pixels.shape[:2]
    for mark in page.marks:
        left, top, right, bottom = mark.box
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height


def test_a_page_without_marks_has_no_boxes() -> None:
    assert draw_page(3, dpi=72, marks=0).marks == ()


def test_marks_change_nothing_else_on_the_page() -> None:
    page, bare = draw_page(5, dpi=LOW, marks=1, style=CLEAN), draw_page(5, dpi=LOW, marks=0, style=CLEAN)
    left, top, right, bottom = (int(side) for side in page.marks[0].box)
    far = np.ones(page.pixels.shape[:2], bool)
    far[max(top - 32, 0) : bottom + 32, max(left - 32, 0) : right + 32] = False
    assert (page.pixels[far] == bare.pixels[far]).all()


@pytest.mark.parametrize("size", [None, (640, 640)], ids=["whole", "squashed"])
@pytest.mark.parametrize("seed", [3, 4])
def test_what_is_taken_for_a_mark_lies_beside_the_marks_and_changes_nothing_else(
    seed: int, size: tuple[int, int] | None
) -> None:
    bare, page = (draw_page(seed, dpi=LOW, marks=3, style=CLEAN, size=size, lookalikes=count) for count in (0, 6))
    assert bare.lookalikes == ()
    assert page.marks == bare.marks
    assert 3 <= len(page.lookalikes) <= 6
    marks, laid = (as_boxes([one.box for one in those]) for those in (page.marks, page.lookalikes))
    assert iou(laid, marks).max(initial=0) < 0.05
    outside = changed(page, bare)
    for left, top, right, bottom in laid.astype(int):
        assert outside[top:bottom, left:right].any()
        outside[max(top - 2, 0) : bottom + 2, max(left - 2, 0) : right + 2] = False
    assert outside.mean() < 1e-4


def test_about_fifteen_percent_of_pages_have_no_mark() -> None:
    rng = np.random.default_rng(0)
    counts = np.array([draw_count(rng) for _ in range(4000)])
    assert 0.12 < (counts == 0).mean() < 0.18
    assert counts.max() == 8


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_language_is_what_was_asked_for(language: Language) -> None:
    assert draw_page(4, dpi=72, language=language).language == language


def test_resolution_scales_the_page_and_not_the_paper() -> None:
    sizes = {dpi: draw_page(6, dpi=dpi, marks=0).pixels.shape for dpi in (72, 150)}
    assert sizes == {72: (842, 595, 3), 150: (1754, 1240, 3)}


@pytest.mark.parametrize("dpi", [72, 200])
def test_marks_have_the_size_of_real_ones(dpi: float) -> None:
    pages = [draw_page(seed, dpi=dpi, marks=4, style=CLEAN) for seed in range(40, 44)]
    spans = [
        max(mark.box[2] - mark.box[0], mark.box[3] - mark.box[1]) / dpi * 25.4
        for page in pages
        for mark in page.marks
        if not mark.partial
    ]
    assert spans
    assert min(spans) > 6
    assert max(spans) < 130


def test_a_squashed_page_takes_its_boxes_along() -> None:
    whole, squashed = draw_page(8, dpi=LOW, marks=3), draw_page(8, dpi=LOW, marks=3, size=(640, 640))
    height, width = whole.pixels.shape[:2]
    assert squashed.pixels.shape == (640, 640, 3)
    expected = np.array([mark.box for mark in whole.marks]) * np.array([640 / width, 640 / height] * 2)
    np.testing.assert_allclose([mark.box for mark in squashed.marks], expected)


@pytest.mark.parametrize("seed", range(50, 58))
def test_marks_flagged_as_overlapping_have_a_partner(seed: int) -> None:
    marks = draw_page(seed, dpi=72, marks=6).marks
    flagged = [mark for mark in marks if mark.overlaps]
    assert len(flagged) != 1
    for mark in flagged:
        assert any(boxes_meet(mark.box, other.box) for other in flagged if other is not mark)
    for mark in set(marks) - set(flagged):
        assert not any(mark.box == other.box for other in marks if other is not mark)


def boxes_meet(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def test_signatures_lie_over_stamps_often_enough_to_learn_from() -> None:
    pages = [draw_page(seed, dpi=72, marks=4, style=CLEAN) for seed in range(60, 72)]
    overlapping = [mark for page in pages for mark in page.marks if mark.overlaps]
    assert {"signature", "stamp"} <= {mark.label for mark in overlapping}
    assert len(overlapping) > 0.15 * sum(len(page.marks) for page in pages)
