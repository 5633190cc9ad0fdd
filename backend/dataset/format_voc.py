"""Pascal VOC: `JPEGImages/…png`, `Annotations/…xml` and `ImageSets/Main/<split>.txt`; gold is called `test`, as there.

Pixels count from 1 and both ends belong to the box (VOC devkit), so that boxes are whole pixels. The format cannot say
that a place does not count: such places are left out.
"""

from __future__ import annotations

from pathlib import Path
from xml.etree.ElementTree import Element, ElementTree, SubElement, indent

from backend.dataset.manifest import FrozenMark, FrozenPage
from backend.dataset.store import Version, by_split, lay, watched

__all__ = ["save"]

_NAMES = {"train": "train", "validation": "val", "gold": "test"}


def save(version: Version, folder: Path) -> None:
    """Writes a version into an empty folder."""
    sets = folder / "ImageSets" / "Main"
    sets.mkdir(parents=True)
    (folder / "Annotations").mkdir()
    for split, pages in by_split(version):
        for page in watched(pages, split):
            image = lay(version, page, folder / "JPEGImages")
            tree = _tree(page, image, version)
            indent(tree)
            ElementTree(tree).write(folder / "Annotations" / f"{page.name}.xml", encoding="utf-8")
        names = "".join(f"{page.name}\n" for page in pages)
        (sets / f"{_NAMES[split]}.txt").write_text(names, encoding="utf-8")


def _tree(page: FrozenPage, image: str, version: Version) -> Element:
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
