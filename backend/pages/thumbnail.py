"""A small picture of a place on a page."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["thumbnail"]

_QUALITY = 82
_LARGEST_FACTOR = 3.0
"""A mark of a few pixels is not blown up to a blur."""


def thumbnail(
    pixels: NDArray[np.uint8],
    box: tuple[float, float, float, float],
    *,
    width: int,
    height: int,
    margin: float = 0.15,
) -> bytes:
    """A JPEG of a box with some of what is around it, as large as fits.

    Args:
        pixels: The upright page, (H, W, 3) RGB.
        box: x1, y1, x2, y2 in pixels; what lies outside the page is left out, at least one pixel stays.
        width: Most pixels across.
        height: Most pixels down.
        margin: Around the box, as a share of its sides.
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
    _, encoded = cv2.imencode(".jpg", cut, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return bytes(encoded.tobytes())
