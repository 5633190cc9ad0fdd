"""Reviews annotated pages: all are looked at once, heads are learnt out of fold, then every box is scored.

Documents → folds: what belongs together stays together, and folds are of nearly one size.

Embeddings of a whole archive on disk, in a file without a name: memory need not grow with what was looked at.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from backend.commands.review.annotated_pages import AnnotatedPage, Missing, look
from backend.commands.review.doubts import (
    DOUBTFUL,
    Doubt,
    DoubtKind,
    Named,
    PagePlace,
    Review,
    ReviewedPage,
    badly_placed,
    overlooked,
    page_score,
    swapped,
)
from backend.commands.review.held_out import FOLDS, Examples, HeldOut, hold_out
from backend.corrections.crop_store import fingerprint
from backend.evaluation.study import NOBODY
from backend.vision.engine import EMBEDDING
from backend.vision.network_config import MARKS

if TYPE_CHECKING:
    from backend.commands.review.annotated_pages import Source
    from backend.evaluation.study import FoundMarks
    from backend.geometry import Boxes
    from backend.vision.pipeline import Pipeline

__all__ = ["EmbeddingShelf", "folds", "review", "together"]

_KIND = np.dtype(np.float32)


def together(documents: Sequence[str], copies: Iterable[tuple[str, str]]) -> dict[str, str]:
    """For each document the one that stands for it and all that share a page with it.

    Args:
        documents: Their keys.
        copies: (key, hash of a page's pixels) for the pages by which a copy is known.
    """
    parent = {key: key for key in documents}

    def root(key: str) -> str:
        while parent[key] != key:
            parent[key] = parent[parent[key]]
            key = parent[key]
        return key

    first: dict[str, str] = {}
    for key, page in copies:
        one, other = sorted((root(first.setdefault(page, key)), root(key)))
        parent[other] = one
    return {key: root(key) for key in documents}


def folds(groups: Iterable[str], *, most: int) -> dict[str, int]:
    """The fold of each group of documents: dealt out in the order of their hashes, to at most `most` folds."""
    ordered = sorted(set(groups), key=lambda key: hashlib.sha256(key.encode()).digest())
    dealt: NDArray[np.intp] = np.arange(len(ordered)) % most
    return dict(zip(ordered, dealt.tolist(), strict=True))


class EmbeddingShelf:
    """Puts embeddings away, and gives them back by their ticket; gone when it is closed."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  open as long as the shelf is

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def put(self, embeddings: NDArray[np.float32]) -> tuple[int, int]:
        """Puts (N, 512) away; gives the ticket."""
        place = self._file.seek(0, 2)
        self._file.write(np.ascontiguousarray(embeddings, _KIND).tobytes())
        return place, len(embeddings)

    def get(self, ticket: tuple[int, int]) -> NDArray[np.float32]:
        """Gives (N, 512) back."""
        place, count = ticket
        self._file.seek(place)
        data = self._file.read(count * EMBEDDING * _KIND.itemsize)
        return np.frombuffer(data, _KIND).reshape(count, EMBEDDING)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Row:
    """A page that was looked at, without its pixels and, but for a ticket, without its embeddings."""

    place: PagePlace
    document: int
    boxes: Boxes
    labels: NDArray[np.intp]
    ignored: Boxes
    found: FoundMarks
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
    with EmbeddingShelf() as shelf:
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
    source: Source, pipeline: Pipeline, examples: Examples, shelf: EmbeddingShelf, progress: Callable[[], object]
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


def _row(one: AnnotatedPage, pipeline: Pipeline, examples: Examples, shelf: EmbeddingShelf, document: int) -> _Row:
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


def _overlooked(scores: NDArray[np.float64], found: Sequence[Named], marks: FoundMarks) -> Iterator[Doubt]:
    for score, seen, probability in zip(scores.tolist(), found, marks.scores.tolist(), strict=True):
        if score < DOUBTFUL:
            yield Doubt(kind=DoubtKind.OVERLOOKED, score=score, given=None, seen=seen, probability=probability)


def _swapped(
    scores: NDArray[np.float64], words: NDArray[np.float64], given: Sequence[Named], labels: NDArray[np.intp]
) -> Iterator[Doubt]:
    for score, word, box, label in zip(scores.tolist(), words, given, labels.tolist(), strict=True):
        if score < DOUBTFUL:
            other = max((place for place in range(len(MARKS)) if place != label), key=lambda place: word[place])
            seen = Named(box=box.box, label=MARKS[other])
            yield Doubt(kind=DoubtKind.SWAPPED, score=score, given=box, seen=seen, probability=float(word[other]))


def _badly_placed(
    scores: NDArray[np.float64],
    partner: NDArray[np.intp],
    given: Sequence[Named],
    found: Sequence[Named],
    marks: FoundMarks,
) -> Iterator[Doubt]:
    for score, mark, box in zip(scores.tolist(), partner.tolist(), given, strict=True):
        if mark != NOBODY and score < DOUBTFUL:
            probability = float(marks.scores[mark])
            yield Doubt(kind=DoubtKind.BADLY_PLACED, score=score, given=box, seen=found[mark], probability=probability)


def _named(box: NDArray[np.float64], label: int) -> Named:
    left, top, right, bottom = box.tolist()
    return Named(box=(left, top, right, bottom), label=MARKS[label])
