"""PDF pages are rendered as printed, within limits, from any thread."""

from __future__ import annotations

import dataclasses
import threading
import time
import zlib

import pytest

from backend.errors import LimitExceeded, PageError, UndecodablePage
from backend.pages.page import Limits
from backend.pages.source import decode
from tests.pages.files import LIMITS, endless, noisy, pages_of, pdf, picture_pdf
from tests.patience import SECONDS


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


def test_a_plan_of_a_wall_is_looked_at_in_half_its_size() -> None:
    """Its pixels would be half of the memory that the server may take."""
    limits = Limits(max_bytes=2_000_000, max_pixels=50_000_000, max_pages=4, seconds=60.0)
    data = pdf(width=6501, height=6500)
    [page] = decode(data, reference="page", limits=limits, dpi=72, enough=150.0)
    assert (page.width, page.height, page.dpi) == (6501, 6500, 72.0)
    assert page.pixels.shape == (3250, 3251, 3)
    assert page.pixels[-5, 5].tolist() == [255, 0, 0]


def test_a_pdf_that_takes_for_ever_to_draw_is_stopped() -> None:
    """A hundred thousand shapes; with no time at all the first pause ends the page."""
    data = pdf(content=b"0 0 60 40 re f " * 100_000)
    with pytest.raises(LimitExceeded, match="FETCH_TIMEOUT"):
        pages_of(data, limits=Limits(max_bytes=2_000_000, max_pixels=10**6, max_pages=4, seconds=1e-9))
    assert len(pages_of(pdf())) == 1  # the next document is not held up


@pytest.mark.parametrize("packed", [False, True], ids=["JPEG", "JPEG in Flate"])
def test_a_picture_that_takes_for_ever_to_decode_is_stopped_and_holds_up_no_other_pdf(packed: bool) -> None:
    """Its decoding never pauses, and alone takes a quarter of an hour."""
    jpeg = endless(scans=50_000, side=4000)
    filters = b"/FlateDecode/DCTDecode" if packed else b"/DCTDecode"
    hostile = picture_pdf(zlib.compress(jpeg) if packed else jpeg, width=4000, height=4000, filters=filters)
    # On a busy machine the other page may take longer than that: then there is more time for both.
    for seconds in (4.0, 40.0, float(SECONDS)):
        events = _of_two(hostile, seconds=seconds)
        assert any("FETCH_TIMEOUT" in event for event in events)
        if events[0] == "other":
            break
    assert events[0] == "other"
    assert len(pages_of(pdf())) == 1


def _of_two(hostile: bytes, *, seconds: float) -> list[str]:
    """What happens to a hostile document and to another one, in this order."""
    limits = dataclasses.replace(LIMITS, max_pixels=10**6, seconds=seconds)
    events: list[str] = []
    begun = threading.Event()

    def look() -> None:
        pages = decode(hostile, reference="hostile", limits=limits, dpi=72)
        try:
            next(pages)
            begun.set()
            next(pages)
        except LimitExceeded as error:
            events.append(str(error))
        finally:
            begun.set()

    other = decode(pdf(count=2), reference="other", limits=LIMITS, dpi=72)
    next(other)
    thread = threading.Thread(target=look)
    thread.start()
    begun.wait()
    time.sleep(0.5)  # by now it is in the picture
    events.append(next(other).reference)
    thread.join()
    return events


def test_a_picture_in_a_pdf_is_drawn() -> None:
    _, page = pages_of(picture_pdf(noisy("JPEG"), width=64, height=64))
    assert page.pixels.std() > 20


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
    data = pdf(count=4)
    widths: list[int] = []
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
