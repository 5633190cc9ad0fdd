"""Every orientation and pixel type becomes the same upright RGB."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
from PIL import Image

from backend.errors import UndecodablePage
from backend.pages.headers import wavelet_levels
from backend.pages.source import decode
from tests.pages.files import LIMITS, packed, pages_of, picture, pixels_of, png_chunk, tiff

if TYPE_CHECKING:
    from numpy.typing import NDArray


STORED = {
    1: lambda upright: upright,
    2: np.fliplr,
    3: lambda upright: np.rot90(upright, 2),
    4: np.flipud,
    5: lambda upright: np.swapaxes(upright, 0, 1),
    6: lambda upright: np.rot90(upright, 1),  # turned clockwise to be seen, so stored turned the other way
    7: lambda upright: np.rot90(np.swapaxes(upright, 0, 1), 2),
    8: lambda upright: np.rot90(upright, -1),
}


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {"quality": 95, "subsampling": 0}),
        ("PNG", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),  # another path through the library, which turns by itself
        ("WEBP", {"lossless": True}),
    ],
)
def test_orientation_is_applied_exactly_once(kind: str, options: dict[str, Any], orientation: int) -> None:
    upright = np.asarray(picture())
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](upright)))
    got = pixels_of(packed(stored, kind, exif=exif, **options))
    assert got.shape == upright.shape
    assert np.abs(got.astype(int) - upright).max() <= 12


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_changes_nothing(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert np.array_equal(pixels_of(packed(picture(), "PNG", exif=exif)), np.asarray(picture()))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data:UserWarning")
def test_damaged_exif_does_not_spoil_a_page() -> None:
    assert pixels_of(packed(picture(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f junk")).shape == (40, 60, 3)


def ramp16() -> NDArray[np.uint16]:
    return np.linspace(0, 65535, 256).round().astype(np.uint16).reshape(16, 16)


@pytest.mark.parametrize(
    ("kind", "options"),
    [("PNG", {}), ("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"})],
)
def test_sixteen_bit_grey_is_scaled_not_clipped(kind: str, options: dict[str, Any]) -> None:
    got = pixels_of(packed(Image.fromarray(ramp16()), kind, **options))
    assert np.array_equal(got, np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, axis=2))


@pytest.mark.parametrize(("order", "white_is_zero"), [("<", False), (">", False), ("<", True)])
def test_sixteen_bit_tiff_of_either_kind(order: str, white_is_zero: bool) -> None:
    data = ramp16().astype(order + "u2").tobytes()
    got = pixels_of(tiff(data, width=16, height=16, order=order, t262=int(not white_is_zero)))
    expected = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert np.array_equal(got[..., 0], 255 - expected if white_is_zero else expected)


def test_twelve_bit_tiff_reaches_white() -> None:
    data = bytes.fromhex("fff000") * 8  # pairs of 4095 and 0
    got = pixels_of(tiff(data, width=2, height=8, t258=12))
    assert got[:, :, 0].tolist() == [[255, 0]] * 8


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("1", 1, (255, 255, 255)),
        ("L", 77, (77, 77, 77)),
        ("LA", (0, 0), (255, 255, 255)),  # transparent: paper shows
        ("LA", (0, 255), (0, 0, 0)),
        ("RGBA", (200, 0, 0, 255), (200, 0, 0)),
        ("RGBA", (0, 0, 0, 0), (255, 255, 255)),  # transparent black, as PNG editors leave it
        ("RGBA", (200, 0, 0, 51), (244, 204, 204)),  # a fifth of red on white
    ],
)
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_pixel_types_become_colour_on_white_paper(kind: str, mode: str, colour: Any, expected: tuple[int, ...]) -> None:
    assert pixels_of(packed(Image.new(mode, (9, 7), colour), kind))[3, 4].tolist() == list(expected)


def test_webp_with_alpha_lies_on_white() -> None:
    data = packed(Image.new("RGBA", (9, 7), (0, 0, 0, 0)), "WEBP", lossless=True)
    assert pixels_of(data)[3, 4].tolist() == [255, 255, 255]


def test_palettes_keep_their_colours_and_their_holes() -> None:
    image = picture().quantize(8)
    assert np.abs(pixels_of(packed(image, "PNG")).astype(int) - np.asarray(picture())).max() <= 2
    hole = image.getpixel((0, 0))
    for kind in ("PNG", "GIF"):
        got = pixels_of(packed(image, kind, transparency=hole))
        assert got[0, 0].tolist() == [255, 255, 255]
        assert got[-1, 0].tolist() == pytest.approx([30, 30, 220], abs=2)


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_is_not_inverted(kind: str) -> None:
    white = Image.new("CMYK", (16, 16), (0, 0, 0, 0))
    red = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    assert pixels_of(packed(white, kind))[8, 8].tolist() == pytest.approx([255, 255, 255], abs=3)
    assert pixels_of(packed(red, kind))[8, 8].tolist() == pytest.approx([255, 0, 0], abs=3)


def test_sixteen_bit_colour_is_read() -> None:
    row = b"\0" + struct.pack(">3H", 0xFFFF, 0x8000, 0) * 4
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 4, 16, 2, 0, 0, 0))
    data = b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IDAT", zlib.compress(row * 4)) + png_chunk(b"IEND", b"")
    assert pixels_of(data)[2, 2].tolist() == [255, 128, 0]


@pytest.mark.parametrize("values", [np.float32(0.5), np.int32(70000)])
def test_pixels_that_are_no_pages_are_refused(values: Any) -> None:
    image = Image.fromarray(np.full((8, 8), values))
    with pytest.raises(UndecodablePage, match="save it as 8-bit"):
        pages_of(packed(image, "TIFF"))


def test_of_an_animation_the_first_picture_is_the_page() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    for kind in ("GIF", "WEBP"):
        [page] = pages_of(packed(frames[0], kind, save_all=True, append_images=frames[1:], lossless=True))
        assert page.pixels[4, 4].tolist() == [255, 0, 0]


def test_of_a_phones_several_pictures_the_first_is_the_page() -> None:
    data = packed(picture(), "MPO", save_all=True, append_images=[picture(20, 10)])
    assert pixels_of(data).shape == (40, 60, 3)


@pytest.mark.parametrize(
    ("width", "height", "levels", "across", "down"),
    [
        (800, 600, 6, 200, 150),
        (801, 603, 6, 201, 151),  # what is left over is a pixel, too
        (803, 602, 6, 201, 151),
        (800, 600, 2, 200, 150),  # it can be halved once
        (800, 600, 1, 200, 150),  # and never
    ],
)
def test_a_jpeg_2000_is_decoded_no_larger_than_can_be_used(
    width: int, height: int, levels: int, across: int, down: int
) -> None:
    data = packed(picture(width, height), "JPEG2000", num_resolutions=levels)
    whole, small = (
        next(decode(data, reference="page", limits=LIMITS, dpi=72, enough=enough)) for enough in (None, 17.0)
    )
    assert (whole.pixels.shape[1], whole.pixels.shape[0]) == (width, height)
    assert (small.pixels.shape[1], small.pixels.shape[0]) == (across, down)
    assert (small.width, small.height) == (width, height)
    wanted = cv2.resize(whole.pixels, (across, down), interpolation=cv2.INTER_AREA)
    assert np.abs(small.pixels.astype(int) - wanted).mean() < 3


def test_how_often_a_jpeg_2000_can_be_halved_stands_in_its_header() -> None:
    data = packed(picture(640, 480), "JPEG2000")
    place = data.index(b"\xff\x4f\xff\x51")
    assert wavelet_levels(data) == 5
    assert wavelet_levels(data[: place + 8]) == 0
    assert wavelet_levels(b"") == 0
