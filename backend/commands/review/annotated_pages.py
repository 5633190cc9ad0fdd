"""Where annotated pages come from: a project of Label Studio, as it is now, or a frozen version.

One annotated page through the model: the marks that it finds, and what it makes of the annotated boxes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from backend.commands.review.doubts import PagePlace
from backend.errors import DatasetError, PageError, RequestError
from backend.escaping import printable
from backend.evaluation.study import LOW_BAR, FoundMarks
from backend.geometry import Boxes, as_boxes, coverage, iou
from backend.labelstudio.connections import Pages, first_page
from backend.labelstudio.project_annotations import Past, Ruling, rulings, turned_page
from backend.pages.page import Page
from backend.vision.classifier import Classification
from backend.vision.network_config import MARKS, NONE

if TYPE_CHECKING:
    from backend.commands.review.held_out import Examples
    from backend.dataset.manifest import FrozenPage
    from backend.dataset.store import Version
    from backend.labelstudio.client import LabelStudio
    from backend.labelstudio.tasks import TaskPage
    from backend.vision.pipeline import Pipeline

__all__ = ["AnnotatedPage", "FrozenSource", "Missing", "ModelLook", "ProjectSource", "Source", "look"]

_ON_IT = 0.5
"""Least IoU at which a candidate is a crop of an annotated mark."""
_BESIDE = 0.1
"""IoU up to which a candidate is no crop of an annotated mark, unless half of it lies inside one."""
_HALF = 0.5


@dataclass(frozen=True, kw_only=True, eq=False)
class ModelLook:
    """What the model makes of a page.

    Attributes:
        found: The marks that it finds, with a low bar, of those classes that the annotator had a label for.
        own: (A, 4) the network's probabilities over `CLASSES` of the annotated boxes.
        embeddings: (A, 512) of the annotated boxes.
    """

    found: FoundMarks
    own: NDArray[np.float64]
    embeddings: NDArray[np.float32]


def look(annotated: AnnotatedPage, pipeline: Pipeline, examples: Examples, *, document: int) -> ModelLook:
    """Looks at a page, and adds its crops to the examples: the annotated ones, and the candidates that are none.

    A candidate keeps the network's own probabilities: what no annotation speaks about, no annotation taught.

    Args:
        annotated: The page.
        pipeline: The model, without the memory of corrections, which would repeat the annotator.
        examples: Takes the crops.
        document: Number of the page's document.
    """
    page, boxes = annotated.page, annotated.boxes
    candidates = pipeline.detector(page.pixels, page.dpi)
    count = len(candidates)
    seen = pipeline.classifier.classify(page.pixels, np.concatenate([candidates.boxes, boxes]))
    first = Classification(seen.probabilities[:count], seen.embeddings[:count])
    marks = pipeline.judge(candidates, first, confidence=LOW_BAR)
    kept = np.isin(marks.labels, annotated.classes)
    labels = np.concatenate([_labels(candidates.boxes, annotated), annotated.labels])
    known = labels >= 0
    examples.add(seen.embeddings[known], labels[known], document=document)
    return ModelLook(
        found=FoundMarks(boxes=marks.boxes[kept], labels=marks.labels[kept], scores=marks.scores[kept]),
        own=seen.probabilities[count:],
        embeddings=seen.embeddings[count:],
    )


def _labels(candidates: Boxes, annotated: AnnotatedPage) -> NDArray[np.intp]:
    """What each candidate is by the annotation, (N,) over `CLASSES`; -1 where it does not say."""
    overlap = iou(candidates, annotated.boxes)
    best = overlap.max(axis=1, initial=0.0)
    silent = np.concatenate([annotated.boxes, annotated.ignored])
    beside = (best < _BESIDE) & (coverage(candidates, silent).max(axis=1, initial=0.0) < _HALF)
    labels = np.where(beside, NONE, -1)
    on = best >= _ON_IT
    if on.any():
        labels[on] = annotated.labels[overlap[on].argmax(axis=1)]
    return labels.astype(np.intp)


@dataclass(frozen=True, kw_only=True, eq=False)
class AnnotatedPage:
    """A page with what an annotator left on it.

    Attributes:
        place: Where it is.
        document: What tells its document from others.
        page: Its pixels.
        boxes: (A, 4) xyxy pixels.
        labels: (A,) indices into `MARKS`.
        ignored: (I, 4) places about which nothing is said.
        classes: Indices into `MARKS` of what the annotator had a label for.
    """

    place: PagePlace
    document: str
    page: Page
    boxes: Boxes
    labels: NDArray[np.intp]
    ignored: Boxes
    classes: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Missing:
    """A page that cannot be looked at."""

    name: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


class Source(Protocol):
    """Annotated pages, one at a time."""

    @property
    def total(self) -> int | None:
        """How often `pages` reports progress, where that is known."""
        ...

    def pages(self, progress: Callable[[], object]) -> Iterator[AnnotatedPage | Missing]:
        """All of them, in an order that does not depend on chance."""
        ...

    def page(self, place: PagePlace) -> Page:
        """One of them again; raises PageError or DatasetError."""
        ...


class ProjectSource:
    """What annotators left in a project: of each task the annotation that rules.

    Args:
        studio: Label Studio, with a token that may read the project.
        source: Fetches pages.
        project: The project's id.
        past: What the ledger knows of its past; None where there is no ledger.
    """

    def __init__(self, studio: LabelStudio, source: Pages, project: int, *, past: Past | None = None) -> None:
        self._studio = studio
        self._source = source
        self._project = project
        self._past = past

    @property
    def total(self) -> int | None:
        """Tasks that somebody annotated."""
        found = self._studio.project(self._project).get("num_tasks_with_annotations")
        return found if isinstance(found, int) else None

    def pages(self, progress: Callable[[], object]) -> Iterator[AnnotatedPage | Missing]:
        """The pages of all annotated tasks; progress is reported for each task.

        Raises:
            LabelStudioError: Label Studio refused or did not answer.
            LabelConfigError: The project's label config has nothing that marks could be read from.
        """
        for task, ruling in rulings(self._studio, self._project, past=self._past):
            if isinstance(ruling, RequestError):
                yield Missing(name=f"task {task}", reason=str(ruling))
            elif ruling is not None:
                yield from self._task(ruling)
            progress()

    def page(self, place: PagePlace) -> Page:
        return first_page(self._source, place.source, task=place.task)

    def _task(self, ruling: Ruling) -> Iterator[AnnotatedPage | Missing]:
        left = ruling.annotation
        try:
            found = left.task_pages
        except RequestError as error:
            yield Missing(name=f"task {left.task}", reason=str(error))
            return
        for index, task_page in enumerate(found):
            place = self._place(ruling, task_page, index, alone=len(found) == 1)
            try:
                yield self._annotated(ruling, task_page, place)
            except (PageError, RequestError) as error:
                yield Missing(name=place.name, reason=str(error))

    def _place(self, ruling: Ruling, task_page: TaskPage, index: int, *, alone: bool) -> PagePlace:
        left = ruling.annotation
        return PagePlace(
            name=_named(ruling, index, alone=alone),
            source=task_page.reference,
            project=self._project,
            task=left.task,
            annotation=left.id,
            page=index,
        )

    def _annotated(self, ruling: Ruling, task_page: TaskPage, place: PagePlace) -> AnnotatedPage:
        left, page = ruling.annotation, self.page(place)
        if reason := turned_page(left, place.page, width=page.width, height=page.height):
            raise RequestError(f"the page was {reason}")
        # This page's size stands in for those of the others, whose regions are not kept.
        sizes = dict.fromkeys(left.pages(), (page.width, page.height))
        regions = [one for one in left.regions(sizes) if one.page == place.page]
        meant = {mark for binding in task_page.bindings for marks in binding.meanings.values() for mark in marks}
        return AnnotatedPage(
            place=place,
            document=left.document or f"task {left.task}",
            page=page,
            boxes=as_boxes([one.box for one in regions]),
            labels=np.array([MARKS.index(one.label) for one in regions], np.intp),
            ignored=as_boxes([one.box for one in left.unread(sizes) if one.page == place.page]),
            classes=tuple(index for index, mark in enumerate(MARKS) if mark in meant),
        )


def _named(ruling: Ruling, index: int, *, alone: bool) -> str:
    """A page for people: its task, its document, and its number there, or in the editor's pager."""
    left, numbers = ruling.annotation, ruling.numbers if alone else ()
    parts = [f"task {left.task}", *([printable(left.document)] if left.document else [])]
    if numbers or not alone:
        parts.append(f"page {numbers[0] if numbers else index + 1}")
    return ", ".join(parts)


class FrozenSource:
    """The pages of a frozen version."""

    def __init__(self, version: Version) -> None:
        self._version = version
        self._by_name = {page.name: page for page in version.manifest.pages}

    @property
    def total(self) -> int | None:
        """Its pages."""
        return len(self._by_name)

    def pages(self, progress: Callable[[], object]) -> Iterator[AnnotatedPage | Missing]:
        """Its pages by name; progress is reported for each."""
        for frozen in self._version.manifest.pages:
            place = _frozen_place(frozen)
            try:
                page = self.page(place)
            except DatasetError as error:
                yield Missing(name=frozen.name, reason=str(error))
            else:
                yield AnnotatedPage(
                    place=place,
                    document=frozen.document,
                    page=page,
                    boxes=as_boxes([mark.box for mark in frozen.marks]),
                    labels=np.array([MARKS.index(mark.label) for mark in frozen.marks], np.intp),
                    ignored=as_boxes(frozen.ignored),
                    classes=tuple(MARKS.index(mark) for mark in frozen.classes),
                )
            progress()

    def page(self, place: PagePlace) -> Page:
        frozen = self._by_name[place.source]
        return Page(pixels=self._version.pixels(frozen), reference=frozen.name, dpi=frozen.dpi)


def _frozen_place(frozen: FrozenPage) -> PagePlace:
    if frozen.origin is None:
        return PagePlace(name=frozen.name, source=frozen.name)
    return PagePlace(
        name=frozen.name,
        source=frozen.name,
        project=frozen.origin.project,
        task=frozen.origin.task,
        annotation=frozen.origin.annotation,
        page=frozen.origin.item,
    )
