"""The command `train`: makes the bundled weights again."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from backend.errors import TrainingError
from backend.nets.weights import BUNDLED

__all__ = ["STEPS", "add_arguments", "run"]

STEPS = ("crops", "fit", "publish")
_PAGES = 300


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `train`."""
    parser.add_argument(
        "--bundled-recipe", action="store_true", required=True, help="make the weights that come with this program"
    )
    parser.add_argument("--work", type=Path, default=Path("out/training"), help="folder for crops and checkpoints")
    parser.add_argument("--out", type=Path, default=BUNDLED, help="folder for the finished weights")
    parser.add_argument("--real", type=Path, help="folder with a manifest.json of real pages and crops")
    parser.add_argument("--pages", type=int, default=_PAGES, help=f"how many pages to draw (default {_PAGES})")
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=STEPS, help="do only these (default all)")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="threads that compute (default all cores)")
    parser.add_argument("--jobs", type=int, default=1, help="processes that draw pages and augment (default 1)")


def run(args: argparse.Namespace) -> int:
    """Harvests crops, trains on them and publishes the result; a step that was stopped goes on. Gives the exit code.

    Raises:
        TrainingError: What training needs is not installed, or an earlier step has not been done.
    """
    try:
        from backend.training import bundled  # noqa: PLC0415  a serving install has no torch
    except ModuleNotFoundError as error:
        raise TrainingError(f"training needs {error.name}: install this program with its `train` extra") from error
    if "crops" in args.steps:
        bundled.harvest(args.work, pages=args.pages, real=args.real, jobs=args.jobs)
    if "fit" in args.steps:
        bundled.fit_bundled(args.work, threads=args.threads, jobs=args.jobs)
    if "publish" in args.steps:
        for line in bundled.publish_bundled(args.work, args.out, threads=args.threads, command=_command(args)):
            print(line)
    return os.EX_OK


def _command(args: argparse.Namespace) -> str:
    """The command line that does all steps again, without this machine's folders."""
    real = " --real FOLDER_OF_REAL_PAGES" if args.real else ""
    return f"python -m backend train --bundled-recipe --pages {args.pages}{real}"
