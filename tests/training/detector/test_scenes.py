"""Pages are changed as paper and scanners do it, and what is known about them goes along."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from backend.geometry import iou
from backend.synthetic.drawn_page import draw_page
from backend.training.detector.changes import Changes, changed
from backend.training.detector.detector_network import TAUGHT
from backend.training.detector.scenes import PastedMark, Scene, load_stock
from backend.training.pagestore import LabelledPage, PageStore
from backend.vision.network_config import MARKS
from tests.training.detector.conftest import CANVAS, STILL, Corners, known, plain_scene

HEIGHT, WIDTH = CANVAS
BOX = (150.0, 250.0, 230.0, 300.0)
MARK: PastedMark = (MARKS.index("thumb"), np.full((40, 30, 3), 1.0, np.float32))
"""Ink that lets a third of the light through."""


def rng(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


def ink_box(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    rows, columns = np.nonzero(pixels[..., 1] < 142)
    return np.array([[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]], np.float64)


def test_a_page_of_the_canvas_to_which_nothing_happens_stays_as_it_is() -> None:
    scene = plain_scene([("stamp", BOX)])
    same = changed(scene, (), STILL, rng())
    np.testing.assert_array_equal(same.pixels, scene.pixels)
    np.testing.assert_allclose(same.knowledge.boxes, [BOX])
    assert same.knowledge.labels.tolist() == [MARKS.index("stamp")]


def test_the_same_state_gives_the_same_scene_and_another_one_another() -> None:
    scene = plain_scene([("stamp", BOX)])
    every = Changes(window=CANVAS, paste=1, grey=0.5, hue=1, fade=1, tint=1, blur=1, noise=1, jpeg=1)
    one, same, other = (changed(scene, ((MARK,),), every, rng(seed)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one.pixels, same.pixels)
    np.testing.assert_array_equal(one.knowledge.boxes, same.knowledge.boxes)
    assert (one.pixels != other.pixels).any()


def test_the_scene_that_is_changed_stays_as_it_is() -> None:
    scene = plain_scene([("stamp", BOX)])
    before = scene.pixels.copy(), scene.knowledge.boxes.copy()
    changed(scene, ((MARK,),), Changes(window=CANVAS, paste=1, fade=1, tint=1), rng())
    np.testing.assert_array_equal(scene.pixels, before[0])
    np.testing.assert_array_equal(scene.knowledge.boxes, before[1])


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "change",
    [
        {"zoom": 1.16},
        {"stretch": 0.08},
        {"beyond": 0.06},
        {"zoom": 1.16, "stretch": 0.08, "beyond": 0.06},
    ],
    ids="+".join,
)
def test_boxes_follow_size_and_place_to_the_pixel(change: dict[str, Any], seed: int) -> None:
    moved = changed(plain_scene([("stamp", BOX)]), (), dataclasses.replace(STILL, **change), rng(seed))
    np.testing.assert_allclose(moved.knowledge.boxes, ink_box(moved.pixels), atol=1)
    assert abs(moved.knowledge.boxes - np.array([BOX])).max() > 0.5, "it did move"


def test_boxes_of_round_marks_follow_a_turn() -> None:
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    pixels = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    pixels[((x - 120) / 60) ** 2 + ((y - 150) / 30) ** 2 <= 1] = 0
    scene = Scene(pixels, known([("stamp", (60, 120, 181, 181))]))
    for seed in range(4):
        moved = changed(scene, (), dataclasses.replace(STILL, tilt=5), rng(seed))
        np.testing.assert_allclose(moved.knowledge.boxes, ink_box(moved.pixels), atol=2)


@pytest.mark.parametrize(("height", "width"), [(500, 380), (760, 520), (400, 600)])
def test_pages_of_other_sizes_come_onto_the_canvas_with_their_boxes(height: int, width: int) -> None:
    box = (width / 2 - 40, height / 2 - 20, width / 2 + 40, height / 2 + 20)
    moved = changed(plain_scene([("thumb", box)], height=height, width=width), (), STILL, rng(2))
    assert moved.pixels.shape == (HEIGHT, WIDTH, 3)
    if len(moved.knowledge.boxes):
        np.testing.assert_allclose(moved.knowledge.boxes, ink_box(moved.pixels), atol=1)
    else:
        assert (moved.pixels > 142).all() or len(moved.knowledge.ignored)


def test_beyond_the_edge_of_a_small_page_there_is_more_of_its_paper() -> None:
    scene = Scene(np.full((400, 300, 3), (250, 240, 200), np.uint8), known())
    assert (changed(scene, (), STILL, rng()).pixels == (250, 240, 200)).all()


def test_a_mark_of_which_half_is_gone_is_neither_taught_nor_denied() -> None:
    """Two pages wide, the canvas shows a part: marks are whole, cut by its edge, or gone."""
    marks: list[tuple[str, Corners]] = [("stamp", (float(x), 100.0, x + 90.0, 160.0)) for x in range(0, 1150, 100)]
    scene = plain_scene(marks, width=1200)
    cut = 0
    for seed in range(6):
        seen = changed(scene, (), STILL, rng(seed)).knowledge
        for box in (*seen.boxes, *seen.ignored):
            assert (box >= 0).all()
            assert (box <= [WIDTH, HEIGHT, WIDTH, HEIGHT]).all()
        assert ((seen.boxes[:, 2] - seen.boxes[:, 0]) >= 45 - 1e-6).all()
        assert ((seen.ignored[:, 2] - seen.ignored[:, 0]) < 45).all()
        cut += len(seen.ignored)
    assert cut


def test_nothing_is_mirrored() -> None:
    """A page that is dark at its left and half dark at its top stays so, however it is changed."""
    pixels = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    pixels[60:340, 40:90] = 0
    pixels[60:100, 40:240] = 60
    every = Changes(window=CANVAS, focus=0, turn=0, camera=0, fax=0, zoom=1.1, paste=0, grey=1, tint=0)
    for seed in range(8):
        shown = changed(Scene(pixels, known()), (), every, rng(seed)).pixels.mean(axis=2)
        assert shown[:, : WIDTH // 2].mean() < shown[:, WIDTH // 2 :].mean()
        assert shown[: HEIGHT // 2].mean() < shown[HEIGHT // 2 :].mean()


def test_a_pasted_mark_darkens_the_page_and_becomes_known() -> None:
    scene = plain_scene([("stamp", BOX)])
    always = dataclasses.replace(STILL, paste=1, most_pasted=1)
    for seed in range(5):
        pasted = changed(scene, ((MARK,),), always, rng(seed))
        assert pasted.knowledge.labels.tolist() == [MARKS.index("stamp"), MARKS.index("thumb")]
        np.testing.assert_allclose(pasted.knowledge.boxes[0], BOX)
        assert (pasted.pixels <= scene.pixels).all(), "ink only takes light"
        rows, columns = np.nonzero((pasted.pixels < scene.pixels).any(axis=2))
        seen = np.array([[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]], np.float64)
        assert iou(seen, pasted.knowledge.boxes[1:])[0, 0] > 0.95
        # A thumb is 13 to 28 mm long, 38 to 83 pixels, at any angle: 104 from corner to corner.
        assert 38 <= max(seen[0, 2:] - seen[0, :2]) <= 104


def test_a_pasted_mark_changes_nothing_of_what_is_complete_or_ignored() -> None:
    scene = Scene(np.full((HEIGHT, WIDTH, 3), 255, np.uint8), known(ignored=[(10, 10, 50, 50)], complete=["stamp"]))
    pasted = changed(scene, ((MARK,),), dataclasses.replace(STILL, paste=1), rng())
    np.testing.assert_array_equal(pasted.knowledge.complete, scene.knowledge.complete)
    np.testing.assert_allclose(pasted.knowledge.ignored, scene.knowledge.ignored)
    assert 1 <= len(pasted.knowledge.boxes) <= 3


def test_without_marks_to_paste_nothing_is_pasted() -> None:
    scene = plain_scene([("stamp", BOX)])
    assert len(changed(scene, (), dataclasses.replace(STILL, paste=1), rng()).knowledge.boxes) == 1


@pytest.mark.parametrize("change", ["grey", "hue", "fade", "tint", "blur", "noise", "jpeg"])
def test_each_change_changes_pixels_and_not_what_is_known(change: str) -> None:
    scene = plain_scene([("stamp", BOX)])
    scene.pixels[250:300, 150:230] = (60, 90, 200)
    always: dict[str, Any] = {change: 1.0}
    other = changed(scene, (), dataclasses.replace(STILL, **always), rng())
    assert (other.pixels != scene.pixels).any()
    np.testing.assert_allclose(other.knowledge.boxes, scene.knowledge.boxes)
    if change == "grey":
        assert np.ptp(other.pixels.astype(int), axis=2).max() == 0


def stored(tmp_path: Path) -> tuple[PageStore, LabelledPage]:
    """A page at 100 dpi, so twice the size of the detector's, with a stamp, a logo and handwriting."""
    store = PageStore(tmp_path)
    page = LabelledPage(
        name="a.png",
        document="a",
        split="train",
        domain="real",
        source="page_bw",
        licence="MIT",
        dpi=None,
        boxes=((200.0, 300.0, 300.0, 400.0),),
        labels=("stamp",),
        ignored=((100.0, 600.0, 300.0, 700.0),),
        complete=("signature",),
        logos=((10.0, 10.0, 60.0, 60.0),),
    )
    pixels = np.full((1170, 828, 3), 255, np.uint8)
    pixels[300:400, 200:300] = 0
    store.add(page, pixels)
    return store, page


def test_a_stock_holds_pages_at_the_detectors_resolution_and_what_is_known(tmp_path: Path) -> None:
    store, page = stored(tmp_path)
    drawn = dataclasses.replace(page, name="b", domain="drawn", source="drawn")
    store.add(drawn, store.pixels(page))
    stock = load_stock(store, [page, drawn])
    scene = stock.scenes[0]
    np.testing.assert_allclose(scene.pixels.shape[:2], (877, 620), atol=1)
    np.testing.assert_allclose(scene.knowledge.boxes, [[150, 225, 225, 300], [7.5, 7.5, 45, 45]], atol=0.5)
    assert scene.knowledge.labels.tolist() == [TAUGHT.index("stamp"), TAUGHT.index("print")]
    np.testing.assert_allclose(scene.knowledge.boxes[:1], ink_box(scene.pixels), atol=1)
    np.testing.assert_allclose(scene.knowledge.ignored, [[75, 450, 225, 525]], atol=0.5)
    assert scene.knowledge.complete.tolist() == [True, False, False, False, False]
    assert scene.turns == -1, "not every mark is boxed: the source may have turned it"
    assert stock.groups == ("real/page_bw", "drawn")
    assert stock.marks == ()


@pytest.mark.parametrize(("turned", "turns"), [(0, 0), (1, -1), (3, -1)])
def test_a_page_that_lies_on_its_side_teaches_no_way_up(turned: int, turns: int, tmp_path: Path) -> None:
    """Some pages come that way, and nobody says so: its print does."""
    drawn = draw_page(700, dpi=100)
    store, page = stored(tmp_path)
    whole = dataclasses.replace(
        page,
        name="c",
        domain="drawn",
        source="drawn",
        complete=MARKS,
        boxes=(),
        labels=(),
        ignored=(),
        logos=(),
        dpi=100,
    )
    store.add(whole, np.ascontiguousarray(np.rot90(drawn.pixels, turned)))
    [scene] = load_stock(store, [whole]).scenes
    assert scene.turns == turns


def test_marks_to_paste_are_cut_to_their_ink_and_those_without_ink_are_left_out(tmp_path: Path) -> None:
    store, page = stored(tmp_path)
    paper = np.full((100, 120, 3), (250, 245, 230), np.uint8)
    inked = paper.copy()
    inked[30:70, 20:100] = (40, 40, 160)
    stock = load_stock(store, [page], {"crops": [("stamp", inked), ("thumb", paper)], "empty": [("thumb", paper)]})
    ((mark,),) = stock.marks
    label, density = mark
    assert label == MARKS.index("stamp")
    assert density.shape == (40, 80, 3)
    # Red falls from 250 to 40; a little is taken off, since paper is not even.
    np.testing.assert_allclose(density[20, 40, 0], np.log(250 / 40), atol=0.1)


@pytest.mark.parametrize(("window", "possible"), [((64, 64), {1, 2, 3}), ((96, 64), {2})])
def test_a_turned_window_teaches_which_way_is_up_and_nothing_else(window: tuple[int, int], possible: set[int]) -> None:
    pixels = np.full((*window, 3), 255, np.uint8)
    pixels[: window[0] // 4] = 60
    scene, seen = Scene(pixels, known([("stamp", (10, 10, 30, 30))])), set()
    for seed in range(12):
        turned = changed(scene, (), dataclasses.replace(STILL, window=window, turn=1), rng(seed))
        np.testing.assert_array_equal(np.rot90(turned.pixels, -turned.turns), pixels)
        assert turned.pixels.shape == pixels.shape, "windows of one size are a batch"
        assert not len(turned.knowledge.boxes)
        assert not turned.knowledge.complete.any()
        seen.add(turned.turns)
    assert seen == possible


def test_a_page_of_which_nobody_knows_which_way_is_up_is_not_turned() -> None:
    scene = Scene(np.full((*CANVAS, 3), 255, np.uint8), known(), turns=-1)
    assert changed(scene, (), dataclasses.replace(STILL, turn=1), rng()).turns == -1


@pytest.mark.parametrize("seed", range(4))
def test_boxes_follow_a_camera_that_looks_aslant(seed: int) -> None:
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    pixels = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    pixels[((x - 160) / 40) ** 2 + ((y - 200) / 25) ** 2 <= 1] = 0
    scene = Scene(pixels, known([("stamp", (120, 175, 201, 226))]))
    aslant = dataclasses.replace(STILL, camera=1)
    moved = changed(scene, (), aslant, rng(seed))
    dark = moved.pixels[..., 1] < 60
    rows, columns = np.nonzero(dark)
    ink = np.array([[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]], np.float64)
    np.testing.assert_allclose(moved.knowledge.boxes, ink, atol=3)


def test_the_window_lies_about_what_it_looks_at_and_on_the_page() -> None:
    scene = plain_scene([("stamp", (1000.0, 1100.0, 1060.0, 1150.0))], height=1300, width=1200)
    for seed in range(10):
        window = changed(scene, (), dataclasses.replace(STILL, focus=1), rng(seed))
        np.testing.assert_allclose(window.knowledge.boxes, ink_box(window.pixels), atol=1)


@pytest.mark.parametrize(("above", "below"), [("signature", "stamp"), ("stamp", "signature")])
def test_a_signature_is_put_on_a_stamp_on_purpose_and_a_stamp_on_a_signature(above: str, below: str) -> None:
    ink = np.full((40, 60, 3), 0.5, np.float32)
    marks = (((TAUGHT.index(above), ink), (TAUGHT.index(below), ink)),)
    overlapping = 0
    for seed in range(30):
        pasted = changed(plain_scene(), marks, dataclasses.replace(STILL, paste=1, most_pasted=1, over=1), rng(seed))
        boxes, labels = pasted.knowledge.boxes, pasted.knowledge.labels
        if {above, below} <= {TAUGHT[label] for label in labels}:
            one, other = (boxes[labels == TAUGHT.index(name)] for name in (above, below))
            overlapping += bool((iou(one, other) > 0.05).any())
    assert overlapping >= 15
