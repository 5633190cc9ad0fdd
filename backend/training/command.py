"""The command `train`: makes the bundled weights again, step by step; each step goes on where it was stopped."""

from __future__ import annotations

import argparse
import multiprocessing
import os
from functools import partial
from pathlib import Path

import cv2
import torch

from backend.nets.weights import BUNDLED as BUNDLED_FOLDER
from backend.training.crops import CropStore
from backend.training.harvest import harvest_drawn
from backend.training.loop import fit
from backend.training.publish import publish
from backend.training.realdata import harvest_real
from backend.training.recipe import BUNDLED

__all__ = ["STEPS", "add_arguments", "run"]

STEPS = ("crops", "fit", "publish")
_PAGES = 300


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `train`."""
    parser.add_argument(
        "--bundled-recipe", action="store_true", required=True, help="make the weights that come with this program"
    )
    parser.add_argument("--work", type=Path, default=Path("out/training"), help="folder for crops and checkpoints")
    parser.add_argument("--out", type=Path, default=BUNDLED_FOLDER, help="folder for the finished weights")
    parser.add_argument("--real", type=Path, help="folder with a manifest.json of real pages and crops")
    parser.add_argument("--pages", type=int, default=_PAGES, help=f"how many pages to draw (default {_PAGES})")
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=STEPS, help="do only these (default all)")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="threads that compute (default all cores)")
    parser.add_argument("--jobs", type=int, default=1, help="processes that draw pages and augment (default 1)")


def run(args: argparse.Namespace) -> int:
    """Harvests crops, trains on them and publishes the result; gives the exit code."""
    torch.set_num_threads(args.threads)
    store, folder = CropStore(args.work / "crops"), args.work / BUNDLED.digest
    if "crops" in args.steps:
        _harvest(args, store)
    if "fit" in args.steps:
        fit(BUNDLED, store, folder, workers=args.jobs)
    if "publish" in args.steps:
        progress = fit(BUNDLED, store, folder, stop_after=0)
        measured = publish(folder, progress, BUNDLED, store, args.out, command=_command(args))
        for title, report in measured.items():
            print(f"{title}: {report.count} crops, accuracy {report.accuracy:.3f}, macro F1 {report.macro_f1:.3f}")
    return os.EX_OK


def _harvest(args: argparse.Namespace, store: CropStore) -> None:
    if args.real:
        harvest_real(store, args.real)
    with multiprocessing.get_context("spawn").Pool(args.jobs, initializer=partial(cv2.setNumThreads, 1)) as pool:
        part = partial(_draw, args.work / "crops", args.pages, args.jobs)
        pool.map(part, range(args.jobs))


def _draw(folder: Path, pages: int, jobs: int, offset: int) -> None:
    harvest_drawn(CropStore(folder), pages=pages, step=jobs, offset=offset)


def _command(args: argparse.Namespace) -> str:
    """The command line that does all steps again, with placeholders for this machine's folders."""
    real = " --real FOLDER_OF_REAL_PAGES" if args.real else ""
    return f"python -m backend train --bundled-recipe --pages {args.pages}{real}"
