"""An evaluation as one HTML page that needs no other file and no network, for its owner's eyes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from backend.corrections.outcomes import Outcome
from backend.evaluation import plots
from backend.evaluation.closed_set import ORIGINAL_ACCURACY, ORIGINAL_MACRO_F1
from backend.evaluation.figures import Figures
from backend.evaluation.mistakes import KINDS, Mistake, MistakePicture, corrections, pictures, worst
from backend.evaluation.plots import PlottedEpoch
from backend.evaluation.ranking import curves
from backend.evaluation.study import Study
from backend.markup import moment, render
from backend.vision.network_config import MARKS

if TYPE_CHECKING:
    from backend.settings import Settings

__all__ = ["html_report"]

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
        precision_recall=plots.precision_recall(ranked, figures.end_to_end["0.5"]),
        shown_diagram=plots.reliability_diagram(figures.shown.bins, "Reliability of the shown boxes"),
        crops_diagram=plots.reliability_diagram(figures.crops.bins, "Reliability on crops of the true boxes"),
        slice_plot=plots.slice_plot(figures.slices) if figures.slices else None,
        learning=plots.learning_curves(history) if history else None,
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
