"""What the refiner learns from: what is seen, where the marks in it end, and where there is none."""

from __future__ import annotations

import dataclasses
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from backend.geometry import as_boxes, iou
from backend.training.detector.scenes import Stock
from backend.training.refiner.refiner_samples import Lessons, Proposals, anywhere, jittered, lessons_at, lessons_of
from backend.vision.box_refiner import looked_at, window_of
from tests.models.detectors import ink_detector
from tests.training.detector.conftest import STILL, known, plain_scene
from tests.training.refiner.scenes import PAGES, SIDE, SIGNATURE, SIGNED_STAMP, STAMP, rng


@pytest.mark.parametrize("seed", range(20))
def test_a_box_is_moved_as_far_as_a_detector_is_off(seed: int) -> None:
    mark = np.array([100.0, 50.0, 160.0, 80.0])
    assert iou(jittered(mark, rng(seed))[None], mark[None])[0, 0] >= 0.2


@pytest.mark.parametrize("mirrored", [False, True])
def test_the_edges_of_a_lesson_are_those_of_the_ink_that_is_seen(mirrored: bool) -> None:
    lessons = [
        one
        for seed in range(8)
        for one in lessons_of(PAGES.scenes[0], most=2, side=96, margin=0.5, mirrored=mirrored, rng=rng(seed))
    ]
    assert len(lessons) == 16
    for lesson in lessons:
        rows, columns = np.nonzero(lesson.pixels.min(axis=2) < 128)
        found = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]) / 96
        np.testing.assert_allclose(lesson.edges[STAMP], found, atol=0.03)
        assert lesson.label == STAMP
        assert lesson.there.tolist() == [0, 1, 0]


def test_each_mark_is_as_many_lessons_as_another() -> None:
    scene = plain_scene([("stamp", (20.0, 20.0, 80.0, 80.0)), ("signature", (150.0, 200.0, 250.0, 240.0))])
    lessons = lessons_of(scene, most=6, side=SIDE, margin=0.5, mirrored=True, rng=rng())
    assert sorted(lesson.label for lesson in lessons) == [0, 0, 0, 1, 1, 1]


def test_a_mark_that_the_window_cuts_off_is_no_lesson() -> None:
    cut = plain_scene([("stamp", (-20.0, 20.0, 80.0, 80.0))])
    assert lessons_of(cut, most=4, side=SIDE, margin=0.5, mirrored=True, rng=rng()) == []


@pytest.mark.parametrize(
    ("box", "there"),
    [
        ((50.0, 90.0, 150.0, 190.0), [0, 1, 0]),
        ((10.0, 300.0, 60.0, 350.0), [0, 0, 0]),
        ((150.0, 210.0, 190.0, 260.0), [0, -1, 0]),
        ((250.0, 20.0, 300.0, 60.0), [-1, -1, -1]),
    ],
    ids=["on the stamp", "where nothing is", "on a stamp that is not seen whole from there", "where nobody knows"],
)
def test_a_candidate_learns_what_is_there(box: tuple[float, ...], there: list[int]) -> None:
    scene = plain_scene([("stamp", (60.0, 100.0, 140.0, 180.0)), ("stamp", (100.0, 205.0, 300.0, 265.0))])
    knowledge = dataclasses.replace(scene.knowledge, ignored=as_boxes([(240.0, 10.0, 310.0, 70.0)]))
    scene = dataclasses.replace(scene, knowledge=knowledge)
    [lesson] = lessons_at(scene, as_boxes([box]), side=SIDE, margin=0.5, mirrored=False, rng=rng())
    assert lesson.there.tolist() == there
    assert (lesson.edges[lesson.there < 1] == 0).all()


def test_nothing_is_said_of_a_class_whose_marks_are_not_all_boxed() -> None:
    stamp = [("stamp", (60.0, 100.0, 140.0, 180.0))]
    scene = dataclasses.replace(plain_scene(stamp), knowledge=known(stamp, complete=("stamp",)))
    beside = as_boxes([(10.0, 300.0, 60.0, 350.0)])
    [lesson] = lessons_at(scene, beside, side=SIDE, margin=0.5, mirrored=False, rng=rng())
    assert lesson.there.tolist() == [-1, 0, -1]


def test_places_chosen_by_lot_lie_on_the_page() -> None:
    boxes = anywhere(PAGES.scenes[0], 50, rng())
    height, width = PAGES.scenes[0].pixels.shape[:2]
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, 2:] <= [width, height]).all()
    assert (boxes[:, 2:] > boxes[:, :2]).all()
    assert len(np.unique(boxes, axis=0)) == 50


def seen_at(page: NDArray[np.uint8], box: NDArray[np.float64]) -> list[int]:
    """The values that a look at a box shows, in order."""
    return sorted(looked_at(page, window_of(box, 0.5), SIDE).ravel())


def test_half_of_an_items_lessons_are_of_marks_and_the_others_of_what_a_detector_proposes(tmp_path: Path) -> None:
    ink_detector(tmp_path, [[20.0] * 4] * 3)
    shown = {"each": 4, "side": SIDE, "margin": 0.5, "seed": (1,), "proposes": Proposals(tmp_path)}
    lessons = Lessons(PAGES, np.array([0]), np.array([0]), STILL, **shown)
    pixels, edges, there = lessons[0]
    assert (pixels.shape, edges.shape, there.shape) == ((4, SIDE, SIDE, 3), (4, 3, 4), (4, 3))
    page = PAGES.scenes[0].pixels
    proposed = [seen_at(page, box) for box in Proposals(tmp_path)(page)]
    assert proposed
    # Mirrored or not, what is seen of one place are the same pixels.
    assert [sorted(one.ravel()) in proposed for one in pixels.numpy()] == [False, False, True, True]
    again = pickle.loads(pickle.dumps(lessons))[0]  # noqa: S301  as a process that changes pages gets it
    assert all(torch.equal(one, other) for one, other in zip((pixels, edges, there), again, strict=True))


def test_a_page_without_marks_teaches_what_is_none() -> None:
    empty = Stock((plain_scene([]),), ("drawn",))
    _, _, there = Lessons(
        empty, np.array([0]), np.array([0]), STILL, each=3, side=SIDE, margin=0.5, seed=(1,), proposes=None
    )[0]
    assert there.tolist() == [[0, 0, 0]] * 3


def test_what_only_looks_like_a_mark_is_no_lesson() -> None:
    scene = plain_scene([("handwriting", (20.0, 20.0, 80.0, 80.0))])
    assert lessons_of(scene, most=4, side=SIDE, margin=0.5, mirrored=True, rng=rng()) == []


def test_a_signature_on_a_stamp_is_also_looked_for_from_the_stamps_box() -> None:
    found = [
        lesson.edges[SIGNATURE]
        for seed in range(60)
        for lesson in lessons_of(SIGNED_STAMP, most=2, side=SIDE, margin=0.5, mirrored=False, rng=rng(seed))
        if lesson.label == SIGNATURE
    ]
    # From about its own box it fills half of what is seen along each side, and at least a fifth of its area otherwise.
    from_stamp = [edges for edges in found if (edges[2:] - edges[:2]).prod() < 0.04]
    assert 0.2 < len(from_stamp) / len(found) < 0.5
    assert all((edges > 0).all() and (edges < 1).all() for edges in from_stamp), "it is seen whole"


@pytest.mark.parametrize(
    ("signature", "why"),
    [
        ((190.0, 140.0, 330.0, 160.0), "it reaches beyond what is seen from the stamp"),
        ((240.0, 140.0, 245.0, 160.0), "it does not touch the stamp"),
    ],
)
def test_a_mark_is_looked_for_from_another_only_where_they_lie_over_each_other(
    signature: tuple[float, float, float, float], why: str
) -> None:
    scene = plain_scene([("stamp", (100.0, 100.0, 200.0, 200.0)), ("signature", signature)])
    for seed in range(40):
        for lesson in lessons_of(scene, most=2, side=SIDE, margin=0.5, mirrored=False, rng=rng(seed)):
            left, top, right, bottom = lesson.edges[SIGNATURE]
            assert lesson.label == STAMP or (right - left) * (bottom - top) >= 0.04, why


def test_of_two_signatures_on_a_stamp_only_the_one_that_covers_more_of_it_is_looked_for_from_there() -> None:
    pair = plain_scene(
        [
            ("stamp", (100.0, 100.0, 200.0, 200.0)),
            ("signature", (105.0, 110.0, 165.0, 140.0)),
            ("signature", (150.0, 170.0, 180.0, 185.0)),
        ]
    )
    small = (30 * 15) / (200 * 200)
    for seed in range(40):
        for lesson in lessons_of(pair, most=3, side=SIDE, margin=0.5, mirrored=False, rng=rng(seed)):
            left, top, right, bottom = lesson.edges[SIGNATURE]
            assert lesson.label == STAMP or (right - left) * (bottom - top) > 2 * small
