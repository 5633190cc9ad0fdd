"""Drawn contracts whose annotations are right, but for mistakes that are made on purpose."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image

from backend.dataset.freezing import freeze_known
from backend.dataset.store import Version
from backend.evaluation.truth import read_coco
from backend.settings import Settings
from backend.synthetic.drawn_page import draw_page
from backend.synthetic.scan import ScanStyle
from backend.vision.network_config import MARKS

DPI = 100
# Pages whose marks are plain to see: none is faded, cut or on another. Of other seeds fewer are.
SEEDS = (306, 308, 311, 321, 327, 329, 333, 338, 341, 345, 346, 348, 351, 352, 358, 359, 362, 363, 372, 375)
Box = tuple[float, float, float, float]


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """A drawn page as a file, and what an annotator left on it."""

    name: str
    data: bytes
    width: int
    height: int
    marks: tuple[tuple[str, Box], ...]

    def without(self, place: int) -> Sheet:
        """A mark was overlooked."""
        return replace(self, marks=self.marks[:place] + self.marks[place + 1 :])

    def renamed(self, place: int, label: str) -> Sheet:
        """A mark was called by another name."""
        assert self.marks[place][0] != label
        return self._with(place, (label, self.marks[place][1]))

    def shifted(self, place: int, share: float = 0.4) -> Sheet:
        """A box was drawn beside its mark, by a share of its sides."""
        label, (x1, y1, x2, y2) = self.marks[place]
        across, down = share * (x2 - x1), share * (y2 - y1)
        return self._with(place, (label, (x1 + across, y1 + down, x2 + across, y2 + down)))

    def _with(self, place: int, mark: tuple[str, Box]) -> Sheet:
        return replace(self, marks=(*self.marks[:place], mark, *self.marks[place + 1 :]))


def draw(seeds: Sequence[int] = SEEDS) -> list[Sheet]:
    """Pages of one document each, from an office scanner."""
    return [_drawn(seed) for seed in seeds]


def _drawn(seed: int) -> Sheet:
    style = ScanStyle(paper=(0.98, 0.98, 0.96), noise=1.5, blur=0.4)
    page = draw_page(seed, dpi=DPI, marks=2, style=style)
    plain = not any(mark.faded or mark.partial or mark.overlaps for mark in page.marks)
    assert plain, f"drawing has changed: choose another seed than {seed}"
    assert page.marks, f"drawing has changed: choose another seed than {seed}"
    file = io.BytesIO()
    Image.fromarray(page.pixels).save(file, "PNG", dpi=(DPI, DPI))
    height, width = page.pixels.shape[:2]
    marks = tuple((mark.label, mark.box) for mark in page.marks)
    return Sheet(name=f"lease-{seed}", data=file.getvalue(), width=width, height=height, marks=marks)


def frozen(sheets: Sequence[Sheet], folder: Path, name: str = "leases") -> Version:
    """The pages as a frozen version in the data folder `folder / "data"`."""
    coco = written(sheets, folder / f"{name}-pages")
    return freeze_known(name, read_coco(coco, coco.parent), settings=Settings(data_dir=folder / "data")).version


def written(sheets: Sequence[Sheet], folder: Path) -> Path:
    """The pages as image files with a COCO file; gives that."""
    folder.mkdir()
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, sheet in enumerate(sheets):
        (folder / f"{sheet.name}.png").write_bytes(sheet.data)
        images.append({"id": number, "file_name": f"{sheet.name}.png", "width": sheet.width, "height": sheet.height})
        for label, (x1, y1, x2, y2) in sheet.marks:
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": MARKS.index(label) + 1,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                }
            )
    categories = [{"id": index + 1, "name": mark} for index, mark in enumerate(MARKS)]
    file = folder / "annotations.json"
    file.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return file


def regions(sheet: Sheet, *, item: int | None = None) -> Iterator[dict[str, Any]]:
    """What Label Studio's editor submits for the marks."""
    for number, (label, (x1, y1, x2, y2)) in enumerate(sheet.marks):
        place: Mapping[str, float] = {
            "x": 100 * x1 / sheet.width,
            "y": 100 * y1 / sheet.height,
            "width": 100 * (x2 - x1) / sheet.width,
            "height": 100 * (y2 - y1) / sheet.height,
            "rotation": 0,
        }
        yield {
            "id": f"{sheet.name}-{number}",
            "from_name": "mark",
            "to_name": "page",
            "type": "rectanglelabels",
            "original_width": sheet.width,
            "original_height": sheet.height,
            "image_rotation": 0,
            "value": {**place, "rectanglelabels": [label]},
            **({} if item is None else {"item_index": item}),
        }
