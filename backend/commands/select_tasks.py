"""The command `select`: which tasks to annotate next, so that a few teach much: doubtful ones, unlike each other.

Uncertainty alone picks the same doubt many times over. So each choice is the task with the largest product of its doubt
and its distance to the tasks that are annotated or already chosen. This is the greedy k-centre of Sener and Savarese
(Active learning for convolutional neural networks: a core-set approach, 2018), weighted by uncertainty.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from backend.commands.amounts import one_or_more
from backend.errors import PageError, RequestError
from backend.escaping import printable
from backend.labelstudio.client import LabelStudio
from backend.labelstudio.connections import ask_for_token, first_page
from backend.labelstudio.labelling import bind
from backend.labelstudio.projects import named_project, tasks_with, write_columns
from backend.labelstudio.tabs import MARKS_FOUND, PREVIEW, SELECTED, SELECTION, make_tabs
from backend.labelstudio.tasks import task_pages
from backend.models.serving import Sources, build_pipeline
from backend.pages.source import PageSource
from backend.settings import Settings
from backend.terminal import advise

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping, Sequence

    from backend.labelstudio.connections import Pages
    from backend.labelstudio.labelling import Binding
    from backend.vision.pipeline import Marks, Pipeline

__all__ = ["LookedTask", "add_arguments", "choose", "looked_at", "run", "spread"]

_LEAST_DISTANCE = 1e-6
"""Of a task that is a copy of another: of several such, the doubtful ones come first."""
_LEAST_DOUBT = 1e-3
"""Of a task where the model is sure of all: such tasks are taken when nothing else is left, the unlike ones first."""
_LISTED = 20
_LOOKED_BACK = 200
"""Annotated tasks, the last of the project, that are looked at as well: what looks like them teaches little."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LookedTask:
    """A task as the current model sees it.

    Attributes:
        task: Its id.
        certainty: The task's score.
        vector: (D,) of length 1: the mean embedding of its marks; zeros where there are none.
        marks: How many there are.
        preview: Of a document, the page that the model is least sure of; "" for a task of one page.
        document: The name of its document, where the task says it.
    """

    task: int
    certainty: float
    vector: NDArray[np.float64]
    marks: int
    preview: str = ""
    document: str = ""


def spread(
    certainties: NDArray[np.float64], vectors: NDArray[np.float64], count: int, *, known: NDArray[np.float64]
) -> list[int]:
    """Chooses doubtful tasks that are unlike each other and unlike what is known; places of them, the most worth first.

    Args:
        certainties: (N,) scores of the tasks, 0 to 1.
        vectors: (N, D) of length 1, or zeros for a task without marks: those are like each other and unlike all else.
        count: How many.
        known: (K, D) of tasks that are annotated; those without marks say nothing about others.
    """
    doubt = np.maximum(1 - certainties, _LEAST_DOUBT)
    empty = np.asarray(~vectors.any(axis=1), np.bool_)
    distance = np.ones(len(doubt))
    for one in known[known.any(axis=1)]:
        distance = np.minimum(distance, _apart(vectors, empty, one))
    chosen: list[int] = []
    for _ in range(min(count, len(doubt))):
        worth = doubt * np.maximum(distance, _LEAST_DISTANCE)
        worth[chosen] = -1
        best = int(worth.argmax())
        chosen.append(best)
        distance = np.minimum(distance, _apart(vectors, empty, vectors[best]))
    return chosen


def _apart(vectors: NDArray[np.float64], empty: NDArray[np.bool_], one: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distances (N,) to one task; without marks, tasks are alike."""
    if not one.any():
        return np.where(empty, 0.0, 1.0)
    return np.asarray(np.clip(1 - vectors @ one, 0, None))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `select`."""
    parser.add_argument("--project", required=True, metavar="ID|TITLE", help="the project, by number or title")
    parser.add_argument("--n", type=one_or_more, default=200, metavar="N", help="how many tasks (default: %(default)s)")
    parser.add_argument(
        "--write",
        action="store_true",
        help=f"write its rank into each chosen task, and make the tab {SELECTION.title!r}",
    )
    parser.add_argument("--model", help="auto, hub, bundled or the name of a published model (MODEL)")


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Looks at tasks, and lists those to annotate first; gives 1 where one had no pages.

    Raises:
        SettingsError: There is no token.
        LabelConfigError: The label config has nothing to put marks on.
        ModelError: There is no model.
        LabelStudioError: Label Studio refused or did not answer.
    """
    settings = settings.with_arguments(model=args.model)
    ask_for_token(settings, "select")
    pipeline = build_pipeline(Sources.of(settings).at_once(), settings)
    with LabelStudio(settings.label_studio_url, settings.label_studio_api_key) as studio:
        project = named_project(studio, args.project)
        state = studio.project(project)
        bindings = bind(str(state.get("label_config") or ""), confidence=settings.confidence)
        source = PageSource(settings, studio)
        looked, done, failed = _look(studio, state, pipeline, source, bindings)
        chosen = choose(looked, args.n, known=[one.vector for one in done])
        for place, one in enumerate(chosen[:_LISTED], 1):
            marks = f"{one.marks} mark{'' if one.marks == 1 else 's'}"
            print(f"{place:>4}  task {one.task:<8} score {one.certainty:.3f}  {marks:<8} {one.document}".rstrip())
        if len(chosen) > _LISTED:
            print(f"      and {len(chosen) - _LISTED} more")
        beside = f", compared with {len(done)} that somebody annotated" if done else ""
        print(f"{len(chosen)} of {len(looked)} tasks that nobody annotated are selected{beside}")
        if not looked and not failed:
            print("the project has no task without an annotation: `import` brings documents in", file=sys.stderr)
        elif not args.write:
            advise(f'--write makes the tab "{SELECTION.title}" of them, in this order')
        if args.write:
            changed = _write(studio, project, looked, chosen)
            print(f'{changed} tasks written; tab "{SELECTION.title}" of {studio.base_url}/projects/{project}')
    return 1 if failed else os.EX_OK


def _look(
    studio: LabelStudio, project: Mapping[str, Any], pipeline: Pipeline, source: Pages, bindings: Sequence[Binding]
) -> tuple[list[LookedTask], list[LookedTask], int]:
    """The open tasks as the model sees them, the last of those that are annotated, and how many had no pages."""
    looked: list[LookedTask] = []
    done: list[LookedTask] = []
    failed = 0
    annotated = int(project.get("num_tasks_with_annotations") or 0)
    total = int(project.get("task_number") or 0) - annotated + min(annotated, _LOOKED_BACK)
    last: deque[Mapping[str, Any]] = deque(maxlen=_LOOKED_BACK)

    def open_tasks() -> Iterator[Mapping[str, Any]]:
        for task in studio.tasks(int(project["id"])):
            if any(not one.get("was_cancelled") for one in task.get("annotations") or ()):
                last.append({"id": task["id"], "data": task["data"]})
            else:
                yield task

    with tqdm(total=total or None, unit="task", disable=None, file=sys.stderr) as bar:
        # What is annotated is known when all open tasks went by.
        for tasks, seen in ((open_tasks(), looked), (last, done)):
            for task in tasks:
                try:
                    seen.append(_seen(task, pipeline, source, bindings))
                except (PageError, RequestError) as error:
                    failed += 1
                    tqdm.write(f"contract-marks: task {task['id']}: {error}", file=sys.stderr)
                bar.update()
    return looked, done, failed


def _seen(task: Mapping[str, Any], pipeline: Pipeline, source: Pages, bindings: Sequence[Binding]) -> LookedTask:
    seen: list[Marks] = []
    pages = task_pages(0, task, bindings)
    for task_page in pages:
        page = first_page(source, task_page.reference, task=task_page.task)
        seen.append(pipeline.marks(page, confidence=min(binding.threshold for binding in task_page.bindings)))
    if not seen:
        raise RequestError("the list of its pages is empty")
    doubted = min(zip(seen, pages, strict=True), key=lambda one: one[0].certainty)[1].reference
    found = looked_at(int(task["id"]), seen, preview=doubted if seen[1:] else "")
    return dataclasses.replace(found, document=_document(task))


def _document(task: Mapping[str, Any]) -> str:
    """The name of a task's document and its pages in it, for people; "" where the task says none."""
    data = task.get("data") or {}
    name, pages = data.get("document"), data.get("page_range")
    if not isinstance(name, str) or not name:
        return ""
    return printable(f"{name}, page {pages}" if isinstance(pages, str) and pages else name)


def looked_at(task: int, seen: Sequence[Marks], *, preview: str = "") -> LookedTask:
    """A task by what the model saw on its pages, one at least."""
    found = np.concatenate([marks.embeddings for marks in seen]).astype(np.float64)
    lengths = np.linalg.norm(found, axis=1, keepdims=True)
    mean = (found / np.maximum(lengths, 1e-9)).sum(axis=0)
    length = float(np.linalg.norm(mean))
    return LookedTask(
        task=task,
        certainty=min(marks.certainty for marks in seen),
        vector=mean / length if length else mean,
        marks=len(found),
        preview=preview,
    )


def choose(looked: Sequence[LookedTask], count: int, *, known: Sequence[NDArray[np.float64]]) -> list[LookedTask]:
    """The tasks most worth annotating, the most worth first.

    Args:
        looked: Tasks that nobody annotated.
        count: How many.
        known: (D,) of each task that is annotated, as `LookedTask.vector`.
    """
    if not looked:
        return []
    certainties = np.array([one.certainty for one in looked])
    vectors = np.stack([one.vector for one in looked])
    chosen = spread(certainties, vectors, count, known=np.array(known).reshape(len(known), vectors.shape[1]))
    return [looked[place] for place in chosen]


def _write(studio: LabelStudio, project: int, looked: Sequence[LookedTask], chosen: Sequence[LookedTask]) -> int:
    """Gives each task that was looked at its number of marks, and its place where it is chosen; makes the tab.

    Places of an earlier selection are taken away.
    """
    values: dict[int, dict[str, Any]] = {task: {SELECTED: None} for task in tasks_with(studio, project, SELECTED)}
    for one in looked:
        values[one.task] = {SELECTED: None, MARKS_FOUND: one.marks} | ({PREVIEW: one.preview} if one.preview else {})
    for place, one in enumerate(chosen, 1):
        values[one.task][SELECTED] = place
    changed = write_columns(studio, project, values)
    if SELECTION.title not in studio.tabs(project):
        make_tabs(studio, project, [SELECTION])
    return changed
