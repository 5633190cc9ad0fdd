"""Predictions as Label Studio stores them: which tasks lack one of a version, storing some at once, deleting one."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from backend.errors import LabelStudioError
from backend.labelstudio.json_fields import moment_if_told

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from backend.labelstudio.client import LabelStudio

__all__ = [
    "Listing",
    "OpenTask",
    "PredictionRegions",
    "Stored",
    "StoredTask",
    "delete_prediction",
    "importable",
    "list_current_tasks",
    "list_tasks",
    "read_open_task",
    "read_tasks",
    "rewrite",
    "store",
    "tidy_open_task",
]

Json = dict[str, Any]
_NOT_FOUND = 404
_TOO_MANY = 2
_OPEN_SECONDS = 24 * 3600.0
"""So long after it was stored, a second prediction stays: a second one comes of somebody's opening the task."""


@dataclass(frozen=True, kw_only=True)
class Listing:
    """A page of a list of tasks.

    Attributes:
        ids: Task ids, ascending, without those that plainly need nothing.
        last: Highest task id that was looked at; None at the end of the list.
        total: How many tasks were left from here, this page included.
    """

    ids: tuple[int, ...]
    last: int | None
    total: int


@dataclass(frozen=True, kw_only=True)
class Stored:
    """One stored prediction.

    Attributes:
        id: Label Studio's id of it.
        version: Its model version.
        used: Whether an annotation was made of it.
    """

    id: int
    version: str
    used: bool


@dataclass(frozen=True, kw_only=True)
class StoredTask:
    """A task with what is stored for it.

    Attributes:
        body: The task as a prediction needs it: `id` and `data`.
        predictions: By age, oldest first.
    """

    body: Json
    predictions: tuple[Stored, ...]

    @property
    def id(self) -> int:
        return int(self.body["id"])


@dataclass(frozen=True, kw_only=True)
class PredictionRegions:
    """A stored prediction with its regions.

    Attributes:
        id: Label Studio's id of it.
        version: Its model version.
        result: Its regions.
        score: By which tasks queue.
        stored: When it was stored, in seconds since the epoch; None where Label Studio does not say.
    """

    id: int
    version: str
    result: tuple[Json, ...]
    score: float | None
    stored: float | None = None

    def may_be_open(self, *, now: float) -> bool:
        """Whether somebody may still have it in an open editor: Label Studio refuses work whose prediction is gone."""
        return self.stored is not None and now < self.stored + _OPEN_SECONDS


@dataclass(frozen=True, kw_only=True)
class OpenTask:
    """A task that nobody annotated, with its predictions; a skipped task comes up again.

    Attributes:
        body: The task as a prediction needs it: `id` and `data`.
        predictions: By age, oldest first.
    """

    body: Json
    predictions: tuple[PredictionRegions, ...]

    def of_version(self, version: str) -> tuple[PredictionRegions, ...]:
        """Its predictions of one version, oldest first."""
        return tuple(one for one in self.predictions if one.version == version)


def read_open_task(studio: LabelStudio, task: int) -> OpenTask | None:
    """A task with its predictions; None where it is gone, or somebody is known to have begun to annotate it.

    Label Studio tells of the drafts of nobody but the token's user.

    Raises:
        LabelStudioError: Label Studio refused or did not answer.
    """
    try:
        found = studio.call("GET", f"/api/tasks/{task}/", params={"resolve_uri": "false"})
    except LabelStudioError as error:
        if error.answered == _NOT_FOUND:
            return None
        raise
    left = [one for one in found.get("annotations") or () if not one.get("was_cancelled")]
    if left or found.get("drafts"):
        return None
    shown = (
        PredictionRegions(
            id=int(one["id"]),
            version=str(one.get("model_version") or ""),
            result=tuple(one.get("result") or ()),
            score=one.get("score"),
            stored=moment_if_told(one.get("created_at")),
        )
        for one in found.get("predictions") or ()
    )
    body = {"id": int(found["id"]), "data": dict(found.get("data") or {})}
    return OpenTask(body=body, predictions=tuple(sorted(shown, key=lambda one: one.id)))


def list_tasks(
    studio: LabelStudio,
    project: int,
    version: str,
    *,
    lacking: bool,
    alone: bool,
    unannotated: bool,
    after: int,
    most: int,
) -> Listing:
    """Tasks of a project that lack a version's prediction, or that have one and something else beside it.

    Label Studio compares versions by their parts: `v1` counts as there where only `v1-t0.3` is. Such tasks are missing
    from the first list and found in the second, where each one's versions and their number are looked at.

    Args:
        studio: Where.
        project: The project's id.
        version: The model version.
        lacking: The first list, or else the second.
        alone: In the second list, also tasks that have beside it only predictions of other versions.
        unannotated: Only tasks that nobody annotated; with `lacking`, only such as have predictions of other versions.
        after: Only tasks of a higher id.
        most: How many to look at.
    """
    filters = [_filter("id", "greater", after)]
    filters += [_filter("total_annotations", "equal", 0)] if unannotated else []
    filters += [_filter("total_predictions", "greater", 0)] if unannotated or not lacking else []
    operator = "not_contains" if lacking else "contains"
    filters.append(_filter("predictions_model_versions", operator, [version], kind="List"))
    query = {"filters": {"conjunction": "and", "items": filters}, "ordering": ["tasks:id"]}
    answer = _tasks(studio, project, query, most=most)
    found = answer["tasks"]
    ids = tuple(int(task["id"]) for task in found if lacking or not _plain(task, version, alone=alone))
    last = int(found[-1]["id"]) if found else None
    return Listing(ids=ids, last=last, total=int(answer["total"]))


def list_current_tasks(studio: LabelStudio, project: int, version: str, *, after: int, most: int) -> Listing:
    """Tasks of a project that nobody annotated and that have a prediction of a version.

    Label Studio compares versions by their parts: some may have a longer version only.

    Args:
        studio: Where.
        project: The project's id.
        version: The model version.
        after: Only tasks of a higher id.
        most: How many to look at.
    """
    filters = [
        _filter("id", "greater", after),
        _filter("total_annotations", "equal", 0),
        _filter("predictions_model_versions", "contains", [version], kind="List"),
    ]
    query = {"filters": {"conjunction": "and", "items": filters}, "ordering": ["tasks:id"]}
    answer = _tasks(studio, project, query, most=most)
    ids = tuple(int(task["id"]) for task in answer["tasks"])
    return Listing(ids=ids, last=ids[-1] if ids else None, total=int(answer["total"]))


def read_tasks(studio: LabelStudio, project: int, ids: Sequence[int]) -> dict[int, StoredTask]:
    """Some tasks of a project, with what is stored for them; those that it does not have are missing."""
    chosen = {"selectedItems": {"all": False, "included": list(ids)}, "ordering": ["tasks:id"]}
    answer = _tasks(studio, project, chosen, most=len(ids), fields="all")
    return {int(task["id"]): _stored(task) for task in answer["tasks"]}


def store(studio: LabelStudio, project: int, predictions: Mapping[int, Mapping[str, Any]]) -> None:
    """Stores one prediction for each task, all of them or none.

    Raises:
        LabelStudioError: Label Studio refused, such as for a task that is gone, or did not answer. Without an answer,
            they may have been stored all the same.
    """
    body = [{**one, "task": task} for task, one in predictions.items()]
    studio.call("POST", f"/api/projects/{project}/import/predictions", json=body)


def delete_prediction(studio: LabelStudio, prediction: int) -> None:
    """Deletes one stored prediction."""
    studio.call("DELETE", f"/api/predictions/{prediction}/")


def rewrite(studio: LabelStudio, prediction: int, *, task: int, content: Mapping[str, Any]) -> bool:
    """Puts other regions into a stored prediction, in one step; tells whether it was there.

    It keeps its id. An annotator who has the task open names that id when they submit, and Label Studio refuses their
    work where there is no such prediction any more.

    Args:
        studio: Where.
        prediction: Its id.
        task: The task that it is of.
        content: A prediction: `result`, `score` and `model_version`.

    Raises:
        LabelStudioError: Label Studio refused or did not answer.
    """
    body = {name: content[name] for name in ("result", "score", "model_version")} | {"task": task}
    try:
        studio.call("PATCH", f"/api/predictions/{prediction}/", json=body)
    except LabelStudioError as error:
        if error.answered != _NOT_FOUND:
            raise
        return False
    return True


def tidy_open_task(studio: LabelStudio, task: int, version: str, *, now: float = math.inf) -> int:
    """Deletes second predictions of a version where nobody has begun to annotate; the oldest stays. Gives their number.

    Label Studio stores a prediction each time it is told to ask for one: two people who ask at once get two.

    Args:
        studio: Where.
        task: The task.
        version: The model version.
        now: By which those stay that somebody may have open, in seconds since the epoch; else none does.
    """
    if sum(one["model_version"] == version for one in studio.predictions(task)) < _TOO_MANY:
        return 0
    found = read_open_task(studio, task)
    second = () if found is None else found.of_version(version)[1:]
    spare = [one for one in second if not one.may_be_open(now=now)]
    for one in spare:
        try:
            delete_prediction(studio, one.id)
        except LabelStudioError as error:
            if error.answered != _NOT_FOUND:  # whoever asked at the same time looks as well
                raise
    return len(spare)


def importable(data: Mapping[str, Any], predictions: Iterable[Mapping[str, Any]]) -> Json:
    """A task with predictions, as Label Studio imports it from a JSON file."""
    return {"data": dict(data), "predictions": [dict(one) for one in predictions]}


def _tasks(studio: LabelStudio, project: int, query: Json, *, most: int, **further: str) -> Any:
    place = {"project": project, "page": 1, "page_size": most, "resolve_uri": "false", "query": json.dumps(query)}
    return studio.call("GET", "/api/tasks/", params=place | further)


def _filter(column: str, operator: str, value: Any, *, kind: str = "Number") -> Json:
    return {"filter": f"filter:tasks:{column}", "operator": operator, "type": kind, "value": value}


def _plain(task: Mapping[str, Any], version: str, *, alone: bool) -> bool:
    """Whether a task surely has one prediction of a version, and beside it none, or at most one of each other version.

    Its versions come as one text, each once; a version that holds a comma cannot be told in it.
    """
    versions = [one.strip() for one in str(task.get("predictions_model_versions") or "").split(",")]
    return version in versions and (1 if alone else len(versions)) == task.get("total_predictions")


def _stored(task: Mapping[str, Any]) -> StoredTask:
    used = {annotation.get("parent_prediction") for annotation in task.get("annotations") or ()}
    predictions = (
        Stored(id=int(one["id"]), version=str(one.get("model_version") or ""), used=one["id"] in used)
        for one in task.get("predictions") or ()
    )
    body = {"id": int(task["id"]), "data": dict(task.get("data") or {})}
    return StoredTask(body=body, predictions=tuple(sorted(predictions, key=lambda one: one.id)))
