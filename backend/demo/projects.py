"""Fills a Label Studio: projects with drawn contracts, the backend connected, the boxes waited for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from backend.errors import DemoError
from backend.labelstudio.webhooks import create_webhook, webhook_url, webhooks

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from backend.labelstudio.client import LabelStudio

__all__ = ["Filled", "connect", "fill_project", "retrieve_boxes"]


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
        project = studio.create_project(title, label_config, show_collab_predictions=True)
        studio.create_tab(project, "Default", shown=["predictions_score"])
    tasks = [int(task["id"]) for task in studio.tasks(project)]
    if not tasks:
        # One import for all, so that an interrupted run leaves either none of the tasks or all of them.
        tasks = studio.import_tasks(project, [_task(studio, project, field, pages) for pages in documents])
    return Filled(project=project, tasks=tuple(sorted(tasks)))


def connect(studio: LabelStudio, project: int, url: str, *, version: str) -> None:
    """Connects the backend at `url`, or brings an earlier connection up to date; its webhook goes with it.

    The title is the version: Label Studio sorts and filters by the scores of the version that the title names. Unlike
    `backend.setup`, which leaves other backends alone, this moves the demo's own to the port of this run.
    """
    connections = studio.backends(project)
    if not connections:
        studio.connect_backend(project, url, title=version, interactive=True)
    elif (connections[0]["url"], connections[0]["title"]) != (url, version):
        studio.rename_backend(int(connections[0]["id"]), project, url, title=version)
    # Label Studio makes one with a new connection, and none with one that moves.
    if all(webhook.url != webhook_url(url) for webhook in webhooks(studio, project)):
        create_webhook(studio, project, webhook_url(url), {})


def retrieve_boxes(
    studio: LabelStudio, projects: Sequence[Filled], *, version: str, done: Callable[[int, int], None]
) -> int:
    """Asks for the predictions of each task that has none of `version`; gives the number of boxes of all tasks.

    Raises:
        DemoError: A task still has no prediction of `version` after it was asked for.
    """
    tasks = [(filled.project, task) for filled in projects for task in filled.tasks]
    boxes = 0
    for index, (project, task) in enumerate(tasks):
        found = _boxes(studio, task, version)
        if found is None:
            studio.retrieve_predictions(project, [task])
            found = _boxes(studio, task, version)
        if found is None:
            raise DemoError(f"task {task} got no prediction of {version}: Label Studio's log and the backend's say why")
        boxes += found
        done(index + 1, len(tasks))
    return boxes


def _task(studio: LabelStudio, project: int, field: str, pages: Sequence[Path]) -> dict[str, str | list[str]]:
    references = [studio.upload(project, page.name, page.read_bytes()) for page in pages]
    return {field: references if len(references) > 1 else references[0]}


def _boxes(studio: LabelStudio, task: int, version: str) -> int | None:
    """Boxes that a task's prediction of `version` holds; None when there is no such prediction."""
    results = [item["result"] for item in studio.predictions(task) if item["model_version"] == version]
    return len(results[0]) if results else None
