"""Makes training examples with their history: the verdict, the crop, and whether annotators agree."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Connection, and_, delete, insert, select

from backend.corrections.disputes import settle_disputes
from backend.corrections.outcomes import SAME_PLACE, MatchRow, Outcome, match
from backend.corrections.splits import Side, assign_split, document_key, elsewhere
from backend.corrections.tables import sample
from backend.geometry import as_boxes, iou
from backend.labelstudio.vocabulary import UNKNOWN, could_show
from backend.vision.network_config import CLASSES

if TYPE_CHECKING:
    from backend.corrections.crop_store import CropStore, StoredCrop
    from backend.corrections.page_shelf import AnyPage
    from backend.corrections.shown import Prediction, Proposal
    from backend.labelstudio.annotations import Annotation, Region

__all__ = ["BACKGROUND", "MOST_REGIONS", "Sample", "is_elsewhere", "make_samples", "replace_samples", "teaches_hard"]

BACKGROUND = CLASSES[-1]
MOST_REGIONS = 1000
"""Of an annotation; each of them may be a crop as large as its page."""
# Difference of two aspect ratios, as a logarithm, up to which they are one page's.
_SAME_RATIO = 0.02


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One training example: a box on a page, what it truly is, and how that became known.

    Attributes:
        id: Annotation and region: the same correction always has the same id.
        label: The truth: signature, stamp, thumb or none.
        wrong: What was shown instead, where that differs: this makes it a hard example, or a hard negative.
        weak: The annotator saw the mark and left it untouched, or never saw the box at all: counts for less.
        blind: What the model found was kept from the annotator, who drew the mark unaided.
        box: x1, y1, x2, y2 in pixels of the upright page.
        outer: The box of the stored crop, margin included.
        document: Key of the document, by which splits are made.
    """

    id: str
    annotation: int
    task: int
    project: int | None
    page: int
    region: str
    outcome: Outcome
    label: str
    wrong: str | None
    weak: bool
    probabilities: tuple[float, ...] | None
    version: str | None
    box: tuple[float, float, float, float]
    page_size: tuple[int, int]
    page_sha256: str
    page_phash: str
    crop: StoredCrop
    document: str
    annotator: int | None
    lead_time: float | None
    shown: float | None
    annotated: float
    blind: bool = False


def teaches_hard() -> ColumnElement[bool]:
    """The condition for a hard example or hard negative; every count uses it.

    What was shown was renamed, or deleted by somebody who saw it, and no other annotator contradicts.
    """
    hard = sample.c.outcome.in_([Outcome.RELABELLED, Outcome.REJECTED])
    return and_(hard, sample.c.weak.is_(False), sample.c.quarantine.is_(None))


def make_samples(
    annotation: Annotation,
    prediction: Prediction | None,
    pages: Mapping[int, AnyPage],
    crops: CropStore,
    *,
    answers: Sequence[Prediction] = (),
    certain: Collection[str] | None = None,
    strange: Collection[int] = (),
) -> tuple[Sample, ...]:
    """What one annotation teaches, given what had been shown and the pages; skipped tasks teach nothing.

    Nor does a region whose label nobody knows, or a shown box that such a region lies on.

    On a blind page nobody accepted or rejected a box. A mark drawn unaided is no weak evidence where the model has one
    of the same name. Another name makes it a hard example only at IoU .5 or more, because somebody who saw no box
    renamed none. A hidden box that nobody drew teaches nothing, because people overlook marks as well.

    Args:
        annotation: Its newest state, of at most `MOST_REGIONS` regions: each is compared with others.
        prediction: What the annotator had before them, or would have had on a blind page; None where nothing was.
        pages: Every upright page that bears a shown or an annotated region, by its index.
        crops: Where the marks are stored: one by one, for a thousand of them together would take gigabytes.
        answers: What was answered to rectangles drawn on the task. A mark that the backend missed and then called by a
            wrong name is a hard example as well.
        certain: Ids of the regions that the annotator had before them for certain: no other one was deleted. None for
            all of the prediction's.
        strange: Indices of pages that are others now than those that were shown. Nobody knows on which of the two a
            region was left, so nothing on them teaches.

    Raises:
        RequestError: A region has no place on its page.
        LedgerError: A crop cannot be stored.
    """
    if annotation.skipped:
        return ()
    elsewhere_now = {one.region.id for one in prediction.proposals if is_elsewhere(one, pages)} if prediction else set()
    prediction = prediction and _at_size(prediction, pages)
    answers = [_at_size(one, pages) for one in answers]
    shown = [one.region for one in prediction.proposals] if prediction else []
    drawn = annotation.read({index: (page.width, page.height) for index, page in pages.items()})
    unplaced = annotation.unplaced([one.id for one in drawn])
    unseen = {one.id for one in shown if certain is not None and one.id not in certain}
    unseen |= _undrawn(annotation, prediction) if prediction else set()
    every = match(shown, drawn, unplaced=replace(unplaced, ids=unplaced.ids | unseen | elsewhere_now))
    rows = tuple(row for row in every if row.outcome is not Outcome.UNKNOWN and not _is_on(row, strange))
    blind = prediction is not None and prediction.blind
    if blind:
        rows = _unaided(rows)
    if not rows:
        return ()
    source = _Source(
        annotation=annotation,
        crops=crops,
        prediction=prediction,
        answers=answers,
        pages=pages,
        drawn=drawn,
        document=document_key(annotation.document, annotation.references),
        saw_boxes=not blind and (annotation.began_with_boxes or any(_is_kept(row) for row in every)),
        untouched=frozenset(str(one.get("id")) for one in annotation.result if one.get("origin") == "prediction"),
        blind=blind,
    )
    # Page by page: of many, not all are in memory at once.
    indices = [_region_of(row).page for row in rows]
    prints: dict[int, tuple[str, str]] = {}
    made: dict[int, Sample] = {}
    for place in sorted(range(len(rows)), key=lambda place: indices[place]):
        index = indices[place]
        if index not in prints:
            prints[index] = crops.cutter.prints(pages[index].pixels)
        made[place] = _sample(rows[place], source, prints=prints[index])
    return tuple(made[place] for place in range(len(rows)))


def is_elsewhere(one: Proposal, pages: Mapping[int, AnyPage]) -> bool:
    """Whether a box was shown on a page of other proportions than the one that is there now."""
    page, (width, height) = pages.get(one.region.page), one.page_size
    return page is not None and abs(math.log(page.width / page.height) - math.log(width / height)) > _SAME_RATIO


def _undrawn(annotation: Annotation, prediction: Prediction) -> set[str]:
    """Regions that the editor cannot have drawn under the annotation's label config, such as on an image renamed since.

    Where one of an image is left, a program had them all.
    """
    left = {one.get("to_name") for one in annotation.result}
    named = [(one.region.id, one.drawn_by) for one in prediction.proposals if one.drawn_by is not None]
    return {
        region for region, tags in named if tags.image not in left and not could_show(annotation.label_config, tags)
    }


def _at_size(shown: Prediction, pages: Mapping[int, AnyPage]) -> Prediction:
    """What was shown, in pixels of the pages as they are now: a scan may have been replaced by a finer one."""
    return replace(shown, proposals=tuple(_scaled(one, pages.get(one.region.page)) for one in shown.proposals))


def _scaled(one: Proposal, page: AnyPage | None) -> Proposal:
    if page is None or (page.width, page.height) == one.page_size:
        return one
    across, down = page.width / one.page_size[0], page.height / one.page_size[1]
    x1, y1, x2, y2 = one.region.box
    box = (x1 * across, y1 * down, x2 * across, y2 * down)
    return replace(one, region=replace(one.region, box=box), page_size=(page.width, page.height))


def _is_on(row: MatchRow, pages: Collection[int]) -> bool:
    """Whether either side of a row is on one of some pages."""
    return any(region.page in pages for region in (row.shown, row.drawn) if region is not None)


def _is_kept(row: MatchRow) -> bool:
    """Whether a shown box is still there itself, and not merely another one at its place."""
    return row.shown is not None and row.drawn is not None and row.shown.id == row.drawn.id


def _unaided(rows: Iterable[MatchRow]) -> tuple[MatchRow, ...]:
    """What a page without boxes can tell: no box was rejected on it, and a rename counts only at the same place."""
    return tuple(
        replace(row, outcome=Outcome.MISSED, shown=None)
        if row.outcome is Outcome.RELABELLED and row.overlap < SAME_PLACE
        else row
        for row in rows
        if row.outcome is not Outcome.REJECTED
    )


@dataclass(frozen=True, kw_only=True)
class _Source:
    """What all samples of one annotation share."""

    annotation: Annotation
    crops: CropStore
    prediction: Prediction | None
    answers: Sequence[Prediction]
    pages: Mapping[int, AnyPage]
    drawn: Sequence[Region]
    document: str
    saw_boxes: bool
    untouched: Collection[str]
    blind: bool

    def truth(self, row: MatchRow, region: Region) -> str:
        """What is in a sample's box.

        A box that was deleted from the very place of another class's mark shows that mark. The box had the wrong name,
        but teaching its crop as `none` would be wrong too.
        """
        if row.drawn is not None:
            return row.drawn.label
        known = [one for one in self.drawn if one.label != UNKNOWN]
        near = zip(_nearness(known, region), (one.label for one in known), strict=True)
        overlap, label = max(near, default=(0.0, BACKGROUND))
        return label if overlap >= SAME_PLACE else BACKGROUND

    def is_weak(self, row: MatchRow, made: Prediction | None) -> bool:
        """Whether a mark was merely left as it was, or a box is lacking that its annotator may never have seen.

        What is untouched of a prediction that nobody knows, such as one that was deleted since, nobody drew either.
        """
        if row.outcome is Outcome.MISSED:
            return made is None and row.drawn is not None and row.drawn.id in self.untouched
        if row.outcome is Outcome.REJECTED:
            return not self.saw_boxes
        return row.outcome is Outcome.ACCEPTED and not self.blind

    def proposal(self, row: MatchRow) -> tuple[Prediction, Proposal] | None:
        """What was shown, or answered to the drawing, where a match speaks of it."""
        if row.shown is not None:
            shown = (self.prediction,) if self.prediction else ()
            return next((made, one) for made in shown for one in made.proposals if one.region == row.shown)
        if row.drawn is None:
            return None
        answered = [(made, one) for made in self.answers for one in made.proposals]
        near = _nearness([one.region for _, one in answered], row.drawn)
        order = ((overlap, made.shown) for overlap, (made, _) in zip(near, answered, strict=True))
        (overlap, _), found = max(zip(order, answered, strict=True), key=lambda one: one[0], default=((0.0, 0.0), None))
        return found if overlap >= SAME_PLACE else None


def _sample(row: MatchRow, source: _Source, *, prints: tuple[str, str]) -> Sample:
    """What a match teaches; `prints` are those of its page, as `Cutter.prints` gives them."""
    region = _region_of(row)
    annotation, page = source.annotation, source.pages[region.page]
    made, proposal = source.proposal(row) or (None, None)
    label = source.truth(row, region)
    called = proposal.region.label if proposal else UNKNOWN
    wrong = called if called not in (label, UNKNOWN) else None
    misnamed = row.outcome is Outcome.MISSED and wrong is not None
    return Sample(
        id=f"{annotation.id}-{region.id}",
        annotation=annotation.id,
        task=annotation.task,
        project=annotation.project,
        page=region.page,
        region=region.id,
        outcome=Outcome.RELABELLED if misnamed else row.outcome,
        label=label,
        wrong=wrong,
        weak=source.is_weak(row, made),
        blind=source.blind,
        probabilities=proposal.probabilities if proposal else None,
        version=made.version if made else None,
        box=region.box,
        page_size=(page.width, page.height),
        page_sha256=prints[0],
        page_phash=prints[1],
        crop=source.crops.keep(page.pixels, region.box),
        document=source.document,
        annotator=annotation.annotator,
        lead_time=annotation.lead_time,
        shown=made.shown if made else None,
        annotated=annotation.updated,
    )


def _region_of(row: MatchRow) -> Region:
    """The side of a match whose place teaches."""
    at_shown = row.outcome in {Outcome.REJECTED, Outcome.DUPLICATE}
    region = row.shown if at_shown else row.drawn
    assert region is not None  # noqa: S101  a match has at least one side, and these outcomes name which
    return region


def _nearness(some: Sequence[Region], drawn: Region) -> list[float]:
    """IoU of each of some regions and what was left; 1 where it is the region itself, 0 on another page."""
    overlaps = iou(as_boxes([one.box for one in some]), as_boxes([drawn.box]))[:, 0].tolist()
    return [
        0.0 if one.page != drawn.page else 1.0 if one.id == drawn.id else overlap
        for one, overlap in zip(some, overlaps, strict=True)
    ]


def replace_samples(connection: Connection, *, annotation: int, task: int | None, samples: Iterable[Sample]) -> None:
    """Puts an annotation's samples in the place of those it had, and looks anew for contradictions.

    It looks at the annotation's task, at the one that it was moved from, and at copies of its pages.
    """
    theirs = select(sample.c.task, sample.c.page_sha256).where(sample.c.annotation == annotation).distinct()
    before = connection.execute(theirs).all()
    connection.execute(delete(sample).where(sample.c.annotation == annotation))
    if made := list(samples):
        side = assign_split(connection, made)
        connection.execute(insert(sample), [_row(one, side) for one in made])
    tasks = {one for one in (task, *(row.task for row in before)) if one is not None}
    settle_disputes(connection, tasks, {row.page_sha256 for row in before})


def _row(one: Sample, side: Side) -> dict[str, Any]:
    same = {
        field.name: getattr(one, field.name)
        for field in fields(one)
        if field.name not in {"box", "page_size", "page_phash", "crop", "probabilities"}
    }
    x1, y1, x2, y2 = one.box
    other = side.elsewhere.get(one.page_sha256)
    return {
        **same,
        "probabilities": list(one.probabilities) if one.probabilities else None,
        "x1": x1,
        "y1": y1,
        "x2": x2,
        "y2": y2,
        "page_width": one.page_size[0],
        "page_height": one.page_size[1],
        "crop": one.crop.key,
        "crop_sha256": one.crop.sha256,
        "phash": one.crop.phash,
        "margin": list(one.crop.outer),
        "split": side.split,
        "quarantine": elsewhere(other) if other else None,
    }
