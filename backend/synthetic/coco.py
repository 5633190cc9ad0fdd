"""Drawn pages as COCO detection data: images, annotations in xywh pixels, and what is known about each mark."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backend.files import write_private
from backend.synthetic.marks import LANGUAGES, DrawnMark, DrawnPage, Label, Language

__all__ = ["PageTruth", "read", "truth_of", "write"]

_CATEGORIES: tuple[Label, ...] = ("signature", "stamp", "thumb")
"""Class names in the order of their COCO ids, which start at 1."""


@dataclass(frozen=True, kw_only=True)
class PageTruth:
    """What COCO keeps of a drawn page: everything but its pixels.

    Attributes:
        file_name: Of the image, relative to the data's folder.
        width: Pixels.
        height: Pixels.
        dpi: Pixels an inch.
        language: `ar`, `en` or `mixed`.
        seed: What the page was drawn from.
        marks: Its marks.
    """

    file_name: str
    width: int
    height: int
    dpi: float
    language: Language
    seed: int
    marks: tuple[DrawnMark, ...]


def truth_of(page: DrawnPage, file_name: str) -> PageTruth:
    """The truth of a page that is stored as `file_name`."""
    height, width = page.pixels.shape[:2]
    return PageTruth(
        file_name=file_name,
        width=width,
        height=height,
        dpi=page.dpi,
        language=page.language,
        seed=page.seed,
        marks=page.marks,
    )


def write(pages: Sequence[PageTruth], path: Path) -> None:
    """Writes one COCO file; ids count from 1."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, page in enumerate(pages, start=1):
        images.append(
            {
                "id": image_id,
                "file_name": page.file_name,
                "width": page.width,
                "height": page.height,
                "dpi": page.dpi,
                "language": page.language,
                "seed": page.seed,
            }
        )
        annotations += [
            _annotation(mark, len(annotations) + index, image_id) for index, mark in enumerate(page.marks, 1)
        ]
    categories = [{"id": index, "name": name, "supercategory": "mark"} for index, name in enumerate(_CATEGORIES, 1)]
    document = {"images": images, "annotations": annotations, "categories": categories}
    write_private(path, json.dumps(document, ensure_ascii=False, indent=1))


def _annotation(mark: DrawnMark, annotation_id: int, image_id: int) -> dict[str, Any]:
    left, top, right, bottom = mark.box
    return {
        "id": annotation_id,
        "image_id": image_id,
        "category_id": _CATEGORIES.index(mark.label) + 1,
        "bbox": [left, top, right - left, bottom - top],
        "area": (right - left) * (bottom - top),
        "iscrowd": 0,
        "attributes": {
            "ink": mark.ink,
            "kind": mark.kind,
            "faded": mark.faded,
            "partial": mark.partial,
            "overlaps": mark.overlaps,
        },
    }


def read(path: Path) -> list[PageTruth]:
    """Reads what `write` wrote, in its order.

    Raises:
        ValueError: The file is not of that shape; the message says what is amiss.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        names = {category["id"]: category["name"] for category in document["categories"]}
        marks: dict[int, list[DrawnMark]] = {image["id"]: [] for image in document["images"]}
        for annotation in document["annotations"]:
            marks[annotation["image_id"]].append(_mark(annotation, names[annotation["category_id"]]))
        return [_page(image, tuple(marks[image["id"]])) for image in document["images"]]
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"{path.name} is no COCO file of drawn pages: {error!r} is missing or of the wrong kind"
        ) from error


def _mark(annotation: Mapping[str, Any], name: str) -> DrawnMark:
    if name not in _CATEGORIES:
        raise ValueError(f"category {name!r} is none of {', '.join(_CATEGORIES)}")
    left, top, width, height = annotation["bbox"]
    return DrawnMark(
        label=_CATEGORIES[_CATEGORIES.index(name)],
        box=(left, top, left + width, top + height),
        **annotation["attributes"],
    )


def _page(image: Mapping[str, Any], marks: tuple[DrawnMark, ...]) -> PageTruth:
    return PageTruth(
        file_name=image["file_name"],
        width=image["width"],
        height=image["height"],
        dpi=image["dpi"],
        language=LANGUAGES[LANGUAGES.index(image["language"])],
        seed=image["seed"],
        marks=marks,
    )
