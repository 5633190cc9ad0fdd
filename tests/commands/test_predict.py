"""Pages with their marks shown or covered: what is covered is gone, what is not stays to the pixel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pypdfium2
import pytest
from PIL import Image

from backend.commands.predict import PagePictures, covered, with_boxes
from backend.errors import SettingsError
from backend.pages.page import Page
from tests.server.conftest import found

MARKS = found(("stamp", (40.0, 60.0, 120.0, 100.0), 0.9), ("signature", (0.0, 0.0, 30.0, 20.0), 0.8))


def page(index: int = 0, size: tuple[int, int] | None = None) -> Page:
    pixels = np.random.default_rng(1).integers(60, 255, (200, 150, 3), dtype=np.uint8)
    return Page(pixels=pixels, reference="drawn", index=index, dpi=100.0, size=size)


def test_nothing_of_a_covered_mark_is_left_and_the_rest_is_as_it_was() -> None:
    before = page()
    after = covered(before, MARKS.boxes)
    for left, top, right, bottom in MARKS.boxes.astype(int):
        assert not after[top:bottom, left:right].any()
    far = np.ones(after.shape[:2], bool)
    for left, top, right, bottom in MARKS.boxes.astype(int):
        far[max(0, top - 2) : bottom + 2, max(0, left - 2) : right + 2] = False
    np.testing.assert_array_equal(after[far], before.pixels[far])
    assert before.pixels.all()


def test_boxes_are_drawn_where_the_pixels_are_fewer_than_the_pages() -> None:
    half = page(size=(300, 400))
    assert not covered(half, MARKS.boxes)[30:50, 20:60].any()
    drawn = with_boxes(half, MARKS)
    assert (drawn[30, 25:55] == (194, 65, 12)).all(axis=1).mean() > 0.8
    assert drawn.shape == half.pixels.shape


def test_a_pdf_takes_all_pages_in_their_size(tmp_path: Path) -> None:
    pictures = PagePictures(tmp_path / "out.pdf")
    for index in range(3):
        pictures.add(page(index), page(index).pixels, source=Path("contract.pdf"))
    with pypdfium2.PdfDocument(tmp_path / "out.pdf") as document:
        assert len(document) == 3
        assert document[0].get_size() == pytest.approx((150 * 72 / 100, 200 * 72 / 100), abs=1)


def test_a_folder_takes_a_picture_for_each_page(tmp_path: Path) -> None:
    pictures = PagePictures(tmp_path / "new" / "out")
    for index in range(2):
        pictures.add(page(index), page(index).pixels, source=Path("contract.pdf"))
    files = sorted((tmp_path / "new" / "out").iterdir())
    assert [file.name for file in files] == ["contract-001.png", "contract-002.png"]
    with Image.open(files[1]) as image:
        np.testing.assert_array_equal(np.asarray(image), page().pixels)


def test_one_picture_takes_one_page(tmp_path: Path) -> None:
    pictures = PagePictures(tmp_path / "out.png")
    pictures.add(page(), page().pixels, source=Path("scan.jpg"))
    with pytest.raises(SettingsError, match=r"out\.png holds one page.*folder"):
        pictures.add(page(1), page(1).pixels, source=Path("scan.jpg"))


@pytest.mark.parametrize("name", ["out.pdf", "out.png", "out"])
def test_nothing_is_overwritten(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("years of work")
    with pytest.raises(SettingsError, match=name):
        PagePictures(tmp_path / name)
    assert (tmp_path / name).read_text() == "years of work"
