"""COCO detection: `images/<split>/…png` and `annotations/<split>.json`, ids from 1, boxes as x, y, width, height.

Places about which nothing is said have `iscrowd` 1, once for each category, as `evaluate` reads them. A page's
`document` is the key by which trainings name what they saw.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from backend.dataset.manifest import Corners, FrozenMark, FrozenPage
from backend.dataset.store import Version, by_split, lay, watched
from backend.vision.network_config import MARKS

__all__ = ["save"]

_CATEGORIES = dict(enumerate(MARKS, 1))


def save(version: Version, folder: Path) -> None:
    """Writes a version into an empty folder, one annotation file for each side of the split that has pages."""
    (folder / "annotations").mkdir()
    for split, pages in by_split(version):
        names = [lay(version, page, folder / "images" / split) for page in watched(pages, split)]
        text = json.dumps(_coco(version, pages, names), ensure_ascii=False)
        (folder / "annotations" / f"{split}.json").write_text(text, encoding="utf-8")


def _coco(version: Version, pages: Sequence[FrozenPage], names: Sequence[str]) -> dict[str, Any]:
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, (page, name) in enumerate(zip(pages, names, strict=True), 1):
        images.append(_image(page, name, number))
        rows = [_row(mark.box, MARKS.index(mark.label) + 1, _attributes(mark)) for mark in page.marks]
        # A crowd counts for its own category alone, and here nothing is said about any.
        rows += [_row(box, category, {}) | {"iscrowd": 1} for box in page.ignored for category in _CATEGORIES]
        annotations += [row | {"id": len(annotations) + place, "image_id": number} for place, row in enumerate(rows, 1)]
    return {
        "info": {"description": version.name, "version": version.id},
        "images": images,
        "annotations": annotations,
        "categories": [{"id": number, "name": name, "supercategory": "mark"} for number, name in _CATEGORIES.items()],
    }


def _image(page: FrozenPage, name: str, number: int) -> dict[str, Any]:
    known = {"dpi": page.dpi, "language": page.language}
    return {
        "id": number,
        "file_name": name,
        "width": page.width,
        "height": page.height,
        "document": page.document,
        **{key: value for key, value in known.items() if value is not None},
    }


def _row(box: Corners, category: int, attributes: dict[str, Any]) -> dict[str, Any]:
    left, top, right, bottom = box
    across, down = round(right - left, 2), round(bottom - top, 2)
    return {
        "category_id": category,
        "bbox": [left, top, across, down],
        "area": round(across * down, 2),
        "iscrowd": 0,
        "segmentation": [],
        "attributes": attributes,
    }


def _attributes(mark: FrozenMark) -> dict[str, Any]:
    inks = [trait.removesuffix(" ink") for trait in mark.traits if trait.endswith(" ink")]
    flags = {trait: True for trait in mark.traits if not trait.endswith(" ink")}
    turned = {"rotation": mark.rotation} if mark.rotation else {}
    return {**flags, **({"ink": inks[0]} if inks else {}), **turned}
