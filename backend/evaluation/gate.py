"""What the gate asks: may a challenger take the champion's place? Each check has a figure, a bound and a sentence."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from backend.errors import EvaluationError
from backend.evaluation.bootstrap import RESAMPLES, SEED, Estimate, by_document, chance_of, estimate, mcnemar, weights
from backend.evaluation.rates import calibration_error, macro_f1, rates
from backend.evaluation.study import Match, Run, match, shown_scores
from backend.vision.network_config import MARKS

if TYPE_CHECKING:
    from backend.evaluation.truth import Truth

__all__ = ["BOUNDS", "Bounds", "Check", "Verdict", "judge", "seems_slower"]

_IOU = 0.5
_EPSILON = 1e-9
"""A loss of exactly the bound is allowed, whatever its last binary digit."""
_UNSEEN = "documents unseen"
_NAMED = 3
"""Leaked documents that a sentence names."""


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What a challenger has to keep to; shares, not percent.

    Attributes:
        gain: The gain in macro F1 has to be above this, unless it is as good and much faster.
        lower: The gain's lower bound has to be above this.
        recall: Most that the recall of a class may fall.
        calibration: Most that the expected calibration error may rise.
        hard: Share of the earlier hard examples that the classifier by itself should have right.
        chance: It is refused where chance explains a failure less often than this (exact binomial tests, one-sided).
            For `hard`, by chance a classifier of that share has so few right. For `latency`, it loses so many races.
        false: Most that the false boxes on a page may rise, on average over the pages.
        latency: Most that a page may take, as a multiple; refused where chance does not explain more. A model raced
            against itself over 20 pages, with twice as many busy processes as cores, came out between .94 and 1.15 in
            95 of 100 races.
        faster: A page that takes at most this share of the time is a reason to change, too, where F1 is as good.
    """

    gain: float = 0.0
    lower: float = -0.005
    recall: float = 0.02
    calibration: float = 0.02
    hard: float = 0.9
    chance: float = 0.05
    false: float = 0.2
    latency: float = 1.15
    faster: float = 0.8


BOUNDS = Bounds()


@dataclass(frozen=True, kw_only=True)
class Check:
    """One question to the challenger.

    Attributes:
        name: What is asked.
        figure: The answer; None where there is no case to tell by.
        bound: What it was held against; None where it is only reported.
        passed: Whether it may go on.
        sentence: The same for a person.
    """

    name: str
    figure: float | None
    bound: float | None
    passed: bool
    sentence: str


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the gate says.

    Attributes:
        promoted: Whether every check passed.
        champion: Version that serves.
        challenger: Version that would.
        gold: SHA-256 of the gold pages and their marks.
        attempts: How often challengers were judged on these gold pages or most of them, this time included.
        checks: All that was asked.
        end_to_end: What the challenger reaches on the gold pages, in the shape of `evaluate`'s JSON.
    """

    promoted: bool
    champion: str
    challenger: str
    gold: str
    documents: int
    pages: int
    marks: int
    attempts: int
    checks: tuple[Check, ...]
    end_to_end: Mapping[str, Any] = field(default_factory=dict)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Sentences of the checks that failed."""
        return tuple(check.sentence for check in self.checks if not check.passed)

    def as_json(self) -> dict[str, Any]:
        """The verdict as plain JSON."""
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        head = f"{self.challenger} {'takes the place of' if self.promoted else 'does not replace'} {self.champion}"
        gold = (
            f"gold pages {self.gold[:12]}: {self.documents} documents, {self.pages} pages, {self.marks} marks; "
            f"attempt {self.attempts} on these or most of them"
        )
        width = max(len(check.name) for check in self.checks)
        rows = [f"  {_sign(check)}  {check.name:<{width}}  {check.sentence}" for check in self.checks]
        return "\n".join([head, gold, *rows])


def _sign(check: Check) -> str:
    return "    " if check.bound is None else "pass" if check.passed else "FAIL"


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
    drawn = weights(len(truth.documents), resamples=resamples, seed=seed)
    checks = (
        _leak(truth, pages, trained_on),
        *_gain(confusions, drawn, bounds, pace=latency.figure),
        *_recalls(confusions, drawn, bounds),
        _false_boxes(old, new, bounds),
        _calibration((champion, old), (challenger, new), bounds),
        _hard(hard, bounds),
        latency,
        _objects(champion, old, new),
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
    change = "cannot be told" if gain.value is None else f"{before:.3f} → {after:.3f}, {_points(gain.value)} points"
    better = gain.value is not None and gain.value > bounds.gain + _EPSILON
    as_good = gain.value is not None and gain.value > bounds.lower
    faster = as_good and pace is not None and pace <= bounds.faster
    reason = "" if better else ": no gain, but much faster" if faster else ": no gain"
    yield Check(
        name="macro F1 gain",
        figure=gain.value,
        bound=bounds.gain,
        passed=better or faster,
        sentence=f"end-to-end macro F1 {change}{reason}",
    )
    if gain.low is None or gain.high is None:
        sentence = "one document alone gives no interval: add gold documents"
    else:
        sentence = (
            f"95 % interval of the gain {_points(gain.low)} to {_points(gain.high)} points, paired by document; "
            f"its lower end has to be above {_points(bounds.lower)}"
        )
    yield Check(
        name="macro F1 lower bound",
        figure=gain.low,
        bound=bounds.lower,
        passed=gain.low is not None and gain.low > bounds.lower,
        sentence=sentence,
    )


def _difference(summed: NDArray[np.float64]) -> NDArray[np.float64]:
    """Gain in macro F1 of confusions (B, 2, 4, 4), champion's and challenger's."""
    found = macro_f1(summed, len(MARKS))
    return np.asarray(found[:, 1] - found[:, 0])


def _recalls(confusions: NDArray[np.float64], drawn: NDArray[np.int64], bounds: Bounds) -> Iterator[Check]:
    """No class may lose recall. A class that is on no gold page fails: nobody would see that it was forgotten."""
    for place, name in enumerate(MARKS):
        before, after = rates(confusions.sum(axis=0), len(MARKS))[:, place, 1]
        change = estimate(partial(_recall_change, place=place), confusions, drawn)
        if change.value is None:
            sentence = (
                f"no gold page has a {name}, so that forgetting it would not be seen: add some, drawn ones will do"
            )
        else:
            sentence = f"recall of {name} {before:.3f} → {after:.3f}, {_points(change.value)} points{_between(change)}"
        yield Check(
            name=f"{name} recall",
            figure=change.value,
            bound=-bounds.recall,
            passed=change.value is not None and change.value >= -bounds.recall - _EPSILON,
            sentence=sentence,
        )


def _recall_change(summed: NDArray[np.float64], *, place: int) -> NDArray[np.float64]:
    recall = rates(summed, len(MARKS))[..., place, 1]
    return np.asarray(recall[:, 1] - recall[:, 0])


def _false_boxes(old: Sequence[Match], new: Sequence[Match], bounds: Bounds) -> Check:
    """Boxes that an annotator has to delete or to rename, on the average page; empty pages show in no class's F1."""
    before, after = (float(np.mean([(~one.right & ~one.ignored).sum() for one in side])) for side in (old, new))
    return Check(
        name="false boxes",
        figure=after - before,
        bound=bounds.false,
        passed=after - before <= bounds.false + _EPSILON,
        sentence=f"false boxes a page {before:.2f} → {after:.2f}",
    )


def _calibration(old: tuple[Run, Sequence[Match]], new: tuple[Run, Sequence[Match]], bounds: Bounds) -> Check:
    """Calibration of the shown boxes: annotators see their scores, and tasks are sorted by them."""
    before, after = (calibration_error(*shown_scores(*one)[:2]) for one in (old, new))
    known = not np.isnan(before) and not np.isnan(after)
    return Check(
        name="calibration",
        figure=after - before if known else None,
        bound=bounds.calibration,
        passed=known and after - before <= bounds.calibration + _EPSILON,
        sentence=f"expected calibration error of the shown boxes {before:.3f} → {after:.3f}"
        if known
        else "one of the two shows no box at all, so that its scores cannot be judged",
    )


def _hard(hard: Sequence[bool], bounds: Bounds) -> Check:
    if not len(hard):
        sentence = "there are no earlier hard examples yet"
        return Check(name="hard examples", figure=None, bound=bounds.hard, passed=True, sentence=sentence)
    right, share = sum(hard), sum(hard) / len(hard)
    # A share of a few dozen examples is known to ten points at best. So only what chance does not explain refuses.
    passed = chance_of(right, len(hard), bounds.hard, alternative="less") >= bounds.chance
    told = f"the classifier by itself has {right} of {len(hard)} earlier hard examples right ({share:.1%})"
    if share < bounds.hard - _EPSILON:
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
    return float(np.median(challenger.milliseconds / champion.milliseconds)) > bounds.latency + _EPSILON


def _latency(champion: Run, challenger: Run, bounds: Bounds, *, floating: bool) -> Check:
    """A busy machine slows one of the two now and then; so what refuses is what chance does not explain.

    That is a longer time than allowed in more than half of the races, and in too many of them.
    """
    ratios = challenger.milliseconds / champion.milliseconds
    ratio, slow = float(np.median(ratios)), int((ratios > bounds.latency + _EPSILON).sum())
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


def _objects(champion: Run, old: Sequence[Match], new: Sequence[Match]) -> Check:
    """Exact McNemar test over the true marks. It refuses nothing: it takes marks of one document as independent."""
    labels = np.concatenate([page.labels for page in champion.truth.pages])
    first, second = (np.concatenate([one.called for one in matches]) == labels for matches in (old, new))
    only_old, only_new = int((first & ~second).sum()), int((second & ~first).sum())
    value = mcnemar(only_old, only_new)
    return Check(
        name="McNemar",
        figure=value,
        bound=None,
        passed=True,
        sentence=f"of {len(labels)} marks it alone finds {only_new}, the champion alone {only_old}: p = {value:.3g}",
    )


def _points(share: float) -> str:
    return f"{100 * share:+.1f}"


def _between(change: Estimate) -> str:
    if change.low is None or change.high is None:
        return ""
    return f" [{_points(change.low)}, {_points(change.high)}]"
