"""A page → the file that Label Studio keeps of it and shows."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from backend.pages.page import Page

__all__ = ["LONGEST_SIDE", "encode"]

LONGEST_SIDE = 5000
"""Pixels: A4 at 400 dpi passes as it is; browsers grow slow beyond."""
# Colour at full resolution, which coloured ink needs; at 92 the marks of a scan look like those of its source.
_JPEG = {"quality": 92, "subsampling": 0}
# Above this share of pixels that equal their left neighbour, PNG is the smaller file, and exact: pages that a program
# drew, and those in black and white. Paper that was scanned in grey or colour stays below.
_FLAT = 0.94
_EVERY_ROW = 4


def encode(page: Page) -> tuple[str, bytes]:
    """The page as a file: its suffix, `.jpg` or `.png`, and its bytes; upright, without metadata but the resolution.

    A page of which a side is longer than `LONGEST_SIDE` is scaled down. Grey pages become grey files.
    """
    pixels = page.pixels
    scale = min(1.0, LONGEST_SIDE / max(page.width, page.height))
    if scale < 1:
        size = max(1, round(page.width * scale)), max(1, round(page.height * scale))
        pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    image = Image.fromarray(pixels[:, :, 0] if _is_grey(pixels) else pixels)
    more = {} if page.dpi is None else {"dpi": (page.dpi * scale, page.dpi * scale)}
    file = io.BytesIO()
    if _flatness(pixels) > _FLAT:
        image.save(file, "PNG", **more)
        return ".png", file.getvalue()
    image.save(file, "JPEG", **_JPEG, **more)
    return ".jpg", file.getvalue()


def _is_grey(pixels: NDArray[np.uint8]) -> bool:
    red, green, blue = (pixels[:, :, channel] for channel in range(3))
    return bool(np.array_equal(red, green) and np.array_equal(green, blue))


def _flatness(pixels: NDArray[np.uint8]) -> float:
    """Share of pixels, of some rows, that equal their left neighbour."""
    rows = pixels[::_EVERY_ROW]
    if rows.shape[1] < 2:
        return 1.0
    return float((rows[:, 1:] == rows[:, :-1]).all(axis=2).mean())
