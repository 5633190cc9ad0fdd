"""Real pages as teachers: only what their annotation really says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from backend.errors import TrainingError
from backend.geometry import as_boxes
from backend.training.crops import CropStore, split_of
from backend.training.realdata import document_of, found_on_page, harvest_real

STAMP = {"class": "stamp", "x": 10, "y": 10, "w": 80, "h": 80}
WRITING = {"class": "handwriting", "x": 200, "y": 200, "w": 100, "h": 40}
LOGO = {"class": "logo", "x": 300, "y": 10, "w": 60, "h": 60}
ELSEWHERE = (400.0, 400.0, 450.0, 440.0)


def image(subset: str, boxes: list[dict[str, Any]], kind: str = "page") -> dict[str, Any]:
    return {"subset": subset, "kind": kind, "boxes": boxes, "document": "a", "licence": "MIT", "file": "a.png"}


@pytest.mark.parametrize(
    ("subset", "kind", "labels"),
    [
        ("page_full", "page", ["stamp", "none"]),  # every mark is boxed: what is left is none
        ("page_stamp_only", "page", ["stamp"]),  # a signature may be unboxed
        ("page_bw", "page", ["stamp"]),  # a stamp may be unboxed
    ],
)
def test_unmatched_candidates_are_none_only_where_everything_is_boxed(
    subset: str, kind: str, labels: list[str]
) -> None:
    candidates = as_boxes([(10, 10, 88, 90), ELSEWHERE])
    found = found_on_page(image(subset, [STAMP], kind), candidates, np.random.default_rng(1))
    assert [one.label for one in found if one.origin == "candidate"] == labels
    assert [one.box for one in found if one.origin == "truth"] == [(10, 10, 90, 90)]


def test_a_page_without_marks_gives_none_only() -> None:
    found = found_on_page(image("neg_scan", [], "negative"), as_boxes([ELSEWHERE]), np.random.default_rng(1))
    assert [one.label for one in found] == ["none"]


def test_handwriting_teaches_nothing_and_a_logo_teaches_none() -> None:
    candidates = as_boxes([(200, 200, 290, 240), (301, 10, 360, 70)])
    found = found_on_page(image("page_full", [WRITING, LOGO]), candidates, np.random.default_rng(1))
    assert {one.label for one in found} == {"none"}
    assert {one.box for one in found} == {(301, 10, 360, 70), (300, 10, 360, 70)}


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


def _write(folder: Path, rows: list[dict[str, Any]], pixels: dict[str, np.ndarray]) -> None:
    for name, values in pixels.items():
        cv2.imwrite(str(folder / name), values)
    (folder / "manifest.json").write_text(json.dumps({"images": rows}))


def test_images_of_a_measured_document_share_its_side_and_copies_are_left_out(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    page = np.kron(rng.integers(0, 256, (16, 17, 1), dtype=np.uint8), np.ones((20, 20, 3), np.uint8))
    # Found by trying: on the measured subset's shares this document is gold, on the others' it would teach.
    held_out = next(
        name for name in map(str, range(99)) if split_of(name) == "train" and split_of(name, (0.4, 0, 0.6)) == "gold"
    )
    rows = [
        image("page_full", [STAMP]) | {"document": held_out, "file": "page.png"},
        image("sig_colour_crop", [], "signature") | {"document": f"{held_out}_png_jpg", "file": "crop.png"},
        image("page_stamp_only", [STAMP]) | {"document": "copy", "file": "copy.png"},
    ]
    _write(tmp_path, rows, {"page.png": page, "crop.png": page[:40, :90], "copy.png": page // 2 + 60})
    store = CropStore(tmp_path / "crops")
    harvest_real(store, tmp_path)
    crops = store.read()
    assert {crop.split for crop in crops} == {"gold"}
    assert {crop.source for crop in crops} == {"page_full", "sig_colour_crop"}
    assert [crop.label for crop in crops if crop.source == "sig_colour_crop"] == ["signature"]
    harvest_real(store, tmp_path)
    assert store.read() == crops


def test_a_listed_image_that_is_missing_is_an_error_that_names_it(tmp_path: Path) -> None:
    _write(tmp_path, [image("page_full", [])], {})
    with pytest.raises(TrainingError, match=r"a\.png is listed in the manifest"):
        harvest_real(CropStore(tmp_path / "crops"), tmp_path)


@pytest.mark.parametrize("text", [None, "no JSON", "[]", "{}"])
def test_a_folder_without_a_manifest_is_an_error_that_names_it(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(TrainingError, match=r"manifest\.json is no manifest"):
        harvest_real(CropStore(tmp_path / "crops"), tmp_path)
