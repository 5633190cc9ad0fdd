"""YOLO: `images/<split>/…png`, `labels/<split>/…txt` and `data.yaml`; the gold side is called `test`, as there.

A line is class, centre x, centre y, width, height, as shares of the page; a page without marks has an empty file. The
format cannot say that a place does not count: such places are left out.
"""

from __future__ import annotations

from pathlib import Path

from backend.dataset.manifest import FrozenMark, FrozenPage
from backend.dataset.store import Version, by_split, lay, watched
from backend.vision.network_config import MARKS

__all__ = ["save"]

_NAMES = {"train": "train", "validation": "val", "gold": "test"}
_PLACES = 8
"""A thousandth of a pixel on the largest page."""


def save(version: Version, folder: Path) -> None:
    """Writes a version into an empty folder."""
    # Without `path` the readers take the file's own folder.
    lines = []
    for split, pages in by_split(version):
        name = _NAMES[split]
        labels = folder / "labels" / name
        labels.mkdir(parents=True)
        for page in watched(pages, split):
            image = lay(version, page, folder / "images" / name)
            text = "".join(f"{_line(mark, page)}\n" for mark in page.marks)
            (labels / image).with_suffix(".txt").write_text(text, encoding="utf-8")
        lines.append(f"{name}: images/{name}")
    # Readers refuse a file without these two sides; a version may be all gold.
    lines += [f"{name}: images/{name}" for name in _needed(folder, lines)]
    lines += [f"nc: {len(MARKS)}", "names:", *(f"  {number}: {mark}" for number, mark in enumerate(MARKS))]
    (folder / "data.yaml").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _needed(folder: Path, lines: list[str]) -> list[str]:
    """The sides that `data.yaml` must name and that the version does not have; their folders are made, empty."""
    lacking = [name for name in ("train", "val") if f"{name}: images/{name}" not in lines]
    for name in lacking:
        (folder / "images" / name).mkdir(parents=True)
        (folder / "labels" / name).mkdir(parents=True)
    return lacking


def _line(mark: FrozenMark, page: FrozenPage) -> str:
    left, top, right, bottom = mark.box
    shares = (
        (left + right) / 2 / page.width,
        (top + bottom) / 2 / page.height,
        (right - left) / page.width,
        (bottom - top) / page.height,
    )
    return f"{MARKS.index(mark.label)} " + " ".join(f"{share:.{_PLACES}f}" for share in shares)
