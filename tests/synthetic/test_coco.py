"""COCO files of drawn pages come back as they were, and say what COCO says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from backend.synthetic import coco
from backend.synthetic.marks import DrawnMark, DrawnPage

STAMP = DrawnMark(
    label="stamp", box=(10.0, 20.0, 110.5, 95.0), ink="blue", kind="round", faded=True, partial=False, overlaps=True
)
THUMB = DrawnMark(
    label="thumb", box=(0.0, 0.0, 40.0, 60.0), ink="black", kind="whorl", faded=False, partial=True, overlaps=False
)


def page(*marks: DrawnMark) -> DrawnPage:
    return DrawnPage(pixels=np.zeros((300, 200, 3), np.uint8), dpi=72, language="mixed", marks=marks, seed=9)


@pytest.mark.parametrize(
    "pages",
    [
        # no page at all
        [],
        # a page without marks
        [page()],
        # marks on some pages
        [page(STAMP, THUMB), page(), page(THUMB)],
    ],
)
def test_what_is_written_is_read_back(pages: list[DrawnPage], tmp_path: Path) -> None:
    truths = [coco.truth_of(one, f"{index}.png") for index, one in enumerate(pages)]
    coco.write(truths, tmp_path / "a.json")
    assert coco.read(tmp_path / "a.json") == truths


def test_ids_are_unique_and_boxes_are_corner_and_size(tmp_path: Path) -> None:
    coco.write([coco.truth_of(page(STAMP, THUMB), "1.png"), coco.truth_of(page(STAMP), "2.png")], tmp_path / "a.json")
    document = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert [one["id"] for one in document["annotations"]] == [1, 2, 3]
    assert [one["image_id"] for one in document["annotations"]] == [1, 1, 2]
    assert document["annotations"][0]["bbox"] == [10.0, 20.0, 100.5, 75.0]
    assert {one["id"]: one["name"] for one in document["categories"]} == {1: "signature", 2: "stamp", 3: "thumb"}


@pytest.mark.parametrize(
    "document",
    [
        # not an object
        [],
        # no categories
        {"images": [], "annotations": []},
        # an annotation of an image that is not there
        {"images": [], "annotations": [{"image_id": 1, "category_id": 1}], "categories": [{"id": 1, "name": "stamp"}]},
    ],
)
def test_a_file_of_another_shape_is_named(document: object, tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(ValueError, match=r"other\.json"):
        coco.read(tmp_path / "other.json")
