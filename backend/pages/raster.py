"""Picture files → upright RGB on white paper, in a decoder process: one page at a time, no larger than can be used.

Pixels of any type are painted at a whole fraction of their size, in bands that need little memory.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import AvifImagePlugin, BmpImagePlugin, Image, Jpeg2KImagePlugin

from backend.errors import CutShort, UndecodablePage
from backend.pages.headers import ends_in_nothing, examine, still_webp, wavelet_levels
from backend.pages.page import Desk, Drawn, Refusal
from backend.pages.tiff import Directories, beginning_at

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

__all__ = ["PictureFile"]

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


# Pillow warns of, and then refuses, large pictures by a number of its own; here MAX_PIXELS decides, from the header.
Image.MAX_IMAGE_PIXELS = None
AvifImagePlugin.DEFAULT_MAX_THREADS = 1

_ORIENTATION_TAG = 0x0112
_SIDEWAYS = (5, 6, 7, 8)
_LONGEST_SHEET_INCHES = 24.0
_A4_INCHES = 297 / 25.4
_MOST_SHRUNK = 8
_OF_PIXELS = 10
"""Bytes a pixel that decoding a whole page takes: see `backend.pages.workbench.room_for`."""
_OF_WAVELETS = 20
"""The same of a JPEG 2000: 4 for each of three colours, and for Pillow's picture, 3 for the answer, 1 for its data."""
_LARGE_WAVELETS = 20_000_000
_LARGE_PROGRESSIVE = 40_000_000
_MOST_PIXELS_A_BYTE = 8 * 64
"""Of a JPEG: each block of 8 by 8 pixels takes a bit at least."""
_NEARLY = 0.98
"""Of a resolution that was meant: PNG counts dots a metre, and 300 dpi come back as 299.9994."""
_REDUCED = {
    1: (cv2.IMREAD_COLOR, cv2.IMREAD_GRAYSCALE),
    2: (cv2.IMREAD_REDUCED_COLOR_2, cv2.IMREAD_REDUCED_GRAYSCALE_2),
    4: (cv2.IMREAD_REDUCED_COLOR_4, cv2.IMREAD_REDUCED_GRAYSCALE_4),
    8: (cv2.IMREAD_REDUCED_COLOR_8, cv2.IMREAD_REDUCED_GRAYSCALE_8),
}


class PictureFile:
    """A picture file that is open; of animations, and of the several pictures in a phone's JPEG, the first is the page.

    Args:
        data: The whole file.
        kind: A Pillow format name, as `sniff` gives it.

    Raises:
        Refusal: Its headers are not those of a page.
    """

    def __init__(self, data: bytes, kind: str) -> None:
        examine(data, kind)
        if kind == "HEIF":
            # Here and not above: few files need it, and it is another library to load.
            import pi_heif  # noqa: PLC0415

            pi_heif.register_heif_opener(thumbnails=False)
        self._data = data
        self._kind = kind
        self._directories = Directories(data) if kind == "TIFF" else None

    def indices(self, wanted: slice | None) -> range:
        """Which pages `wanted` means."""
        return self._directories.indices(wanted) if self._directories else range(1)[wanted or slice(None)]

    def page(self, index: int, desk: Desk) -> Drawn:
        """Draws one page; raises `Refusal`."""
        offset = self._directories.offset(index) if self._directories else None
        try:
            return self._page(offset, desk)
        except (Refusal, MemoryError):
            raise
        except Exception:
            beyond = self._directories and offset and self._directories.is_cut(offset)
            if beyond or ends_in_nothing(self._data):
                raise Refusal(CutShort, "cut short: its last part is missing") from None
            raise

    def _page(self, offset: int | None, desk: Desk) -> Drawn:
        still = still_webp(self._data) if self._kind == "WEBP" else None
        if still:
            return _draw_webp(self._data, still.size, _turn(_exif(still.exif)), desk)
        data = self._data if offset is None else beginning_at(self._data, offset)
        with Image.open(io.BytesIO(data), formats=(self._kind,)) as image:
            return _draw(image, data, desk)

    def close(self) -> None:
        """Lets go of the file."""
        self._data = b""


def _draw(image: Image.Image, data: bytes, desk: Desk) -> Drawn:
    width, height = image.size
    desk.admit(width, height, bytes_a_pixel=_OF_WAVELETS if image.format == "JPEG2000" else _OF_PIXELS)
    dpi = _dpi(image)
    factor = _factor(image.size, dpi, desk.enough)
    if image.format in ("JPEG", "MPO"):
        bands, left = _jpeg(image, data, factor)
    elif isinstance(image, BmpImagePlugin.BmpImageFile) and image.tile and image.tile[0].codec_name == "bmp_rle":
        bands, left = _run_lengths(data, image.size), factor
    elif isinstance(image, Jpeg2KImagePlugin.Jpeg2KImageFile):
        bands, left = _jpeg2000(image, data, factor)
    else:
        image.load()
        bands, left = bands_of(image), factor
    # Only now: Pillow turns TIFF itself while loading, and then says 1.
    return _drawn(bands, left, _turn(image), desk, size=image.size if left == factor else (width, height), dpi=dpi)


def _drawn(bands: Bands, factor: int, turn: int, desk: Desk, *, size: tuple[int, int], dpi: float | None) -> Drawn:
    """Puts a decoded picture on the canvas.

    Args:
        bands: The picture.
        factor: What its sides are still to be divided by.
        turn: EXIF orientation.
        desk: Where.
        size: Width and height of the page in its file, as it lies there.
        dpi: Its resolution.
    """
    across, down = (shrunk(side, factor) for side in bands.size)
    if turn == 1:
        paint(bands, factor, desk.canvas(down, across))
    else:
        lying = np.empty((down, across, 3), np.uint8)
        paint(bands, factor, lying)
        turned(lying, turn, desk.canvas(*((across, down) if turn in _SIDEWAYS else (down, across))))
    return Drawn(size=size[::-1] if turn in _SIDEWAYS else size, dpi=dpi)


def _dpi(image: Image.Image) -> float | None:
    """Dots an inch, where both axes agree and make a sheet; 72 on a phone's photograph says nothing."""
    try:
        across, down = (float(value) for value in image.info["dpi"])
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    plausible = 50 <= across <= 1200 and abs(across - down) <= 0.01 * across
    return across if plausible and max(image.size) <= _LONGEST_SHEET_INCHES * across else None


def _factor(size: tuple[int, int], dpi: float | None, enough: float | None) -> int:
    """By how much a page may be made smaller: 1, 2, 4 or 8; where nothing tells its size, it is taken for A4."""
    factor = 1
    if enough:
        dpi = dpi or max(size) / _A4_INCHES
        while factor < _MOST_SHRUNK and dpi / (2 * factor) >= _NEARLY * enough:
            factor *= 2
    return factor


def _exif(packed: bytes) -> Image.Exif:
    exif = Image.Exif()
    exif.load(packed)
    return exif


def _turn(of: Image.Image | Image.Exif) -> int:
    """EXIF orientation, 1 to 8; 1 where there is none, or none that can be read, as browsers have it."""
    try:
        value = (of if isinstance(of, Image.Exif) else of.getexif()).get(_ORIENTATION_TAG, 1)
    except Exception:  # damaged EXIF makes the parser raise anything, and does not spoil the picture
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _jpeg(image: Image.Image, data: bytes, factor: int) -> tuple[Bands, int]:
    """A JPEG at one `factor`-th of its size, or at a larger one and what is left to divide by.

    Grey and colour go through OpenCV: the same pixels as Pillow's, a third sooner. Where it fails, Pillow says why.
    """
    if image.width * image.height > _MOST_PIXELS_A_BYTE * len(data):
        raise Refusal(CutShort, "cut short: so few bytes cannot hold so many pixels")
    if image.mode in ("RGB", "L"):
        grey = image.mode == "L"
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), _REDUCED[factor][grey] | cv2.IMREAD_IGNORE_ORIENTATION)
        width, height = (shrunk(side, factor) for side in image.size)
        if pixels is not None and pixels.shape[:2] == (height, width):
            found = np.asarray(pixels, np.uint8)
            _check_lower_part(found)
            code = cv2.COLOR_GRAY2RGB if grey else cv2.COLOR_BGR2RGB
            return Bands((width, height), lambda top, bottom: found[top:bottom], code), 1
    try:
        image.load()
    except OSError as error:
        # The library does not say which. It keeps all coefficients of a progressive one: six bytes a pixel in colour.
        large = image.info.get("progressive") and image.width * image.height > _LARGE_PROGRESSIVE
        if large and not ends_in_nothing(data):
            reason = "damaged, or more memory than a page may take: save it as a JPEG that is not progressive"
            raise Refusal(UndecodablePage, reason) from error
        raise
    return bands_of(image), factor


def _jpeg2000(image: Jpeg2KImagePlugin.Jpeg2KImageFile, data: bytes, factor: int) -> tuple[Bands, int]:
    """A JPEG 2000 at one `factor`-th of its size, or at the smallest that it can be decoded at and what is left.

    Decoding takes 12 bytes a pixel, and Pillow's picture 4: so A4 in colour at 600 dpi, decoded whole, does not fit
    into an ordinary page's room.
    """
    halvings = min(factor.bit_length() - 1, wavelet_levels(data))
    # Pillow makes room for a size that it rounds; the library rounds up.
    while any(shrunk(side, 1 << halvings) != (side + (1 << halvings >> 1)) >> halvings for side in image.size):
        halvings -= 1
    image.reduce = halvings
    try:
        image.load()
    except OSError as error:
        # The library does not say which.
        if image.width * image.height > _LARGE_WAVELETS:
            reason = "damaged, or more memory than a page may take: save the JPEG 2000 as another kind of file"
            raise Refusal(UndecodablePage, reason) from error
        raise
    return bands_of(image), factor >> halvings


def _check_lower_part(pixels: NDArray[np.uint8]) -> None:
    # libjpeg fills what is missing before an end marker with exact mid-grey, and only warns.
    if (pixels[-1] == 128).all() and not (pixels[0] == 128).all():
        raise Refusal(CutShort, "cut short: the lower part of the JPEG is missing")


def _run_lengths(data: bytes, size: tuple[int, int]) -> Bands:
    """A BMP in run lengths through OpenCV: Pillow's reader takes minutes for a hostile one."""
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if pixels is None or pixels.shape[1::-1] != size:
        raise Refusal(UndecodablePage, "damaged: the BMP cannot be decoded")
    found = np.asarray(pixels, np.uint8)
    return Bands(size, lambda top, bottom: found[top:bottom], cv2.COLOR_BGR2RGB)


def _draw_webp(data: bytes, size: tuple[int, int], turn: int, desk: Desk) -> Drawn:
    """A WebP that is no animation through OpenCV: the same pixels as Pillow's, for a fifth of the memory."""
    desk.admit(*size)
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
    if pixels is None or pixels.shape[1::-1] != size:
        raise Refusal(UndecodablePage, "damaged: the WebP cannot be decoded")
    found = np.asarray(pixels, np.uint8)

    def read(top: int, bottom: int) -> NDArray[np.uint8]:
        band = found[top:bottom]
        return band if band.shape[2] == 3 else on_paper(Image.fromarray(cv2.cvtColor(band, cv2.COLOR_BGRA2RGBA)))

    code = cv2.COLOR_BGR2RGB if found.shape[2] == 3 else None
    return _drawn(Bands(size, read, code), _factor(size, None, desk.enough), turn, desk, size=size, dpi=None)
