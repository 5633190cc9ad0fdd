"""The command `predict`: files on disk to predictions, or to pages that show their marks, without any server."""

from __future__ import annotations

import argparse
import json
import os
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from backend.commands.amounts import between_zero_and_one
from backend.commands.import_documents.document_files import named_documents
from backend.commands.page_pictures import PagePictures, with_boxes
from backend.errors import PageError
from backend.escaping import printable
from backend.labelstudio.labelling import Binding, bind, versioned
from backend.labelstudio.projects import read_label_config
from backend.labelstudio.results import prediction, regions, wants_ink, why_empty
from backend.models.serving import Sources, build_pipeline
from backend.pages.source import ENOUGH_DPI, from_path
from backend.settings import Settings
from backend.terminal import advise
from backend.vision.ink import ink_in
from backend.vision.network_config import MARKS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backend.pages.page import Page
    from backend.vision.pipeline import Marks, Pipeline

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `predict`."""
    parser.add_argument("paths", nargs="+", type=Path, metavar="FILE|FOLDER", help="PDF, TIFF or image, or a folder")
    parser.add_argument("--recursive", action="store_true", help="look into folders inside folders, too")
    parser.add_argument(
        "--json", action="store_true", help="print one JSON document for each page, one a line; `page` counts from 1"
    )
    parser.add_argument(
        "--draw",
        type=Path,
        metavar="OUT",
        help="also draw the boxes: into a new .pdf of all pages, a .png or .jpg of a single page, or a folder",
    )
    parser.add_argument("--model", help="auto, hub, bundled or the name of a published model (MODEL)")
    parser.add_argument(
        "--confidence", type=between_zero_and_one, help="lowest probability at which a mark is shown (CONFIDENCE)"
    )
    parser.add_argument(
        "--label-config", type=Path, metavar="XML", help="label config of a project, whose names the regions get"
    )


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Prints the marks of every page of every file; gives 1 when one could not be read, after printing the others.

    Raises:
        ModelError: There is no model.
        LabelConfigError: The label config cannot be read, or has no place for marks.
        DocumentError: There is no document in the named folders.
        OutputError: What is to be drawn into is there already, or cannot hold the pages.
    """
    settings = settings.with_arguments(model=args.model, confidence=args.confidence)
    binding = _binding(args.label_config, settings)
    named = named_documents(args.paths, recursive=args.recursive)
    drawn: AbstractContextManager[PagePictures | None] = (
        nullcontext() if args.draw is None else PagePictures(args.draw, named)
    )
    pipeline = build_pipeline(Sources.of(settings).at_once(), settings)
    failed = pages = 0
    with drawn as pictures, tqdm(named, unit="file", disable=None, file=sys.stderr) as files:
        for file in files:
            try:
                for line in _lines(file, pipeline, binding, settings, as_json=args.json, pictures=pictures):
                    tqdm.write(line, file=sys.stdout)
                    pages += 1
            except PageError as error:
                tqdm.write(f"contract-marks: {printable(error)}", file=sys.stderr)
                failed += 1
    if args.draw is not None and pages:
        print(f"{printable(args.draw)}: {pages} page{'s' if pages != 1 else ''} with their boxes", file=sys.stderr)
    elif args.draw is None and not args.json:
        advise("--draw boxes.pdf draws the boxes on the pages; --json is for programs")
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
    return bind(read_label_config(label_config), confidence=settings.confidence)[0]


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
