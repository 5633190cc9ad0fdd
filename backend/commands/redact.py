"""The command `redact`: pages with black in the place of their marks, for sharing them."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from backend.commands.amounts import between_zero_and_one
from backend.commands.import_documents.document_files import named_documents
from backend.commands.page_pictures import PagePictures, covered
from backend.errors import PageError
from backend.escaping import printable
from backend.models.serving import Sources, build_pipeline
from backend.pages.source import from_path
from backend.settings import Settings
from backend.vision.network_config import MARKS

if TYPE_CHECKING:
    import argparse

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `redact`."""
    parser.add_argument("paths", nargs="+", type=Path, metavar="FILE|FOLDER", help="PDF, TIFF or image, or a folder")
    parser.add_argument("--recursive", action="store_true", help="look into folders inside folders, too")
    parser.add_argument(
        "--out", type=Path, required=True, help="a new .pdf of all pages, a .png or .jpg of a single page, or a folder"
    )
    parser.add_argument("--only", nargs="+", choices=MARKS, default=MARKS, help="cover only these marks (default: all)")
    parser.add_argument("--model", help="auto, hub, bundled or the name of a published model (MODEL)")
    parser.add_argument(
        "--confidence",
        type=between_zero_and_one,
        help="lowest probability at which a mark is covered (CONFIDENCE); lower covers more",
    )


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Writes every page of every file with its marks covered; gives 1 when a file could not be read.

    What the model does not find stays visible: whoever shares the pages looks at them first.

    Raises:
        ModelError: There is no model.
        DocumentError: There is no document in the named folders.
        OutputError: The output is there already, or cannot hold the pages.
    """
    settings = settings.with_arguments(model=args.model, confidence=args.confidence)
    named = named_documents(args.paths, recursive=args.recursive)
    out = PagePictures(args.out, named)
    pipeline = build_pipeline(Sources.of(settings).at_once(), settings)
    failed = written = hidden = 0
    with out as pictures, tqdm(named, unit="file", disable=None, file=sys.stderr) as files:
        for file in files:
            try:
                for page in from_path(file, settings):
                    marks = pipeline.marks(page)
                    boxes = marks.boxes[[name in args.only for name in marks.names]]
                    pictures.add(page, covered(page, boxes), source=file)
                    written, hidden = written + 1, hidden + len(boxes)
                    line = f"{printable(file)}, page {page.index + 1}: {len(boxes)} covered"
                    tqdm.write(line, file=sys.stdout)
            except PageError as error:
                tqdm.write(f"contract-marks: {printable(error)}", file=sys.stderr)
                failed += 1
    _tell(args.out, pages=written, marks=hidden, failed=failed)
    return 1 if failed else os.EX_OK


def _tell(out: Path, *, pages: int, marks: int, failed: int) -> None:
    """Where the pages are, and what is not in them."""
    if not pages:
        print(f"contract-marks: no page could be read, and nothing is in {printable(out)}", file=sys.stderr)
        return
    print(f"{printable(out)}: {pages} page{'s' if pages != 1 else ''}, {marks} marks covered", file=sys.stderr)
    if failed:
        files = "1 file" if failed == 1 else f"{failed} files"
        print(f"{files} could not be read to the end: not all of the pages are there.", file=sys.stderr)
    print("What was not found is not covered: look at each page before you share it.", file=sys.stderr)
