"""Hugging Face `datasets`, image folder: `<split>/…png` and `<split>/metadata.jsonl`; gold is called `test`, as there.

`objects` holds `bbox` (x, y, width, height in pixels) and `category`. Places that do not count are left out. The reader
takes the types of a side's columns from its values, and an empty list has none. If one side has no mark at all and
another has, the metadata are Parquet, which says its types.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from backend.dataset.manifest import FrozenPage
from backend.dataset.store import Version, by_split, lay, watched
from backend.errors import DatasetError

__all__ = ["save"]

_NAMES = {"train": "train", "validation": "validation", "gold": "test"}


def save(version: Version, folder: Path) -> None:
    """Writes a version into an empty folder.

    Raises:
        DatasetError: Parquet is needed, and pyarrow is not installed.
    """
    write = _write_lines if _tells_types(version) else _write_parquet
    for split, pages in by_split(version):
        target = folder / _NAMES[split]
        # The reader takes the types from the first rows: pages with marks come first.
        ordered = sorted(pages, key=lambda page: not page.marks)
        write(target, [_row(page, lay(version, page, target)) for page in watched(ordered, split)])


def _tells_types(version: Version) -> bool:
    """Whether all sides have a mark, or none has."""
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


def _row(page: FrozenPage, name: str) -> dict[str, Any]:
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
