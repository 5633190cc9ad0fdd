"""The network's detector: what it sees lies where it is on the page, whatever the page."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from backend.geometry import Boxes, as_boxes
from backend.vision.box_refiner import BoxRefiner, RefinerConfig
from backend.vision.engine import DetectorConfig, DetectorNetwork
from backend.vision.network_config import MARKS
from backend.vision.network_detector import ModelDetector, padded, page_input
from backend.vision.weights import DETECTOR_CONFIG_FILE, DETECTOR_WEIGHTS_FILE
from tests.models.detectors import (
    ink_detector,
    open_detector,
    random_network,
    write_detector,
    write_refiner,
)
from tests.vision.drawing import blotted_page

CYAN, BLACK = (0, 255, 255), (0, 0, 0)
ALIKE = [[20.0, 12.0, 28.0, 16.0]] * 3
"""Distances to the edges, pixels at 50 dpi, for each class."""
SIDES = st.integers(1, 500)


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> ModelDetector:
    """A network that has peaks all over every page."""
    folder = tmp_path_factory.mktemp("random")
    write_detector(random_network(seed=4), folder, least_heat=0.3)
    return open_detector(folder)


@pytest.fixture(scope="module")
def sees_ink(tmp_path_factory: pytest.TempPathFactory) -> ModelDetector:
    folder = tmp_path_factory.mktemp("ink")
    ink_detector(folder, ALIKE, least_heat=0.3)
    return open_detector(folder)


def check(detector: ModelDetector, page: NDArray[np.uint8], dpi: float | None) -> int:
    """Asserts what holds for the candidates of every page, and tells how many there are."""
    height, width = page.shape[:2]
    found = detector(page, dpi)
    assert found.boxes.shape == (len(found), 4)
    assert found.heat.shape == (len(found), len(MARKS))
    assert (found.boxes >= 0).all()
    assert (found.boxes <= [width, height, width, height]).all()
    assert (found.boxes[:, 2:] - found.boxes[:, :2] >= 1).all(), "each shows a pixel of the page at least"
    assert (np.diff(found.scores) <= 0).all(), "best first"
    np.testing.assert_array_equal(found.heat.max(axis=1, initial=0), found.scores)
    assert (found.heat <= 1).all()
    return len(found)


@pytest.mark.parametrize(
    ("height", "width"),
    [
        (585, 413),  # A4 at the network's own resolution
        (413, 585),  # lying
        (640, 640),  # squashed
        (1, 1),
        (1, 900),  # a line of pixels
        (900, 1),
        (40, 1500),  # a strip
        (31, 33),
    ],
)
@pytest.mark.parametrize("dpi", [None, 50, 300])
def test_boxes_lie_on_pages_of_every_shape(detector: ModelDetector, height: int, width: int, dpi: float | None) -> None:
    check(detector, blotted_page(height, width), dpi)


@settings(max_examples=25, deadline=None)
@given(height=SIDES, width=SIDES, dpi=st.none() | st.floats(20, 700), seed=st.integers(0, 9))
def test_boxes_lie_on_the_page(detector: ModelDetector, height: int, width: int, dpi: float | None, seed: int) -> None:
    check(detector, blotted_page(height, width, seed), dpi)


def test_the_network_of_these_tests_does_find_something(detector: ModelDetector) -> None:
    assert check(detector, blotted_page(585, 413), None) > 10


def test_the_same_page_gives_the_same_candidates_and_stays_as_it_is(detector: ModelDetector) -> None:
    page = blotted_page(400, 300)
    before = page.copy()
    first, second = detector(page), detector(page)
    np.testing.assert_array_equal(first.boxes, second.boxes)
    np.testing.assert_array_equal(first.heat, second.heat)
    np.testing.assert_array_equal(page, before)


@pytest.mark.parametrize(
    ("dpi", "said"),
    [
        (200, 200.0),  # as a scanner writes it
        (200, None),  # unknown: an A4 page is taken for A4
        (100, 100.0),
        (50, None),
    ],
)
def test_a_blot_of_ink_gives_a_box_where_it_is(sees_ink: ModelDetector, dpi: int, said: float | None) -> None:
    page = np.full((round(297 / 25.4 * dpi), round(210 / 25.4 * dpi), 3), 255, np.uint8)
    scale = dpi // 50
    # The cell in row 30 and column 20: at 50 dpi its middle is at (164, 244).
    page[240 * scale : 248 * scale, 160 * scale : 168 * scale] = CYAN
    found = sees_ink(page, said)
    assert len(found) == 1
    expected = np.array([164 - 20, 244 - 12, 164 + 28, 244 + 16]) * scale
    np.testing.assert_allclose(found.boxes[0], expected, atol=scale)
    np.testing.assert_allclose(found.heat[0], [1, 0, 0], atol=0.15)


@pytest.mark.parametrize("row", [2, 72, 145])  # at the head, in the middle and at the foot
def test_a_long_receipt_is_looked_at_from_head_to_foot(sees_ink: ModelDetector, row: int) -> None:
    page = np.full((round(600 / 25.4 * 200), round(80 / 25.4 * 200), 3), 255, np.uint8)
    page[32 * row : 32 * row + 32, 320:352] = CYAN
    [box] = sees_ink(page, 200).boxes
    x, y = 336, 32 * row + 16
    np.testing.assert_allclose(box, [x - 80, y - 48, x + 112, y + 64], atol=8)


def test_each_row_of_a_crowded_list_has_a_box_of_its_own(tmp_path: Path) -> None:
    """As on an attendance list: rows of 8 mm, so that each box lies between those of its neighbours."""
    ink_detector(tmp_path, [[20.0, 6.0, 28.0, 8.0]] * 3, least_heat=0.3, most=30)
    page = np.full((585, 413, 3), 255, np.uint8)
    for row in range(24):
        page[100 + 16 * row - 4 : 100 + 16 * row + 4, 200:208] = CYAN
    found = open_detector(tmp_path)(page, 50)
    middles = np.sort((found.boxes[:, 1] + found.boxes[:, 3]) / 2)
    np.testing.assert_allclose(middles, 101 + 16 * np.arange(24), atol=2)


def test_a_blot_on_a_squashed_page_gives_a_squashed_box(sees_ink: ModelDetector) -> None:
    page = np.full((640, 640, 3), 255, np.uint8)
    across, down = 640 / 413.4, 640 / 584.6  # of a pixel at 50 dpi
    page[round(240 * down) : round(248 * down), round(160 * across) : round(168 * across)] = CYAN
    found = sees_ink(page)
    np.testing.assert_allclose(found.boxes, [[144 * across, 232 * down, 192 * across, 260 * down]], atol=2.5)


def test_a_box_is_cut_at_the_edge_of_the_page(sees_ink: ModelDetector) -> None:
    page = np.full((1170, 826, 3), 255, np.uint8)
    page[:16, :16] = CYAN
    np.testing.assert_allclose(sees_ink(page, 100).boxes, [[0, 0, 64, 40]], atol=1)


def test_what_is_seen_beyond_the_page_is_no_candidate(tmp_path: Path) -> None:
    """At 413 x 585 the network sees 23 rows of padding, which repeat the last row of the page: three cells of ink."""
    ink_detector(tmp_path, [[8, 9, 8, 3]] * 3, least_heat=0.3)
    page = np.full((585, 413, 3), 255, np.uint8)
    page[576:, 160:168] = CYAN
    found = open_detector(tmp_path)(page, 50)
    # The first of the three, with its middle at 588, reaches back onto the page.
    np.testing.assert_allclose(found.boxes, [[156, 579, 172, 585]], atol=1)


def test_classes_in_nearly_one_place_are_one_candidate_with_the_heat_of_both(tmp_path: Path) -> None:
    # Boxes of the first two share 40 x 40 of 40 x 42 pixels; the third's is a quarter of theirs.
    ink_detector(tmp_path, [[20, 20, 20, 20], [20, 20, 20, 22], [10, 10, 10, 10]], least_heat=0.2)
    page = np.full((1170, 826, 3), 255, np.uint8)
    page[480:496, 320:336] = (102, 51, 153)  # takes 60 % of the red, 80 % of the green, 40 % of the blue
    found = open_detector(tmp_path)(page, 100)
    np.testing.assert_allclose(found.heat, [[0.6, 0.8, 0], [0, 0, 0.4]], atol=0.06)
    np.testing.assert_allclose(found.boxes, [[288, 448, 368, 532], [308, 468, 348, 508]], atol=2)
    np.testing.assert_array_equal(found.scores, found.heat.max(axis=1))


@pytest.mark.parametrize(
    ("height", "width", "dpi"),
    [(1170, 827, 100), (827, 1170, 100), (640, 640, None), (300, 500, None), (1700, 1200, 144), (90, 900, None)],
)
def test_the_scale_brings_boxes_to_the_network_and_back(height: int, width: int, dpi: float | None) -> None:
    page = np.full((height, width, 3), 255, np.uint8)
    box = np.array([width // 4, height // 3, width // 4 + width // 2, height // 3 + height // 2])
    page[box[1] : box[3], box[0] : box[2]] = BLACK
    small, scale = page_input(page, dpi)
    rows, columns = np.nonzero(small[..., 0] < 128)
    seen = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
    np.testing.assert_allclose(box * scale, seen, atol=1)
    np.testing.assert_allclose(seen / scale, box, atol=1 / scale.min())


def test_an_a4_page_comes_in_at_75_dpi_whatever_its_own() -> None:
    for dpi in (72, 100, 200):
        page = np.full((round(11.69 * dpi), round(8.27 * dpi), 3), 255, np.uint8)
        for said in (dpi, None):
            small, _ = page_input(page, said)
            np.testing.assert_allclose(small.shape[:2], (877, 620), atol=1.5)


def test_an_a3_page_is_neither_squashed_nor_made_smaller() -> None:
    small, _ = page_input(np.full((1654, 1169, 3), 255, np.uint8), 100)
    np.testing.assert_allclose(small.shape[:2], (1240, 877), atol=1.5)


@settings(max_examples=50, deadline=None)
@given(height=st.integers(1, 80), width=st.integers(1, 80), multiple=st.sampled_from([1, 8, 32]))
def test_padding_repeats_the_right_and_lower_edges_up_to_the_next_multiples(
    height: int, width: int, multiple: int
) -> None:
    page = blotted_page(height, width)
    wide = padded(page, multiple)
    assert [side % multiple for side in wide.shape[:2]] == [0, 0]
    assert wide.shape[0] - height < multiple
    assert wide.shape[1] - width < multiple
    np.testing.assert_array_equal(wide[:height, :width], page)
    np.testing.assert_array_equal(wide[height:, :width], np.broadcast_to(page[-1:], wide[height:, :width].shape))
    np.testing.assert_array_equal(wide[:, width:], np.broadcast_to(wide[:, width - 1 : width], wide[:, width:].shape))


def test_what_decides_the_candidates_is_in_the_facts(detector: ModelDetector, sees_ink: ModelDetector) -> None:
    assert detector.facts != sees_ink.facts
    assert detector.facts["least_heat"] == 0.3


def test_a_refiner_gives_the_boxes_their_edges_and_the_version_says_so(tmp_path: Path) -> None:
    """Candidates of one class that turn out to be one mark become one."""
    ink_detector(tmp_path, [[20.0, 12.0, 28.0, 16.0]] * 3, least_heat=0.3)
    plain = open_detector(tmp_path)
    page = np.full((585, 413, 3), 255, np.uint8)
    for column in (160, 176, 320):
        page[240:248, column : column + 8] = CYAN
    assert len(plain(page, 50)) == 3

    class Whole(BoxRefiner):
        """Takes what lies within a hundred pixels of the left for one mark."""

        config = RefinerConfig(sha256="ab" * 32)

        def __init__(self) -> None:
            pass

        def __call__(
            self, pixels: NDArray[np.uint8], boxes: Boxes, labels: NDArray[np.intp]
        ) -> tuple[Boxes, NDArray[np.float64]]:
            assert pixels.shape == (585, 413, 3)
            assert (labels == 0).all()
            refined = as_boxes([(140, 230, 220, 260) if box[0] < 200 else tuple(box) for box in boxes])
            return refined, np.zeros((len(boxes), len(MARKS)))

    config = DetectorConfig.read(tmp_path / DETECTOR_CONFIG_FILE)
    network = DetectorNetwork(tmp_path / DETECTOR_WEIGHTS_FILE, config, threads=1)
    detector = ModelDetector(network, refiner=Whole())
    found = detector(page, 50)
    assert sorted(map(list, found.boxes)) == [[140, 230, 220, 260], sorted(map(list, plain(page, 50).boxes))[2]]
    assert detector.facts != plain.facts


def test_a_second_look_that_sees_no_mark_makes_a_candidate_less_likely(tmp_path: Path) -> None:
    ink_detector(tmp_path, [[20.0, 12.0, 28.0, 16.0]] * 3, least_heat=0.3)
    config = DetectorConfig.read(tmp_path / DETECTOR_CONFIG_FILE)
    network = DetectorNetwork(tmp_path / DETECTOR_WEIGHTS_FILE, config, threads=1)
    page = np.full((585, 413, 3), 255, np.uint8)
    page[240:248, 160:168] = CYAN

    def heat(chance: float) -> list[float]:
        [found] = ModelDetector(network, refiner=write_refiner(tmp_path, chances=(chance, 0.1, 0.4)))(page, 50).heat
        return list(map(float, found))

    doubtful, unsure, sure = map(heat, (0.05, 0.5, 0.95))
    assert doubtful[0] < unsure[0] < sure[0]
    assert doubtful[1:] == unsure[1:] == sure[1:]
    assert doubtful[1] < doubtful[2], "the second look speaks of each class"
