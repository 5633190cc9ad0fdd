"""A page's size in millimetres: its resolution, its print, or A4."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from backend.vision.working_raster import long_side_mm, rasterise

_TEXT = "the buyer agrees to pay the seller on the day named above and signs here "


def printed(width_mm: float, height_mm: float, dpi: float, *, lines: int | None = None) -> NDArray[np.uint8]:
    """White paper with lines of print, the small letters of which are about 2 mm high."""
    pixels = np.full((round(height_mm * dpi / 25.4), round(width_mm * dpi / 25.4), 3), 255, np.uint8)
    size = dpi / 25.4 * 2.9 / 22  # OpenCV's capitals have 22 pixels at size 1
    for number, top in enumerate(np.arange(8.0, height_mm - 4, 5.0)[:lines]):
        text = (4 * _TEXT)[7 * number % len(_TEXT) :]
        place = round(5 * dpi / 25.4), round(top * dpi / 25.4)
        cv2.putText(
            pixels, text, place, cv2.FONT_HERSHEY_SIMPLEX, size, (20, 20, 20), max(1, round(dpi / 90)), cv2.LINE_AA
        )
    return pixels


def long_side(pixels: NDArray[np.uint8], dpi: float | None) -> float:
    raster = rasterise(pixels, dpi, pixel_mm=0.25)
    return max(raster.pixels.shape) * raster.pixel_mm


@pytest.mark.parametrize("dpi", [100, 200, 300])
def test_print_tells_the_size_of_a_sheet_within_a_third(dpi: int) -> None:
    found = long_side_mm(printed(210, 297, dpi))
    assert found is not None
    assert 297 / 1.34 < found < 297 * 1.34


def test_paper_without_print_does_not_tell_its_size() -> None:
    assert long_side_mm(np.full((2339, 1654, 3), 255, np.uint8)) is None
    assert long_side_mm(printed(80, 50, 200, lines=1)) is None


@pytest.mark.parametrize(
    ("width", "height", "dpi"),
    [
        (86, 54, 400),  # an identity card
        (15, 20, 200),  # the crop of a thumb
        (60, 60, 200),  # a square one
        (210, 297, 300),
        (297, 420, 150),
        (279, 432, 150),  # 11 by 17 inches
        (80, 620, 200),  # a receipt
        (620, 80, 203),  # one that lies
    ],
)
def test_a_files_own_resolution_counts(width: float, height: float, dpi: int) -> None:
    pixels = np.full((round(height * dpi / 25.4), round(width * dpi / 25.4), 3), 255, np.uint8)
    assert long_side(pixels, dpi) == pytest.approx(max(width, height), abs=1)


@pytest.mark.parametrize(
    ("shape", "dpi"),
    [
        ((3508, 2480), None),  # no resolution
        ((3508, 2480), 72.0),  # a page of a metre
        ((640, 640), None),  # squashed by a loader that wanted squares
        ((640, 640), 96.0),
    ],
)
def test_what_nothing_tells_of_is_a4(shape: tuple[int, int], dpi: float | None) -> None:
    assert long_side(np.full((*shape, 3), 255, np.uint8), dpi) == pytest.approx(297, abs=1)


def test_a_resolution_that_was_left_over_from_a_larger_copy_does_not_count() -> None:
    """A page made smaller to 100 dots an inch that still says 300 would be as small as a hand."""
    assert long_side(printed(210, 297, 100), 300) == pytest.approx(297, abs=1)


def test_a_placeholder_does_not_make_a_receipt_longer_than_its_print_says() -> None:
    assert long_side(printed(80, 300, 200), 72) == pytest.approx(297, abs=1)


def test_a_strip_too_long_for_the_raster_keeps_its_proportions() -> None:
    small = rasterise(np.full((6000, 480, 3), 255, np.uint8), 120, pixel_mm=0.25).pixels
    assert small.shape[0] == pytest.approx(4000, abs=2)
    assert small.shape[0] / small.shape[1] == pytest.approx(6000 / 480, rel=0.02)


def test_a_part_of_a_page_without_resolution_is_as_large_as_its_print_says() -> None:
    assert 60 < long_side(printed(85, 50, 200), None) < 120


def test_a_whole_page_without_resolution_is_a4_however_large_its_print_seems() -> None:
    assert long_side(printed(210, 297, 150), None) == pytest.approx(297, abs=1)
