"""The command `predict`: files on disk to predictions, or to pages that show their marks, without any server."""

from __future__ import annotations

import argparse
import json
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from PIL import Image
from tqdm import tqdm

from backend.errors import LabelConfigError, PageError, SettingsError
from backend.escaping import printable
from backend.labelstudio.labelling import Binding, bind, versioned
from backend.labelstudio.results import prediction, regions, wants_ink, why_empty
from backend.models.serving import Sources, build_pipeline
from backend.pages.source import ENOUGH_DPI, from_path
from backend.settings import Settings
from backend.vision.ink import ink_in
from backend.vision.network_config import MARKS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from backend.geometry import Boxes
    from backend.pages.page import Page
    from backend.vision.pipeline import Marks, Pipeline

__all__ = ["PagePictures", "add_arguments", "covered", "run", "with_boxes"]

_COLOURS = {"signature": (15, 118, 110), "stamp": (194, 65, 12), "thumb": (126, 34, 206)}
"""Those of the label configs."""
_LETTER_SHARE = 0.012
"""Height of the letters as a share of the page's."""
_MARGIN_SHARE = 0.003
"""How far a cover reaches beyond its mark, as a share of the page's longer side: a box may cut a stroke's end."""
_PICTURES = (".png", ".jpg", ".jpeg")
_DPI = 200


def with_boxes(page: Page, marks: Marks) -> NDArray[np.uint8]:
    """The page's pixels, with a box and a score for each mark."""
    drawn = page.pixels.copy()
    size = max(12.0, drawn.shape[0] * _LETTER_SHARE)
    pen = max(1, round(size / 8))
    for name, score, box in zip(marks.names, marks.scores, marks.boxes * page.scale, strict=True):
        left, top, right, bottom = (round(side) for side in box.tolist())
        cv2.rectangle(drawn, (left, top), (right, bottom), _COLOURS[name], pen, cv2.LINE_AA)
        place = (left, top - pen - 2 if top > 2 * size else round(bottom + size + pen))
        text = f"{name} {score:.2f}"
        cv2.putText(drawn, text, place, cv2.FONT_HERSHEY_SIMPLEX, size / 22, _COLOURS[name], pen, cv2.LINE_AA)
    return drawn


def covered(page: Page, boxes: Boxes) -> NDArray[np.uint8]:
    """The page's pixels, with black in the place of what is in the boxes: nothing of it is left to be found."""
    drawn = page.pixels.copy()
    margin = max(1, round(max(drawn.shape[:2]) * _MARGIN_SHARE))
    for box in boxes * page.scale:
        left, top = np.maximum(np.floor(box[:2]).astype(int) - margin, 0)
        right, bottom = np.ceil(box[2:]).astype(int) + margin
        drawn[top:bottom, left:right] = 0
    return drawn


class PagePictures:
    """Writes pages where the user said: into one PDF, one picture, or a folder of pictures.

    Args:
        out: A name that ends in .pdf, .png or .jpg, or else a folder, which is made.

    Raises:
        SettingsError: There is something of that name already.
    """

    def __init__(self, out: Path) -> None:
        self._out = out
        self._kind = out.suffix.lower()
        self._pages = 0
        if self._kind in (".pdf", *_PICTURES):
            if out.exists():
                raise SettingsError(f"{out} is there already: name another file, or take it away first")
        else:
            with suppress(FileExistsError):
                out.mkdir(parents=True)
            if not out.is_dir():
                raise SettingsError(f"{out} is no folder: name one, or a file that ends in .pdf, .png or .jpg")

    def add(self, page: Page, pixels: NDArray[np.uint8], *, source: Path) -> None:
        """Writes a page of a source file.

        Raises:
            SettingsError: There are more pages than one picture can hold.
        """
        image = Image.fromarray(pixels)
        dpi = page.pixels_dpi or _DPI
        self._pages += 1
        if self._kind == ".pdf":
            image.save(self._out, format="PDF", append=self._pages > 1, resolution=dpi)
        elif self._kind in _PICTURES:
            if self._pages > 1:
                raise SettingsError(f"{self._out} holds one page, and there are more: name a folder, or a file .pdf")
            image.save(self._out, dpi=(dpi, dpi))
        else:
            image.save(self._out / f"{source.stem}-{page.index + 1:03}.png", dpi=(dpi, dpi))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `predict`."""
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="image (JPEG, PNG, TIFF, WebP) or PDF")
    parser.add_argument("--json", action="store_true", help="one JSON document a line and page; `page` counts from 1")
    parser.add_argument(
        "--draw",
        type=Path,
        metavar="OUT",
        help="also draw the boxes: a new .pdf for all pages, a .png or .jpg for one, or a folder",
    )
    parser.add_argument("--model", help="auto, hub, bundled or the name of a trained model (MODEL)")
    parser.add_argument("--confidence", type=float, help="lowest probability at which a mark is shown (CONFIDENCE)")
    parser.add_argument(
        "--label-config", type=Path, metavar="XML", help="a project's label config, whose names the regions shall bear"
    )


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Prints the marks of every page of every file; gives 1 when one could not be read, after printing the others.

    Raises:
        ModelError: There is no model.
        LabelConfigError: The label config cannot be read, or has no place for marks.
        SettingsError: What is to be drawn into is there already, or cannot hold the pages.
    """
    settings = settings.with_arguments(model=args.model, confidence=args.confidence)
    binding = _binding(args.label_config, settings)
    pipeline = build_pipeline(Sources.of(settings).at_once(), settings)
    pictures = None if args.draw is None else PagePictures(args.draw)
    failed = 0
    with tqdm(args.files, unit="file", disable=None, file=sys.stderr) as files:
        for file in files:
            try:
                for line in _lines(file, pipeline, binding, settings, as_json=args.json, pictures=pictures):
                    tqdm.write(line, file=sys.stdout)
            except PageError as error:
                tqdm.write(f"contract-marks: {printable(error)}", file=sys.stderr)
                failed += 1
    return 1 if failed else os.EX_OK


def _binding(label_config: Path | None, settings: Settings) -> Binding:
    """Names of the project's own label_config.xml, or of the given one's first control."""
    if label_config is None:
        return Binding(
            control="mark",
            image="page",
            field="image",
            paged=False,
            labels={mark: mark for mark in MARKS},
            threshold=settings.confidence,
        )
    try:
        text = label_config.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise LabelConfigError(f"{label_config} cannot be read ({error})") from error
    return bind(text, confidence=settings.confidence)[0]


def _lines(
    file: Path,
    pipeline: Pipeline,
    binding: Binding,
    settings: Settings,
    *,
    as_json: bool,
    pictures: PagePictures | None,
) -> Iterator[str]:
    for page in from_path(file, settings, enough=ENOUGH_DPI):
        marks = pipeline.marks(page, confidence=binding.threshold)
        version = versioned(marks.version, [binding], confidence=settings.confidence)
        if pictures is not None:
            pictures.add(page, with_boxes(page, marks), source=file)
        if as_json:
            yield json.dumps(_document(file, page, marks, binding, version), ensure_ascii=False)
        else:
            yield _table(file, page, marks, version)


def _document(file: Path, page: Page, marks: Marks, binding: Binding, version: str) -> dict[str, Any]:
    """What Label Studio would be told of one page; `reason` is there where `result` is empty."""
    item = page.index if binding.paged and binding.repeat is None else None
    here = binding.on_page(page.index)
    inks = ink_in(page, marks.boxes) if wants_ink([here]) else ()
    found = regions(marks, width=page.width, height=page.height, binding=here, task=None, item=item, inks=inks)
    reason = "" if found else why_empty(marks, [binding])
    answer = prediction(found, certainties=[marks.certainty], version=version, reason=reason)
    return {
        "file": str(file),
        "page": page.index + 1,
        "width": page.width,
        "height": page.height,
        "model_version": answer.pop("model_version"),
        "score": answer.pop("score"),
        **answer,
    }


def _table(file: Path, page: Page, marks: Marks, version: str) -> str:
    count = f"{len(marks)} mark" if len(marks) == 1 else f"{len(marks)} marks"
    lines = [f"{printable(file)}, page {page.index + 1} ({page.width} x {page.height} px): {count}, {version}"]
    if not len(marks):
        lines.append(f"  {why_empty(marks, [])}")
    for name, score, (left, top, right, bottom) in zip(marks.names, marks.scores, marks.boxes, strict=True):
        place = f"x {left:.0f} to {right:.0f}, y {top:.0f} to {bottom:.0f}"
        lines.append(f"  {name:<10}{score:6.1%}  {place}")
    return "\n".join(lines)
