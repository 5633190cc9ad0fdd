"""All figures of a study, each with its interval."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.evaluation.bootstrap import RESAMPLES, SEED, Estimate, by_document, estimate, weights
from backend.evaluation.figures import IOUS, Calibration, ClosedSet, EndToEnd, Figures, Slice, by_class
from backend.evaluation.mistakes import KINDS, corrections
from backend.evaluation.ranking import map_estimates
from backend.evaluation.rates import accuracy, error_of_bins, macro, mass_bins, reliability, sums
from backend.evaluation.study import BACKGROUND, Match, Run, Study, match, shown_scores
from backend.evaluation.truth import TRAITS
from backend.vision.network_config import CLASSES, MARKS

__all__ = ["measure"]


def measure(study: Study, *, resamples: int = RESAMPLES, seed: int = SEED) -> Figures:
    """Measures all there is to measure."""
    run, pages = study.run, study.run.truth.pages
    drawn = weights(len(run.truth.documents), resamples=resamples, seed=seed)
    judged = {iou: [match(*pair, iou) for pair in zip(pages, run.shown, strict=True)] for iou in IOUS}
    map50, map50_95 = map_estimates(pages, study.ranked, drawn)
    labels = np.concatenate([page.labels for page in pages])
    return Figures(
        version=run.version,
        truth=run.truth.sha256,
        documents=len(run.truth.documents),
        pages=len(pages),
        pages_without_marks=sum(not len(page) for page in pages),
        marks={name: int((labels == place).sum()) for place, name in enumerate(MARKS)},
        resamples=resamples,
        seed=seed,
        end_to_end={str(iou): _end_to_end(run, iou, matches, drawn) for iou, matches in judged.items()},
        map50=map50,
        map50_95=map50_95,
        slices=[*_mark_slices(run, judged, drawn), *_language_slices(run, judged, drawn)],
        closed_set=_closed_set(study, drawn),
        shown=_calibration(*shown_scores(run, judged[0.5]), drawn=drawn),
        crops=_crop_calibration(study, drawn),
        corrections=_corrections(run, drawn),
        milliseconds={
            "median": float(np.median(run.milliseconds)),
            "p95": float(np.quantile(run.milliseconds, 0.95)),
        },
    )


def _documents(run: Run) -> list[str]:
    return [page.document for page in run.truth.pages]


def _end_to_end(run: Run, iou: float, matches: Sequence[Match], drawn: NDArray[np.int64]) -> EndToEnd:
    documents = _documents(run)
    confusion = by_document([one.confusion for one in matches], documents)
    classes, means = by_class(confusion, drawn)
    false = np.array([(~one.right & ~one.ignored).sum() for one in matches])
    empty = np.array([not len(page) for page in run.truth.pages])
    return EndToEnd(
        iou=iou,
        classes=classes,
        macro=means,
        confusion=confusion.sum(axis=0).astype(int).tolist(),
        false_boxes=_mean(false, np.ones(len(false)), documents, drawn),
        false_boxes_without_marks=_mean(false * empty, empty, documents, drawn),
    )


def _mean(total: NDArray[Any], cases: NDArray[Any], documents: Sequence[str], drawn: NDArray[np.int64]) -> Estimate:
    """`total` for each of `cases`, both (P,) by page."""

    def share(summed: NDArray[np.float64]) -> NDArray[np.float64]:
        out = np.full(len(summed), np.nan)
        return np.asarray(np.divide(summed[:, 0], summed[:, 1], out=out, where=summed[:, 1] > 0))

    return estimate(share, by_document(np.column_stack([total, cases]), documents), drawn)


def _mark_slices(run: Run, judged: Mapping[float, Sequence[Match]], drawn: NDArray[np.int64]) -> Iterable[Slice]:
    """All marks, and those of each trait that occurs."""
    documents = _documents(run)
    for name in ("all marks", *TRAITS):
        inside = [
            np.array([name == "all marks" or name in traits for traits in page.traits], bool)
            for page in run.truth.pages
        ]
        cases = np.array([one.sum() for one in inside])
        if cases.sum():
            recall = {
                str(iou): _mean(np.array([_found(*row) for row in zip(run.truth.pages, matches, inside, strict=True)]),
                                cases, documents, drawn)
                for iou, matches in judged.items()
            }  # fmt: skip
            yield Slice(name=name, marks=int(cases.sum()), recall=recall)


def _found(page: Any, judged: Match, inside: NDArray[np.bool_]) -> int:
    return int(((judged.called == page.labels) & inside).sum())


def _language_slices(run: Run, judged: Mapping[float, Sequence[Match]], drawn: NDArray[np.int64]) -> Iterable[Slice]:
    """Pages by the language of their text."""
    documents = _documents(run)
    for language in sorted({page.language for page in run.truth.pages if page.language}):
        inside = np.array([page.language == language for page in run.truth.pages])
        confusion = {
            iou: by_document(np.array([one.confusion for one in matches]) * inside[:, None, None], documents)
            for iou, matches in judged.items()
        }
        marks = int(confusion[0.5][:, :BACKGROUND].sum())
        if marks:
            yield Slice(
                name=f"language {language}",
                marks=marks,
                recall={str(iou): estimate(_recall, counts, drawn) for iou, counts in confusion.items()},
                macro_f1=estimate(lambda summed: macro(summed, len(MARKS))[:, 2], confusion[0.5], drawn),
            )


def _recall(summed: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of all marks found, of confusions (B, 4, 4)."""
    marks = summed[:, :BACKGROUND]
    hits = np.diagonal(marks, axis1=1, axis2=2).sum(axis=1)
    cases = marks.sum(axis=(1, 2))
    return np.asarray(np.divide(hits, cases, out=np.full(len(summed), np.nan), where=cases > 0))


def _closed_set(study: Study, drawn: NDArray[np.int64]) -> ClosedSet:
    documents = _documents(study.run)
    free, forced = (
        by_document(
            [
                _answers(page.labels, probabilities[:, :columns])
                for page, probabilities in zip(study.run.truth.pages, study.named, strict=True)
            ],
            documents,
        )
        for columns in (len(CLASSES), len(MARKS))
    )
    classes, means = by_class(free, drawn)
    return ClosedSet(
        classes=classes,
        accuracy=estimate(accuracy, free, drawn),
        macro=means,
        confusion=free.sum(axis=0).astype(int).tolist(),
        forced_accuracy=estimate(accuracy, forced, drawn),
        forced_macro_f1=estimate(lambda summed: macro(summed, len(MARKS))[:, 2], forced, drawn),
    )


def _answers(labels: NDArray[np.intp], probabilities: NDArray[np.float64]) -> NDArray[np.int64]:
    """Confusion of one page, (3, 4)."""
    confusion = np.zeros((len(MARKS), len(CLASSES)), np.int64)
    if len(labels):
        np.add.at(confusion, (labels, probabilities.argmax(axis=1)), 1)
    return confusion


def _crop_calibration(study: Study, drawn: NDArray[np.int64]) -> Calibration:
    places = {name: place for place, name in enumerate(study.run.truth.documents)}
    pages = study.run.truth.pages
    labels = np.concatenate([page.labels for page in pages])
    document = np.concatenate([np.full(len(page), places[page.document], np.intp) for page in pages])
    probabilities = np.concatenate([named.reshape(-1, len(CLASSES)) for named in study.named])
    squared = ((probabilities - np.eye(len(CLASSES))[labels]) ** 2).sum(axis=1)
    right = probabilities.argmax(axis=1) == labels
    return _calibration(probabilities.max(axis=1, initial=0), right, squared, document, drawn=drawn)


def _calibration(
    confidence: NDArray[np.float64],
    right: NDArray[np.bool_],
    squared: NDArray[np.float64],
    document: NDArray[np.intp],
    *,
    drawn: NDArray[np.int64],
) -> Calibration:
    bins = mass_bins(confidence)
    rows = range(drawn.shape[1])
    by_bin = np.stack(
        [sums(confidence[document == row], right[document == row], bins[document == row]) for row in rows]
    )
    errors = np.array([[squared[document == row].sum(), (document == row).sum()] for row in rows])
    return Calibration(
        error=estimate(error_of_bins, by_bin, drawn),
        brier=_mean(errors[:, 0], errors[:, 1], [str(row) for row in rows], drawn),
        cases=len(confidence),
        bins=reliability(confidence, right),
    )


def _corrections(run: Run, drawn: NDArray[np.int64]) -> dict[str, Estimate]:
    found = [
        [one.kind for one in corrections(0, page, shown)]
        for page, shown in zip(run.truth.pages, run.shown, strict=True)
    ]
    pages, documents = np.ones(len(found)), _documents(run)
    counts = {str(kind): np.array([kinds.count(kind) for kinds in found]) for kind in KINDS}
    counts["all"] = np.array([len(kinds) for kinds in found])
    return {name: _mean(count, pages, documents, drawn) for name, count in counts.items()}
