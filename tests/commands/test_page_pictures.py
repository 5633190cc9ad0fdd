"""Pages with their marks shown or covered: what is covered is gone, what is not stays to the pixel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pypdfium2
import pytest
from PIL import Image

from backend.commands.page_pictures import PagePictures, covered, with_boxes
from backend.errors import OutputError
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


CONTRACT = Path("contract.pdf")


def write(out: Path, count: int, source: Path = CONTRACT) -> None:
    with PagePictures(out, [source]) as pictures:
        for index in range(count):
            pictures.add(page(index), page(index).pixels, source=source)


def test_a_pdf_takes_all_pages_in_their_size(tmp_path: Path) -> None:
    write(tmp_path / "عقد.pdf", 3)
    with pypdfium2.PdfDocument(tmp_path / "عقد.pdf") as document:
        assert len(document) == 3
        assert document[0].get_size() == pytest.approx((150 * 72 / 100, 200 * 72 / 100), abs=1)
        assert document.get_metadata_value("Title") == "عقد"


def test_a_folder_takes_a_picture_for_each_page(tmp_path: Path) -> None:
    write(tmp_path / "new" / "out", 2)
    files = sorted((tmp_path / "new" / "out").iterdir())
    assert [file.name for file in files] == ["contract-001.png", "contract-002.png"]
    with Image.open(files[1]) as image:
        np.testing.assert_array_equal(np.asarray(image), page().pixels)


def test_files_of_one_name_do_not_take_each_others_place(tmp_path: Path) -> None:
    sources = [Path("2024/lease.pdf"), Path("2025/lease.pdf"), Path("lease.jpg"), Path("lease-2.pdf")]
    with PagePictures(tmp_path / "out", sources) as pictures:
        for source in sources:
            pictures.add(page(), page().pixels, source=source)
    names = sorted(file.name for file in (tmp_path / "out").iterdir())
    assert names == ["lease-001.png", "lease-2-001.png", "lease-2-2-001.png", "lease-3-001.png"]


def test_one_picture_takes_one_page_or_none_is_there(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"out\.png holds one page.*folder"):
        write(tmp_path / "out.png", 2)
    assert list(tmp_path.iterdir()) == []
    write(tmp_path / "out.png", 1)
    with Image.open(tmp_path / "out.png") as image:
        np.testing.assert_array_equal(np.asarray(image), page().pixels)


@pytest.mark.parametrize("name", ["out.pdf", "out.jpg"])
def test_what_was_stopped_leaves_nothing_that_looks_whole(name: str, tmp_path: Path) -> None:
    def stopped() -> None:
        with PagePictures(tmp_path / name, [CONTRACT]) as pictures:
            pictures.add(page(), page().pixels, source=CONTRACT)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert list(tmp_path.iterdir()) == []
    write(tmp_path / name, 1)
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_without_a_page_there_is_no_file(tmp_path: Path) -> None:
    write(tmp_path / "out.pdf", 0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["out.pdf", "out.png", "out"])
def test_nothing_is_overwritten(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("years of work")
    with pytest.raises(OutputError, match=name):
        PagePictures(tmp_path / name, [CONTRACT])
    assert (tmp_path / name).read_text() == "years of work"


def test_no_picture_in_a_folder_is_overwritten(tmp_path: Path) -> None:
    write(tmp_path, 1)
    before = (tmp_path / "contract-001.png").read_bytes()
    with pytest.raises(OutputError, match=r"contract-001\.png is there already"):
        write(tmp_path, 2)
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("contract-001.png", before)]


@pytest.mark.parametrize("name", ["none/out.pdf", "file/out.pdf", "file/out"])
def test_a_place_that_cannot_be_written_to_is_told_before_the_work(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot be written"):
        PagePictures(tmp_path / name, [CONTRACT])
