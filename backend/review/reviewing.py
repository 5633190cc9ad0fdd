"""Reviews annotated pages: all are looked at once, heads are learnt out of fold, then every box is scored."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from backend.evaluation.matching import NOBODY
from backend.feedback.crops import fingerprint
from backend.nets.config import MARKS
from backend.review.doubts import DOUBTFUL, Doubt, Kind, Named, Place, Review, ReviewedPage
from backend.review.examples import Examples
from backend.review.folds import folds, together
from backend.review.heldout import FOLDS, HeldOut, hold_out
from backend.review.looking import look
from backend.review.scores import badly_placed, overlooked, page_score, swapped
from backend.review.shelf import Shelf
from backend.review.sources import AnnotatedPage, Missing

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from backend.evaluation.matching import Found
    from backend.geometry import Boxes
    from backend.pipeline import Pipeline
    from backend.review.sources import Source

__all__ = ["review"]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Row:
    """A page that was looked at, without its pixels and, but for a ticket, without its embeddings."""

    place: Place
    document: int
    boxes: Boxes
    labels: NDArray[np.intp]
    ignored: Boxes
    found: Found
    own: NDArray[np.float64]
    ticket: tuple[int, int]


@dataclass(kw_only=True)
class _Seen:
    """What has been looked at so far."""

    rows: list[_Row] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    documents: dict[str, int] = field(default_factory=dict)
    copies: list[tuple[str, str]] = field(default_factory=list)


def review(source: Source, pipeline: Pipeline, *, progress: Callable[[], object] = lambda: None) -> Review:
    """Looks at every annotated page, and says which annotations the model doubts.

    Memory holds one page, some kilobytes for each that was looked at, and a bounded number of embeddings.

    Args:
        source: The pages.
        pipeline: The model, without the memory of corrections.
        progress: Called as the source goes on.

    Raises:
        LabelStudioError: Label Studio refused or did not answer.
        LabelConfigError: The project's label config has nothing that marks could be read from.
    """
    examples = Examples()
    with Shelf() as shelf:
        seen = _look_at_all(source, pipeline, examples, shelf, progress)
        fold_of = _fold_of(seen)
        held = hold_out(examples, fold_of)
        pages = [_judged(row, shelf.get(row.ticket), held, fold=fold_of[row.document]) for row in seen.rows]
    return Review(
        version=pipeline.version,
        pages=tuple(sorted(pages, key=lambda page: page.score)),
        missing=tuple(seen.missing),
        told=held.told,
    )


def _look_at_all(
    source: Source, pipeline: Pipeline, examples: Examples, shelf: Shelf, progress: Callable[[], object]
) -> _Seen:
    seen = _Seen()
    for one in source.pages(progress):
        if isinstance(one, Missing):
            seen.missing.append(str(one))
            continue
        document = seen.documents.setdefault(one.document, len(seen.documents))
        if len(one.boxes):
            # A page without marks tells nothing: terms that every contract repeats do not make one document of them.
            seen.copies.append((one.document, fingerprint(one.page.pixels)))
        seen.rows.append(_row(one, pipeline, examples, shelf, document))
    return seen


def _row(one: AnnotatedPage, pipeline: Pipeline, examples: Examples, shelf: Shelf, document: int) -> _Row:
    looked = look(one, pipeline, examples, document=document)
    return _Row(
        place=one.place,
        document=document,
        boxes=one.boxes,
        labels=one.labels,
        ignored=one.ignored,
        found=looked.found,
        own=looked.own,
        ticket=shelf.put(looked.embeddings),
    )


def _fold_of(seen: _Seen) -> list[int]:
    """The fold of each document, by its number."""
    groups = together(list(seen.documents), seen.copies)
    dealt = folds(groups.values(), most=FOLDS)
    return [dealt[groups[key]] for key in seen.documents]


def _judged(row: _Row, embeddings: NDArray[np.float32], held: HeldOut, *, fold: int) -> ReviewedPage:
    words = held.words(embeddings, row.own, fold=fold)
    unboxed = overlooked(row.found, row.boxes, row.labels, ignored=row.ignored)
    names = swapped(row.labels, words)
    places, partner = badly_placed(row.found, row.boxes, row.labels)
    given = tuple(map(_named, row.boxes, row.labels))
    found = tuple(map(_named, row.found.boxes, row.found.labels))
    doubts = (
        *_overlooked(unboxed, found, row.found),
        *_swapped(names, words, given, row.labels),
        *_badly_placed(places, partner, given, found, row.found),
    )
    return ReviewedPage(
        place=row.place,
        score=page_score(unboxed, places, names),
        doubts=tuple(sorted(doubts, key=lambda one: one.score)),
        given=given,
    )


def _overlooked(scores: NDArray[np.float64], found: Sequence[Named], marks: Found) -> Iterator[Doubt]:
    for score, seen, probability in zip(scores.tolist(), found, marks.scores.tolist(), strict=True):
        if score < DOUBTFUL:
            yield Doubt(kind=Kind.OVERLOOKED, score=score, given=None, seen=seen, probability=probability)


def _swapped(
    scores: NDArray[np.float64], words: NDArray[np.float64], given: Sequence[Named], labels: NDArray[np.intp]
) -> Iterator[Doubt]:
    for score, word, box, label in zip(scores.tolist(), words, given, labels.tolist(), strict=True):
        if score < DOUBTFUL:
            other = max((place for place in range(len(MARKS)) if place != label), key=lambda place: word[place])
            seen = Named(box=box.box, label=MARKS[other])
            yield Doubt(kind=Kind.SWAPPED, score=score, given=box, seen=seen, probability=float(word[other]))


def _badly_placed(
    scores: NDArray[np.float64],
    partner: NDArray[np.intp],
    given: Sequence[Named],
    found: Sequence[Named],
    marks: Found,
) -> Iterator[Doubt]:
    for score, mark, box in zip(scores.tolist(), partner.tolist(), given, strict=True):
        if mark != NOBODY and score < DOUBTFUL:
            probability = float(marks.scores[mark])
            yield Doubt(kind=Kind.BADLY_PLACED, score=score, given=box, seen=found[mark], probability=probability)


def _named(box: NDArray[np.float64], label: int) -> Named:
    left, top, right, bottom = box.tolist()
    return Named(box=(left, top, right, bottom), label=MARKS[label])
