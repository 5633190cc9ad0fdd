"""The command `evaluate`: a model on pages whose marks are known, or by what annotators did unaided."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backend.commands.amounts import between_zero_and_one
from backend.corrections.service import Store
from backend.errors import EvaluationError
from backend.evaluation.blind import blind_table, compare, readings
from backend.evaluation.figures import table
from backend.evaluation.study import study
from backend.evaluation.truth import read_coco
from backend.files import ask_for_place, write_private
from backend.models.serving import Sources, build_pipeline
from backend.settings import Settings

if TYPE_CHECKING:
    import argparse

    from backend.evaluation.evaluation_report import PlottedEpoch

__all__ = ["add_arguments", "run"]

_HISTORY = "training.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `evaluate`."""
    parser.add_argument("--coco", type=Path, metavar="FILE", help="annotations of the pages, COCO format")
    parser.add_argument("--images", type=Path, metavar="DIR", help="folder of the images that FILE names")
    parser.add_argument(
        "--blind",
        nargs="?",
        const="",
        metavar="VERSION",
        help="instead: compare annotators who were served no boxes (BLIND_SHARE) with those who saw boxes; only "
        "versions of the model that begin with VERSION (default: all)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures here")
    parser.add_argument(
        "--html", type=Path, metavar="FILE", help="write a report with plots and pictures of the worst mistakes here"
    )
    parser.add_argument("--model", help="auto, hub, bundled or the name of a published model (MODEL)")
    parser.add_argument(
        "--confidence", type=between_zero_and_one, help="lowest probability at which a mark is shown (CONFIDENCE)"
    )
    parser.add_argument(
        "--history",
        type=Path,
        metavar="FILE",
        help=f"training history for the report (default: the model's {_HISTORY})",
    )


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Evaluates; prints the table.

    Raises:
        EvaluationError: Annotations or images cannot be used, or there are no blind pages.
        OutputError: An output file cannot be written.
        LedgerError: The ledger cannot be used.
        PageError: An image cannot be read.
        ModelError: There is no model.
    """
    for file in (args.json, args.html):
        ask_for_place(file)
    if args.blind is not None:
        return _blind(args, settings)
    if args.coco is None or args.images is None:
        raise EvaluationError("name the pages with --coco FILE --images DIR, or ask for --blind")
    return _on_pages(args, settings)


def _blind(args: argparse.Namespace, settings: Settings) -> int:
    if args.coco or args.images or args.html:
        raise EvaluationError("--blind reads the ledger: it goes with --json, and not with --coco, --images or --html")
    store = Store.open(settings)
    try:
        figures = compare(readings(store.engine), version=args.blind)
    finally:
        store.engine.dispose()
    print(blind_table(figures))
    _write_json(args.json, figures.as_json())
    return os.EX_OK


def _on_pages(args: argparse.Namespace, settings: Settings) -> int:
    try:
        from backend.evaluation.evaluation_report import html_report  # noqa: PLC0415
        from backend.evaluation.measuring import measure  # noqa: PLC0415  a serving install has no COCO library
    except ModuleNotFoundError as error:
        raise EvaluationError(
            f"evaluating needs {error.name}: install this program with its `evaluate` extra"
        ) from error
    settings = settings.with_arguments(model=args.model, confidence=args.confidence)
    truth = read_coco(args.coco, args.images)
    weights = Sources.of(settings).at_once()
    history = _history(args.history, weights.folder) if args.html else []
    seen = study(build_pipeline(weights, settings), truth, settings)
    figures = measure(seen)
    print(table(figures))
    _write_json(args.json, figures.as_json())
    if args.html:
        write_private(args.html, html_report(seen, figures, settings, history=history))
        print(f"\n{args.html}: confidential, it shows parts of the pages; only you can read it")
    return os.EX_OK


def _write_json(file: Path | None, figures: dict[str, Any]) -> None:
    if file is not None:
        write_private(file, json.dumps(figures, indent=1, allow_nan=False) + "\n")


def _history(wanted: Path | None, folder: Path) -> list[PlottedEpoch]:
    """The history asked for; else the one beside the weights, which not every model has."""
    from backend.evaluation.evaluation_report import read_history  # noqa: PLC0415  needs the COCO library

    if wanted is not None:
        return read_history(wanted)
    beside = folder / _HISTORY
    return read_history(beside) if beside.is_file() else []
