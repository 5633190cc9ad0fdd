"""No file stops the program: each is a page or one typed error, within the bounds that its decoder is held to."""

from __future__ import annotations

import dataclasses
import mmap
import os
import random
import resource
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from backend.errors import CutShort, LimitExceeded, PageError, PageUnavailable, UndecodablePage
from backend.pages.decoders import Decoder, decoder, finish
from backend.pages.headers import sniff
from backend.pages.page import Limits
from backend.pages.source import decode
from backend.pages.workbench import ORDINARY_BYTES, _Desk, room_for
from tests.patience import SECONDS

from .damaged import VALID, damaged
from .files import LIMITS, noisy, packed, pages_of, pdf, picture, sheets
from .hostile import HOSTILE

if TYPE_CHECKING:
    from collections.abc import Iterator

FEW = Limits(max_bytes=80_000_000, max_pixels=2_000_000, max_pages=4, seconds=1.0)
"""A page of 2 megapixels, and seconds that a test can wait."""
SLOW_TO_MAKE = (
    *("120 megapixels", "110 megapixels", "64 megapixels", "80 megapixels", "100 megapixels", "gigapix", "of nothing"),
    *("million", "than it says", "60 megabytes", "000 levels", "deflated nothing", "masks of masks", "000 pages"),
    *("objects in objects", "100,000 tables", "50,000 packed", "a billion shapes", "900 EXIF"),
)
"""Their kinds are here in small; `python -m benchmarks.hostile_files` has them all."""
REFUSED_AT_ONCE = {
    "TIFF: directories on one block": "60000 entries",
    "TIFF: tables on one another": "longer than the file",
    "TIFF: tiles of one pixel": "9000000 strips or tiles",
    "TIFF: larger than numbers": "MAX_PIXELS",
    "JPEG: 1,000 scans": "1000 scans",
    "JPEG: fill bytes": "segments",
    "JPEG: a header of 4 gigapixels": "MAX_PIXELS",
    "PNG: larger than numbers": "MAX_PIXELS",
    "GIF: a byte in each block": "blocks",
    "AVIF: 100,000 boxes": "boxes",
    "JPEG 2000: 4 billion tiles": "tiles",
    "JPEG: 1,000 EXIF": "more than 100 EXIF",
    "JPEG: 4,900 tables": "bytes of tables",
    "PNG: 45,000 profiles": "texts and profiles",
    "TIFF: 7 million resolutions": "7000000 values of tag 282",
    "TIFF: 30 million depths": "30000000 values of tag 258",
    "AVIF: a grid of 10,000 places": "pictures in one",
    "AVIF: a grid of 60,000 places": "pictures in one",
    "AVIF: a grid of 110 megapixels": "MAX_PIXELS",
    "AVIF: a size that lies": "MAX_PIXELS",
    "AVIF: a grid behind a list of one": "pictures in one",
    "HEIC: a grid behind a list of one": "pictures in one",
    "HEIC: a grid of 10,000 places": "pictures in one",
    "HEIC: a grid of 60,000 places": "pictures in one",
    "HEIC: a grid of 110 megapixels": "MAX_PIXELS",
    "HEIC: a size that lies": "MAX_PIXELS",
}
AT_ONCE_SECONDS, AT_ONCE_BYTES = 20.0, 64 << 20
"""Of a processor, and of memory beside the file itself: read to their end, or decoded, these files take far more."""


@pytest.fixture
def process() -> Iterator[Decoder]:
    one = Decoder("page")
    yield one
    one.end()


def looked_at(process: Decoder, data: bytes, *, limits: Limits = FEW) -> int:
    """How many pages it gave."""
    indices = process.open(data, sniff(data) or "", slice(0, 2), reference="page", limits=limits)
    return len([process.page(index, dpi=72, enough=None, reference="page", limits=limits) for index in indices])


def cost_of(process: Decoder) -> tuple[float, int]:
    """Seconds of a processor that it has worked, and the most memory that it has had."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    status = dict(line.split(":", 1) for line in Path(f"/proc/{process.pid}/status").read_text().splitlines())
    worked = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return worked, int(status["VmHWM"].split()[0]) << 10


@pytest.mark.parametrize("name", [name for name in HOSTILE if not any(part in name for part in SLOW_TO_MAKE)])
def test_a_file_that_was_made_to_harm_is_a_page_or_one_typed_error(name: str) -> None:
    data = HOSTILE[name]()
    pages, said = [], ""
    try:
        pages = list(decode(data, reference="page", limits=FEW, dpi=72, pages=slice(0, 2)))
    except PageError as error:
        said = str(error)
    assert len(said) < 300
    assert all(page.width * page.height <= FEW.max_pixels for page in pages)
    assert len(pages_of(pdf())) == 1  # the next is served


@pytest.mark.parametrize("name", REFUSED_AT_ONCE)
def test_what_no_page_needs_is_refused_before_anything_is_decoded(name: str, process: Decoder) -> None:
    """The process lives on: no bound had to end it. It has hardly worked, however long it had to wait for that."""
    data, limits = HOSTILE[name](), dataclasses.replace(FEW, seconds=SECONDS)
    plain = noisy("AVIF" if "AVIF" in name else "HEIF" if "HEIC" in name else "PNG")
    assert looked_at(process, plain, limits=limits) == 1
    worked, taken = cost_of(process)
    with pytest.raises(LimitExceeded, match=REFUSED_AT_ONCE[name]):
        looked_at(process, data, limits=limits)
    assert process.is_well
    assert cost_of(process)[0] < worked + AT_ONCE_SECONDS
    assert cost_of(process)[1] < taken + 2 * len(data) + AT_ONCE_BYTES


@pytest.mark.parametrize("kind", VALID)
def test_damage_of_any_kind_is_pages_or_one_typed_error(kind: str) -> None:
    """A few hundred of the thousands that `python -m benchmarks.hostile_files` decodes."""
    dice = random.Random(kind)  # noqa: S311
    for _ in range(12):
        try:
            pages = pages_of(damaged(VALID[kind], dice))
        except PageError:
            continue
        assert all(page.pixels.shape == (page.height, page.width, 3) for page in pages)


def test_of_a_tiff_only_the_wanted_page_is_reached() -> None:
    """Behind the second of its pages lies no directory at all, and before it one that nobody could read."""
    data = bytearray(sheets(3))
    whole = pages_of(bytes(data), pages=slice(1, 2))[0]
    first = int.from_bytes(data[4:8], "little")
    entries = int.from_bytes(data[first : first + 2], "little")
    data[first + 2 : first + 2 + 12 * entries] = b"\xff" * 12 * entries
    second = int.from_bytes(data[first + 2 + 12 * entries : first + 6 + 12 * entries], "little")
    after = second + 2 + 12 * int.from_bytes(data[second : second + 2], "little")
    data[after : after + 4] = (2**32 - 2).to_bytes(4, "little")
    [page] = pages_of(bytes(data), pages=slice(1, 2))
    assert (page.index, page.width) == (1, 11)
    assert (page.pixels == whole.pixels).all()
    with pytest.raises(CutShort):
        pages_of(bytes(data))


def test_a_decoder_is_held_to_memory_and_time(process: Decoder) -> None:
    before, _ = resource.prlimit(process.pid, resource.RLIMIT_AS)
    assert looked_at(process, noisy("PNG")) == 1
    memory, _ = resource.prlimit(process.pid, resource.RLIMIT_AS)
    seconds, _ = resource.prlimit(process.pid, resource.RLIMIT_CPU)
    assert before == resource.RLIM_INFINITY
    assert ORDINARY_BYTES < memory < 2 * ORDINARY_BYTES
    assert 0 < seconds < 60


@pytest.mark.parametrize(
    ("pixels", "mebibytes"),
    [
        (9_000_000, 512),  # A4 at 300 dpi
        (35_000_000, 512),  # A4 at 600 dpi
        (50_000_000, 604),
        (70_000_000, 704),  # A3 at 600 dpi
        (120_000_000, 704),  # the largest that MAX_PIXELS lets through
    ],
)
def test_a_page_has_half_a_gibibyte_unless_it_needs_more_itself(pixels: int, mebibytes: int) -> None:
    assert room_for(pixels) >> 20 == mebibytes


def test_a_whole_jpeg_2000_has_more_room_and_never_more_than_the_largest_page() -> None:
    """A4 at 600 dpi takes 20 bytes a pixel, which is all that there is; of 120 megapixels, that would be 2.4 GB."""
    given: list[int] = []
    request = {"dpi": 72, "enough": None, "max_pixels": 120_000_000, "large": True}
    bounds = type("_", (), {"memory": staticmethod(given.append)})()
    for pixels in (25_000_000, 35_000_000, 120_000_000):
        _Desk(request, lambda _: mmap.mmap(-1, 1), bounds).admit(pixels, 1, bytes_a_pixel=20)
    assert [room >> 20 for room in given] == [604, 704, 704]


@pytest.mark.parametrize("enough", [150.0, None])
def test_a_progressive_jpeg_that_finds_no_room_is_not_called_damaged_and_no_more(
    process: Decoder, enough: float | None
) -> None:
    """Its coefficients alone take 648 MB; the header says so, and enough bytes follow it to be believed."""
    jpeg = packed(picture(64, 64), "JPEG", progressive=True, subsampling=0)
    comments = (b"\xff\xfe\xff\xff" + bytes(65_533)) * 5
    place = jpeg.index(b"\xff\xc2") + 5
    large = (12_000).to_bytes(2, "big") + (9_000).to_bytes(2, "big")
    data = jpeg[:2] + comments + jpeg[2:place] + large + jpeg[place + 4 :]
    limits = dataclasses.replace(LIMITS, max_pixels=120_000_000, seconds=SECONDS)
    process.open(data, "JPEG", None, reference="page", limits=limits)
    with pytest.raises(UndecodablePage, match="or more memory than a page may take: save it as a JPEG that is not"):
        process.page(0, dpi=72, enough=enough, reference="page", limits=limits)
    assert process.is_well


def test_who_looks_for_marks_needs_no_more_than_that_for_any_page(process: Decoder) -> None:
    """Of 70 megapixels at 150 dpi, an eighth or less of each side is asked for."""
    data = packed(Image.new("1", (10_000, 7_000), 1), "PNG")
    limits = dataclasses.replace(LIMITS, max_pixels=120_000_000)
    rooms = {}
    for enough in (150.0, None):
        process.open(data, "PNG", None, reference="page", limits=limits)
        begun, _ = resource.prlimit(process.pid, resource.RLIMIT_AS)
        page = process.page(0, dpi=72, enough=enough, reference="page", limits=limits)
        rooms[enough] = resource.prlimit(process.pid, resource.RLIMIT_AS)[0] - begun
        assert (page.pixels == 255).all()
    assert rooms[150.0] < ORDINARY_BYTES // 4, "what was read since, at most"
    assert rooms[None] > ORDINARY_BYTES // 4, "A3 at 600 dpi, all of it"


def test_a_file_that_asks_for_ever_more_memory_is_refused_and_its_decoder_replaced(process: Decoder) -> None:
    """Each use of the form asks for more; the bounds end it, by an error or by the library's own failure."""
    with pytest.raises(PageError) as caught:
        looked_at(process, HOSTILE["PDF: a form that contains itself twice"](), limits=FEW)
    assert not isinstance(caught.value, PageUnavailable)
    assert not process.is_well
    assert len(pages_of(pdf())) == 1


def test_two_hostile_files_hold_up_nobody() -> None:
    """Both are at work for longer than the others take, and these are served meanwhile."""
    # On a busy machine the others may take longer than that: then there is more time for all.
    assert any(_served_beside_two(seconds) for seconds in (6.0, 60.0, float(SECONDS)))


def _served_beside_two(seconds: float) -> bool:
    """Whether pages are served before two hostile files have been given up, as they have to be after so long."""
    slow = dataclasses.replace(FEW, max_pixels=120_000_000, seconds=seconds)
    hostile = HOSTILE["PDF: a picture of endless scans"]()
    refused: list[str] = []

    def look() -> None:
        try:
            list(decode(hostile, reference="hostile", limits=slow, dpi=72))
        except LimitExceeded as error:
            refused.append(error.reason)

    threads = [threading.Thread(target=look) for _ in range(2)]
    for thread in threads:
        thread.start()
    for kind in ("JPEG", "PNG", "TIFF"):
        assert len(pages_of(packed(picture(), kind), limits=LIMITS)) == 1
    served = refused == []
    for thread in threads:
        thread.join()
    assert len(refused) == 2
    assert all("FETCH_TIMEOUT" in reason for reason in refused)
    return served


def test_no_page_outlasts_a_program_that_is_about_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backend.pages.decoders._CLOSING", type("_", (), {"at": float("inf")})())
    hostile = HOSTILE["PDF: a picture of endless scans"]()
    limits = dataclasses.replace(FEW, seconds=600.0)
    pages = decode(hostile, reference="page", limits=limits, dpi=72)
    next(pages)
    ending = threading.Timer(0.3, finish, kwargs={"within": 0.0})
    ending.start()
    with pytest.raises(PageUnavailable, match="about to end"):
        next(pages)
    ending.join()


def test_a_decoder_learns_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "s3cret")
    one = Decoder("page")
    with open(f"/proc/{one.pid}/environ", "rb") as file:
        known = file.read()
    one.end()
    assert b"PATH=" in known
    assert b"s3cret" not in known


def test_memory_comes_back_and_goes_with_its_decoder() -> None:
    """Pages that are kept stay as they are while others are drawn, and what they took is used again after them."""
    with decoder("page") as process:
        data = packed(picture(), "PNG")
        process.open(data, "PNG", None, reference="page", limits=LIMITS)
        kept = [process.page(0, dpi=72, enough=None, reference="page", limits=LIMITS) for _ in range(5)]
        process.open(packed(picture(80, 40), "PNG"), "PNG", None, reference="page", limits=LIMITS)
        other = process.page(0, dpi=72, enough=None, reference="page", limits=LIMITS)
        assert all((page.pixels == kept[0].pixels).all() for page in kept)
        assert other.width == 80
        kept[0].pixels[:] = 7  # its own memory
        assert not (kept[1].pixels == 7).any()
        del kept, other
        assert len(process._canvases) == 2
    process.end()
    assert process._canvases == []
