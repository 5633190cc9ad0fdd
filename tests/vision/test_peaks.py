"""Heat-maps become boxes: one for each peak, where its cell's middle and its edges say."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from backend.vision.network_config import MARKS
from backend.vision.network_detector import Peaks, peaks_of

STRIDE = 8
SIGNATURE, STAMP, THUMB = range(len(MARKS))


def maps(rows: int = 6, columns: int = 8) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """No heat, and edges that reach 10 pixels in every direction."""
    return np.zeros((3, rows, columns), np.float32), np.full((12, rows, columns), 10, np.float32)


def read(
    heat: NDArray[np.float32],
    edges: NDArray[np.float32],
    *,
    least: float = 0.1,
    most: int = 20,
    same: float = 0.5,
    reach: float | None = None,
) -> Peaks:
    return peaks_of(heat, edges, stride=STRIDE, least=least, most=most, same=same, reach=reach)


def cells(peaks: Peaks) -> list[tuple[int, int]]:
    """Row and column of the cells whose edges reach alike in all directions."""
    middles = (peaks.boxes[:, :2] + peaks.boxes[:, 2:]) / 2
    return [(int(y // STRIDE), int(x // STRIDE)) for x, y in middles]


@pytest.mark.parametrize("label", [SIGNATURE, STAMP, THUMB])
@pytest.mark.parametrize(
    ("row", "column"),
    [(2, 3), (0, 0), (5, 7), (0, 7)],  # inside, and in corners, where there are fewer neighbours
)
def test_a_peak_gives_the_box_around_its_cells_middle(label: int, row: int, column: int) -> None:
    heat, edges = maps()
    heat[label, row, column] = 0.75
    edges[4 * label : 4 * label + 4, row, column] = [1, 2, 30, 40]
    peaks = read(heat, edges)
    x, y = 8 * column + 4, 8 * row + 4
    assert peaks.boxes.tolist() == [[x - 1, y - 2, x + 30, y + 40]]
    assert peaks.labels.tolist() == [label]
    assert peaks.scores.tolist() == [0.75]


def test_no_heat_no_peak() -> None:
    peaks = read(*maps())
    assert peaks.boxes.shape == (0, 4)
    assert peaks.labels.shape == peaks.scores.shape == (0,)


@pytest.mark.parametrize(
    ("heat", "found"),
    [
        # The hotter of two neighbours.
        ({(2, 2): 0.5, (2, 3): 0.6}, [(2, 3)]),
        # Corner to corner, too.
        ({(2, 2): 0.6, (3, 3): 0.5}, [(2, 2)]),
        # A cell between them makes two peaks.
        ({(2, 2): 0.5, (2, 4): 0.6}, [(2, 4), (2, 2)]),
        # Down a slope there is one top.
        ({(1, 1): 0.9, (1, 2): 0.8, (1, 3): 0.7, (1, 4): 0.6}, [(1, 1)]),
        # Equal neighbours are both peaks, unless their boxes are the same mark: here they share 12 of 28 columns.
        ({(2, 2): 0.5, (2, 3): 0.5}, [(2, 2), (2, 3)]),
    ],
)
def test_a_peak_is_a_cell_that_no_neighbour_outdoes(
    heat: dict[tuple[int, int], float], found: list[tuple[int, int]]
) -> None:
    values, edges = maps()
    for place, value in heat.items():
        values[STAMP][place] = value
    assert cells(read(values, edges)) == found


def test_a_plateau_is_one_mark() -> None:
    heat, edges = maps()
    heat[STAMP, 2:4, 3:5] = 0.5
    edges[:] = 40
    peaks = read(heat, edges)
    assert cells(peaks) == [(2, 3)]


@pytest.mark.parametrize(("least", "count"), [(0.2, 3), (0.4, 2), (0.6, 1), (0.8, 0)])
def test_least_is_the_heat_that_a_peak_needs(least: float, count: int) -> None:
    heat, edges = maps()
    heat[STAMP, 0, 0], heat[STAMP, 3, 3], heat[THUMB, 5, 7] = 0.6, 0.4, 0.3
    assert len(read(heat, edges, least=least).boxes) == count


def test_least_itself_is_enough() -> None:
    heat, edges = maps()
    heat[STAMP, 0, 0] = 0.5
    assert len(read(heat, edges, least=0.5).boxes) == 1


def test_most_keeps_the_hottest_of_each_class() -> None:
    heat, edges = maps()
    heat[STAMP, 0, 0], heat[STAMP, 0, 3], heat[STAMP, 0, 6] = 0.3, 0.5, 0.4
    heat[THUMB, 4, 4] = 0.2
    peaks = read(heat, edges, most=2)
    assert list(zip(peaks.labels, cells(peaks), strict=True)) == [(STAMP, (0, 3)), (STAMP, (0, 6)), (THUMB, (4, 4))]


@pytest.mark.parametrize(
    ("same", "found"),
    [
        # The boxes are 80 x 80, two cells apart: they share 64 of 96 columns.
        (0.6, [(2, 4)]),
        (0.7, [(2, 4), (2, 2)]),
    ],
)
def test_above_the_same_iou_the_hotter_of_a_class_stays(same: float, found: list[tuple[int, int]]) -> None:
    heat, edges = maps()
    heat[STAMP, 2, 2], heat[STAMP, 2, 4] = 0.5, 0.6
    edges[:] = 40
    assert cells(read(heat, edges, same=same)) == found


def test_two_classes_in_one_place_both_come_out_with_edges_of_their_own() -> None:
    heat, edges = maps()
    heat[SIGNATURE, 2, 3], heat[STAMP, 2, 3] = 0.4, 0.9
    edges[4 * SIGNATURE : 4 * SIGNATURE + 4] = 5
    edges[4 * STAMP : 4 * STAMP + 4] = 20
    peaks = read(heat, edges)
    assert peaks.labels.tolist() == [STAMP, SIGNATURE]
    assert peaks.boxes.tolist() == [[8, 0, 48, 40], [23, 15, 33, 25]]


def test_best_first_whatever_the_class() -> None:
    heat, edges = maps()
    heat[SIGNATURE, 0, 0], heat[STAMP, 0, 3], heat[THUMB, 0, 6], heat[SIGNATURE, 4, 4] = 0.3, 0.9, 0.5, 0.7
    peaks = read(heat, edges)
    assert peaks.labels.tolist() == [STAMP, SIGNATURE, THUMB, SIGNATURE]
    np.testing.assert_allclose(peaks.scores, [0.9, 0.7, 0.5, 0.3], atol=1e-6)


def test_the_maps_stay_as_they_are() -> None:
    heat, edges = maps()
    heat[STAMP, 2, 2] = 0.5
    before = heat.copy(), edges.copy()
    read(heat, edges)
    np.testing.assert_array_equal(heat, before[0])
    np.testing.assert_array_equal(edges, before[1])


def test_the_box_of_a_peak_is_the_mean_of_its_neighbours_boxes_by_their_heat() -> None:
    heat, edges = maps()
    heat[STAMP, 2, 3], heat[STAMP, 2, 4] = 0.75, 0.25
    edges[4:8, 2, 3] = [10, 10, 10, 10]  # x from 18 to 38, y from 10 to 30
    edges[4:8, 2, 4] = [30, 6, 6, 10]  # x from 6 to 42, y from 14 to 30
    assert read(heat, edges, reach=None).boxes.tolist() == [[18, 10, 38, 30]]
    assert read(heat, edges, reach=0.1).boxes.tolist() == [[15, 11, 39, 30]]


@pytest.mark.parametrize(("row", "column"), [(0, 0), (5, 7)])
def test_at_the_edge_of_a_page_fewer_neighbours_have_a_say(row: int, column: int) -> None:
    heat, edges = maps()
    heat[SIGNATURE, row, column] = 0.5
    assert read(heat, edges, reach=0.9).boxes.tolist() == read(heat, edges).boxes.tolist()


def test_a_wider_reach_asks_cells_further_away() -> None:
    heat, edges = maps()
    heat[THUMB, 2, 2], heat[THUMB, 2, 4] = 0.6, 0.3
    edges[8:12] = 20  # boxes of 40 pixels, 5 cells
    edges[8:12, 2, 4] = [36, 20, 4, 20]  # the same box, seen from two cells to the right
    edges[8:12, 2, 4] += [8, 0, 8, 0]  # but 8 pixels wider to each side
    assert read(heat, edges, reach=0.1).boxes[0].tolist() == [0, 0, 40, 40]
    assert read(heat, edges, reach=0.4).boxes[0].tolist() == pytest.approx([-8 / 3, 0, 40 + 8 / 3, 40])
