"""Fills a Label Studio: projects with drawn contracts, the backend connected, the boxes waited for.

Draws the demo's contracts, once for each folder: pages of one image, and a document of several.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from backend.commands.demo.services import POLL_SECONDS
from backend.commands.running_backend import described
from backend.errors import DemoError
from backend.labelstudio.labelling import bind
from backend.labelstudio.projects import label_config as own_config
from backend.labelstudio.projects import write_columns
from backend.labelstudio.stored_predictions import tidy_open_task
from backend.labelstudio.tabs import (
    DOUBTFUL_FIRST,
    MARKS_FOUND,
    PREVIEW,
    SCORE_MEANS,
    make_tabs,
    missing_tabs,
    page_columns,
    task_columns,
)
from backend.labelstudio.tasks import task_pages
from backend.labelstudio.webhooks import create_webhook, webhook_url, webhooks
from backend.synthetic.drawn_page import draw_page
from backend.synthetic.scan import draw_style

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from backend.labelstudio.client import LabelStudio
    from backend.synthetic.marks import Language

__all__ = [
    "Filled",
    "best_first",
    "connect",
    "document_pages",
    "draw_contracts",
    "fill_project",
    "retrieve_boxes",
    "single_pages",
]

_FIRST_SEED = 20_000
_PATIENCE_SECONDS = 120.0
_JPEG_QUALITY = 88
# Language and number of marks of each page; one contract has none, as it happens.
_SINGLES: tuple[tuple[Language, int], ...] = (
    ("mixed", 4),
    ("ar", 3),
    ("en", 3),
    ("mixed", 4),
    ("ar", 5),
    ("en", 2),
    ("mixed", 3),
    ("en", 0),
    ("ar", 2),
    ("en", 4),
    ("ar", 1),
)
_BEST = (4, 9)
"""Numbers of contracts on which the bundled weights box and name every mark rightly."""
_SEEDS = {4: 30_043}
"""By number, contracts with seeds of their own: the first one that a newcomer meets has a signature, two stamps and a
thumbprint."""
# Boxes on the first page, where the editor opens.
_DOCUMENT: tuple[tuple[Language, int], ...] = (("mixed", 2), ("mixed", 2), ("mixed", 4))


def single_pages(folder: Path) -> list[Path]:
    """Where the contracts of one page each lie, drawn or not."""
    return [folder / f"contract-{number:02}.jpg" for number in range(1, len(_SINGLES) + 1)]


def best_first(pages: Sequence[Path]) -> list[Path]:
    """The contracts of one page in the order in which a newcomer meets them."""
    best = [pages[number - 1] for number in _BEST if number <= len(pages)]
    return best + [page for page in pages if page not in best]


def document_pages(folder: Path) -> list[Path]:
    """Where the pages of the long contract lie, drawn or not."""
    return [folder / f"long-contract-page-{number}.jpg" for number in range(1, len(_DOCUMENT) + 1)]


def draw_contracts(folder: Path, *, drawn: Callable[[int, int], None]) -> None:
    """Draws the pages that `folder` lacks; `drawn` is told how many of how many are there."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [*single_pages(folder), *document_pages(folder)]
    for index, (path, (language, marks)) in enumerate(zip(paths, (*_SINGLES, *_DOCUMENT), strict=True)):
        if not path.exists():
            _draw(path, _SEEDS.get(index + 1, _FIRST_SEED + index), language=language, marks=marks)
        drawn(index + 1, len(paths))


def _draw(path: Path, seed: int, *, language: Language, marks: int) -> None:
    # Scans of all sorts, but in colour: the marks in colour are what the program is for.
    style = replace(draw_style(np.random.default_rng(seed)), tone="colour")
    page = draw_page(seed, language=language, marks=marks, style=style)
    partial = path.with_suffix(".part")
    Image.fromarray(page.pixels).save(partial, format="JPEG", quality=_JPEG_QUALITY, dpi=(page.dpi, page.dpi))
    partial.replace(path)


@dataclass(frozen=True, kw_only=True)
class Filled:
    """A project with its tasks, in the order in which they were imported."""

    project: int
    tasks: tuple[int, ...]


def fill_project(
    studio: LabelStudio, *, title: str, label_config: str, field: str, documents: Sequence[Sequence[Path]]
) -> Filled:
    """Gives the project of that title; makes it, or fills it, as far as an earlier run did not.

    Args:
        studio: Where.
        title: Of the project; there is one of it.
        label_config: Of a new project.
        field: Name in a task's data: `image` takes documents of one page, `pages` any.
        documents: Image files of each document's pages, in order.
    """
    project = studio.find_project(title)
    if project is None:
        # Predictions are shown as the first draft of an annotation; without this they wait in a list beside it.
        project = studio.create_project(
            title, label_config, show_collab_predictions=True, sampling=DOUBTFUL_FIRST, description=SCORE_MEANS
        )
    if lacking := missing_tabs(studio, project):
        make_tabs(studio, project, lacking)
    tasks = [int(task["id"]) for task in studio.tasks(project)]
    if not tasks:
        # One import for all, so that an interrupted run leaves either none of the tasks or all of them.
        tasks = studio.import_tasks(project, [_task(studio, project, field, pages) for pages in documents])
    return Filled(project=project, tasks=tuple(sorted(tasks)))


def connect(studio: LabelStudio, project: int, url: str, *, version: str) -> None:
    """Connects the backend at `url`, or brings an earlier connection up to date; its webhook goes with it.

    The title is the version: Label Studio sorts and filters by the scores of the version that the title names. Unlike
    `backend.labelstudio`, which leaves other backends alone, this moves the demo's own to the port of this run.
    """
    connections = studio.backends(project)
    if not connections:
        studio.connect_backend(project, url, title=version, description=described(url), interactive=True)
    elif (connections[0]["url"], connections[0]["title"]) != (url, version):
        where = int(connections[0]["id"]), project, url
        studio.rename_backend(*where, title=version, description=described(url))
    # Label Studio makes one with a new connection, and none with one that moves.
    if all(webhook.url != webhook_url(url) for webhook in webhooks(studio, project)):
        create_webhook(studio, project, webhook_url(url), {})


def retrieve_boxes(
    studio: LabelStudio,
    projects: Sequence[Filled],
    *,
    version: str,
    done: Callable[[int, int], None],
    patience: float = _PATIENCE_SECONDS,
) -> int:
    """Asks for the predictions of each task that has none of `version`; gives the number of boxes of all tasks.

    A task that gets none is asked for again: Label Studio stores nothing where the backend or the page came too late.

    Args:
        studio: Where.
        projects: Whose tasks.
        version: Of the predictions.
        done: Is told of how many tasks, of how many, the boxes are there.
        patience: Seconds in which one task is asked for again.

    Raises:
        DemoError: A task still has no prediction of `version` after that time.
    """
    tasks = [(filled.project, task) for filled in projects for task in filled.tasks]
    data = {int(task["id"]): task["data"] for filled in projects for task in studio.tasks(filled.project)}
    columns: dict[int, dict[int, dict[str, Any]]] = {}
    for index, (project, task) in enumerate(tasks):
        found = _boxes(studio, task, version)
        give_up = time.monotonic() + patience
        while found is None:
            studio.retrieve_predictions(project, [task])
            # The server may have asked for it as well: after an upgrade it brings open tasks to its new version.
            tidy_open_task(studio, task, version)
            found = _boxes(studio, task, version)
            if found is None:
                if time.monotonic() >= give_up:
                    raise DemoError(
                        f"task {task} got no prediction of {version}: Label Studio's log and the backend's say why"
                    )
                time.sleep(POLL_SECONDS)
        columns.setdefault(project, {})[task] = {MARKS_FOUND: len(found), **_preview(found, data.get(task, {}))}
        done(index + 1, len(tasks))
    for project, values in columns.items():
        write_columns(studio, project, values)
    return sum(one[MARKS_FOUND] for values in columns.values() for one in values.values())


def _task(studio: LabelStudio, project: int, field: str, pages: Sequence[Path]) -> dict[str, Any]:
    references = [studio.upload(project, page.name, page.read_bytes()) for page in pages]
    facts = {"document": pages[0].name, **page_columns(range(1, len(pages) + 1))}
    if len(references) > 1:
        return {field: references, PREVIEW: references[0], **facts}
    return {field: references[0], **facts}


def _boxes(studio: LabelStudio, task: int, version: str) -> list[dict[str, Any]] | None:
    """Boxes that a task's prediction of `version` holds; None when there is no such prediction."""
    results = [item["result"] for item in studio.predictions(task) if item["model_version"] == version]
    return results[0] if results else None


def _preview(boxes: Sequence[dict[str, Any]], data: dict[str, Any]) -> dict[str, Any]:
    """The page of a document to look at first; nothing for a task of one page."""
    if not isinstance(data.get("pages"), list):
        return {}
    pages = task_pages(0, {"id": 0, "data": data}, bind(own_config(paged=True)))
    return {PREVIEW: task_columns(boxes, pages)[PREVIEW]}
