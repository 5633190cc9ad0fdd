"""What the order of the tasks saves: random, the most doubtful first, and `select`, over one pool of pages.

Usage: python -m benchmarks.queue_gain [--pool N] [--held-out N] [--work DIR]

Half of the pool is in a style that the network never saw, half in one that it knows: an archive with a new customer in
it. `--rare` leaves a few of the new pages, as where that customer is one of many. In each round an order takes some
pages by what is known so far; an annotator who knows the truth corrects them; and what names the marks is taught anew
by all that was corrected. Macro F1 of the names is measured on the marks, and on the false boxes, of held-out pages of
the new style.

What is taught is one layer over the embeddings of the serving network, which takes a second, not the whole network: so
many rounds can be run over many pools. It tells what an order brings to naming. It does not tell of marks that are
overlooked. The pools are halves of all pages, drawn by lot; an order is compared with another over the same halves.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from tqdm import tqdm

from backend.commands.select_tasks import LookedTask, choose
from backend.evaluation.rates import rates
from backend.geometry import as_boxes, iou
from backend.models.serving import Sources, build_pipeline
from backend.pages.source import from_path
from backend.settings import Settings
from backend.vision.network_config import CLASSES, MARKS
from backend.vision.pipeline import Pipeline
from benchmarks.loop_work import HELD_OUT, KnownPage, draw_series

__all__ = ["ORDERS", "Material", "Namer", "corrected_until", "curve", "half_of", "main", "ordered"]

ORDERS = ("random", "doubtful first", "select")
AIM = 0.9
_POOL, _KNOWN = HELD_OUT + 1, HELD_OUT + 2
_LEAST = 0.05
"""Confidence from which boxes are looked at: what is not quite shown is doubtful, too."""
_ANOTHER = 0.1
"""IoU with every mark below which a box is on nothing."""
_SHRINK, _STEPS = 1e-4, 100
_NONE = CLASSES.index("none")


@dataclass(frozen=True, kw_only=True, eq=False)
class Material:
    """A page by the embeddings of its boxes.

    Attributes:
        shown: (S, D) of the boxes that the network proposes.
        taught: (N, D) of its true marks, and of proposed boxes on nothing: what a correction of the page teaches.
        labels: (N,) index into `CLASSES`.
        new: Whether it is in the new style.
    """

    shown: NDArray[np.float64]
    taught: NDArray[np.float64]
    labels: NDArray[np.intp]
    new: bool


class Namer:
    """One layer over embeddings: multinomial logistic regression with a small penalty.

    Args:
        vectors: (N, D) of length 1.
        labels: (N,) index into `CLASSES`.
    """

    def __init__(self, vectors: NDArray[np.float64], labels: NDArray[np.intp]) -> None:
        inputs = np.hstack([vectors, np.ones((len(vectors), 1))])
        wanted = np.eye(len(CLASSES))[labels]

        def loss(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
            weights = flat.reshape(inputs.shape[1], len(CLASSES))
            shares = _softmax(inputs @ weights)
            cost = -np.log(np.maximum(shares[wanted.astype(bool)], 1e-12)).mean()
            slope = inputs.T @ (shares - wanted) / len(inputs) + 2 * _SHRINK * weights
            return float(cost + _SHRINK * (weights**2).sum()), slope.ravel()

        start = np.zeros(inputs.shape[1] * len(CLASSES))
        found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": _STEPS})
        self._weights = found.x.reshape(inputs.shape[1], len(CLASSES))

    def shares(self, vectors: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probabilities (N, 4) over `CLASSES`."""
        return _softmax(np.hstack([vectors, np.ones((len(vectors), 1))]) @ self._weights)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the orders, and prints a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pool", type=int, default=240, help="pages to choose from (%(default)s)")
    parser.add_argument("--held-out", type=int, default=60, help="pages that measure (%(default)s)")
    parser.add_argument("--known", type=int, default=24, help="pages that are corrected before the first (%(default)s)")
    parser.add_argument("--pages", type=int, default=4, help="pages of a round (%(default)s)")
    parser.add_argument("--halves", type=int, default=20, help="halves of the pool (%(default)s)")
    parser.add_argument("--rare", type=int, metavar="N", help="only N pages of a half are new (default: as they come)")
    parser.add_argument("--dpi", type=int, default=150, help="of the pages (%(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="threads that compute (%(default)s)")
    parser.add_argument("--work", type=Path, metavar="DIR", help="keeps the pages and what was seen of them")
    args = parser.parse_args(arguments)
    cv2.setNumThreads(args.threads)
    with _folder(args.work) as folder:
        pool, held_out, known = _pages(args, folder)
    curves: dict[str, list[list[float]]] = {order: [] for order in ORDERS}
    for half in range(args.halves):
        chosen = half_of(pool, rare=args.rare, seed=half)
        for order in ORDERS:
            curves[order].append(curve(order, chosen, known, held_out, pages=args.pages, seed=half))
    _print(curves, args.pages)
    return 0


def half_of(pool: Sequence[Material], *, rare: int | None, seed: int) -> list[Material]:
    """Half of a pool, drawn by lot; of the pages in the new style only `rare`, where that is said."""
    lots = [pool[place] for place in np.random.default_rng(seed).permutation(len(pool))]
    if rare is not None:
        lots = [*[one for one in lots if one.new][:rare], *[one for one in lots if not one.new]]
    return lots[: len(pool) // 2]


def curve(
    order: str,
    pool: Sequence[Material],
    known: Sequence[Material],
    held_out: Sequence[Material],
    *,
    pages: int,
    seed: int,
) -> list[float]:
    """Macro F1 after each round, that before the first included, until the pool is empty."""
    corrected, left = list(known), dict(enumerate(pool))
    found = []
    while True:
        namer = _taught(corrected)
        found.append(_f1(namer, held_out))
        if not left:
            return found
        looked = [_looked(namer, *one) for one in left.items()]
        done = [_looked(namer, place, page).vector for place, page in enumerate(corrected)]
        for place in ordered(order, looked, pages, seed=seed, known=done):
            corrected.append(left.pop(place))


def ordered(
    order: str, looked: Sequence[LookedTask], count: int, *, seed: int, known: Sequence[NDArray[np.float64]]
) -> list[int]:
    """The tasks that an order takes first, of those that are left; `known` are the vectors of those corrected."""
    if order == "select":
        return [one.task for one in choose(looked, count, known=known)]
    if order == "random":
        lots = np.random.default_rng([seed, len(looked)]).permutation(len(looked))
        return [looked[place].task for place in lots[:count]]
    return [one.task for one in sorted(looked, key=lambda one: (one.certainty, one.task))[:count]]


def corrected_until(aim: float, found: Sequence[float], pages: int) -> int | None:
    """Pages that were corrected when F1 first was `aim` or more, in rounds of `pages`; None where it never was."""
    return next((pages * number for number, f1 in enumerate(found) if f1 >= aim), None)


def _looked(namer: Namer, place: int, page: Material) -> LookedTask:
    shares = namer.shares(page.shown)
    mean = page.shown.sum(axis=0)
    length = float(np.linalg.norm(mean))
    return LookedTask(
        task=place,
        certainty=float(shares.max(axis=1).min(initial=1.0)),
        vector=mean / length if length else mean,
        marks=len(page.shown),
    )


def _taught(pages: Sequence[Material]) -> Namer:
    return Namer(np.concatenate([one.taught for one in pages]), np.concatenate([one.labels for one in pages]))


def _f1(namer: Namer, pages: Sequence[Material]) -> float:
    labels = np.concatenate([one.labels for one in pages])
    called = namer.shares(np.concatenate([one.taught for one in pages])).argmax(axis=1)
    confusion = np.zeros((len(CLASSES), len(CLASSES)), np.int64)
    np.add.at(confusion, (labels, called), 1)
    return float(np.nanmean(rates(confusion, len(MARKS))[:, 2]))


def _print(curves: dict[str, list[list[float]]], pages: int) -> None:
    halves = len(curves[ORDERS[0]])
    print(f"macro F1 of the names on held-out pages of the new style; mean of {halves} halves of the pool")
    shown = sorted({0, 1, 2, 3, 4, 6, 8, 12, 16, 24, len(curves[ORDERS[0]][0]) - 1})
    shown = [number for number in shown if number < len(curves[ORDERS[0]][0])]
    print(f"{'corrected pages':<17}" + "".join(f"{number * pages:>7}" for number in shown) + f"   until F1 {AIM:.2f}")
    for order, found in curves.items():
        mean = np.mean(found, axis=0)
        until = [corrected_until(AIM, one, pages) for one in found]
        reached = [one for one in until if one is not None]
        told = f"{np.median(reached):.0f} pages (median of {len(reached)})" if reached else "never"
        print(f"{order:<17}" + "".join(f"{mean[number]:>7.3f}" for number in shown) + f"   {told}")
    for order in ORDERS[1:]:
        ahead = [_area(one) - _area(other) for one, other in zip(curves[order], curves["random"], strict=True)]
        low, high = np.quantile(ahead, (0.05, 0.95))
        print(
            f"{order} above random, mean over all rounds: {np.mean(ahead):+.3f} [{low:+.3f}, {high:+.3f}] (5 to 95 %)"
        )


def _area(found: Sequence[float]) -> float:
    return float(np.mean(found))


def _pages(args: argparse.Namespace, folder: Path) -> tuple[list[Material], list[Material], list[Material]]:
    """The pool; held-out pages, all new; and pages of the known style, which the first layer is taught on."""
    pipeline = build_pipeline(Sources.of(Settings(model="bundled")).at_once(), Settings(model="bundled"))
    root = folder / "pages"

    def series(number: int, pages: int, *, familiar: bool) -> list[Material]:
        drawn = draw_series(root, number, pages=pages, dpi=args.dpi, jobs=1, familiar=familiar)
        mixed = enumerate(tqdm(drawn, desc=f"series {number}", unit="page", disable=None))
        return [_seen(page, pipeline, folder, new=not (familiar and place % 2)) for place, page in mixed]

    known = [page for page in series(_KNOWN, 2 * args.known, familiar=True) if not page.new]
    return series(_POOL, args.pool, familiar=True), series(HELD_OUT, args.held_out, familiar=False), known


def _seen(page: KnownPage, pipeline: Pipeline, folder: Path, *, new: bool) -> Material:
    """A page as the network sees it; kept, so that it is looked at once."""
    file = folder / "seen" / f"{page.name}.npz"
    if not file.exists():
        [pixels] = list(from_path(page.path, Settings()))
        marks = pipeline.marks(pixels, confidence=_LEAST)
        true = as_boxes([mark.box for mark in page.marks])
        empty = marks.boxes[iou(marks.boxes, true).max(axis=1, initial=0) < _ANOTHER]
        boxes = np.concatenate([true, empty])
        taught = pipeline.classifier.classify(pixels.pixels, boxes).embeddings
        labels = [CLASSES.index(mark.label) for mark in page.marks] + [_NONE] * len(empty)
        file.parent.mkdir(parents=True, exist_ok=True)
        np.savez(file, shown=marks.embeddings, taught=taught, labels=np.array(labels, np.intp))
    with np.load(file) as kept:
        shown, taught, labels = kept["shown"], kept["taught"], kept["labels"]
    return Material(shown=_unit(shown), taught=_unit(taught), labels=labels.astype(np.intp), new=new)


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    found = vectors.astype(np.float64)
    return np.asarray(found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-9))


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


@contextmanager
def _folder(given: Path | None) -> Iterator[Path]:
    if given is not None:
        yield given.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="queue-gain-") as made:
        yield Path(made)


if __name__ == "__main__":
    sys.exit(main())
