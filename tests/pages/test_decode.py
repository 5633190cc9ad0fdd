"""Every format and pixel type becomes the same upright RGB page, or is refused as a whole."""

from __future__ import annotations

import io
import itertools
import struct
import threading
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from backend.errors import LimitExceeded, PageError, UndecodablePage
from backend.pages import Limits, Page, decode
from backend.pages.decode import sniff

from .conftest import packed, picture

if TYPE_CHECKING:
    from numpy.typing import NDArray

LIMITS = Limits(max_bytes=2_000_000, max_pixels=1_000_000, max_pages=4, seconds=20.0)
FORMATS = ("JPEG", "PNG", "TIFF", "WEBP", "BMP", "GIF")


def pages_of(data: bytes, *, limits: Limits = LIMITS, dpi: int = 72, pages: slice | None = None) -> list[Page]:
    return list(decode(data, reference="page", limits=limits, dpi=dpi, pages=pages))


def pixels_of(data: bytes) -> NDArray[np.uint8]:
    [page] = pages_of(data)
    assert page.pixels.dtype == np.uint8
    assert page.pixels.flags.c_contiguous
    assert page.pixels.shape == (page.height, page.width, 3)
    return page.pixels


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def pdf(*, width: float = 60, height: float = 40, count: int = 1, content: bytes = b"", rotate: int = 0) -> bytes:
    """A PDF of `count` same pages with a red square at the lower left, and `content` drawn over it."""
    stream = b"1 0 0 rg 0 0 20 20 re f " + content
    kids = b" ".join(b"%d 0 R" % (4 + index) for index in range(count))
    page = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 %f %f]/Rotate %d/Contents 3 0 R>>" % (width, height, rotate)
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Count %d/Kids[%s]>>" % (count, kids),
        b"<</Length %d>>stream\n%s\nendstream" % (len(stream), stream),
        *[page] * count,
    ]
    body = b"".join(b"%d 0 obj%s endobj\n" % (number, text) for number, text in enumerate(objects, 1))
    return b"%PDF-1.7\n" + body + b"trailer<</Root 1 0 R/Size %d>>\n%%%%EOF" % (len(objects) + 1)


@pytest.mark.parametrize(
    ("kind", "options", "mean_error"),
    [
        ("JPEG", {"quality": 95, "subsampling": 0}, 1),
        ("JPEG", {"quality": 95, "subsampling": 0, "progressive": True}, 1),
        ("PNG", {}, 0),
        ("PNG", {"interlace": True}, 0),
        ("TIFF", {}, 0),
        ("TIFF", {"compression": "tiff_lzw"}, 0),
        ("TIFF", {"compression": "tiff_adobe_deflate"}, 0),
        ("TIFF", {"compression": "packbits"}, 0),
        ("TIFF", {"compression": "jpeg", "quality": 95}, 3),
        ("TIFF", {"big_tiff": True}, 0),
        ("WEBP", {"lossless": True}, 0),
        ("WEBP", {"quality": 95}, 5),
        ("BMP", {}, 0),
        ("GIF", {}, 0),
    ],
)
def test_every_format_gives_the_same_page(kind: str, options: dict[str, Any], mean_error: float) -> None:
    got = pixels_of(packed(picture(), kind, **options)).astype(int)
    assert np.abs(got - np.asarray(picture(), dtype=int)).mean() <= mean_error


def test_jpeg_pixels_are_those_of_pillow() -> None:
    data = packed(picture(301, 203), "JPEG", quality=80)
    assert np.array_equal(pixels_of(data), np.asarray(Image.open(io.BytesIO(data))))


@pytest.mark.parametrize(
    "data", [b"", b"\0", b"<html>", b"PK\3\4" + bytes(60), b"%!PS-Adobe", bytes(5000), b"\xff\xd8"]
)
def test_other_bytes_are_refused_by_name(data: bytes) -> None:
    with pytest.raises(UndecodablePage, match="neither JPEG, PNG"):
        pages_of(data)


@pytest.mark.parametrize("kind", ["ICO", "TGA", "PPM", "JPEG2000", "AVIF", "ICNS", "PCX", "EPS"])
def test_formats_that_nobody_named_are_refused(kind: str) -> None:
    with pytest.raises(UndecodablePage, match="neither JPEG, PNG"):
        pages_of(packed(picture(64, 64), kind))


def test_a_pdf_may_begin_a_few_lines_late() -> None:
    assert sniff(b"From a scanner\r\n" * 10 + b"%PDF-1.4") == "PDF"
    assert sniff(bytes(2000) + b"%PDF-1.4") is None


# --- orientation -------------------------------------------------------------------------------------------------

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


# --- pixel types -------------------------------------------------------------------------------------------------


def ramp16() -> NDArray[np.uint16]:
    return np.linspace(0, 65535, 256).round().astype(np.uint16).reshape(16, 16)


@pytest.mark.parametrize(
    ("kind", "options"),
    [("PNG", {}), ("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"})],
)
def test_sixteen_bit_grey_is_scaled_not_clipped(kind: str, options: dict[str, Any]) -> None:
    got = pixels_of(packed(Image.fromarray(ramp16()), kind, **options))
    assert np.array_equal(got, np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, axis=2))


def tiff(pixels: bytes, *, width: int, height: int, order: str = "<", **tags: int) -> bytes:
    """A one-strip greyscale TIFF with the tags that Pillow cannot be made to write."""
    values = {256: width, 257: height, 258: 16, 259: 1, 262: 1, 273: 8, 277: 1, 278: height, 279: len(pixels)}
    values.update({int(name[1:]): value for name, value in tags.items()})
    entries = b"".join(struct.pack(order + "HHII", tag, 4, 1, value) for tag, value in sorted(values.items()))
    start = {"<": b"II*\0", ">": b"MM\0*"}[order]
    end = struct.pack(order + "H", len(values)) + entries + bytes(4)
    return start + struct.pack(order + "I", 8 + len(pixels)) + pixels + end


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


# --- resolution --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("width", "dpi", "expected"),
    [
        (60, (300, 300), 300),
        (60, (204, 98), None),  # a fax: its axes differ
        (60, (20, 20), None),  # below any scanner
        (60, (4800, 4800), None),  # above
        (3000, (72, 72), None),  # a phone's placeholder: a page of a metre
        (1700, (72, 72), 72),  # a screen-sized page of two feet
        (60, None, None),
    ],
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_resolution_is_kept_when_plausible(
    kind: str, width: int, dpi: tuple[int, int] | None, expected: float | None
) -> None:
    [page] = pages_of(packed(picture(width, 30), kind, **({"dpi": dpi} if dpi else {})))
    assert page.dpi == (None if expected is None else pytest.approx(expected, rel=0.01))


# --- several pages -----------------------------------------------------------------------------------------------


def sheets(count: int) -> bytes:
    images = [picture(10 + index, 8) for index in range(count)]
    return packed(images[0], "TIFF", save_all=True, append_images=images[1:], compression="tiff_lzw")


@pytest.mark.parametrize("make", [sheets, lambda count: pdf(count=count)], ids=["TIFF", "PDF"])
@pytest.mark.parametrize(
    ("pages", "indices"),
    [
        (None, [0, 1, 2, 3]),
        (slice(0, 1), [0]),
        (slice(-2, None), [2, 3]),
        (slice(None, None, -1), [3, 2, 1, 0]),
        (slice(9, None), []),
    ],
)
def test_pages_of_a_file_in_the_order_wanted(make: Any, pages: slice | None, indices: list[int]) -> None:
    got = pages_of(make(4), pages=pages)
    assert [page.index for page in got] == indices
    if make is sheets:
        assert [page.width for page in got] == [10 + index for index in indices]


@pytest.mark.parametrize("make", [sheets, lambda count: pdf(count=count)], ids=["TIFF", "PDF"])
def test_too_many_pages_are_refused_before_the_first(make: Any) -> None:
    with pytest.raises(LimitExceeded, match=r"5 pages, more than MAX_PAGES \(4\)"):
        next(decode(make(5), reference="page", limits=LIMITS, dpi=72))
    assert len(pages_of(make(5), pages=slice(-2, None))) == 2


def test_pages_are_decoded_as_they_are_asked_for() -> None:
    """The third sheet is broken; the two before it come all the same."""
    images = [picture(10, 8), picture(11, 8), picture(2000, 2000)]
    data = packed(images[0], "TIFF", save_all=True, append_images=images[1:], compression="tiff_lzw")
    pages = decode(data, reference="page", limits=LIMITS, dpi=72)
    assert [page.width for page in itertools.islice(pages, 2)] == [10, 11]
    with pytest.raises(LimitExceeded, match="MAX_PIXELS"):
        next(pages)


def test_a_tiff_whose_pages_go_round_in_circles_ends() -> None:
    data = bytearray(sheets(1))
    start = struct.unpack_from("<I", data, 4)[0]
    count = struct.unpack_from("<H", data, start)[0]
    struct.pack_into("<I", data, start + 2 + 12 * count, start)
    assert len(pages_of(bytes(data))) == 1


# --- PDF ---------------------------------------------------------------------------------------------------------


def test_a_pdf_page_is_rendered_at_the_resolution_wanted() -> None:
    [page] = pages_of(pdf(), dpi=144)
    assert (page.width, page.height, page.dpi) == (120, 80, 144.0)
    assert page.pixels[70, 10].tolist() == [255, 0, 0]
    assert page.pixels[10, 100].tolist() == [255, 255, 255]


def test_a_turned_pdf_page_is_upright() -> None:
    [page] = pages_of(pdf(rotate=90))
    assert (page.width, page.height) == (40, 60)
    assert page.pixels[5, 5].tolist() == [255, 0, 0]


@pytest.mark.parametrize("side", [1e6, 1e30], ids=["14 kilometres", "beyond numbers"])
def test_a_pdf_page_as_large_as_a_town_is_refused(side: float) -> None:
    with pytest.raises(PageError):
        pages_of(pdf(width=side, height=side))


def test_an_oversized_pdf_page_names_both_settings() -> None:
    with pytest.raises(LimitExceeded, match=r"page 1 .*MAX_PIXELS.*RENDER_DPI"):
        pages_of(pdf(width=10_000, height=10_000))


def test_a_pdf_that_takes_for_ever_to_draw_is_stopped() -> None:
    """A hundred thousand shapes; with no time at all the first pause ends the page."""
    data = pdf(content=b"0 0 60 40 re f " * 100_000)
    with pytest.raises(LimitExceeded, match="FETCH_TIMEOUT"):
        pages_of(data, limits=Limits(max_bytes=2_000_000, max_pixels=10**6, max_pages=4, seconds=1e-9))
    assert len(pages_of(pdf())) == 1  # the next document is not held up


def test_deeply_nested_pdf_content_is_one_error_or_a_page() -> None:
    for content in (b"q " * 200_000, b"[" * 200_000, b"<<" * 200_000, b"BT " * 100_000):
        assert len(pages_of(pdf(content=content))) == 1


def encrypted_pdf() -> bytes:
    """The trailer asks for a password that the document's key does not accept."""
    lock = b"<</Filter/Standard/V 1/R 2/O(%s)/U(%s)/P -4>>" % (b"o" * 32, b"u" * 32)
    identity = b"/ID[<00112233445566778899aabbccddeeff><00112233445566778899aabbccddeeff>]"
    return pdf().replace(b"trailer<<", b"trailer<</Encrypt %s%s" % (lock, identity))


def test_an_encrypted_pdf_says_so() -> None:
    with pytest.raises(UndecodablePage, match="encrypted"):
        pages_of(encrypted_pdf())


def test_threads_render_pdf_side_by_side() -> None:
    data, widths = pdf(count=4), []
    threads = [threading.Thread(target=lambda: widths.extend(page.width for page in pages_of(data))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert widths == [60] * 24


def test_an_abandoned_pdf_is_closed() -> None:
    pages = decode(pdf(count=4), reference="page", limits=LIMITS, dpi=72)
    next(pages)
    pages.close()  # type: ignore[attr-defined]
    assert len(pages_of(pdf())) == 1


def test_annotations_are_drawn() -> None:
    note = b"/Annots[<</Type/Annot/Subtype/Square/Rect[30 5 55 35]/IC[0 0 1]/C[0 0 1]/F 4/AP<</N 9 0 R>>>>]"
    head = b"9 0 obj<</Type/XObject/Subtype/Form/BBox[0 0 25 30]/Length 25>>stream\n"
    form = head + b"0 0 1 rg 0 0 25 30 re f  \nendstream endobj\n"
    data = pdf().replace(b"/Rotate 0", note).replace(b"trailer", form + b"trailer")
    [page] = pages_of(data)
    assert page.pixels[20, 42].tolist() == [0, 0, 255]


# --- hostile -----------------------------------------------------------------------------------------------------


def noisy(kind: str, **options: Any) -> bytes:
    """A page of which every part of the file matters."""
    noise = np.random.default_rng(7).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    return packed(Image.fromarray(noise), kind, **options)


@pytest.mark.parametrize("tenth", range(10))
@pytest.mark.parametrize("kind", FORMATS)
def test_a_file_cut_short_is_refused_as_a_whole(kind: str, tenth: int) -> None:
    data = noisy(kind, **({"lossless": True} if kind == "WEBP" else {}))
    with pytest.raises(UndecodablePage):
        pages_of(data[: len(data) * tenth // 10])


@pytest.mark.parametrize(
    ("progressive", "ending"),
    [
        (False, b""),  # cut off
        (False, b"\xff\xd9"),  # cut off, and an end put on
        (False, bytes(20_000)),  # the rest never arrived
        (True, b""),
        (True, bytes(20_000)),
    ],
)
def test_half_a_jpeg_is_no_page(progressive: bool, ending: bytes) -> None:
    data = packed(picture(600, 400), "JPEG", quality=95, progressive=progressive)
    with pytest.raises(UndecodablePage, match="cut short"):
        pages_of(data[: len(data) // 2] + ending)


def test_the_end_of_a_thumbnail_is_not_the_end_of_the_page() -> None:
    thumbnail = packed(picture(16, 16), "JPEG")
    data = packed(picture(600, 400), "JPEG", exif=b"Exif\0\0" + thumbnail)
    assert pixels_of(data).shape == (400, 600, 3)
    with pytest.raises(UndecodablePage, match="cut short"):
        pages_of(data[: len(data) // 2])


def test_a_jpeg_of_endless_scans_is_refused() -> None:
    data = packed(picture(), "JPEG", progressive=True)
    start = data.index(b"\xff\xda")
    with pytest.raises(LimitExceeded, match="scans"):
        pages_of(data[:start] + data[start:-2] * 200 + b"\xff\xd9")


def huge_png(side: int) -> bytes:
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IDAT", zlib.compress(bytes(9))) + png_chunk(b"IEND", b"")


def huge_jpeg() -> bytes:
    data = bytearray(packed(picture(), "JPEG"))
    size = data.index(b"\xff\xc0") + 5
    data[size : size + 4] = b"\xff\xff\xff\xff"
    return bytes(data)


@pytest.mark.parametrize(
    "data",
    [
        huge_png(100_000),
        huge_png(2**31 - 1),
        huge_jpeg(),
        packed(picture(), "BMP")[:18] + struct.pack("<ii", 100_000, 100_000) + packed(picture(), "BMP")[26:],
        b"GIF89a" + struct.pack("<HH", 65535, 65535) + packed(picture(), "GIF")[10:],
        tiff(bytes(32), width=2**30, height=2**30),
    ],
    ids=["PNG", "PNG, largest", "JPEG", "BMP", "GIF", "TIFF"],
)
def test_a_header_that_promises_too_much_is_refused_before_decoding(data: bytes) -> None:
    with pytest.raises(LimitExceeded, match="MAX_PIXELS"):
        pages_of(data)


def test_a_file_larger_than_the_limit_is_not_looked_at() -> None:
    with pytest.raises(LimitExceeded, match="MAX_BYTES"):
        pages_of(bytes(LIMITS.max_bytes + 1))


VALID = {
    "JPEG": noisy("JPEG"),
    "progressive JPEG": noisy("JPEG", progressive=True),
    "PNG": noisy("PNG"),
    "TIFF": noisy("TIFF"),
    "compressed TIFF": sheets(2),
    "WEBP": noisy("WEBP"),
    "BMP": noisy("BMP"),
    "GIF": noisy("GIF"),
    "PDF": pdf(count=2),
}


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # Pillow warns of what it mends; a server must go on then, too
@pytest.mark.parametrize("name", VALID)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_damage_gives_pages_or_a_page_error(name: str, data: st.DataObject) -> None:
    spoiled = bytearray(VALID[name])
    for _ in range(data.draw(st.integers(1, 8))):
        # Headers are short and matter most: half of the damage goes to the first hundred bytes.
        place = data.draw(st.integers(0, 100) | st.integers(0, len(spoiled) - 1)) % len(spoiled)
        match data.draw(st.sampled_from(["set", "cut", "double", "drop"])):
            case "set":
                spoiled[place] = data.draw(st.integers(0, 255))
            case "cut":
                del spoiled[max(place, 1) :]
            case "double":
                spoiled[place:place] = spoiled[place : place + 50]
            case "drop":
                del spoiled[max(place, 1) : place + 20]
    try:
        pages = pages_of(bytes(spoiled))
    except PageError:
        return
    for page in pages:
        assert page.pixels.dtype == np.uint8
        assert page.pixels.shape == (page.height, page.width, 3)
        assert page.width * page.height <= LIMITS.max_pixels
