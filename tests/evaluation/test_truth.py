"""COCO files as people write them, and what is wrong with them in words."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from backend.errors import EvaluationError
from backend.evaluation.truth import Truth, document_of, read_coco
from backend.vision.network_config import MARKS


def coco(**changes: Any) -> dict[str, Any]:
    """Two pages of one lease: a stamp and an ignored scribble on the first, nothing on the second."""
    return {
        "images": [
            {"id": 7, "file_name": "lease_p1.png", "width": 200, "height": 300, "language": "ar"},
            {"id": 8, "file_name": "lease_p2.png", "width": 200, "height": 300},
        ],
        "annotations": [
            {
                "id": 1,
                "image_id": 7,
                "category_id": 4,
                "bbox": [20, 30, 50, 60],
                "attributes": {"ink": "grey-black", "faded": True, "overlaps": False},
            },
            {"id": 2, "image_id": 7, "category_id": 5, "bbox": [100, 100, 20, 20], "iscrowd": 1},
        ],
        "categories": [{"id": 4, "name": "Stamp"}, {"id": 5, "name": "scribble"}, {"id": 6, "name": "SIGNATURE"}],
    } | changes


@pytest.fixture
def read(tmp_path: Path) -> Callable[[Any], Truth]:
    for number, name in enumerate(("lease_p1.png", "lease_p2.png")):
        Image.new("RGB", (200, 300), (255, 255, 250 + number)).save(tmp_path / name)

    def reading(document: Any) -> Truth:
        file = tmp_path / "annotations.json"
        file.write_text(json.dumps(document))
        return read_coco(file, tmp_path)

    return reading


def test_pages_with_their_marks(read: Callable[[Any], Truth]) -> None:
    truth = read(coco())
    first, second = truth.pages
    assert first.boxes.tolist() == [[20, 30, 70, 90]]
    assert [MARKS[label] for label in first.labels] == ["stamp"]
    assert first.ignored.tolist() == [[100, 100, 120, 120]]
    assert first.traits == (frozenset({"faded", "black ink"}),)
    assert (first.language, second.language) == ("ar", None)
    assert len(second) == 0
    assert truth.documents == ("lease",)
    assert truth.count() == 1


@pytest.mark.parametrize(
    ("name", "document"),
    [
        # A page number that calls itself one is no part of the document's name.
        ("lease_p2.jpg", "lease"),
        ("lease-page-002.png", "lease"),
        ("scans/lease 17.pg3.tif", "lease 17"),
        # A number may as well be the contract's own.
        ("lease-2031.jpg", "lease-2031"),
        ("page-00012.jpg", "page-00012"),
        ("step2.jpg", "step2"),
    ],
)
def test_the_document_of_a_file_name(name: str, document: str) -> None:
    assert document_of(name) == document


def test_a_named_document_goes_before_the_file_name(read: Callable[[Any], Truth]) -> None:
    images = coco()["images"]
    images[1]["document"] = "annex"
    assert read(coco(images=images)).documents == ("lease", "annex")


@pytest.mark.parametrize(
    ("attributes", "box", "small"),
    [
        # Below 0.4 % of the page.
        ({}, [0, 0, 10, 20], True),
        # Above it.
        ({}, [0, 0, 50, 60], False),
        # The annotation knows better.
        ({"small": True}, [0, 0, 50, 60], True),
        ({"small": False}, [0, 0, 10, 20], False),
    ],
)
def test_small_marks(read: Callable[[Any], Truth], attributes: dict[str, Any], box: list[int], small: bool) -> None:
    annotation = {"id": 1, "image_id": 7, "category_id": 4, "bbox": box, "attributes": attributes}
    assert ("small" in read(coco(annotations=[annotation])).pages[0].traits[0]) is small


def annotation(**changes: Any) -> dict[str, Any]:
    return {"annotations": [{"id": 9, "image_id": 7, "category_id": 4, "bbox": [1, 1, 9, 9]} | changes]}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        # An image that is not in the folder.
        ({"images": [{"id": 7, "file_name": "gone.png"}], "annotations": []}, r"'gone\.png' is not in"),
        # An image outside it.
        ({"images": [{"id": 7, "file_name": "../etc/hosts"}], "annotations": []}, "lies outside"),
        # A category of somebody else's, in use.
        (annotation(category_id=5), "category 'scribble', which is none of signature, stamp, thumb"),
        # A category that is not listed.
        (annotation(category_id=99), "category ''"),
        # A box of no width, with a side missing, off the page, not a number, not a list.
        (annotation(bbox=[1, 1, 0, 9]), "of which no part is on the page"),
        (annotation(bbox=[1, 1, 9]), r"expected \[x, y, width, height\]"),
        (annotation(bbox=[500, 1, 9, 9]), "of which no part is on the page"),
        (annotation(bbox=[1, 1, "9", 9]), r"expected \[x, y, width, height\]"),
        (annotation(bbox=[1, 1, float("nan"), 9]), r"expected \[x, y, width, height\]"),
        (annotation(bbox={"x": 1}), r"expected \[x, y, width, height\]"),
        # A mark on a page that is not listed.
        (annotation(image_id=99), "on image 99, which is not listed"),
        # No page at all.
        ({"images": [], "annotations": []}, "lists no images"),
        # Not COCO.
        ({"categories": None}, "is not COCO detection data"),
        ({"images": [{"id": 7}]}, "'file_name'"),
    ],
)
def test_what_is_wrong_is_said(read: Callable[[Any], Truth], changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(EvaluationError, match=reason):
        read(coco(**changes))


def test_a_file_that_is_no_json(tmp_path: Path) -> None:
    (tmp_path / "annotations.json").write_text("no")
    with pytest.raises(EvaluationError, match="cannot be read as COCO"):
        read_coco(tmp_path / "annotations.json", tmp_path)
    with pytest.raises(EvaluationError, match="cannot be read as COCO"):
        read_coco(tmp_path / "missing.json", tmp_path)


def test_the_hash_changes_with_what_is_known_and_with_nothing_else(
    read: Callable[[Any], Truth], tmp_path: Path
) -> None:
    before = read(coco()).sha256
    turned = coco(images=coco()["images"][::-1], info={"date": "today"})
    assert read(turned).sha256 == before
    assert read(coco(**annotation())).sha256 != before
    named = [image | {"document": "other"} for image in coco()["images"]]
    assert read(coco(images=named)).sha256 != before
    Image.new("RGB", (200, 300), (1, 2, 3)).save(tmp_path / "lease_p2.png")
    assert read(coco()).sha256 != before
