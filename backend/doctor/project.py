"""The project: whether it is there, and whether it shows what this backend predicts."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from backend.doctor.findings import Checked, Fields, doubtful, failed, well
from backend.doctor.words import this_many
from backend.errors import LabelStudioError
from backend.labelstudio.importing import find_project

if TYPE_CHECKING:
    from backend.labelstudio.client import LabelStudio

__all__ = ["NAME", "SHOWN", "check_project", "check_shown"]

NAME = "project"
SHOWN = "shown boxes"
_REFUSED = (403, 404)


def check_project(studio: LabelStudio, named: str) -> Checked[Fields]:
    """Whether the token's user sees a project of that id or title; gives its fields."""
    try:
        number = find_project(studio, named)
        state = None if number is None else studio.project(number)
    except LabelStudioError as error:
        if error.answered not in _REFUSED:
            raise
        state = None
    if state is None:
        kind = "id" if named.isdecimal() else "title"
        return failed(
            NAME,
            f"there is no project of the {kind} {named!r} that the token's user may see",
            remedy=f"name one that is there; or make it: python -m backend connect --project {shlex.quote(named)}",
        )
    tasks, annotations = int(state.get("task_number") or 0), int(state.get("total_annotations_number") or 0)
    amount = f"{this_many(tasks, 'task')}, {this_many(annotations, 'annotation')}"
    return well(NAME, f"{studio.base_url}/projects/{state['id']}, {state['title']!r}: {amount}", state)


def check_shown(state: Fields, version: str) -> Checked[bool]:
    """Whether annotations in the project begin with this version's boxes, and tasks are sorted by their scores."""
    where = f"{NAME} {state['id']}, Settings, Annotation"
    if not state.get("show_collab_predictions"):
        return doubtful(
            SHOWN,
            "annotations in the project begin without boxes, which stay in a list beside them",
            remedy=f"{where}: turn on to use predictions to prelabel tasks",
        )
    shown = str(state.get("model_version") or "")
    if shown != version:
        return failed(
            SHOWN,
            f"the project shows and sorts by the predictions of {shown or 'no version'}, not of {version}",
            remedy=f"{where}: choose {version}",
        )
    return well(SHOWN, f"annotations begin with the boxes of {version}", value=True)
