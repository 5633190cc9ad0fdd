"""Small pictures of places: as large as fits, never empty, whatever the box."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from backend.pages.encoding import thumbnail


@pytest.mark.parametrize(
    ("box", "size"),
    [
        ((100, 100, 300, 200), (160, 80)),  # the wider side fills the frame
        ((100, 100, 200, 300), (48, 96)),
        ((0, 0, 10, 10), (36, 36)),  # three times its size, no more; a margin within the page
        ((-50, -50, 1000, 1000), (96, 96)),  # all of the page
        ((900, 900, 950, 950), (3, 3)),  # beyond it
        ((50, 50, 50, 50), (9, 9)),  # of no area
    ],
)
def test_it_fits(box: tuple[float, float, float, float], size: tuple[int, int]) -> None:
    image = cv2.imdecode(np.frombuffer(thumbnail(page(), box, width=160, height=96), np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    down, across = image.shape[:2]
    assert (across, down) == pytest.approx(size, abs=3)


def test_it_is_the_place_in_its_colours() -> None:
    pixels = page()
    pixels[100:200, 100:300] = (200, 30, 20)
    jpeg = thumbnail(pixels, (100, 100, 300, 200), width=160, height=96, margin=0.0)
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR_RGB)
    assert image is not None
    assert image.reshape(-1, 3).mean(axis=0) == pytest.approx((200, 30, 20), abs=4)


def test_a_frame_shows_where_the_box_is_and_leaves_what_is_in_it() -> None:
    jpeg = thumbnail(page(), (100, 150, 200, 250), width=400, height=400, margin=1.0, framed=True)
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR_RGB)
    assert image is not None
    assert image.shape == (400, 400, 3)
    blue = image[..., 2].astype(int) - image[..., 0] > 80
    rows, columns = np.nonzero(blue)
    assert (columns.min(), rows.min(), columns.max(), rows.max()) == pytest.approx((133, 133, 267, 267), abs=3)
    assert (image[145:255, 145:255] > 240).all()


def page() -> np.ndarray:
    return np.full((400, 400, 3), 255, np.uint8)
