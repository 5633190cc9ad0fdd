"""What is known of each task of a request while its pages are looked at: what is shown, remembered, or went wrong."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from backend.corrections.imprints import Imprint
from backend.corrections.likeness import Look
from backend.corrections.shown import Proposal
from backend.corrections.sights import Sight
from backend.errors import BackendError, LimitExceeded
from backend.labelstudio.annotations import Region as ShownRegion
from backend.labelstudio.project_annotations import drawn_by
from backend.labelstudio.results import (
    NOT_DONE,
    as_stored,
    meant_by,
    of_pages,
    placed,
    prediction,
    why_empty,
)
from backend.labelstudio.stating import stated
from backend.labelstudio.tasks import TaskPage, listed, task_id
from backend.pages.references import shorten
from backend.vision.network_config import MARKS

if TYPE_CHECKING:
    from concurrent.futures import Future

    from backend.labelstudio.labelling import Binding
    from backend.labelstudio.results import Region
    from backend.labelstudio.stating import PageControls
    from backend.vision.ink import Inked
    from backend.vision.pipeline import Marks

__all__ = ["OutOfTime", "RequestLines", "SeenPage", "TaskOutcome", "add_page", "log_batch", "proposal_of"]

_LOG = logging.getLogger(__name__)
# Lines of the log about the pages of one request; of hundreds that fail, the first tell why.
_MOST_LINES = 20


@dataclass(frozen=True, kw_only=True)
class SeenPage:
    """What one page shows, without the page."""

    marks: Marks
    width: int
    height: int
    imprint: Imprint
    inks: tuple[Inked, ...] = ()
    looks: tuple[Look, ...] = ()


@dataclass(kw_only=True)
class TaskOutcome:
    """What is known of one task so far; where it is blind, nobody is shown it."""

    task_pages: list[TaskPage]
    blind: bool = False
    looked_at: int = 0
    remembered: bool = True
    result: list[Region] = field(default_factory=list)
    proposals: list[Proposal] = field(default_factory=list)
    sights: list[Sight] = field(default_factory=list)
    certainties: list[float] = field(default_factory=list)
    # What the pages are known again by, by their index.
    imprints: dict[int, Imprint] = field(default_factory=dict)
    # Why there is none, by the index of a page that was looked at.
    empty: dict[int, str] = field(default_factory=dict)
    # Why the task could not be looked at whole; nothing is known of it then.
    unread: str = ""

    @property
    def complete(self) -> bool:
        return not self.unread and self.looked_at == len(self.task_pages)

    def prediction(self, version: str) -> Any:
        # Boxes that nobody remembers mean nothing when they are deleted: the task waits until they can be.
        if not self.complete or not self.remembered:
            return NOT_DONE
        # The score stays, blind or not: by it tasks queue, and blind ones shall be a sample of all.
        if self.blind:
            return prediction([], certainties=self.certainties, version=version)
        result = self.result + stated(self.result, self._pages(), task=self.task_pages[0].task)
        return prediction(result, certainties=self.certainties, version=version, reason=self.reason)

    def _pages(self) -> list[PageControls]:
        return [(task_page.item, task_page.bindings) for task_page in self.task_pages]

    @property
    def reason(self) -> str:
        return of_pages(self.empty, pages=max(1, len(self.task_pages)))


class OutOfTime(LimitExceeded):
    """The request's time was over before a page was looked at: that says nothing about the page."""


class RequestLines:
    """The lines of the log about one request's tasks: the first few, and how many more there would be."""

    def __init__(self) -> None:
        self._told = 0

    def tell(self, words: str, *what: object, error: Exception | None = None) -> None:
        """Says why something is not as wished."""
        self._told += 1
        if self._told <= _MOST_LINES:
            _LOG.log(logging.ERROR if error else logging.WARNING, words, *what, exc_info=error)

    def close(self) -> None:
        """Says how many were not said."""
        if self._told > _MOST_LINES:
            _LOG.warning("and %d more pages or tasks of this request, not listed", self._told - _MOST_LINES)


def add_page(task_page: TaskPage, future: Future[SeenPage], outcome: TaskOutcome, lines: RequestLines) -> None:
    """Adds what one page shows to its task's outcome; a page that fails leaves it incomplete."""
    index = outcome.task_pages.index(task_page)
    try:
        seen = future.result()
    except BackendError as error:
        lines.tell("task %s: not done: %s", task_page.task, error)
        if isinstance(error, OutOfTime):
            return
        where = f"page {index + 1}: " if len(outcome.task_pages) > 1 else ""
        outcome.unread = outcome.unread or f"{where}{error}"
    except Exception as error:
        outcome.unread = outcome.unread or "looking at it failed: the log says how"
        # Whatever one page does to a decoder or the model, the other tasks of the request are still to be answered.
        lines.tell("task %s: not done, page failed: %s", task_page.task, shorten(task_page.reference), error=error)
    else:
        outcome.looked_at += 1
        outcome.imprints[index] = seen.imprint
        outcome.certainties.append(seen.marks.certainty)
        before = len(outcome.result)
        for binding in task_page.bindings:
            for place, region in placed(
                seen.marks,
                width=seen.width,
                height=seen.height,
                binding=binding,
                task=task_page.task,
                item=task_page.item,
                inks=seen.inks,
            ):
                outcome.result += as_stored(region, binding)
                outcome.proposals.append(proposal_of(seen, place, region, index=index, binding=binding))
                if seen.looks:
                    outcome.sights.append(_sight(seen, place, outcome.proposals[-1]))
        if len(outcome.result) == before:
            outcome.empty[index] = why_empty(seen.marks, task_page.bindings)


def proposal_of(seen: SeenPage, place: int, region: Region, *, index: int, binding: Binding) -> Proposal:
    """A region that is shown, as the ledger remembers it: the mark that its label stands for, in pixels."""
    marks = seen.marks
    probabilities = marks.probabilities[place]
    [label] = region["value"][binding.kind]
    named = meant_by(label, binding)
    x1, y1, x2, y2 = marks.boxes[place].tolist()
    return Proposal(
        region=ShownRegion(
            id=region["id"],
            page=index,
            label=max(named, key=lambda mark: probabilities[MARKS.index(mark)]),
            box=(x1, y1, x2, y2),
        ),
        probabilities=tuple(probabilities.tolist()),
        score=region["score"],
        page_size=(seen.width, seen.height),
        recalled=marks.recalled[place] if marks.recalled else None,
        word=label,
        drawn_by=drawn_by(region),
    )


def _sight(seen: SeenPage, place: int, proposal: Proposal) -> Sight:
    """How a region looks that is shown."""
    region = proposal.region
    embedding = seen.marks.embeddings[place]
    return Sight(page=region.page, region=region.id, label=region.label, embedding=embedding, look=seen.looks[place])


def log_batch(
    project: str,
    tasks: Sequence[Mapping[str, Any]],
    outcomes: Sequence[TaskOutcome],
    *,
    milliseconds: float,
    version: str,
) -> None:
    """Says in one line what a request came to, and of each task without marks why there are none."""
    _LOG.info(
        "predicted project=%s tasks=%s pages=%d marks=%d blind=%d not_done=%d ms=%.0f version=%s",
        project,
        listed([task_id(task) for task in tasks]),
        sum(outcome.looked_at for outcome in outcomes),
        sum(len(outcome.result) for outcome in outcomes),
        sum(outcome.blind for outcome in outcomes),
        sum(not (outcome.complete and outcome.remembered) for outcome in outcomes),
        milliseconds,
        version,
    )
    for task, outcome in zip(tasks, outcomes, strict=True):
        # Where no page was looked at, it was said why.
        if outcome.complete and outcome.certainties and not outcome.result:
            _LOG.info("task %s: no marks: %s", task_id(task), outcome.reason)
