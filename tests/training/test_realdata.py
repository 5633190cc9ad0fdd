"""Real pages as teachers: only what their annotation really says, and each document on one side."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from backend.errors import TrainingError
from backend.training.crops import CropFolder, split_of
from backend.training.harvest import harvest_marks, harvest_pages
from backend.training.pagestore import LabelledPage, PageStore
from backend.training.training_pages import add_real_pages, document_of, real_marks
from backend.vision.colour_detector import ColourDetector
from backend.vision.network_config import MARKS

STAMP = {"class": "stamp", "x": 10, "y": 10, "w": 80, "h": 80}
WRITING = {"class": "handwriting", "x": 200, "y": 200, "w": 100, "h": 40}
STICKER = {"class": "seal_sticker", "x": 100, "y": 200, "w": 30, "h": 30}
LOGO = {"class": "logo", "x": 300, "y": 10, "w": 60, "h": 60}
BLOTS = np.random.default_rng(1).integers(0, 256, (16, 17, 1), dtype=np.uint8)
PAGE = np.kron(BLOTS, np.ones((20, 20, 3), np.uint8))


def image(subset: str, boxes: list[dict[str, Any]], kind: str = "page") -> dict[str, Any]:
    return {"subset": subset, "kind": kind, "boxes": boxes, "document": "a", "licence": "MIT", "file": "a.png"}


def write(folder: Path, rows: list[dict[str, Any]], pixels: dict[str, NDArray[np.uint8]]) -> None:
    for name, values in pixels.items():
        cv2.imwrite(str(folder / name), values)
    (folder / "manifest.json").write_text(json.dumps({"images": rows}))


def read(folder: Path, row: dict[str, Any]) -> LabelledPage:
    """The page that a line of the manifest becomes."""
    write(folder, [row], {row["file"]: PAGE})
    store = PageStore(folder / "pages")
    add_real_pages(store, folder)
    (page,) = store.read()
    np.testing.assert_allclose(store.pixels(page).mean(), PAGE.mean(), atol=1)
    return page


@pytest.mark.parametrize(
    ("subset", "said", "complete"),
    [
        ("page_full", {"label_scope": ["thumb", "signature", "stamp"]}, MARKS),  # every mark is boxed
        ("page_full", {}, ()),  # nobody says that nothing is missing
        ("page_stamp_only", {"label_scope": []}, ()),
        ("page_photo_sig", {"label_scope": ["signature"]}, ("signature",)),  # a stamp may be unboxed
        # We boxed what looks like a mark as well; others did not.
        ("page_full", {"label_scope": list(MARKS), "annotated_by": "ours"}, (*MARKS, "handwriting", "print")),
        ("page_full", {"label_scope": list(MARKS), "annotated_by": "source"}, MARKS),
        ("page_photo_sig", {"label_scope": ["signature"], "annotated_by": "ours"}, ("signature",)),
        ("neg_scan", {"kind": "negative"}, MARKS),  # somebody looked: there is none
    ],
)
def test_a_class_is_complete_where_all_its_marks_are_boxed(
    subset: str, said: dict[str, Any], complete: tuple[str, ...], tmp_path: Path
) -> None:
    page = read(tmp_path, image(subset, [] if said.get("kind") == "negative" else [STAMP]) | said)
    assert page.complete == complete
    assert page.source == subset


def test_what_is_boxed_is_a_mark_a_doubt_or_looks_like_a_mark(tmp_path: Path) -> None:
    page = read(tmp_path, image("page_full", [WRITING, STAMP, LOGO, STICKER]))
    assert (page.boxes, page.labels) == (((10, 10, 90, 90),), ("stamp",))
    assert page.ignored == ((100, 200, 130, 230),)
    assert page.logos == ((300, 10, 360, 70),)
    assert page.handwriting == ((200, 200, 300, 240),)
    assert (page.domain, page.licence, page.dpi) == ("real", "MIT", None)
    assert (page.name, page.document) == ("a.png", "real-a")


@pytest.mark.parametrize(
    ("row", "document"),
    [
        ({"document": "Image_51_png_jpg"}, "image_51"),  # page and crop of one file bear different names
        ({"document": "001_2", "writer": "crossmedia:1"}, "crossmedia:1"),  # a hand is known: it stays on one side
        ({"document": "001_2", "writer": None}, "001_2"),
    ],
)
def test_a_document_is_named_alike_in_all_subsets(row: dict[str, Any], document: str) -> None:
    assert document_of(row) == document


def test_images_of_a_measured_document_share_its_side_and_copies_are_left_out(tmp_path: Path) -> None:
    # Found by trying: on the measured subset's shares this document is gold, on the others' it would judge.
    measured, others = (0.70, 0.12, 0.18), (0.70, 0.15, 0.15)
    held_out = next(
        name
        for name in map(str, range(999))
        if (split_of(name, measured), split_of(name, others)) == ("gold", "validation")
    )
    rows = [
        image("page_full", [STAMP]) | {"document": held_out, "file": "page.png"},
        image("sig_colour_crop", [], "signature") | {"document": f"{held_out}_png_jpg", "file": "crop.png"},
        image("page_stamp_only", [STAMP]) | {"document": "copy", "file": "copy.png"},
    ]
    write(tmp_path, rows, {"page.png": PAGE, "crop.png": PAGE[:40, :90], "copy.png": PAGE // 2 + 60})
    pages, store = PageStore(tmp_path / "pages"), CropFolder(tmp_path / "crops")
    add_real_pages(pages, tmp_path)
    assert [(page.name, page.split) for page in pages.read()] == [("page.png", "gold")], "a mark is no page"
    harvest_pages(store, pages, ColourDetector())
    harvest_marks(store, tmp_path)
    crops = store.read()
    assert {crop.split for crop in crops} == {"gold"}
    assert {crop.source for crop in crops} == {"page_full", "sig_colour_crop"}
    assert [(crop.label, crop.origin) for crop in crops if crop.source == "sig_colour_crop"] == [("signature", "crop")]
    before = pages.read()
    add_real_pages(pages, tmp_path)
    harvest_marks(store, tmp_path)
    assert pages.read() == before
    assert store.read() == crops


def test_pages_that_are_in_the_store_are_not_written_again(tmp_path: Path) -> None:
    read(tmp_path, image("page_full", [STAMP]))
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "pages").iterdir()}
    add_real_pages(PageStore(tmp_path / "pages"), tmp_path)
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "pages").iterdir()} == before


def test_an_image_of_one_mark_is_a_page_that_is_all_mark(tmp_path: Path) -> None:
    rows = [
        image("sig_crop", [STAMP], "signature") | {"file": "one.png", "document": "b"},
        image("page_full", [STAMP]),
        image("stamp_crop", [], "stamp") | {"file": "two.png"},
    ]
    write(tmp_path, rows, {"one.png": PAGE[:40, :90], "a.png": PAGE, "two.png": PAGE[:40, :90]})
    marks = list(real_marks(tmp_path))
    assert [(mark.name, mark.labels, mark.document) for mark, _ in marks] == [
        ("one.png", ("signature",), "real-b"),
        ("two.png", ("stamp",), "real-a"),  # marks that look alike are no copies of one page
    ]
    for mark, pixels in marks:
        assert mark.boxes == ((0, 0, 90, 40),)
        np.testing.assert_array_equal(pixels, PAGE[:40, :90])


def pages_of(folder: Path) -> None:
    add_real_pages(PageStore(folder / "pages"), folder)


def crops_of(folder: Path) -> None:
    harvest_marks(CropFolder(folder / "crops"), folder)


@pytest.mark.parametrize(("reads", "kind"), [(pages_of, "page"), (crops_of, "stamp")])
def test_a_listed_image_that_is_missing_is_an_error_that_names_it(
    reads: Callable[[Path], None], kind: str, tmp_path: Path
) -> None:
    write(tmp_path, [image("page_full", [], kind)], {})
    with pytest.raises(TrainingError, match=r"a\.png is listed in the manifest"):
        reads(tmp_path)


@pytest.mark.parametrize("reads", [pages_of, crops_of])
@pytest.mark.parametrize("text", [None, "no JSON", "[]", "{}"])
def test_a_folder_without_a_manifest_is_an_error_that_names_it(
    reads: Callable[[Path], None], text: str | None, tmp_path: Path
) -> None:
    if text is not None:
        (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(TrainingError, match=r"manifest\.json is no manifest"):
        reads(tmp_path)
