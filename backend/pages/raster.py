"""Raster files (JPEG, PNG, TIFF, WebP, BMP, GIF) → upright RGB pages.

EXIF orientation: the eight ways a camera or scanner can say how its picture is to be turned.
"""

from __future__ import annotations

import io
from contextlib import contextmanager
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image

from backend.errors import LimitExceeded, PageError, PageUnavailable, UndecodablePage
from backend.pages.page import Page

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from backend.pages.page import Limits

__all__ = ["count_guard", "decode_raster", "decoding", "orientation_of", "upright"]

_ORIENTATION_TAG = 0x0112
# Pillow warns of, and then refuses, large pictures by a number of its own; here MAX_PIXELS decides, from the header.
Image.MAX_IMAGE_PIXELS = None

_MOST_FRAMES = 10_000  # of one file, whichever are wanted: finding a page walks all directories before it
_MOST_SCANS = 100  # a progressive JPEG has about ten; each scan costs as much time as the whole picture
_LONGEST_SHEET_INCHES = 24.0
_WHITE_IS_ZERO = 0


def orientation_of(image: Image.Image) -> int:
    """EXIF orientation, 1 to 8; 1 where there is none, or none that can be read, as browsers have it."""
    try:
        value = image.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:  # damaged EXIF makes the parser raise anything, and does not spoil the picture
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def upright(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """The stored (H, W, 3) pixels turned as EXIF `orientation` asks, C-contiguous; (W, H, 3) for 5 to 8."""
    match orientation:
        case 2:
            turned = cv2.flip(pixels, 1)
        case 3:
            turned = cv2.rotate(pixels, cv2.ROTATE_180)
        case 4:
            turned = cv2.flip(pixels, 0)
        case 5:
            turned = cv2.transpose(pixels)
        case 6:
            turned = cv2.rotate(pixels, cv2.ROTATE_90_CLOCKWISE)
        case 7:
            turned = cv2.flip(cv2.transpose(pixels), -1)
        case 8:
            turned = cv2.rotate(pixels, cv2.ROTATE_90_COUNTERCLOCKWISE)
        case _:
            turned = pixels
    return np.ascontiguousarray(turned, dtype=np.uint8)


@contextmanager
def decoding(reference: str) -> Iterator[None]:
    """Turns what a decoder raises on bad bytes into `UndecodablePage`, and a want of memory into `PageUnavailable`.

    The second passes: the same page asked for later may well be had.
    """
    try:
        yield
    except PageError:
        raise
    except Exception as error:
        if _is_short_of_memory(error):
            raise PageUnavailable(reference, "there is no memory to decode it at the moment: ask again") from error
        raise UndecodablePage(reference, f"damaged or cut short: it cannot be read ({type(error).__name__})") from error


def _is_short_of_memory(error: Exception) -> bool:
    """Whether there was no memory, in the words of Python and NumPy, of OpenCV, or of Pillow's decoders."""
    if isinstance(error, cv2.error):
        return error.code == cv2.Error.StsNoMem
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and "out of memory" in str(error))


def count_guard(count: int, pages: slice | None, *, reference: str, limits: Limits) -> range:
    """Indices of the wanted pages of a file of `count`.

    Raises:
        LimitExceeded: More than `limits.max_pages` are wanted.
    """
    wanted = range(count)[pages or slice(None)]
    if len(wanted) > limits.max_pages:
        raise LimitExceeded(reference, f"{len(wanted)} pages, more than MAX_PAGES ({limits.max_pages})")
    return wanted


def decode_raster(data: bytes, kind: str, *, reference: str, limits: Limits, pages: slice | None) -> Iterator[Page]:
    """Pages of a file that `kind` (a Pillow format name) can read; one at a time is in memory.

    Of animations, and of the several pictures that phones put in one JPEG, the first is the page.

    Raises:
        LimitExceeded: Pixels of a page, scans of a JPEG, or the number of pages.
        PageUnavailable: There is no memory for it at the moment.
        UndecodablePage: Damaged, cut short, or of a pixel type that is no page's.
    """
    with decoding(reference), Image.open(io.BytesIO(data), formats=(kind,)) as image:
        count = _frames(image, reference) if kind == "TIFF" else 1
        for index in count_guard(count, pages, reference=reference, limits=limits):
            if kind == "TIFF":
                image.seek(index)
            yield _page(image, data, reference, index, limits)


def _frames(image: Image.Image, reference: str) -> int:
    for count in range(_MOST_FRAMES):
        try:
            image.seek(count)
        except EOFError:
            return count
    raise LimitExceeded(reference, f"more than {_MOST_FRAMES} pages in one file")


def _page(image: Image.Image, data: bytes, reference: str, index: int, limits: Limits) -> Page:
    width, height = image.size
    if width * height > limits.max_pixels:
        raise LimitExceeded(reference, f"{width}x{height} pixels, more than MAX_PIXELS ({limits.max_pixels})")
    dpi = _dpi(image)
    is_jpeg = image.format in ("JPEG", "MPO")
    if is_jpeg:
        _count_scans(data, reference)
    if is_jpeg and image.mode in ("RGB", "L"):
        pixels = _jpeg(data, (height, width), reference)
    else:
        pixels = _rgb(image, reference)
    # Only now: Pillow turns TIFF itself while loading, and then says 1.
    return Page(pixels=upright(pixels, orientation_of(image)), reference=reference, index=index, dpi=dpi)


def _dpi(image: Image.Image) -> float | None:
    """Dots an inch, where both axes agree and make a sheet; 72 on a phone's photograph says nothing."""
    try:
        across, down = (float(value) for value in image.info["dpi"])
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    plausible = 50 <= across <= 1200 and abs(across - down) <= 0.01 * across
    return across if plausible and max(image.size) <= _LONGEST_SHEET_INCHES * across else None


def _count_scans(data: bytes, reference: str) -> None:
    """Raises LimitExceeded for a JPEG of any colours that would be decoded for ever."""
    scans = data.count(b"\xff\xda")
    if scans > _MOST_SCANS:
        raise LimitExceeded(reference, f"a JPEG of {scans} scans; more than {_MOST_SCANS} only cost time")


def _jpeg(data: bytes, shape: tuple[int, int], reference: str) -> NDArray[np.uint8]:
    """Greyscale and colour JPEG through OpenCV: the same pixels as Pillow's, a third sooner."""
    if not _reaches_end(data):
        raise UndecodablePage(reference, "cut short: the JPEG has no end")
    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    pixels = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), flags)
    if pixels is None or pixels.shape != (*shape, 3):
        raise UndecodablePage(reference, "damaged: the JPEG cannot be decoded")
    # libjpeg fills what is missing before an end marker with exact mid-grey, and only warns.
    if (pixels[-1] == 128).all() and not (pixels[0] == 128).all():
        raise UndecodablePage(reference, "cut short: the lower part of the JPEG is missing")
    return np.asarray(pixels, dtype=np.uint8)


def _reaches_end(data: bytes) -> bool:
    """Whether an end marker follows the first scan; markers before it may belong to a thumbnail in the EXIF."""
    position = 2
    while position + 4 <= len(data):
        if data[position] != 0xFF:
            return False
        marker = data[position + 1]
        if marker == 0xDA:
            return data.find(b"\xff\xd9", position) != -1
        if marker == 0xFF:
            position += 1
        elif marker == 0x01 or 0xD0 <= marker <= 0xD8:
            position += 2
        else:
            position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return False


def _rgb(image: Image.Image, reference: str) -> NDArray[np.uint8]:
    """(H, W, 3) of any picture Pillow opens: paper is white behind transparency, 16 bits are scaled, not clipped."""
    image.load()
    if image.mode.startswith("I;16"):
        return _grey16(image)
    if image.mode in ("I", "F", "LAB", "HSV"):
        raise UndecodablePage(reference, f"pixels of type {image.mode} are no page's: save it as 8-bit RGB or grey")
    if image.has_transparency_data:
        rgba = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
        paper = Image.new("RGB", rgba.size, "white")
        paper.paste(rgba, mask=rgba.getchannel("A"))
        return np.array(paper)
    return np.array(image.convert("RGB"))


def _grey16(image: Image.Image) -> NDArray[np.uint8]:
    tags = getattr(image, "tag_v2", {})
    deepest = 2 ** int(tags.get(258, (16,))[0]) - 1
    table = (np.minimum(np.arange(65536), deepest) * 255 + deepest // 2) // deepest
    if tags.get(262) == _WHITE_IS_ZERO:
        table = 255 - table
    grey = table.astype(np.uint8)[np.asarray(image).astype(np.uint16, copy=False)]
    return np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB), dtype=np.uint8)
