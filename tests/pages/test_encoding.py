"""What Label Studio keeps of a page: its pixels, upright, in the file that fits them."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from backend.pages.encoding import LONGEST_SIDE, encode, jpeg_bytes, jpeg_uri, png_bytes, png_uri
from backend.pages.page import Page


def page(pixels: np.ndarray, dpi: float | None = None) -> Page:
    return Page(pixels=np.ascontiguousarray(pixels, dtype=np.uint8), reference="page", dpi=dpi)


def reopened(page: Page) -> tuple[str, Image.Image]:
    suffix, data = encode(page)
    return suffix, Image.open(io.BytesIO(data))


def noise(height: int = 60, width: int = 40) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (height, width, 3), dtype=np.uint8)


def drawn() -> np.ndarray:
    pixels = np.full((60, 40, 3), 255, np.uint8)
    pixels[20:40, 10:30] = (20, 40, 200)
    return pixels


def test_what_a_program_drew_is_kept_to_the_bit() -> None:
    suffix, image = reopened(page(drawn()))
    assert (suffix, image.format, image.mode) == (".png", "PNG", "RGB")
    assert np.array_equal(np.asarray(image), drawn())


def test_a_scan_is_a_jpeg_with_colour_at_full_resolution() -> None:
    smooth = np.clip(np.add.outer(np.arange(60), np.arange(40))[..., None] + [100, 60, 20], 0, 255)
    suffix, image = reopened(page(smooth))
    assert (suffix, image.format) == (".jpg", "JPEG")
    layers: list[tuple[int, ...]] = image.layer  # type: ignore[attr-defined]  # JPEG files alone have it
    assert layers[0][1:3] == layers[1][1:3] == (1, 1), "chroma is not subsampled"
    assert np.abs(np.asarray(image, dtype=int) - smooth).max() <= 6


def test_grey_pages_are_grey_files() -> None:
    grey = np.repeat(noise()[:, :, :1], 3, axis=2)
    assert reopened(page(grey))[1].mode == "L"


@pytest.mark.parametrize("shape", [(LONGEST_SIDE + 1000, 30), (30, LONGEST_SIDE + 1000)])
def test_a_page_too_large_for_browsers_is_scaled_down_and_says_its_resolution(shape: tuple[int, int]) -> None:
    _, image = reopened(page(np.full((*shape, 3), 250), dpi=600))
    assert max(image.size) == LONGEST_SIDE
    assert min(image.size) == 25
    assert image.info["dpi"][0] == pytest.approx(500, abs=1)


def test_a_page_of_one_pixel_is_a_page() -> None:
    assert reopened(page(np.full((1, 1, 3), 9)))[1].size == (1, 1)


def test_nothing_but_the_resolution_goes_along() -> None:
    _, image = reopened(page(noise(), dpi=200))
    assert not image.getexif()
    assert image.info["dpi"] == (200, 200)


@pytest.mark.parametrize("pixels", [noise(), noise()[..., 0]], ids=["colour", "grey"])
def test_a_png_keeps_every_pixel_in_its_place(pixels: np.ndarray) -> None:
    for data in (png_bytes(pixels), png_bytes(pixels, compression=1), base64.b64decode(png_uri(pixels).split(",")[1])):
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), pixels)


def test_a_jpeg_has_the_colours_of_its_pixels() -> None:
    pixels = drawn()
    for data in (jpeg_bytes(pixels, quality=95), base64.b64decode(jpeg_uri(pixels, quality=95).split(",")[1])):
        image = np.asarray(Image.open(io.BytesIO(data)), dtype=int)
        assert np.abs(image[25:35, 15:25] - (20, 40, 200)).max() < 12
