"""What importing asks of Label Studio: a project by its id or title, and which documents it has already."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from backend.errors import LabelStudioError

if TYPE_CHECKING:
    from collections.abc import Collection

    from backend.labelstudio.client import LabelStudio

__all__ = ["DIGEST_FIELD", "documents_in", "find_project"]

DIGEST_FIELD = "document_sha256"
"""Field of a task's data that holds the SHA-256 of the document that its pages are of."""
_PAGE_SIZE = 100
_NOT_FOUND = 404


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


def documents_in(studio: LabelStudio, project: int, digests: Collection[str]) -> set[str]:
    """Those of some documents, by their SHA-256, of which a project has a task.

    One filter of the Data Manager for all of them: the cost is that of the documents that are asked for, not of the
    tasks that are there.
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
