"""Finds a project and the documents that it has, and gives a new one its label config.

Fills columns of the Data Manager, through the data of tasks.

The Data Manager filters on a task's `data` and sorts by it. A task's `meta` it stores, but does not know as a column
(seen in 1.23.2: a filter on it is answered with an error). So a column is one more field of the data.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable, Mapping
from importlib import resources
from itertools import islice
from typing import TYPE_CHECKING, Any

from backend.errors import LabelConfigError, LabelStudioError
from backend.labelstudio.tasks import UNNAMED_FIELD

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from backend.labelstudio.client import LabelStudio

__all__ = [
    "DIGEST_FIELD",
    "documents_in",
    "find_project",
    "label_config",
    "named_project",
    "read_label_config",
    "tasks_with",
    "write_columns",
]

_PORTION = 20
_NOT_FOUND = 404

Json = dict[str, Any]
DIGEST_FIELD = "document_sha256"
"""Field of a task's data that holds the SHA-256 of the document that its pages are of."""
_PAGE_SIZE = 100


def write_columns(
    studio: LabelStudio,
    project: int,
    values: Mapping[int, Mapping[str, Any]],
    *,
    progress: Callable[[int], object] = lambda _: None,
) -> int:
    """Writes some columns of tasks, and leaves the rest of their data; tasks that are gone are passed over.

    Label Studio replaces a task's data as a whole, so that each is read right before it is written. A task that has
    the values already is not written.

    Args:
        studio: Where.
        project: The project's id.
        values: By task, the value of each column; None takes the column from the task.
        progress: Called with the number of tasks done since the last call.

    Returns:
        How many tasks were changed.

    Raises:
        LabelStudioError: Label Studio refused or did not answer.
    """
    alias = _alias(studio, project)
    changed, waiting = 0, iter(sorted(values))
    while portion := list(islice(waiting, _PORTION)):
        for task, data in _stored(studio, project, portion, alias=alias).items():
            wanted = {**data, **values[task]}
            wanted = {name: value for name, value in wanted.items() if value is not None or name not in values[task]}
            changed += wanted != data and _written(studio, task, wanted)
        progress(len(portion))
    return changed


def tasks_with(studio: LabelStudio, project: int, column: str) -> list[int]:
    """Ids of the tasks of a project that have a column, ascending.

    Raises:
        LabelStudioError: Label Studio refused or did not answer.
    """
    found: list[int] = []
    while True:
        last = found[-1] if found else 0
        beyond = {"filter": "filter:tasks:id", "operator": "greater", "type": "Number", "value": last}
        query = {"filters": {"conjunction": "and", "items": [beyond, _has(column)]}, "ordering": ["tasks:id"]}
        more = list(_answered(studio, project, query, most=_PORTION))
        found += more
        if len(more) < _PORTION:
            return found


def _written(studio: LabelStudio, task: int, data: Json) -> bool:
    """Whether the task was there to be written."""
    try:
        studio.call("PATCH", f"/api/tasks/{task}/", json={"data": data})
    except LabelStudioError as error:
        if error.answered == _NOT_FOUND:
            return False
        raise
    return True


def _stored(studio: LabelStudio, project: int, tasks: Sequence[int], *, alias: str | None) -> dict[int, Json]:
    """The data of tasks as they are stored: addresses of storages as they came, fields under their own names."""
    found = _listed(studio, project, tasks)
    if alias is None:
        return found
    for task in _listed(studio, project, tasks, filters=[_has(UNNAMED_FIELD)]):
        found[task] = {UNNAMED_FIELD if name == alias else name: value for name, value in found[task].items()}
    return found


def _alias(studio: LabelStudio, project: int) -> str | None:
    """The name that is shown for the field without a name, where tasks of the project have one.

    A file that was uploaded before the project had a label config stays in the field without a name. Label Studio shows
    it under the first field that the label config asks for, which is the first column.
    """
    if UNNAMED_FIELD not in studio.call("GET", f"/api/projects/{project}/summary/")["all_data_columns"]:
        return None
    return str(studio.call("GET", "/api/dm/columns/", params={"project": project})["columns"][0]["id"])


def _listed(
    studio: LabelStudio, project: int, tasks: Sequence[int], *, filters: Sequence[Json] = ()
) -> dict[int, Json]:
    query: Json = {"selectedItems": {"all": False, "included": list(tasks)}, "ordering": ["tasks:id"]}
    query |= {"filters": {"conjunction": "and", "items": list(filters)}} if filters else {}
    return _answered(studio, project, query, most=len(tasks))


def _answered(studio: LabelStudio, project: int, query: Json, *, most: int) -> dict[int, Json]:
    """The data of the tasks that a query of the Data Manager finds, in its order."""
    place = {"project": project, "page": 1, "page_size": most, "resolve_uri": "false", "query": json.dumps(query)}
    answer = studio.call("GET", "/api/tasks/", params=place)
    return {int(task["id"]): dict(task["data"]) for task in answer["tasks"]}


def _has(field: str) -> Json:
    """The Data Manager's condition that a field of the data is there."""
    return {"filter": f"filter:tasks:data.{field}", "operator": "empty", "type": "Unknown", "value": False}


def read_label_config(file: Path) -> str:
    """The text of a label config that somebody keeps in a file: UTF-8, or UTF-16 as some editors of Windows write it.

    Raises:
        LabelConfigError: It cannot be read, or is text of another kind.
    """
    try:
        content = file.read_bytes()
        return content.decode("utf-16" if content[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig")
    except OSError as error:
        raise LabelConfigError(f"{file} cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise LabelConfigError(f"{file} cannot be read: it is no UTF-8; save it as UTF-8 in your editor") from error


def label_config(*, paged: bool) -> str:
    """The label config of a new project, for tasks of one page (`$image`) or documents of several pages (`$pages`)."""
    name = "label_config_pages.xml" if paged else "label_config.xml"
    return resources.files("backend.labelstudio").joinpath(name).read_text(encoding="utf-8")


def find_project(studio: LabelStudio, name: str) -> int | None:
    """A project's id, by its id or its title; digits alone are an id. None when there is none of that title.

    Raises:
        LabelStudioError: There is no project of that id, or Label Studio refused or did not answer.
    """
    if not name.isdecimal():
        return studio.find_project(name)
    try:
        return int(studio.project(int(name))["id"])
    except LabelStudioError as error:
        if error.answered == _NOT_FOUND:
            message = f"{studio.base_url} has no project {name} that this token's user may see"
            raise LabelStudioError(message, answered=error.answered) from error
        raise


def named_project(studio: LabelStudio, name: str) -> int:
    """A project's id, by its id or its title; digits alone are an id.

    Raises:
        LabelStudioError: There is no such project, or Label Studio refused or did not answer.
    """
    found = find_project(studio, name)
    if found is None:
        raise LabelStudioError(
            f"{studio.base_url} has no project with the title {name!r} that this token's user may see: name it as it "
            "is written there, or by the number in its address; `connect --project` makes one"
        )
    return found


def documents_in(studio: LabelStudio, project: int, digests: Collection[str]) -> set[str]:
    """Those of the given documents, by SHA-256, that have a task in the project.

    One filter of the Data Manager finds them all. So the cost grows with the documents asked for, not with the tasks of
    the project.
    """
    if not digests:
        return set()
    wanted = {
        "filter": f"filter:tasks:data.{DIGEST_FIELD}",
        "operator": "in_list",
        "type": "List",
        "value": sorted(digests),
    }
    query = json.dumps({"filters": {"conjunction": "and", "items": [wanted]}, "ordering": ["tasks:id"]})
    found: set[str] = set()
    seen, number = 0, 1
    while True:
        place = {"project": project, "page": number, "page_size": _PAGE_SIZE, "resolve_uri": "false", "query": query}
        answer = studio.call("GET", "/api/tasks/", params=place)
        found |= {str(task["data"][DIGEST_FIELD]) for task in answer["tasks"]}
        seen, number = seen + len(answer["tasks"]), number + 1
        if not answer["tasks"] or seen >= answer["total"] or found >= set(digests):
            return found
