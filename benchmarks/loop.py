"""The whole loop, round by round: pages of a new style are predicted, corrected, learnt from, and predicted better.

Usage: python -m benchmarks.loop [--rounds N] [--pages N] [--epochs N] [--work DIR] [--json FILE] [--plot FILE.svg]

A simulated annotator who knows the truth corrects drawn pages whose stamps, inks and layouts the first model never saw.
Each round predicts new pages with what serves, turns the corrections into samples, retrains, and lets the gate decide
what serves in the next round. Three arms see the same pages: everything; hard examples shown no more often than
others; and no retraining. Recalled corrections (RECALL_DISTANCE) are part of all three. A retraining teaches the
classifier the corrected marks, and the detector the corrected pages.

Three more arms (--arms random "doubtful first" select) tell what the order of the tasks saves: each takes the pages of
a round out of one pool (--pool), half of it in the new style, by what the model that serves says of them. An arm that
reaches macro F1 .90 on the held-out pages is done. With --work, a run that was cut off goes on where it was.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from backend.errors import BackendError
from backend.evaluation.rates import rates
from backend.settings import Settings
from backend.training.retraining.material import draw_base, draw_replay
from backend.training.retraining.starting import folder_of
from backend.vision.finders import DETECTORS, build_detector
from backend.vision.network_config import MARKS
from backend.vision.weights import BUNDLED
from benchmarks.annotator import Work
from benchmarks.loop_arm import Arm, Served
from benchmarks.loop_report import AIM, F1_AIM, Round, closing_lines, fall, pages_until, plot, table
from benchmarks.loop_work import HELD_OUT, POOL, KnownPage, Plan, draw_series, keep_plan, once
from benchmarks.queue_gain import ORDERS, ordered

__all__ = ["ARMS", "main", "next_pages"]

ARMS = ("full", "no hard pools", "no retraining")
_HARD_TIMES = {"full": 2.5, "no hard pools": 1.0} | dict.fromkeys(ORDERS, 2.5)
_FACTORS = {"signature": 2.0, "stamp": 2.0, "thumb": 2.0, "none": 2.0}
"""Showings of a sample in an epoch: fewer than usual, since an annotator's pages of several rounds come together."""
_LEAST_SAMPLES = 4
_LEAST_PAGES = 4
_NOWHERE = "http://127.0.0.1:9"
_LONG = 600.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the loop, and prints a table after each round; gives the exit code: 2 where it could not be run."""
    args = _arguments(arguments)
    cv2.setNumThreads(args.threads)
    try:
        with _folder(args.work) as folder:
            _run(args, folder)
    except BackendError as error:
        print(f"loop: {error}", file=sys.stderr)
        return 2
    return 0


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    cores = os.cpu_count() or 1
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="rounds (5)")
    parser.add_argument("--pages", type=int, default=80, help="new pages of a round (80)")
    parser.add_argument("--held-out", type=int, default=40, metavar="N", help="pages that only measure (40)")
    parser.add_argument("--epochs", type=int, default=3, help="of the whole net, after one of the head (3)")
    parser.add_argument(
        "--samples", type=int, default=400, help="drawn crops of an epoch, beside the corrections (400)"
    )
    parser.add_argument("--drawn-pages", type=int, default=160, metavar="N", help="drawn pages of a retraining (160)")
    parser.add_argument("--replay-pages", type=int, default=240, metavar="N", help="more for the detector (240)")
    parser.add_argument("--detector-epochs", type=int, default=4, metavar="N", help="of the detector (4)")
    parser.add_argument(
        "--detector-samples",
        type=int,
        default=320,
        metavar="N",
        help="pages of such an epoch, half drawn or more (320)",
    )
    parser.add_argument("--dpi", type=int, default=150, help="of the pages (150)")
    parser.add_argument("--detector", choices=DETECTORS, default="model", help="the DETECTOR setting (model)")
    parser.add_argument("--recall", type=float, default=0.05, metavar="D", help="RECALL_DISTANCE of all arms (0.05)")
    parser.add_argument(
        "--arms", nargs="+", choices=(*ARMS, *ORDERS), default=ARMS, help=f"which arms ({', '.join(ARMS)})"
    )
    parser.add_argument("--pool", type=int, default=240, metavar="N", help="pages that the orders choose from (240)")
    parser.add_argument("--threads", type=int, default=cores, help="threads that compute (all cores)")
    parser.add_argument("--jobs", type=int, default=1, help="processes that draw, or augment in training (1)")
    parser.add_argument("--work", type=Path, metavar="DIR", help="keeps each finished step: the same command goes on")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all figures here")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="also draw them here, as SVG")
    args = parser.parse_args(arguments)
    if not set(args.arms).isdisjoint(ORDERS) and args.pool < args.pages:
        parser.error(f"a pool of {args.pool} pages is smaller than a round of {args.pages}")
    if min(args.rounds, args.pages, args.held_out, args.epochs, args.detector_epochs) < 1:
        parser.error("rounds, pages, held-out pages and epochs are at least 1")
    return args


@contextmanager
def _folder(given: Path | None) -> Iterator[Path]:
    if given is not None:
        yield given.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="loop-") as made:
        yield Path(made)


def _run(args: argparse.Namespace, folder: Path) -> None:
    arms = [_arm(name, args, folder) for name in args.arms]
    with arms[0].serve("bundled", day=0) as served:
        plan = _plan(args, version=served.version)
    keep_plan(folder, plan)
    print(f"{plan.version}: {plan.rounds} rounds of {plan.pages} pages, RECALL_DISTANCE {plan.recall:g} in all arms")
    pages = folder / "pages"
    held_out = draw_series(pages, HELD_OUT, pages=plan.held_out, dpi=plan.dpi, jobs=args.jobs)
    _prepare(args, folder, arms)
    before = once(folder / "before.json", lambda: _before(arms[0], held_out))
    rounds: list[Round] = []
    for number in range(1, plan.rounds + 1):
        for arm in _going_on(arms, rounds):
            rounds.append(_round(arm, number, _to_annotate(arm, number, pages, plan, args.jobs), held_out, args))
            if arm.name in ORDERS:  # an arm takes hours: what it brought is told at once
                print("\n" + table(number, [rounds[-1]], before), flush=True)
        if any(one.number == number and one.arm in ARMS for one in rounds):
            own = [one for one in rounds if one.arm in ARMS]
            print("\n" + table(number, own, before), flush=True)
    print()
    for line in closing_lines(rounds, before):
        print(line)
    if args.json:
        args.json.write_text(json.dumps(_report(plan, before, rounds), indent=1) + "\n", encoding="utf-8")
    if args.plot:
        args.plot.write_text(plot(rounds, before), encoding="utf-8")


def _going_on(arms: Sequence[Arm], rounds: Sequence[Round]) -> list[Arm]:
    """The arms that have not reached what they are run for, or end with the last round."""
    done = {one.arm for one in rounds if one.arm in ORDERS and one.measured["macro_f1"] >= F1_AIM}
    return [arm for arm in arms if arm.name not in done]


def _to_annotate(
    arm: Arm, number: int, folder: Path, plan: Plan, jobs: int
) -> tuple[Sequence[KnownPage], Sequence[KnownPage]]:
    """The pages of a round; of an order, those of the pool that it may choose from, and those that it took before."""
    if arm.name not in ORDERS:
        return draw_series(folder, HELD_OUT + number, pages=plan.pages, dpi=plan.dpi, jobs=jobs), ()
    pool = draw_series(folder, POOL, pages=plan.pool, dpi=plan.dpi, jobs=jobs, familiar=True)
    earlier = [arm.settings.data_dir / f"round-{one}" / "annotated.json" for one in range(1, number)]
    taken = {name for file in earlier for name in _read(file)["names"]}
    return [page for page in pool if page.name not in taken], [page for page in pool if page.name in taken]


def next_pages(
    order: str,
    served: Served,
    left: Sequence[KnownPage],
    settings: Settings,
    *,
    count: int,
    seed: int,
    done: Sequence[KnownPage] = (),
) -> Sequence[KnownPage]:
    """The pages that an order takes next, of those that are left; `done` are those that were corrected."""
    bar = tqdm([*left, *done], desc=f"{order}: which pages", unit="page", disable=None)
    looked = [served.look(page, settings, task=place) for place, page in enumerate(bar)]
    known = [one.vector for one in looked[len(left) :]]
    return [left[place] for place in ordered(order, looked[: len(left)], count, seed=seed, known=known)]


def _plan(args: argparse.Namespace, *, version: str) -> Plan:
    named = {row.name: getattr(args, row.name) for row in dataclasses.fields(Plan) if row.name != "version"}
    return Plan(version=version, **named | {"arms": tuple(args.arms)})


def _arm(name: str, args: argparse.Namespace, folder: Path) -> Arm:
    settings = Settings(
        data_dir=folder / name.replace(" ", "-"),
        local_files_root=str(folder / "pages"),
        label_studio_url=_NOWHERE,
        detector=args.detector,
        recall_distance=args.recall,
        predict_deadline=_LONG,
        model_threads=args.threads,
    )
    return Arm(name=name, settings=settings, recipe=_recipe(name, args))


def _recipe(name: str, args: argparse.Namespace) -> dict[str, Any] | None:
    """What differs from the recipe of `train`: fewer crops and epochs, so smaller batches and a shorter average.

    Without hard pools, a hard example and a corrected page are shown as often as any other.
    """
    if name not in _HARD_TIMES:
        return None
    return {
        "stages": [
            {"size": 224, "epochs": 1, "learning_rate": 2e-3, "head_only": True},
            {"size": 224, "epochs": args.epochs, "learning_rate": 3e-4},
        ],
        "samples": args.samples,
        "batch": 32,
        "averaging": 0.95,
        "corrections": {
            "factors": _FACTORS,
            "hard_factor": 2.0,
            "hard_times": _HARD_TIMES[name],
            "drawn_pages": args.drawn_pages,
            "replay_pages": args.replay_pages,
            "least_samples": _LEAST_SAMPLES,
            "least_pages": _LEAST_PAGES,
        },
        "detector": {"epochs": args.detector_epochs, "samples": args.detector_samples},
    }


def _prepare(args: argparse.Namespace, folder: Path, arms: Sequence[Arm]) -> None:
    """Draws the pages that retrainings have beside the corrections once, and gives them to each arm that retrains."""
    wanting = [arm for arm in arms if arm.recipe is not None]
    base = folder / "base"
    if wanting:
        draw_base(base, pages=args.drawn_pages, detector=build_detector(args.detector, BUNDLED, threads=args.threads))
        draw_replay(base / "replay", pages=args.replay_pages)
    for arm in wanting:
        own = folder_of(arm.settings.data_dir) / "drawn"
        if not own.exists():
            aside = own.with_name("drawn.part")
            shutil.rmtree(aside, ignore_errors=True)
            shutil.copytree(base, aside)
            aside.rename(own)


def _before(arm: Arm, held_out: Sequence[KnownPage]) -> dict[str, Any]:
    with arm.serve("bundled", day=0) as served:
        return _measured(served, held_out, arm, "before")


def _round(
    arm: Arm,
    number: int,
    offered: tuple[Sequence[KnownPage], Sequence[KnownPage]],
    held_out: Sequence[KnownPage],
    args: argparse.Namespace,
) -> Round:
    """One round of one arm; each of its three steps is done once. An order chooses among the pages offered."""
    steps = arm.settings.data_dir / f"round-{number}"
    model = "bundled" if number == 1 else _read(steps.with_name(f"round-{number - 1}") / "trained.json")["serves"]

    def annotate() -> dict[str, Any]:
        (pages, done), work, shown = offered, Work(), 0
        with arm.serve(model, day=number) as served:
            chosen = pages
            if arm.name in ORDERS:
                chosen = next_pages(arm.name, served, pages, arm.settings, count=args.pages, seed=number, done=done)
            for place, page in enumerate(tqdm(chosen, desc=f"{arm.name}, round {number}", unit="page", disable=None)):
                spent, boxes = served.annotate(page, task=1000 * number + place)
                work, shown = work + spent, shown + boxes
            served.learn()
            marks = sum(len(page.marks) for page in chosen)
            facts = {"model": model, "version": served.version, "pages": len(chosen), "shown": shown, "marks": marks}
        return facts | {"names": [page.name for page in chosen], "work": dataclasses.asdict(work)}

    def retrain() -> dict[str, Any]:
        if arm.recipe is None:
            return {"outcome": "not retrained", "reasons": [], "serves": model}
        print(f"{arm.name}, round {number}: retraining …", file=sys.stderr, flush=True)
        made = arm.retrain(model, log=steps / "train.log", threads=args.threads, jobs=args.jobs)
        return dataclasses.asdict(made) | {"serves": arm.active()}

    def measure() -> dict[str, Any]:
        with arm.serve(trained["serves"], day=number) as served:
            return _measured(served, held_out, arm, f"round {number}")

    annotated = once(steps / "annotated.json", annotate)
    trained = once(steps / "trained.json", retrain)
    measured = once(steps / "measured.json", measure)
    return Round(arm=arm.name, number=number, annotated=annotated, trained=trained, measured=measured)


def _measured(served: Served, held_out: Sequence[KnownPage], arm: Arm, when: str) -> dict[str, Any]:
    bar = tqdm(held_out, desc=f"{arm.name}, {when}: held out", unit="page", disable=None)
    work, confusion = served.measure(bar, arm.settings)
    f1 = rates(confusion, len(MARKS))[:, 2]
    return {
        "version": served.version,
        "pages": len(held_out),
        "work": dataclasses.asdict(work),
        "f1": {label: float(one) for label, one in zip(MARKS, f1, strict=True) if np.isfinite(one)},
        "macro_f1": float(np.nanmean(f1)),
        "confusion": confusion.tolist(),
    }


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _report(plan: Plan, before: Mapping[str, Any], rounds: Sequence[Round]) -> dict[str, Any]:
    told: dict[str, Any] = {
        "plan": dataclasses.asdict(plan),
        "before": before,
        "rounds": [dataclasses.asdict(one) | {"corrections_a_page": one.corrections} for one in rounds],
    }
    if first := [one for one in rounds if one.arm in ARMS and one.arm == plan.arms[0]]:
        fell = fall(first[0].corrections, first[-1].corrections)
        told["aim"] = {"arm": first[0].arm, "fall": fell, "wanted": AIM, "reached": fell is not None and fell >= AIM}
    if orders := [name for name in plan.arms if name in ORDERS]:
        told["pages_until_aim"] = {"f1": F1_AIM} | {name: pages_until(name, rounds, before) for name in orders}
    return told


if __name__ == "__main__":
    sys.exit(main())
