"""An evaluation as one HTML page with plots as inline SVG: no other file, no script, no network, its owner's alone."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray

from backend.corrections.outcomes import Outcome
from backend.errors import EvaluationError
from backend.evaluation.figures import EndToEnd, Figures, Slice
from backend.evaluation.mistakes import KINDS, Mistake, MistakePicture, corrections, pictures, worst
from backend.evaluation.ranking import Curve, curves
from backend.evaluation.rates import ORIGINAL_ACCURACY, ORIGINAL_MACRO_F1, Bin
from backend.evaluation.study import Study
from backend.markup import moment, render
from backend.vision.network_config import MARKS

if TYPE_CHECKING:
    from backend.settings import Settings

__all__ = [
    "PlottedEpoch",
    "html_report",
    "learning_curves",
    "precision_recall",
    "read_history",
    "reliability_diagram",
    "slice_plot",
]

_FINEST = 400
"""Points of a curve that are drawn at most: more than the pixels across."""


@dataclass(frozen=True, kw_only=True)
class PlottedEpoch:
    """One epoch: mean loss on training crops, score (macro F1) on validation documents, by domain too."""

    stage: int
    loss: float
    score: float
    by_domain: dict[str, float]


def read_history(path: Path) -> list[PlottedEpoch]:
    """The epochs in order.

    Raises:
        EvaluationError: The file cannot be read, or holds no history.
    """
    try:
        lines = json.loads(path.read_text(encoding="utf-8"))["history"]
        epochs = [
            PlottedEpoch(
                stage=int(line["stage"]),
                loss=float(line["loss"]),
                score=float(line["score"]),
                by_domain={str(name): float(value) for name, value in line.get("by_domain", {}).items()},
            )
            for line in lines
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise EvaluationError(f"{path} holds no training history: {error!r}") from error
    # A stage whose head alone is trained for no step has no loss; JSON writes it as NaN.
    return [epoch for epoch in epochs if math.isfinite(epoch.score)]


@dataclass(frozen=True, kw_only=True)
class _Frame:
    """A plot's place and scales: data to pixels."""

    x: tuple[float, float] = (0.0, 1.0)
    y: tuple[float, float] = (0.0, 1.0)
    width: int = 420
    height: int = 330
    left: int = 54
    right: int = 16
    top: int = 14
    bottom: int = 42

    def across(self, value: float) -> float:
        span = self.width - self.left - self.right
        return round(self.left + span * (value - self.x[0]) / (self.x[1] - self.x[0]), 1)

    def up(self, value: float) -> float:
        span = self.height - self.top - self.bottom
        return round(self.height - self.bottom - span * (value - self.y[0]) / (self.y[1] - self.y[0]), 1)

    def path(self, x: Sequence[float] | NDArray[np.float64], y: Sequence[float] | NDArray[np.float64]) -> str:
        return "M" + "L".join(f"{self.across(a)} {self.up(b)}" for a, b in zip(x, y, strict=True))

    def svg(self, body: Sequence[str], *, title: str, x_title: str = "", y_title: str = "") -> Markup:
        middle, floor = (self.left + self.width - self.right) / 2, self.height - self.bottom
        titles = [
            f'<text class="axis" x="{middle}" y="{self.height - 6}" text-anchor="middle">{escape(x_title)}</text>',
            f'<text class="axis" text-anchor="middle" transform="translate(12 {(self.top + floor) / 2}) rotate(-90)">'
            f"{escape(y_title)}</text>",
        ]
        # Every part was made here, and what came from outside was escaped where it went in.
        return Markup(  # noqa: S704
            f'<svg viewBox="0 0 {self.width} {self.height}" role="img" aria-label="{escape(title)}">'
            + "".join([*body, *titles])
            + "</svg>"
        )

    def grid(self, x_ticks: Sequence[float], y_ticks: Sequence[float], *, whole: bool = False) -> list[str]:
        floor, end = self.height - self.bottom, self.width - self.right
        lines = []
        for tick in y_ticks:
            at = self.up(tick)
            lines.append(f'<line class="grid" x1="{self.left}" x2="{end}" y1="{at}" y2="{at}"/>')
            lines.append(f'<text class="tick" x="{self.left - 7}" y="{at + 4}" text-anchor="end">{tick:g}</text>')
        for tick in x_ticks:
            at, text = self.across(tick), f"{tick:.0f}" if whole else f"{tick:g}"
            lines.append(f'<line class="grid" x1="{at}" x2="{at}" y1="{self.top}" y2="{floor}"/>')
            lines.append(f'<text class="tick" x="{at}" y="{floor + 16}" text-anchor="middle">{text}</text>')
        return lines


_SHARES = (0, 0.2, 0.4, 0.6, 0.8, 1)


def precision_recall(curves: Sequence[Curve], shown: EndToEnd) -> Markup:
    """A line for each class over all bars, and a dot where the bar stands today."""
    frame = _Frame()
    body = frame.grid(_SHARES, _SHARES)
    for curve in curves:
        pick = np.unique(np.linspace(0, len(curve.recall) - 1, min(_FINEST, len(curve.recall))).astype(int))
        if len(pick):
            x, y = curve.recall[pick], curve.precision[pick]
            body.append(f'<path class="line {curve.label}" d="{frame.path([0, *x], [y[0], *y])}"/>')
    for curve in curves:
        rates = shown.classes[curve.label]
        if rates.precision.value is None or rates.recall.value is None:
            continue
        at = f'cx="{frame.across(rates.recall.value)}" cy="{frame.up(rates.precision.value)}"'
        tip = f"{curve.label} as shown: precision {rates.precision}, recall {rates.recall}"
        body.append(f'<circle class="dot {curve.label}" {at} r="6"><title>{tip}</title></circle>')
    return frame.svg(body, title="Precision over recall by class", x_title="recall", y_title="precision")


def reliability_diagram(bins: Sequence[Bin], title: str) -> Markup:
    """Share right over confidence: a dot for each bin, its gap to the diagonal drawn in."""
    frame = _Frame()
    body = frame.grid(_SHARES, _SHARES)
    body.append(f'<path class="diagonal" d="{frame.path([0, 1], [0, 1])}"/>')
    for one in bins:
        x, y = frame.across(one.confidence), frame.up(one.right)
        tip = f"{one.count} cases: confidence {one.confidence:.3f}, right {one.right:.3f}"
        body.append(f'<line class="gap" x1="{x}" x2="{x}" y1="{y}" y2="{frame.up(one.confidence)}"/>')
        body.append(f'<circle class="bin" cx="{x}" cy="{y}" r="5"><title>{tip}</title></circle>')
    return frame.svg(body, title=title, x_title="confidence", y_title="share right")


def slice_plot(slices: Sequence[Slice]) -> Markup:
    """Recall of each slice with its interval, under the line of all marks."""
    step = 30
    frame = _Frame(width=860, height=step * len(slices) + 58, left=170, right=150)
    floor, end = frame.height - frame.bottom, frame.width - frame.right
    body = frame.grid(_SHARES, ())
    reference = slices[0].recall["0.5"].value
    if reference is not None:
        at = frame.across(reference)
        body.append(f'<line class="reference" x1="{at}" x2="{at}" y1="{frame.top}" y2="{floor}"/>')
    for row, one in enumerate(slices):
        middle = frame.top + step * row + step / 2 + 1
        body.append(f'<text class="name" x="{frame.left - 12}" y="{middle + 4}" text-anchor="end">{escape(one.name)}')
        body.append(f'<tspan class="soft"> {one.marks}</tspan></text>')
        loose, strict = one.recall["0.3"], one.recall["0.5"]
        if loose.value is not None:
            at = frame.across(loose.value)
            body.append(
                f'<circle class="loose" cx="{at}" cy="{middle}" r="4.5"><title>IoU .3: {loose}</title></circle>'
            )
        if strict.low is not None and strict.high is not None:
            body.append(
                f'<line class="interval" x1="{frame.across(strict.low)}" x2="{frame.across(strict.high)}" '
                f'y1="{middle}" y2="{middle}"/>'
            )
        if strict.value is not None:
            at = frame.across(strict.value)
            body.append(f'<circle class="point" cx="{at}" cy="{middle}" r="5"><title>IoU .5: {strict}</title></circle>')
        body.append(f'<text class="value" x="{end + 14}" y="{middle + 4}">{strict}</text>')
    return frame.svg(body, title="Recall by slice", x_title="recall at IoU .5, 95 % interval; rings: IoU .3")


def learning_curves(epochs: Sequence[PlottedEpoch]) -> tuple[Markup, Markup]:
    """Loss on training crops and score on validation documents by epoch; stages are parted by a line."""
    count = max(2, len(epochs))
    x_ticks = [float(tick) for tick in range(1, count + 1, max(1, round(count / 8)))]
    largest = max((epoch.loss for epoch in epochs if np.isfinite(epoch.loss)), default=1.0)
    ticks = _ticks(largest)
    loss = _Frame(x=(1, count), y=(0, ticks[-1]))
    first = loss.grid(x_ticks, ticks, whole=True) + _stages(loss, epochs)
    known = [(number, epoch.loss) for number, epoch in enumerate(epochs, 1) if np.isfinite(epoch.loss)]
    first += _line(loss, known, "loss")
    score = _Frame(x=(1, count))
    second = score.grid(x_ticks, _SHARES, whole=True) + _stages(score, epochs)
    for place, domain in enumerate(sorted({name for epoch in epochs for name in epoch.by_domain})):
        points = [(n, epoch.by_domain[domain]) for n, epoch in enumerate(epochs, 1) if domain in epoch.by_domain]
        second += _line(score, points, f"domain d{place}", label=domain)
    second += _line(score, [(number, epoch.score) for number, epoch in enumerate(epochs, 1)], "score", label="mean")
    return (
        loss.svg(first, title="Training loss by epoch", x_title="epoch", y_title="training loss"),
        score.svg(second, title="Validation macro F1 by epoch", x_title="epoch", y_title="validation macro F1"),
    )


def _ticks(largest: float) -> list[float]:
    """Round numbers from 0 to `largest` or just above, seven steps at most."""
    least = max(largest, 1e-3) / 7
    power = 10.0 ** np.floor(np.log10(least))
    step = next(times * power for times in (1, 2, 5, 10) if times * power >= least)
    return [float(f"{step * number:.6g}") for number in range(int(np.ceil(largest / step)) + 1)]


def _line(frame: _Frame, points: Sequence[tuple[int, float]], kind: str, *, label: str = "") -> list[str]:
    if not points:
        return []
    body = [f'<path class="line {kind}" d="{frame.path(*zip(*points, strict=True))}"/>']
    for number, value in points:
        tip = f"epoch {number}{', ' + label if label else ''}: {value:.3f}"
        at = f'cx="{frame.across(number)}" cy="{frame.up(value)}"'
        body.append(f'<circle class="step {kind}" {at} r="3"><title>{escape(tip)}</title></circle>')
    return body


def _stages(frame: _Frame, epochs: Sequence[PlottedEpoch]) -> list[str]:
    floor = frame.height - frame.bottom
    body = []
    for number, (one, following) in enumerate(pairwise(epochs), 1):
        if one.stage != following.stage:
            at = frame.across(number + 0.5)
            body.append(f'<line class="stage" x1="{at}" x2="{at}" y1="{frame.top}" y2="{floor}"/>')
            body.append(f'<text class="tick" x="{at + 4}" y="{frame.top + 10}">stage {following.stage + 1}</text>')
    return body


_MOST = 8
"""Pictures of each kind of mistake."""
_TITLES = {
    Outcome.RELABELLED: ("Wrong name", "a mark, boxed, but called something else; the surest first"),
    Outcome.REJECTED: ("Box on nothing", "no mark is there; the surest first"),
    Outcome.MOVED: ("Wrong place", "the right name, but the box misses the mark's outline (IoU below .5)"),
    Outcome.DUPLICATE: ("Second box", "the mark has a box already"),
    Outcome.MISSED: ("Missed", "a mark without a box; those with the fewest excuses first"),
}


def html_report(study: Study, figures: Figures, settings: Settings, *, history: Sequence[PlottedEpoch] = ()) -> str:
    """The report. It holds pictures of the pages: write it with `private.write_private`.

    Args:
        study: What was seen.
        figures: What was measured on it.
        settings: Limits for reading the pages again, for the pictures.
        history: Epochs of the model's training, where they are known.

    Raises:
        PageError: A page can no longer be read.
    """
    pages, run = study.run.truth.pages, study.run
    mistakes = [
        one
        for number, (page, found) in enumerate(zip(pages, run.shown, strict=True))
        for one in corrections(number, page, found)
    ]
    ranked = curves(pages, study.ranked)
    return render(
        "report.html",
        "backend.evaluation",
        figures=figures,
        marks=MARKS,
        original=(ORIGINAL_ACCURACY, ORIGINAL_MACRO_F1),
        moment=moment(time.time()),
        curves=ranked,
        precision_recall=precision_recall(ranked, figures.end_to_end["0.5"]),
        shown_diagram=reliability_diagram(figures.shown.bins, "Reliability of the shown boxes"),
        crops_diagram=reliability_diagram(figures.crops.bins, "Reliability on crops of the true boxes"),
        slice_plot=slice_plot(figures.slices) if figures.slices else None,
        learning=learning_curves(history) if history else None,
        domains=sorted({name for epoch in history for name in epoch.by_domain}),
        shelves=_shelves(mistakes, study, settings),
        titles=_TITLES,
    )


def _shelves(
    mistakes: Sequence[Mistake], study: Study, settings: Settings
) -> list[tuple[Outcome, int, list[MistakePicture]]]:
    """Kind, how many there are, and pictures of the worst; kinds without a case are left out."""
    picked = {kind: worst(mistakes, kind, _MOST) for kind in KINDS}
    made = iter(pictures([one for kind in KINDS for one in picked[kind]], study.run.truth, settings))
    return [
        (kind, sum(one.kind is kind for one in mistakes), [next(made) for _ in picked[kind]])
        for kind in KINDS
        if picked[kind]
    ]
