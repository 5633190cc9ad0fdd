"""The command `samples`: what the corrections made, as a table, a contact sheet, or the story of one."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from backend.errors import LedgerError, SettingsError
from backend.feedback.gallery import html_sheet, png_sheet, shelves, story
from backend.feedback.report import count, tables
from backend.feedback.service import Store
from backend.settings import Settings

if TYPE_CHECKING:
    import argparse

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `samples`."""
    parser.add_argument("show", nargs="*", metavar="show ID", help="tell the story of one sample")
    parser.add_argument("--sheet", type=Path, metavar="FILE", help="write a contact sheet of the crops, .html or .png")
    parser.add_argument("--most", type=int, default=200, help="most crops of one outcome on the sheet (default: 200)")
    parser.add_argument("--json", action="store_true", help="the counts as one JSON document")


def run(args: argparse.Namespace) -> int:
    """Prints counts beside the seed's, or a story, or writes a sheet.

    Raises:
        LedgerError: The database or a crop cannot be used, or there is no such sample.
        SettingsError: The arguments cannot be understood.
    """
    settings = Settings.from_environment(os.environ)
    if args.show and (len(args.show) != 2 or args.show[0] != "show"):
        raise SettingsError("samples takes `show ID` or nothing, besides its options")
    store = Store.open(settings)
    if args.show:
        with store.engine.connect() as connection:
            print(story(connection, args.show[1]))
    elif args.sheet is not None:
        _write_sheet(store, args.sheet, most=args.most)
    elif args.json:
        print(json.dumps(count(store.engine).as_json()))
    else:
        print(tables(count(store.engine)))
    store.engine.dispose()
    return os.EX_OK


def _write_sheet(store: Store, file: Path, *, most: int) -> None:
    if file.suffix.lower() not in {".html", ".png"}:
        raise SettingsError(f"{file}: a sheet is an .html page or a .png image")
    with store.engine.connect() as connection:
        found = shelves(connection, store.crops, most=most)
    try:
        if file.suffix.lower() == ".html":
            file.write_text(html_sheet(found), encoding="utf-8")
        else:
            png_sheet(found).save(file)
    except OSError as error:
        raise LedgerError(f"{file} cannot be written ({error.strerror})") from error
    print(f"{file}: {sum(len(shelf.samples) for shelf in found)} crops")
