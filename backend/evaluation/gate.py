"""What the gate asks: may a challenger take the champion's place? Each check has a figure, a bound and a sentence.

Where a check fails and the gold documents are too few to tell, it says so, and about how many would tell.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from backend.errors import EvaluationError
from backend.evaluation.bootstrap import (
    LEAST_DOCUMENTS,
    RESAMPLES,
    SEED,
    by_document,
    chance_of,
    estimate,
    mcnemar,
    weights,
)
from backend.evaluation.rates import calibration_error, error_of_bins, macro_f1, mass_bins, sums
from backend.evaluation.recall_checks import lost_and_gained, recall_checks
from backend.evaluation.study import Match, Run, match, shown_scores
from backend.evaluation.verdict import BOUNDS, EPSILON, Bounds, Check, Verdict, documents_to_tell, points
from backend.vision.network_config import MARKS

if TYPE_CHECKING:
    from backend.evaluation.truth import Truth

__all__ = ["judge", "seems_slower"]

_IOU = 0.5
_UNSEEN = "documents unseen"
_NAMED = 3
"""Leaked documents that a sentence names."""


def judge(
    champion: Run,
    challenger: Run,
    *,
    pace: tuple[Run, Run] | None = None,
    trained_on: Collection[str] | None,
    pages: Sequence[str] = (),
    hard: Sequence[bool],
    attempts: int,
    bounds: Bounds = BOUNDS,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> Verdict:
    """Judges a challenger beside the champion on the same gold pages.

    Args:
        champion: What the serving model shows.
        challenger: What the other shows.
        pace: Tells which is slower, where only the champion computes in whole numbers: the champion in floating point,
            and the challenger raced beside it. Else `champion` and `challenger` tell.
        trained_on: Documents that the challenger has seen in training or tuning, by name or by the SHA-256 of a page's
            pixels; None, which fails, where nobody says.
        pages: SHA-256 of the pixels of each gold page, where they are known.
        hard: Of each earlier hard example, whether the challenger's classifier has it right.
        attempts: How often challengers were judged on most of these pages, this time included.
        bounds: What it has to keep to.
        resamples: Of the bootstrap.
        seed: Of the bootstrap.

    Raises:
        EvaluationError: The two were not run on the same pages.
    """
    truth = champion.truth
    if challenger.truth.sha256 != truth.sha256:
        raise EvaluationError(
            f"{champion.version} and {challenger.version} were not run on the same pages "
            f"({truth.sha256[:12]} and {challenger.truth.sha256[:12]}): run both on the gold pages of today"
        )
    old, new = (
        [match(*pair, _IOU) for pair in zip(truth.pages, run.shown, strict=True)] for run in (champion, challenger)
    )
    documents = [page.document for page in truth.pages]
    latency = _latency(*(pace or (champion, challenger)), bounds, floating=pace is not None)
    confusions = by_document(
        np.stack([[one.confusion for one in matches] for matches in (old, new)], axis=1), documents
    )
    changed = lost_and_gained(truth, old, new)
    drawn = weights(len(truth.documents), resamples=resamples, seed=seed)
    checks = (
        _leak(truth, pages, trained_on),
        *_gain(confusions, drawn, bounds, pace=latency.figure),
        *recall_checks(confusions, changed, drawn, bounds),
        _false_boxes(old, new, documents, drawn, bounds),
        _calibration((champion, old), (challenger, new), drawn, bounds),
        _hard(hard, bounds),
        latency,
        _objects(changed, truth.count()),
    )
    return Verdict(
        promoted=all(check.passed for check in checks),
        champion=champion.version,
        challenger=challenger.version,
        gold=truth.sha256,
        documents=len(truth.documents),
        pages=len(truth.pages),
        marks=truth.count(),
        attempts=attempts,
        checks=checks,
        end_to_end=_end_to_end(confusions[:, 1], drawn),
    )


def _end_to_end(confusions: NDArray[np.float64], drawn: NDArray[np.int64]) -> dict[str, Any]:
    """What the challenger reaches on the gold pages, in the shape of `evaluate`'s JSON; confusions (D, 4, 4)."""
    f1 = estimate(lambda summed: macro_f1(summed, len(MARKS)), confusions, drawn)
    macro = {"f1": dataclasses.asdict(f1)}
    return {str(_IOU): {"macro": macro, "confusion": confusions.sum(axis=0).astype(int).tolist()}}


def _leak(truth: Truth, pages: Sequence[str], trained_on: Collection[str] | None) -> Check:
    if trained_on is None:
        sentence = "nobody says which documents it was trained on, so that it may know these: name them"
        return Check(name=_UNSEEN, figure=None, bound=0.0, passed=False, sentence=sentence)
    gold, seen = truth.documents, frozenset(trained_on)
    known = pages or ("",) * len(truth.pages)
    copies = {page.document for page, sha256 in zip(truth.pages, known, strict=True) if sha256 in seen}
    leaked = sorted((set(gold) & seen) | copies)
    named = ", ".join(leaked[:_NAMED]) + (", …" if len(leaked) > _NAMED else "")
    return Check(
        name=_UNSEEN,
        figure=float(len(leaked)),
        bound=0.0,
        passed=not leaked,
        sentence=f"it was trained on {len(leaked)} of the {len(gold)} gold documents: {named}"
        if leaked
        else f"none of the {len(gold)} gold documents was in its training",
    )


def _gain(
    confusions: NDArray[np.float64], drawn: NDArray[np.int64], bounds: Bounds, *, pace: float | None
) -> Iterator[Check]:
    """Macro F1 end to end: better, or as good and much faster; and surely not worse."""
    before, after = (float(one) for one in macro_f1(confusions.sum(axis=0), len(MARKS)))
    gain = estimate(_difference, confusions, drawn)
    change = "cannot be told" if gain.value is None else f"{before:.3f} → {after:.3f}, {points(gain.value)} points"
    better = gain.value is not None and gain.value > bounds.gain + EPSILON
    as_good = gain.value is not None and gain.value > bounds.lower
    faster = as_good and pace is not None and pace <= bounds.faster
    reason = "" if better else ": no gain, but much faster" if faster else ": no gain"
    documents = drawn.shape[1]
    yield Check(
        name="macro F1 gain",
        figure=gain.value,
        bound=bounds.gain,
        passed=(gained := better or faster),
        sentence=f"end-to-end macro F1 {change}{reason}",
        needs=None if gained else documents_to_tell(gain, bounds.gain, documents),
    )
    if gain.low is None or gain.high is None:
        sentence = "one document alone gives no interval"
    else:
        sentence = (
            f"95 % interval of the gain {points(gain.low)} to {points(gain.high)} points, paired by document; "
            f"its lower end has to be above {points(bounds.lower)}"
        )
    safe = gain.low is not None and gain.low > bounds.lower
    needs = None if safe else documents_to_tell(gain, bounds.lower, documents)
    if needs is not None:
        sentence += f"; {documents} gold document{'' if documents == 1 else 's'} cannot tell more"
    yield Check(
        name="macro F1 lower bound", figure=gain.low, bound=bounds.lower, passed=safe, sentence=sentence, needs=needs
    )


def _difference(summed: NDArray[np.float64]) -> NDArray[np.float64]:
    """Gain in macro F1 of confusions (B, 2, 4, 4), champion's and challenger's."""
    found = macro_f1(summed, len(MARKS))
    return np.asarray(found[:, 1] - found[:, 0])


def _false_boxes(
    old: Sequence[Match], new: Sequence[Match], documents: Sequence[str], drawn: NDArray[np.int64], bounds: Bounds
) -> Check:
    """Boxes that an annotator has to delete or to rename, on the average page; empty pages show in no class's F1."""
    false = np.array([[(~one.right & ~one.ignored).sum() for one in side] for side in (old, new)], np.float64)
    before, after = (float(one) for one in false.mean(axis=1))
    passed = after - before <= bounds.false + EPSILON
    counts = by_document(np.column_stack([false[1] - false[0], np.ones(len(documents))]), documents)
    change = estimate(lambda summed: summed[:, 0] / summed[:, 1], counts, drawn)
    needs = None if passed else documents_to_tell(change, bounds.false, drawn.shape[1])
    sentence = f"false boxes a page {before:.2f} → {after:.2f}"
    if not passed:
        sentence += f", more than {bounds.false:g} more"
    return Check(
        name="false boxes", figure=after - before, bound=bounds.false, passed=passed, sentence=sentence, needs=needs
    )


def _calibration(
    old: tuple[Run, Sequence[Match]], new: tuple[Run, Sequence[Match]], drawn: NDArray[np.int64], bounds: Bounds
) -> Check:
    """Calibration of the shown boxes: annotators see their scores, and tasks are sorted by them."""
    told = [shown_scores(*one) for one in (old, new)]
    before, after = (calibration_error(scores, right) for scores, right, *_ in told)
    documents = drawn.shape[1]
    if np.isnan(before) or np.isnan(after):
        return Check(
            name="calibration",
            figure=None,
            bound=bounds.calibration,
            passed=False,
            sentence="one of the two shows no box at all, so that its scores cannot be judged",
            needs=LEAST_DOCUMENTS if documents < LEAST_DOCUMENTS else None,
        )
    passed = after - before <= bounds.calibration + EPSILON
    by_bin = np.stack([_bins(*one, documents) for one in told], axis=1)
    change = estimate(lambda summed: np.diff(error_of_bins(summed))[:, 0], by_bin, drawn)
    sentence = f"expected calibration error of the shown boxes {before:.3f} → {after:.3f}"
    if not passed:
        sentence += f", more than {bounds.calibration:g} worse, on {len(told[1][0])} boxes"
    return Check(
        name="calibration",
        figure=after - before,
        bound=bounds.calibration,
        passed=passed,
        sentence=sentence,
        needs=None if passed else documents_to_tell(change, bounds.calibration, documents),
    )


def _bins(
    scores: NDArray[np.float64],
    right: NDArray[np.bool_],
    _: NDArray[np.float64],
    document: NDArray[np.intp],
    documents: int,
) -> NDArray[np.float64]:
    """What calibration is told by, summed by document, (D, BINS, 3)."""
    bins = mass_bins(scores)
    rows = (document == place for place in range(documents))
    return np.stack([sums(scores[inside], right[inside], bins[inside]) for inside in rows])


def _hard(hard: Sequence[bool], bounds: Bounds) -> Check:
    if not len(hard):
        sentence = "there are no earlier hard examples yet"
        return Check(name="hard examples", figure=None, bound=bounds.hard, passed=True, sentence=sentence)
    right, share = sum(hard), sum(hard) / len(hard)
    # A share of a few dozen examples is known to ten points at best. So only what chance does not explain refuses.
    passed = chance_of(right, len(hard), bounds.hard, alternative="less") >= bounds.chance
    told = f"the classifier by itself has {right} of {len(hard)} earlier hard examples right ({share:.1%})"
    if share < bounds.hard - EPSILON:
        told += f": fewer than {bounds.hard:.0%}, which chance {'explains' if passed else 'does not explain'}"
    return Check(
        name="hard examples",
        figure=share,
        bound=bounds.hard,
        passed=passed,
        sentence=told,
    )


def seems_slower(champion: Run, challenger: Run, bounds: Bounds = BOUNDS) -> bool:
    """Whether a page takes longer than allowed: the median over races of the ratio in that race.

    Both had the page in turn, whatever else the machine did.
    """
    return float(np.median(challenger.milliseconds / champion.milliseconds)) > bounds.latency + EPSILON


def _latency(champion: Run, challenger: Run, bounds: Bounds, *, floating: bool) -> Check:
    """A busy machine slows one of the two now and then; so what refuses is what chance does not explain.

    That is a longer time than allowed in more than half of the races, and in too many of them.
    """
    ratios = challenger.milliseconds / champion.milliseconds
    ratio, slow = float(np.median(ratios)), int((ratios > bounds.latency + EPSILON).sum())
    seems = seems_slower(champion, challenger, bounds)
    passed = not seems or chance_of(slow, ratios.size, 0.5, alternative="greater") >= bounds.chance
    told = f"a page takes {ratio:.2f} times as long: {np.median(champion.milliseconds):.0f} ms with the champion"
    if floating:
        told += " in floating point, as this one is (`models quantise` puts it into whole numbers, with MODEL=its name)"
    if seems:
        told += (
            f"; in {slow} of {ratios.size} races more than {bounds.latency:g} times, "
            f"which chance {'explains' if passed else 'does not explain'}"
        )
    return Check(
        name="latency",
        figure=ratio,
        bound=bounds.latency,
        passed=passed,
        sentence=told,
    )


def _objects(changed: NDArray[np.int64], marks: int) -> Check:
    """Exact McNemar test over the true marks. It refuses nothing: it takes marks of one document as independent."""
    only_old, only_new = (int(count) for count in changed.sum(axis=0))
    value = mcnemar(only_old, only_new)
    return Check(
        name="McNemar",
        figure=value,
        bound=None,
        passed=True,
        sentence=f"of {marks} marks it alone finds {only_new}, the champion alone {only_old}: p = {value:.3g}",
    )
