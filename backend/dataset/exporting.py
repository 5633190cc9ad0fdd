"""Writes a frozen version in formats that other programs read; the folder is there whole, or not at all."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, ElementTree, SubElement, indent

import numpy as np

from backend.corrections.samples import BACKGROUND
from backend.dataset.manifest import Corners, FrozenMark, FrozenPage
from backend.dataset.store import Version, by_split, lay, watched
from backend.errors import DatasetError
from backend.files import refusal_of
from backend.pages.encoding import png_bytes
from backend.vision.network_config import MARKS

__all__ = ["FORMATS", "export"]

_CATEGORIES = dict(enumerate(MARKS, 1))


def save_coco(version: Version, folder: Path) -> None:
    """COCO detection: `images/<split>/…png` and `annotations/<split>.json`, ids from 1, boxes as x, y, width, height.

    Places about which nothing is said have `iscrowd` 1, once for each category, as `evaluate` reads them. A page's
    `document` is the key by which trainings name what they saw. A side of the split without pages has no file.
    """
    (folder / "annotations").mkdir()
    for split, pages in by_split(version):
        names = [lay(version, page, folder / "images" / split) for page in watched(pages, split)]
        text = json.dumps(_coco(version, pages, names), ensure_ascii=False)
        (folder / "annotations" / f"{split}.json").write_text(text, encoding="utf-8")


def _coco(version: Version, pages: Sequence[FrozenPage], names: Sequence[str]) -> dict[str, Any]:
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, (page, name) in enumerate(zip(pages, names, strict=True), 1):
        images.append(_coco_image(page, name, number))
        rows = [_annotation(mark.box, MARKS.index(mark.label) + 1, _attributes(mark)) for mark in page.marks]
        # A crowd counts for its own category alone, and here nothing is said about any.
        rows += [_annotation(box, category, {}) | {"iscrowd": 1} for box in page.ignored for category in _CATEGORIES]
        annotations += [row | {"id": len(annotations) + place, "image_id": number} for place, row in enumerate(rows, 1)]
    return {
        "info": {"description": version.name, "version": version.id},
        "images": images,
        "annotations": annotations,
        "categories": [{"id": number, "name": name, "supercategory": "mark"} for number, name in _CATEGORIES.items()],
    }


def _coco_image(page: FrozenPage, name: str, number: int) -> dict[str, Any]:
    known = {"dpi": page.dpi, "language": page.language}
    return {
        "id": number,
        "file_name": name,
        "width": page.width,
        "height": page.height,
        "document": page.document,
        **{key: value for key, value in known.items() if value is not None},
    }


def _annotation(box: Corners, category: int, attributes: dict[str, Any]) -> dict[str, Any]:
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


def save_crops(version: Version, folder: Path) -> None:
    """Crops in class folders: `<split>/<class>/…png`; a class without a crop has no folder.

    Marks are those of the pages. `none` are the ledger's samples of that class, boxes that a model showed and
    annotators removed, cut from the frozen pages as well.
    """
    for split, pages in by_split(version):
        for page in watched(pages, split):
            pixels = version.pixels(page)
            for label, name, box in _crop_boxes(version, page):
                left, top, right, bottom = _whole_pixels(box, page)
                target = folder / split / label
                target.mkdir(parents=True, exist_ok=True)
                (target / f"{page.name}-{name}.png").write_bytes(png_bytes(pixels[top:bottom, left:right]))


def _crop_boxes(version: Version, page: FrozenPage) -> Iterator[tuple[str, str, Corners]]:
    """Class, a name that is unique on the page, and box of each crop."""
    boxes = [(mark.label, mark.box) for mark in page.marks]
    samples = [one for one in version.manifest.samples if one.page == page.name]
    boxes += [(BACKGROUND, one.box) for one in samples if one.label == BACKGROUND]
    for number, (label, box) in enumerate(boxes):
        yield label, f"{number:03}", box


def _whole_pixels(box: Corners, page: FrozenPage) -> tuple[int, int, int, int]:
    """The pixels that a box touches; at least one, and none off the page."""
    left, top = min(int(box[0]), page.width - 1), min(int(box[1]), page.height - 1)
    right, bottom = int(np.ceil(box[2])), int(np.ceil(box[3]))
    return left, top, max(min(right, page.width), left + 1), max(min(bottom, page.height), top + 1)


_HUGGINGFACE_SPLITS = {"train": "train", "validation": "validation", "gold": "test"}


def save_huggingface(version: Version, folder: Path) -> None:
    """Hugging Face `datasets`, image folder: `<split>/…png` and `metadata.jsonl`; gold is called `test`, as there.

    `objects` holds `bbox` (x, y, width, height in pixels) and `category`. Places that do not count are left out. The
    reader takes the types of a side's columns from its values, and an empty list has none. If one side has no mark at
    all and another has, the metadata are Parquet, which says its types.

    Raises:
        DatasetError: Parquet is needed, and pyarrow is not installed.
    """
    write = _write_lines if _tells_types(version) else _write_parquet
    for split, pages in by_split(version):
        target = folder / _HUGGINGFACE_SPLITS[split]
        # The reader takes the types from the first rows: pages with marks come first.
        ordered = sorted(pages, key=lambda page: not page.marks)
        write(target, [_metadata_row(page, lay(version, page, target)) for page in watched(ordered, split)])


def _tells_types(version: Version) -> bool:
    """Whether all sides of the split have a mark, or none has."""
    return len({any(page.marks for page in pages) for _, pages in by_split(version)}) == 1


def _write_lines(folder: Path, rows: Sequence[dict[str, Any]]) -> None:
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / "metadata.jsonl").write_text(text, encoding="utf-8")


def _write_parquet(folder: Path, rows: Sequence[dict[str, Any]]) -> None:
    try:
        import pyarrow as pa  # noqa: PLC0415  a serving install has none
        from pyarrow import parquet  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise DatasetError(
            "one side of the split has no mark, so that the metadata have to be Parquet: install pyarrow, which is in "
            "the `ray` extra, or export as coco"
        ) from error
    objects = pa.struct([("bbox", pa.list_(pa.list_(pa.float64()))), ("category", pa.list_(pa.string()))])
    names = [("file_name", pa.string()), ("width", pa.int64()), ("height", pa.int64()), ("document", pa.string())]
    table = pa.Table.from_pylist(list(rows), schema=pa.schema([*names, ("objects", objects)]))
    parquet.write_table(table, folder / "metadata.parquet")


def _metadata_row(page: FrozenPage, name: str) -> dict[str, Any]:
    boxes = [mark.box for mark in page.marks]
    return {
        "file_name": name,
        "width": page.width,
        "height": page.height,
        "document": page.document[:16],
        "objects": {
            "bbox": [[x1, y1, round(x2 - x1, 2), round(y2 - y1, 2)] for x1, y1, x2, y2 in boxes],
            "category": [mark.label for mark in page.marks],
        },
    }


_SPLITS = {"train": "train", "validation": "val", "gold": "test"}


def save_voc(version: Version, folder: Path) -> None:
    """Pascal VOC: `JPEGImages/…png`, `Annotations/…xml`, `ImageSets/Main/<split>.txt`; gold is called `test`, as there.

    Pixels count from 1 and both ends belong to the box (VOC devkit), so that boxes are whole pixels. The format cannot
    say that a place does not count: such places are left out.
    """
    sets = folder / "ImageSets" / "Main"
    sets.mkdir(parents=True)
    (folder / "Annotations").mkdir()
    for split, pages in by_split(version):
        for page in watched(pages, split):
            image = lay(version, page, folder / "JPEGImages")
            tree = _voc_tree(page, image, version)
            indent(tree)
            ElementTree(tree).write(folder / "Annotations" / f"{page.name}.xml", encoding="utf-8")
        names = "".join(f"{page.name}\n" for page in pages)
        (sets / f"{_SPLITS[split]}.txt").write_text(names, encoding="utf-8")


def _voc_tree(page: FrozenPage, image: str, version: Version) -> Element:
    root = Element("annotation")
    _put(root, "folder", "JPEGImages")
    _put(root, "filename", image)
    _put(SubElement(root, "source"), "database", f"{version.name} {version.id[:12]}")
    size = SubElement(root, "size")
    for name, value in (("width", page.width), ("height", page.height), ("depth", 3)):
        _put(size, name, value)
    _put(root, "segmented", 0)
    for mark in page.marks:
        _put_mark(root, mark)
    return root


def _put_mark(root: Element, mark: FrozenMark) -> None:
    one = SubElement(root, "object")
    _put(one, "name", mark.label)
    _put(one, "difficult", int("faded" in mark.traits))
    box = SubElement(one, "bndbox")
    left, top, right, bottom = mark.box
    first = round(left) + 1, round(top) + 1
    # A mark of less than a pixel still covers the one that it is in.
    last = max(round(right), first[0]), max(round(bottom), first[1])
    for name, value in zip(("xmin", "ymin", "xmax", "ymax"), (*first, *last), strict=True):
        _put(box, name, value)


def _put(parent: Element, name: str, value: object) -> None:
    SubElement(parent, name).text = str(value)


_PLACES = 8
"""A thousandth of a pixel on the largest page."""


def save_yolo(version: Version, folder: Path) -> None:
    """YOLO: `images/<split>/…png`, `labels/<split>/…txt` and `data.yaml`; the gold side is called `test`, as there.

    A line is class, centre x, centre y, width, height, as shares of the page; a page without marks has an empty file.
    The format cannot say that a place does not count: such places are left out.
    """
    # Without `path` the readers take the file's own folder.
    lines = []
    for split, pages in by_split(version):
        name = _SPLITS[split]
        labels = folder / "labels" / name
        labels.mkdir(parents=True)
        for page in watched(pages, split):
            image = lay(version, page, folder / "images" / name)
            text = "".join(f"{_yolo_line(mark, page)}\n" for mark in page.marks)
            (labels / image).with_suffix(".txt").write_text(text, encoding="utf-8")
        lines.append(f"{name}: images/{name}")
    # Readers refuse a file without these two sides; a version may be all gold.
    lines += [f"{name}: images/{name}" for name in _needed_sides(folder, lines)]
    lines += [f"nc: {len(MARKS)}", "names:", *(f"  {number}: {mark}" for number, mark in enumerate(MARKS))]
    (folder / "data.yaml").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _needed_sides(folder: Path, lines: list[str]) -> list[str]:
    """The sides that `data.yaml` must name and that the version does not have; their folders are made, empty."""
    lacking = [name for name in ("train", "val") if f"{name}: images/{name}" not in lines]
    for name in lacking:
        (folder / "images" / name).mkdir(parents=True)
        (folder / "labels" / name).mkdir(parents=True)
    return lacking


def _yolo_line(mark: FrozenMark, page: FrozenPage) -> str:
    left, top, right, bottom = mark.box
    shares = (
        (left + right) / 2 / page.width,
        (top + bottom) / 2 / page.height,
        (right - left) / page.width,
        (bottom - top) / page.height,
    )
    return f"{MARKS.index(mark.label)} " + " ".join(f"{share:.{_PLACES}f}" for share in shares)


FORMATS: Mapping[str, Callable[[Version, Path], None]] = {
    "coco": save_coco,
    "yolo": save_yolo,
    "voc": save_voc,
    "crops": save_crops,
    "huggingface": save_huggingface,
}
"""Name: writes a version into an empty folder."""


def export(version: Version, kind: str, out: Path) -> None:
    """Writes a version to a new folder, which only its owner may read: it shows contracts.

    Args:
        version: The frozen version; each of its pages is checked on the way.
        kind: One of `FORMATS`.
        out: Does not exist yet, or is empty.

    Raises:
        DatasetError: The folder is in use, cannot be written, or the version is damaged.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DatasetError(f"{out} is there already: name a new folder, so that two versions are never mixed")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}."))
        try:
            FORMATS[kind](version, aside)
            os.rename(aside, out)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    except OSError as error:
        raise DatasetError(f"{out} cannot be written ({refusal_of(error)})") from error
