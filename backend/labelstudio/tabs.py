"""How a project's tasks are queued and shown: the doubtful ones first, in tabs of columns that people read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from backend.labelstudio.client import LabelStudio
    from backend.labelstudio.tasks import TaskPage

__all__ = [
    "DOUBTFUL_FIRST",
    "MARKS_FOUND",
    "PREVIEW",
    "SCORE_MEANS",
    "SELECTED",
    "SELECTION",
    "TABS",
    "Tab",
    "make_tabs",
    "missing_tabs",
    "page_columns",
    "task_columns",
]

DOUBTFUL_FIRST = "Uncertainty sampling"
"""Label Studio's order in which annotators get the task with the lowest score next."""
SCORE_MEANS = (
    "A task's score is the lowest certainty among all that the model judged on its pages; it is 1 where nothing was "
    "in doubt, and low scores come first."
)
PREVIEW = "preview"
"""Field of a task's data with its picture in the list: the most doubtful page of a document."""
MARKS_FOUND = "marks_found"
"""Field of a task's data with the number of boxes that the model found."""
_NUMBERS, _RANGE = "page_numbers", "page_range"
"""Fields of a task's data with its pages' numbers in the document: a list for programs, a text for people."""
SELECTED = "selected"
"""Field of a task's data with its place in the selection of `select`."""
_HIDDEN = (
    *("inner_id", "completed_at", "cancelled_annotations", "total_predictions", "annotations_results"),
    *("annotations_ids", "predictions_model_versions", "predictions_results", "file_upload", "storage_filename"),
    *("created_at", "updated_at", "updated_by", "avg_lead_time", "draft_exists"),
    *("data.pages", "data.images", "data.document_sha256", f"data.{_NUMBERS}"),
)
"""Columns that say nothing to people: a list of addresses, numbers of the database, results as JSON."""
_ELSEWHERE = ("review_score", "review_kind", SELECTED)
"""Columns that are shown only in the tab made for them."""
_PICTURES = {
    f"tasks:data.{PREVIEW}": "Image",
    f"tasks:data.{MARKS_FOUND}": "Number",
    f"tasks:data.{SELECTED}": "Number",
}


@dataclass(frozen=True, kw_only=True)
class Tab:
    """A tab of the Data Manager.

    Attributes:
        title: Its title, by which it is known.
        filters: Its conditions: column, operator, kind and value.
        ordering: Columns that it is sorted by; a minus before one turns it about.
        shown: Further columns.
    """

    title: str
    filters: tuple[tuple[str, str, str, Any], ...]
    ordering: tuple[str, ...]
    shown: tuple[str, ...] = ()


_OPEN = ("total_annotations", "equal", "Number", 0)
_PREDICTED = ("total_predictions", "greater", "Number", 0)
TABS: tuple[Tab, ...] = (
    Tab(title="Doubtful first", filters=(_OPEN, _PREDICTED), ordering=("tasks:predictions_score",)),
    Tab(
        title="Nothing found",
        # Every region names its control's kind, such as rectanglelabels.
        filters=(_OPEN, _PREDICTED, ("predictions_results", "not_contains", "String", "labels")),
        ordering=("tasks:predictions_score",),
    ),
    Tab(
        title="Overlooked?",
        filters=(("data.review_kind", "contains", "String", "overlooked"),),
        ordering=("tasks:data.review_score",),
        shown=("review_score", "review_kind"),
    ),
    Tab(title="Done", filters=(("total_annotations", "greater", "Number", 0),), ordering=("-tasks:updated_at",)),
)
"""The tabs of a connected project. `review --write` says which tasks are in the third."""
SELECTION = Tab(
    title="Selected",
    filters=(_OPEN, (f"data.{SELECTED}", "empty", "Unknown", False)),
    ordering=(f"tasks:data.{SELECTED}",),
    shown=(SELECTED,),
)
"""The tab of `select --write`."""


def task_columns(result: Sequence[Mapping[str, Any]], pages: Sequence[TaskPage]) -> dict[str, Any]:
    """What a prediction says in the columns of its task: how many boxes there are, and which page to look at first.

    That is the page whose box has the lowest score, else the first page. A task of one page needs no preview.

    Args:
        result: The prediction's regions.
        pages: The task's pages.
    """
    boxes = {str(region["id"]): region for region in result if str(region.get("type")).endswith("labels")}
    columns: dict[str, Any] = {MARKS_FOUND: len(boxes)}
    if len(pages) > 1:
        doubtful = min(boxes.values(), key=lambda region: float(region.get("score") or 0.0), default=None)
        on = next((page for page in pages if doubtful is not None and _is_on(doubtful, page)), pages[0])
        columns[PREVIEW] = on.reference
    return columns


def page_columns(numbers: Sequence[int]) -> dict[str, Any]:
    """Where a task's pages stand in their document, as a list and as a text, such as `11–12`.

    Args:
        numbers: Of its pages, from 1, in order.
    """
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    told = (f"{run[0]}–{run[-1]}" if run[1:] else str(run[0]) for run in runs)
    return {_NUMBERS: list(numbers), _RANGE: ", ".join(told)}


def _is_on(region: Mapping[str, Any], page: TaskPage) -> bool:
    here = any(region.get("from_name") == binding.control for binding in page.bindings)
    return here and page.item in (None, region.get("item_index") or 0)


def missing_tabs(studio: LabelStudio, project: int) -> list[Tab]:
    """The tabs that a project lacks, by their titles.

    Raises:
        LabelStudioError: Label Studio refused or did not answer.
    """
    there = set(studio.tabs(project))
    return [tab for tab in TABS if tab.title not in there]


def make_tabs(studio: LabelStudio, project: int, tabs: list[Tab]) -> None:
    """Makes tabs, and before them one with all tasks, where the project has none at all.

    Raises:
        LabelStudioError: Label Studio refused or did not answer.
    """
    first = [] if studio.tabs(project) else [{"title": "Default", **_columns(())}]
    for data in [*first, *map(_view, tabs)]:
        studio.call("POST", "/api/dm/views/", json={"project": project, "data": data})


def _view(tab: Tab) -> Mapping[str, Any]:
    items = [
        {"filter": f"filter:tasks:{column}", "operator": operator, "type": kind, "value": value}
        for column, operator, kind, value in tab.filters
    ]
    return {
        "title": tab.title,
        "filters": {"conjunction": "and", "items": items},
        "ordering": list(tab.ordering),
        **_columns(tab.shown),
    }


def _columns(shown: tuple[str, ...]) -> Mapping[str, Any]:
    """Which columns a tab shows; those that the project does not have yet are named already."""
    hidden = [f"tasks:{name}" for name in _HIDDEN if name.removeprefix("data.") not in shown]
    hidden += [f"tasks:data.{name}" for name in _ELSEWHERE if name not in shown]
    return {
        "hiddenColumns": {"explore": hidden, "labeling": [*hidden, "tasks:annotators", "tasks:id"]},
        "columnsDisplayType": _PICTURES,
    }
