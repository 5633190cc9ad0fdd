"""Pixels of any type → RGB on white paper, at a whole fraction of their size, in bands that need little memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image

from backend.errors import UndecodablePage
from backend.pages.document import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

__all__ = ["Bands", "bands_of", "paint", "shrunk", "turned"]

_BAND_PIXELS = 1 << 20
_WHITE_IS_ZERO = 0


@dataclass(frozen=True)
class Bands:
    """A decoded picture, read from the top.

    Attributes:
        size: Its width W and height H.
        read: Gives the rows from the first to before the second: (rows, W) grey, or (rows, W, 3).
        code: What OpenCV calls the way from these colours to RGB; `None` where they are RGB.
    """

    size: tuple[int, int]
    read: Callable[[int, int], NDArray[np.uint8]]
    code: int | None = None


def shrunk(side: int, factor: int) -> int:
    """Pixels of a side at one `factor`-th: what is left over at its end is a pixel, too, as in libjpeg."""
    return -(-side // factor)


def paint(bands: Bands, factor: int, canvas: NDArray[np.uint8]) -> None:
    """Fills a canvas of (H / factor, W / factor, 3), both rounded up: each pixel is the mean of `factor`²."""
    width, height = bands.size
    rows = max(1, _BAND_PIXELS // max(1, width) // factor) * factor
    for top in range(0, height, rows):
        band = bands.read(top, min(top + rows, height))
        if factor > 1:
            band = _smaller(band, factor)
        target = canvas[top // factor : top // factor + band.shape[0]]
        if bands.code is None:
            target[...] = band
        else:
            cv2.cvtColor(band, bands.code, dst=target)


def _smaller(band: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    down, right = (-side % factor for side in band.shape[:2])
    if down or right:
        band = np.asarray(cv2.copyMakeBorder(band, 0, down, 0, right, cv2.BORDER_REPLICATE), np.uint8)
    size = band.shape[1] // factor, band.shape[0] // factor
    return np.asarray(cv2.resize(band, size, interpolation=cv2.INTER_AREA), np.uint8)


def bands_of(image: Image.Image) -> Bands:
    """Bands of a loaded picture: 16 bits are scaled, not clipped, and paper is white behind transparency.

    Raises:
        Refusal: Pixels of a type that is no page's.
    """
    if image.mode in ("I", "F", "LAB", "HSV"):
        raise Refusal(UndecodablePage, f"pixels of type {image.mode} are no page's: save it as 8-bit RGB or grey")
    grey = image.mode in ("1", "L") or image.mode.startswith("I;16")
    if image.mode.startswith("I;16"):
        convert = _sixteen_bits(image)
    elif image.has_transparency_data:
        convert, grey = on_paper, False
    else:
        convert = _plain("L" if grey else "RGB")
    code = cv2.COLOR_GRAY2RGB if grey else None
    return Bands(image.size, lambda top, bottom: convert(image.crop((0, top, image.width, bottom))), code)


def _plain(mode: str) -> Callable[[Image.Image], NDArray[np.uint8]]:
    return lambda band: np.asarray(band if band.mode == mode else band.convert(mode))


def on_paper(band: Image.Image) -> NDArray[np.uint8]:
    """(H, W, 3) RGB of a picture with transparency, over white."""
    rgba = (band.convert("LA") if band.mode == "La" else band).convert("RGBA")
    paper = Image.new("RGB", rgba.size, "white")
    paper.paste(rgba, mask=rgba.getchannel("A"))
    return np.asarray(paper)


def _sixteen_bits(image: Image.Image) -> Callable[[Image.Image], NDArray[np.uint8]]:
    tags = getattr(image, "tag_v2", {})
    deepest = 2 ** int(tags.get(258, (16,))[0]) - 1
    table = (np.minimum(np.arange(65536), deepest) * 255 + deepest // 2) // deepest
    if tags.get(262) == _WHITE_IS_ZERO:
        table = 255 - table
    grey = table.astype(np.uint8)
    return lambda band: grey[np.asarray(band).astype(np.uint16, copy=False)]


def turned(pixels: NDArray[np.uint8], orientation: int, canvas: NDArray[np.uint8]) -> None:
    """Turns (H, W, 3) pixels onto a canvas as EXIF `orientation` asks; the canvas is (W, H, 3) for 5 to 8."""
    match orientation:
        case 2:
            cv2.flip(pixels, 1, dst=canvas)
        case 3:
            cv2.rotate(pixels, cv2.ROTATE_180, dst=canvas)
        case 4:
            cv2.flip(pixels, 0, dst=canvas)
        case 5:
            cv2.transpose(pixels, dst=canvas)
        case 6:
            cv2.rotate(pixels, cv2.ROTATE_90_CLOCKWISE, dst=canvas)
        case 7:
            cv2.flip(cv2.transpose(pixels), -1, dst=canvas)
        case 8:
            cv2.rotate(pixels, cv2.ROTATE_90_COUNTERCLOCKWISE, dst=canvas)
        case _:
            canvas[...] = pixels
