"""The review queue in Label Studio: two columns of the Data Manager, and a tab that shows what is doubted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from backend.labelstudio.columns import tasks_with, write_columns
from backend.review.doubts import Kind, tasks_of

if TYPE_CHECKING:
    from backend.labelstudio.client import LabelStudio
    from backend.review.doubts import Review

__all__ = ["KIND", "SCORE", "TAB", "make_tab", "write_scores"]

SCORE, KIND = "review_score", "review_kind"
"""Fields of a task's data. A task without a doubt has the first alone: then the tab's filter need not compare texts."""
TAB = "Review"
_PLACES = 3
"""Of a score: fewer than make a number with an exponent, so that it sorts alike as a number and as a text."""


_NOTHING: Mapping[str, Any] = {SCORE: None, KIND: None}


def write_scores(
    studio: LabelStudio, project: int, review: Review, *, progress: Callable[[int], object] = lambda _: None
) -> int:
    """Writes the score and the kinds of doubt of each task that was looked at; gives how many tasks changed by it.

    What an earlier review wrote into other tasks, whose annotations are gone since, is taken away.

    Raises:
        LabelStudioError: Label Studio refused or did not answer.
    """
    values: dict[int, Mapping[str, Any]] = dict.fromkeys(tasks_with(studio, project, SCORE), _NOTHING)
    values |= {task: _columns(*found) for task, found in tasks_of(review.pages).items()}
    return write_columns(studio, project, values, progress=progress)


def make_tab(studio: LabelStudio, project: int) -> bool:
    """Makes the tab, where there is none of its title; gives whether it was made.

    Raises:
        LabelStudioError: Label Studio refused or did not answer.
    """
    there = studio.tabs(project)
    if TAB in there:
        return False
    if not there:
        # The browser makes one where there is none; with this one there it would not, and most tasks would be hidden.
        studio.create_tab(project, "Default")
    doubted = {"filter": f"filter:tasks:data.{KIND}", "operator": "empty", "type": "Unknown", "value": False}
    studio.create_tab(
        project,
        TAB,
        filters={"conjunction": "and", "items": [doubted]},
        ordering=[f"tasks:data.{SCORE}"],
        columnsDisplayType={f"tasks:data.{SCORE}": "Number"},
    )
    return True


def _columns(score: float, kinds: tuple[Kind, ...]) -> Mapping[str, Any]:
    return {SCORE: round(score, _PLACES), KIND: ", ".join(kinds) or None}
