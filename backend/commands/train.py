"""The command `train`: retrains on annotators' samples, or makes the bundled weights again."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from backend.commands.amounts import none_or_more, one_or_more, zero_or_above
from backend.errors import TrainingError
from backend.settings import Settings
from backend.vision.weights import BUNDLED, NETWORKS

__all__ = ["STEPS", "add_arguments", "run"]

STEPS = ("pages", "detector", "refiner", "crops", "classifier", "publish", "fusion")
_FURTHER = "further"
"""In place of the step `detector`, where the bundled one is to go on learning."""
_LAST = "quantise"
"""A step that is done only when it is asked for: the gold pages have to say first that nothing is lost by it."""
_PAGES = 3600
_WORK = Path("out/training")
_BUNDLED_ALONE: dict[str, object] = {
    "work": _WORK,
    "out": BUNDLED,
    "real": None,
    "pages": _PAGES,
    "dataset": [],
    "steps": STEPS,
    "networks": NETWORKS,
    "minutes": None,
}
"""What --bundled-recipe alone looks at, with the defaults."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `train`."""
    parser.add_argument(
        "--no-promote", dest="promote", action="store_false", help="do not promote a better model: it stays a candidate"
    )
    parser.add_argument(
        "--recipe",
        type=Path,
        metavar="FILE",
        help="JSON file whose fields replace those of the recipe (RETRAIN_RECIPE)",
    )
    parser.add_argument("--why", default="by hand", help="reason, for the record of trainings (default: %(default)s)")
    parser.add_argument("--background", type=int, metavar="LOCK", help=argparse.SUPPRESS)
    parser.add_argument(
        "--threads", type=one_or_more, default=os.cpu_count(), help="threads that compute (default: one on each core)"
    )
    parser.add_argument(
        "--jobs",
        type=none_or_more,
        default=1,
        help="further processes that draw and augment pages; 0: none (default: 1)",
    )
    parser.add_argument(
        "--bundled-recipe", action="store_true", help="instead of a retraining: train weights such as the bundled ones"
    )
    bundled = parser.add_argument_group("with --bundled-recipe alone")
    bundled.add_argument(
        "--work", type=Path, default=_WORK, help="folder for crops and checkpoints (default: %(default)s)"
    )
    bundled.add_argument(
        "--out", type=Path, default=BUNDLED, help="folder for the finished weights (default: the program's own)"
    )
    bundled.add_argument("--real", type=Path, metavar="DIR", help="folder with a manifest.json of real pages and crops")
    bundled.add_argument(
        "--pages", type=one_or_more, default=_PAGES, help=f"how many pages to draw (default: {_PAGES})"
    )
    bundled.add_argument(
        "--dataset",
        action="append",
        default=[],
        metavar="NAME",
        help="learn from this frozen data set as well; needs --out",
    )
    bundled.add_argument(
        "--steps",
        nargs="+",
        choices=(*STEPS, _FURTHER, _LAST),
        default=STEPS,
        help=f"do only these steps (default: all but {_FURTHER}, which trains the bundled detector further in place of "
        f"the step detector, and {_LAST}, which turns the networks of --out into whole numbers)",
    )
    bundled.add_argument(
        "--networks",
        nargs="+",
        choices=NETWORKS,
        default=NETWORKS,
        help=f"networks that the step {_LAST} changes (default: all)",
    )
    bundled.add_argument(
        "--minutes",
        type=zero_or_above,
        metavar="M",
        help="stop the detector's training after M minutes, at the end of an epoch, and write its weights; the same "
        "command goes on from there; 0: only write them (default: train to the recipe's end)",
    )


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Does one of the two; what was stopped goes on. Gives the exit code: 1 where the gate refused what was trained.

    Raises:
        TrainingError: What training needs is not installed or not there: an earlier step, or enough samples.
    """
    try:
        from backend.training import bundled, training_pages  # noqa: PLC0415  a serving install has no torch
        from backend.training.ranks import processes  # noqa: PLC0415
        from backend.training.retraining import session  # noqa: PLC0415
        from backend.training.retraining.together import together  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise TrainingError(
            f"training needs {error.name}: install this program with its `train` extra (requirements/train.txt)"
        ) from error
    if not args.bundled_recipe:
        _refuse_what_is_not_looked_at(args)
        return together(lambda: session.run(args, settings))
    if processes() > 1 and set(args.steps) != {"classifier"}:
        raise TrainingError(
            "of the bundled recipe several processes can do the step `classifier` alone: do the others without "
            "torchrun, and that one with --steps classifier"
        )
    if args.dataset:
        training_pages.ask_for_folder(args.out)
    if "pages" in args.steps:
        bundled.collect(args.work, pages=args.pages, real=args.real, jobs=max(args.jobs, 1))
        training_pages.collect_frozen(args.work, args.dataset, settings)
    if {"detector", _FURTHER} & set(args.steps):
        further = _further(args.steps)
        how = {"threads": args.threads, "jobs": args.jobs, "minutes": args.minutes, "further": further}
        _say(bundled.fit_pages(args.work, args.out, real=args.real, **how))
    if "refiner" in args.steps:
        _say(bundled.fit_boxes(args.work, args.out, real=args.real, threads=args.threads, jobs=args.jobs))
    if "crops" in args.steps:
        bundled.harvest(args.work, args.out, real=args.real, jobs=max(args.jobs, 1))
    if "classifier" in args.steps:
        bundled.fit_classifier(args.work, threads=args.threads, jobs=args.jobs)
    if "publish" in args.steps:
        _say(bundled.publish_classifier(args.work, args.out, threads=args.threads, command=_command(args)))
    if "fusion" in args.steps:
        _say([bundled.weigh(args.work, args.out, threads=args.threads)])
    if _LAST in args.steps:
        _say(bundled.into_whole_numbers(args.out, real=args.real, threads=args.threads, networks=args.networks))
    return os.EX_OK


def _refuse_what_is_not_looked_at(args: argparse.Namespace) -> None:
    """A retraining that left an option out of account would be another than the one that was asked for."""
    given = [f"--{name}" for name, default in _BUNDLED_ALONE.items() if getattr(args, name) != default]
    if given:
        raise TrainingError(
            f"{', '.join(given)}: only for --bundled-recipe, which makes the weights that come with this program; a "
            "retraining on corrections is changed by --recipe FILE"
        )


def _further(steps: Sequence[str]) -> bool:
    """Whether the bundled detector goes on learning, rather than a new one beginning.

    Raises:
        TrainingError: Both are asked for.
    """
    if {"detector", _FURTHER} <= set(steps):
        raise TrainingError(f"detector and {_FURTHER} are two ways of training one network: name one of them")
    return _FURTHER in steps


def _say(lines: list[str]) -> None:
    for line in lines:
        print(line)


def _command(args: argparse.Namespace) -> str:
    """The command line that does all steps again, without this machine's folders."""
    real = " --real FOLDER_OF_REAL_PAGES" if args.real else ""
    frozen = "".join(f" --dataset {name}" for name in args.dataset) + (" --out FOLDER" if args.dataset else "")
    return f"python -m backend train --bundled-recipe --pages {args.pages}{real}{frozen}"
