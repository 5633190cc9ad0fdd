"""Crops reach the network exactly as the original training saw them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from torchvision import transforms

from backend.geometry import as_boxes
from backend.vision.classifier import crop_bounds, network_input

GOLDEN = Path(__file__).with_name("golden_resize.npy")


def page(height: int, width: int, *, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    "box",
    [
        # Shrunk on both sides.
        (10, 20, 610, 520),
        # Shrunk across, stretched down.
        (0, 0, 640, 40),
        # Stretched on both sides.
        (100, 100, 130, 117),
        # As it is.
        (50, 60, 274, 284),
        # A single pixel.
        (639, 639, 640, 640),
    ],
)
def test_equals_the_seeds_transform_to_the_bit(box: tuple[int, int, int, int]) -> None:
    pixels = page(640, 640)
    left, top, right, bottom = box
    seed = transforms.Compose([transforms.Resize((224, 224)), transforms.ToTensor()])
    expected = seed(Image.fromarray(pixels).crop((left, top, right, bottom))).numpy()
    np.testing.assert_array_equal(network_input(pixels, as_boxes(box))[0], expected)


def golden_page() -> NDArray[np.uint8]:
    """Two slopes and a fine chequered pattern, which shows every difference between filters."""
    y, x = np.mgrid[0:260, 0:520]
    return np.stack([x // 2 % 256, y % 256, (x // 7 + y // 5) % 2 * 200 + 20], axis=-1).astype(np.uint8)


def test_golden_values() -> None:
    """Every sixteenth value of a crop as Pillow 13 made it: another Pillow must not move them unseen."""
    made = network_input(golden_page(), as_boxes([5, 7, 513, 251]))
    np.testing.assert_array_equal((made[0, :, ::16, ::16] * 255).round().astype(np.uint8), np.load(GOLDEN))


def test_no_boxes_give_an_empty_batch() -> None:
    assert network_input(page(50, 50), as_boxes([])).shape == (0, 3, 224, 224)


@pytest.mark.parametrize(
    ("box", "bounds"),
    [
        # Whole pixels stay.
        ((10, 20, 30, 40), (10, 20, 30, 40)),
        # Every pixel that is touched belongs to the crop.
        ((10.2, 20.9, 30.1, 40.0), (10, 20, 31, 40)),
        # Cut at the page.
        ((-5, -5, 300, 300), (0, 0, 200, 100)),
        # Thinner than a pixel.
        ((10.2, 10.2, 10.4, 10.4), (10, 10, 11, 11)),
        # Without any area, at the far edge.
        ((200, 100, 200, 100), (199, 99, 200, 100)),
        # Off the page altogether.
        ((500, 500, 600, 600), (199, 99, 200, 100)),
    ],
)
def test_crops_are_whole_pixels_inside_the_page(box: tuple[float, ...], bounds: tuple[int, ...]) -> None:
    np.testing.assert_array_equal(crop_bounds(as_boxes(box), width=200, height=100), [bounds])
