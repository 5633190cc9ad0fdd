"""Pixels → files: what Label Studio keeps of a page and shows, and pictures for stores, reports and lists."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

if TYPE_CHECKING:
    from backend.pages.page import Page

__all__ = ["LONGEST_SIDE", "encode", "jpeg_bytes", "jpeg_uri", "png_bytes", "png_uri", "thumbnail"]

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


def png_bytes(pixels: NDArray[np.uint8], *, compression: int | None = None) -> bytes:
    """A PNG file of (H, W, 3) RGB or (H, W) grey pixels.

    Args:
        pixels: What is kept, without loss.
        compression: 0, fast and large, to 9; None for OpenCV's own choice.
    """
    options = [] if compression is None else [cv2.IMWRITE_PNG_COMPRESSION, compression]
    return _file(".png", pixels, options)


def jpeg_bytes(pixels: NDArray[np.uint8], *, quality: int, full_colour: bool = False) -> bytes:
    """A JPEG file of (H, W, 3) RGB or (H, W) grey pixels.

    Args:
        pixels: What is kept.
        quality: 1 to 100.
        full_colour: Whether colour has the resolution of the page, and not half of it.
    """
    colour = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444] if full_colour else []
    return _file(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality, *colour])


def png_uri(pixels: NDArray[np.uint8]) -> str:
    """A PNG file within an address, for HTML pages that need no other file."""
    return f"data:image/png;base64,{base64.b64encode(png_bytes(pixels)).decode()}"


def jpeg_uri(pixels: NDArray[np.uint8], *, quality: int = 82) -> str:
    """A JPEG file within an address, for HTML pages that need no other file."""
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg_bytes(pixels, quality=quality)).decode()}"


def _file(suffix: str, pixels: NDArray[np.uint8], options: list[int]) -> bytes:
    # OpenCV's order is blue, green, red.
    ordered = pixels if pixels.ndim == 2 else pixels[..., ::-1]
    _, encoded = cv2.imencode(suffix, np.ascontiguousarray(ordered), options)
    return encoded.tobytes()


_QUALITY = 82
_LARGEST_FACTOR = 3.0
"""A mark of a few pixels is not blown up to a blur."""
_FRAME = (207, 79, 31)
"""Blue, green, red: the blue of the pages' focus, which no ink of the page hides."""


def thumbnail(
    pixels: NDArray[np.uint8],
    box: tuple[float, float, float, float],
    *,
    width: int,
    height: int,
    margin: float = 0.15,
    framed: bool = False,
) -> bytes:
    """A JPEG of a box with some of what is around it, as large as fits.

    Args:
        pixels: The upright page, (H, W, 3) RGB.
        box: x1, y1, x2, y2 in pixels; what lies outside the page is left out, at least one pixel stays.
        width: Most pixels across.
        height: Most pixels down.
        margin: Around the box, as a share of its sides.
        framed: Whether a line shows where the box is.
    """
    down, across = pixels.shape[:2]
    x1, y1, x2, y2 = box
    x, y = margin * max(x2 - x1, 1.0), margin * max(y2 - y1, 1.0)
    left, top = (int(np.clip(np.floor(at), 0, end - 1)) for at, end in ((x1 - x, across), (y1 - y, down)))
    right, bottom = (
        int(np.clip(np.ceil(at), start + 1, end)) for at, start, end in ((x2 + x, left, across), (y2 + y, top, down))
    )
    factor = min(width / (right - left), height / (bottom - top), _LARGEST_FACTOR)
    size = max(1, round(factor * (right - left))), max(1, round(factor * (bottom - top)))
    smooth = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    cut = cv2.resize(np.ascontiguousarray(pixels[top:bottom, left:right, ::-1]), size, interpolation=smooth)
    if framed:
        corners = [(round(factor * (at_x - left)), round(factor * (at_y - top))) for at_x, at_y in ((x1, y1), (x2, y2))]
        cv2.rectangle(cut, corners[0], corners[1], _FRAME, thickness=2)
    _, encoded = cv2.imencode(".jpg", cut, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return bytes(encoded.tobytes())
