"""Pages whose marks are known, read from a COCO file and a folder of images."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.errors import EvaluationError
from backend.geometry import Boxes, as_boxes
from backend.vision.network_config import MARKS

__all__ = ["TRAITS", "TruePage", "Truth", "document_of", "read_coco"]

TRAITS = ("faded", "overlap", "partial", "small", "black ink", "coloured ink")
"""What may be known of a mark, beside its class."""
_SMALL = 0.004
"""Share of the page below which a mark is small where its annotation does not say: 16 mm squared on A4."""
_IGNORE = "ignore"
_FLAGS = {"faded": "faded", "overlaps": "overlap", "overlap": "overlap", "partial": "partial"}
_PAGE_SUFFIX = re.compile(r"[-_. ](?:p|pg|page|seite|s)[-_. ]?\d+$", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True, eq=False)
class TruePage:
    """A page and the T marks that are on it.

    Attributes:
        name: The image's file name, as the COCO file has it.
        path: Where the image is.
        document: The contract that the page belongs to.
        size: Width and height in pixels that the boxes were drawn on; None where the file does not say.
        boxes: (T, 4) xyxy pixels.
        labels: (T,) index into `MARKS`.
        traits: What is known of each mark, of `TRAITS`.
        ignored: (I, 4) boxes of things that are neither right nor wrong to find.
        language: Of the page's text, such as `ar`; None where nobody said.
        drawn: Whether the file says from which seed the page was drawn, as `draw` writes it.
    """

    name: str
    path: Path
    document: str
    size: tuple[int, int] | None
    boxes: Boxes
    labels: NDArray[np.intp]
    traits: tuple[frozenset[str], ...]
    ignored: Boxes
    language: str | None = None
    drawn: bool = False

    def __len__(self) -> int:
        return len(self.boxes)


@dataclass(frozen=True, kw_only=True, eq=False)
class Truth:
    """A set of known pages.

    Attributes:
        pages: The pages, in the order of the file.
        sha256: Changes exactly when an image, a document's name, a box or a label does.
    """

    pages: tuple[TruePage, ...]
    sha256: str

    @property
    def documents(self) -> tuple[str, ...]:
        """Names of the documents, each once, in order of appearance."""
        return tuple(dict.fromkeys(page.document for page in self.pages))

    def count(self) -> int:
        """How many marks there are."""
        return sum(len(page) for page in self.pages)


def document_of(file_name: str) -> str:
    """The document that a page's file name tells: its stem without a page number that calls itself one.

    Example:
        >>> document_of("scans/lease-0193_p2.jpg"), document_of("lease-0193.jpg")
        ('lease-0193', 'lease-0193')
    """
    stem = Path(file_name).stem
    return _PAGE_SUFFIX.sub("", stem) or stem


def read_coco(path: Path, images: Path) -> Truth:
    """Reads known pages.

    Categories are signature, stamp and thumb in any case. An annotation with `iscrowd` or `ignore`, or of a category
    called `ignore`, is a region that does not count. An image may name its `document` and `language`; an annotation's
    `attributes` may say `faded`, `overlaps`, `partial`, `small`, `ink` and `language`.

    Args:
        path: The COCO file.
        images: Folder below which its `file_name`s are.

    Raises:
        EvaluationError: The file is not COCO, names an image that is not there, a category that is none of ours, or a
            box that is none.
    """
    try:
        coco = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EvaluationError(f"{path} cannot be read as COCO: {error}") from error
    try:
        names = {one["id"]: str(one["name"]) for one in coco["categories"]}
        by_image: dict[Any, list[Mapping[str, Any]]] = {one["id"]: [] for one in coco["images"]}
        for annotation in coco["annotations"]:
            if annotation["image_id"] not in by_image:
                raise EvaluationError(
                    f"{path}: annotation {annotation['id']} is on image {annotation['image_id']}, which is not listed"
                )
            by_image[annotation["image_id"]].append(annotation)
        pages = tuple(_page(one, by_image[one["id"]], names, images, path) for one in coco["images"])
    except (KeyError, TypeError, AttributeError) as error:
        raise EvaluationError(f"{path} is not COCO detection data: {error!r} is missing or of another kind") from error
    if not pages:
        raise EvaluationError(f"{path} lists no images: there is nothing to evaluate on")
    return Truth(pages=pages, sha256=_digest(pages))


def _page(
    image: Mapping[str, Any],
    annotations: Sequence[Mapping[str, Any]],
    names: Mapping[Any, str],
    folder: Path,
    path: Path,
) -> TruePage:
    name = str(image["file_name"])
    file = folder / name
    if not file.resolve().is_relative_to(folder.resolve()):
        raise EvaluationError(f"{path}: image {name!r} lies outside {folder}; file names are relative to that folder")
    if not file.is_file():
        raise EvaluationError(f"{path}: image {name!r} is not in {folder}")
    size = (int(image["width"]), int(image["height"])) if "width" in image and "height" in image else None
    boxes, labels, traits, ignored = [], [], [], []
    for annotation in annotations:
        where = f"{path}: annotation {annotation['id']} on {name!r}"
        box = _box(annotation["bbox"], size, where)
        category = names.get(annotation["category_id"], "")
        if annotation.get("iscrowd") or annotation.get("ignore") or category.lower() == _IGNORE:
            ignored.append(box)
            continue
        boxes.append(box)
        labels.append(_label(category, where))
        traits.append(_traits(annotation.get("attributes") or {}, box, size))
    return TruePage(
        name=name,
        path=file,
        document=str(image.get("document") or document_of(name)),
        size=size,
        boxes=as_boxes(boxes),
        labels=np.array(labels, dtype=np.intp),
        traits=tuple(traits),
        # A place is a crowd of each category where it is one of all.
        ignored=as_boxes(list(dict.fromkeys(ignored))),
        drawn="seed" in image,
        language=_language(image, annotations),
    )


def _label(category: str, where: str) -> int:
    if category.lower() not in MARKS:
        raise EvaluationError(
            f"{where} is of the category {category!r}, which is none of {', '.join(MARKS)}: rename the category, or "
            "give the annotation `iscrowd` 1 where it shall not count"
        )
    return MARKS.index(category.lower())


def _box(bbox: Any, size: tuple[int, int] | None, where: str) -> tuple[float, float, float, float]:
    """The xywh box as xyxy, cut to the page."""
    shape = isinstance(bbox, list) and len(bbox) == 4 and all(isinstance(side, int | float) for side in bbox)
    if not shape or not all(map(math.isfinite, bbox)):
        raise EvaluationError(f"{where} has the box {bbox!r}: expected [x, y, width, height] in pixels")
    left, top, right, bottom = bbox[0], bbox[1], bbox[0] + bbox[2], bbox[1] + bbox[3]
    if size is not None:
        left, right = (min(max(side, 0), size[0]) for side in (left, right))
        top, bottom = (min(max(side, 0), size[1]) for side in (top, bottom))
    if right <= left or bottom <= top:
        raise EvaluationError(f"{where} has the box {bbox!r}, of which no part is on the page")
    return left, top, right, bottom


def _traits(
    attributes: Mapping[str, Any], box: tuple[float, float, float, float], size: tuple[int, int] | None
) -> frozenset[str]:
    found = {trait for key, trait in _FLAGS.items() if attributes.get(key)}
    if ink := attributes.get("ink"):
        found.add("black ink" if "black" in str(ink).lower() else "coloured ink")
    covered = (box[2] - box[0]) * (box[3] - box[1])
    if attributes.get("small", size is not None and covered < _SMALL * size[0] * size[1]):
        found.add("small")
    return frozenset(found)


def _language(image: Mapping[str, Any], annotations: Sequence[Mapping[str, Any]]) -> str | None:
    """The page's language, or the one that all its annotations agree on."""
    said = {str(one["attributes"]["language"]) for one in annotations if (one.get("attributes") or {}).get("language")}
    if image.get("language"):
        return str(image["language"])
    return said.pop() if len(said) == 1 else None


def _digest(pages: Sequence[TruePage]) -> str:
    facts = sorted(
        (
            page.document,
            hashlib.sha256(page.path.read_bytes()).hexdigest(),
            sorted(zip(page.labels.tolist(), page.boxes.round(2).tolist(), strict=True)),
            sorted(page.ignored.round(2).tolist()),
        )
        for page in pages
    )
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()
