"""One region of a task changed by its reviewer: in the newest annotation, or in one that is made of the prediction.

Nobody's work is lost. The newest state is written with one region changed, and only if it is the state that the
reviewer saw.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from backend.errors import LabelStudioError
from backend.labelstudio.json_fields import moment
from backend.labelstudio.labelling import Binding, bind
from backend.labelstudio.stating import restated
from backend.labelstudio.tasks import TaskPage, task_pages

if TYPE_CHECKING:
    from backend.labelstudio.client import LabelStudio

__all__ = [
    "NO_MARK",
    "Changed",
    "Conflict",
    "People",
    "Revision",
    "State",
    "base_of",
    "entries_of",
    "people",
    "read_state",
    "remove_annotation",
    "restored",
    "revised",
    "write_state",
]

NO_MARK = "none"
_NOT_FOUND = 404
_LABELS = "labels"

Json = dict[str, Any]
Result = Sequence[Mapping[str, Any]]


class Conflict(Exception):
    """A change that cannot be made: the task is no longer as the reviewer saw it, or has no place for the label."""


@dataclass(frozen=True, kw_only=True)
class State:
    """What is to be changed of a task.

    Attributes:
        task: The task's id.
        project: Its project's id.
        data: The task's data.
        annotation: The newest that was submitted; None where there is none.
        updated: When that was saved last, in seconds since the epoch; None where there is none.
        lead_time: Seconds of work on it so far.
        result: Its regions.
        predictions: Where there is no annotation: regions of each stored prediction by the prediction's id.
        skipped: Whether somebody skipped the task, and nobody submitted it.
    """

    task: int
    project: int
    data: Mapping[str, Any]
    annotation: int | None
    updated: float | None
    lead_time: float
    result: Result
    predictions: Mapping[int, Result]
    skipped: bool


@dataclass(frozen=True, kw_only=True)
class Revision:
    """What one region is to become.

    Attributes:
        region: Its id.
        was: What the reviewer saw it called: signature, stamp or thumb.
        label: What it shall be called, or `none`, which takes it away.
    """

    region: str
    was: str
    label: str


@dataclass(frozen=True, kw_only=True)
class Changed:
    """The state of an annotation after it was written."""

    annotation: int
    updated: float


@dataclass(frozen=True, kw_only=True)
class People:
    """Who may review.

    Attributes:
        names: By user id.
        self: Whose token writes; None where Label Studio does not say.
    """

    names: Mapping[int, str]
    self: int | None


def people(studio: LabelStudio) -> People:
    """The users of a Label Studio, as far as the token may see them: at least the one whose token it is.

    Raises:
        LabelStudioError: Label Studio refused or did not answer.
    """
    own = studio.call("GET", "/api/current-user/whoami")
    try:
        answer = studio.call("GET", "/api/users/")
    except LabelStudioError as error:
        if error.answered not in {403, _NOT_FOUND}:
            raise
        answer = []
    users = answer.get("results", ()) if isinstance(answer, Mapping) else answer or ()
    names = {int(one["id"]): _name(one) for one in (own, *users)}
    return People(names=names, self=int(own["id"]))


def _name(user: Mapping[str, Any]) -> str:
    named = " ".join(str(user.get(part) or "") for part in ("first_name", "last_name")).strip()
    return named or str(user.get("email") or user.get("username") or user["id"])


def read_state(studio: LabelStudio, task: int) -> State | None:
    """How a task is now; None where it is gone.

    Raises:
        LabelStudioError: Label Studio refused or did not answer.
    """
    try:
        found = studio.call("GET", f"/api/tasks/{task}/")
    except LabelStudioError as error:
        if error.answered == _NOT_FOUND:
            return None
        raise
    annotations = list(found.get("annotations") or ())
    submitted = [one for one in annotations if not one.get("was_cancelled")]
    newest = max(submitted, key=lambda one: (moment(one["updated_at"]), -int(one["id"])), default=None)
    predictions = {int(one["id"]): one.get("result") or [] for one in found.get("predictions") or ()}
    return State(
        task=task,
        project=int(found["project"]),
        data=dict(found.get("data") or {}),
        annotation=int(newest["id"]) if newest else None,
        updated=moment(newest["updated_at"]) if newest else None,
        lead_time=float((newest or {}).get("lead_time") or 0.0),
        result=list(newest.get("result") or ()) if newest else (),
        predictions={} if newest else predictions,
        skipped=bool(annotations) and not submitted,
    )


def write_state(
    studio: LabelStudio,
    state: State,
    result: Result,
    *,
    parent: int | None,
    reviewer: int | None,
    seconds: float,
) -> Changed:
    """Writes regions into the annotation, or makes one of them under the reviewer's name.

    Args:
        studio: Where.
        state: What was read; its annotation is the one that is written.
        result: All regions.
        parent: The prediction that a new annotation is made of.
        reviewer: Whose a new annotation is; None for the user of the token.
        seconds: Of work, in addition to what there was.

    Raises:
        LabelStudioError: Label Studio refused or did not answer.
    """
    body: Json = {"result": [dict(one) for one in result], "lead_time": round(state.lead_time + seconds, 3)}
    if state.annotation is not None:
        answer = studio.call("PATCH", f"/api/annotations/{state.annotation}/", json=body)
    else:
        body |= {"parent_prediction": parent} if parent is not None else {}
        body |= {"completed_by": reviewer} if reviewer is not None else {}
        answer = studio.call("POST", f"/api/tasks/{state.task}/annotations/", json=body)
    return Changed(annotation=int(answer["id"]), updated=moment(answer["updated_at"]))


def remove_annotation(studio: LabelStudio, annotation: int) -> None:
    """Deletes an annotation; one that is gone is no error.

    Raises:
        LabelStudioError: Label Studio refused or did not answer.
    """
    try:
        studio.call("DELETE", f"/api/annotations/{annotation}/")
    except LabelStudioError as error:
        if error.answered != _NOT_FOUND:
            raise


def base_of(state: State, region: str) -> tuple[Result, int | None]:
    """The regions that a change starts from, and the prediction that they are of.

    Raises:
        Conflict: Nothing has the region any more.
    """
    if state.annotation is not None:
        return state.result, None
    for identity, result in sorted(state.predictions.items(), reverse=True):
        if entries_of(result, region):
            return [{**one, "origin": "prediction"} for one in result], identity
    raise Conflict("its prediction was replaced meanwhile")


def revised(
    result: Result, revisions: Iterable[Revision], state: State, label_config: str
) -> tuple[list[Mapping[str, Any]], dict[str, Conflict]]:
    """Regions after some changes, and why others cannot be made, by the region's id.

    Args:
        result: All regions.
        revisions: What is to change.
        state: The task that they are of.
        label_config: The project's.

    Raises:
        LabelConfigError: The label config has nothing that marks could be read from.
        RequestError: The task names no pages.
    """
    pages = _pages(state, label_config)
    controls = {one.control: one for task_page in pages for one in task_page.bindings}
    found, refused = list(result), {}
    for one in revisions:
        try:
            found = _revise(found, one, controls)
        except Conflict as conflict:
            refused[one.region] = conflict
    return restated(
        result, found, [(task_page.item, task_page.bindings) for task_page in pages], task=state.task
    ), refused


def restored(state: State, region: str, entries: Result, label_config: str) -> list[Mapping[str, Any]]:
    """The regions of an annotation with one of them as it was before: `entries` are those that `entries_of` gave then.

    Raises:
        LabelConfigError: The label config has nothing that marks could be read from.
        RequestError: The task names no pages.
    """
    found = _put_back(state.result, region, entries)
    pages = [(task_page.item, task_page.bindings) for task_page in _pages(state, label_config)]
    return restated(state.result, found, pages, task=state.task)


def _pages(state: State, label_config: str) -> list[TaskPage]:
    return task_pages(0, {"id": state.task, "data": dict(state.data)}, bind(label_config))


def _put_back(result: Result, region: str, entries: Result) -> list[Mapping[str, Any]]:
    place = next((index for index, one in enumerate(result) if _touches(one, region)), len(result))
    kept = [one for one in result if not _touches(one, region)]
    place = min(place, len(kept))
    return [*kept[:place], *entries, *kept[place:]]


def entries_of(result: Result, region: str) -> list[Mapping[str, Any]]:
    """All that a result says of a region: the rectangle, answers of other controls about it, and relations to it."""
    found = [one for one in result if _touches(one, region)]
    return found if any(one.get("id") == region for one in found) else []


def _touches(entry: Mapping[str, Any], region: str) -> bool:
    return region in (entry.get("id"), entry.get("from_id"), entry.get("to_id"))


def _revise(
    result: list[Mapping[str, Any]], revision: Revision, controls: Mapping[str, Binding]
) -> list[Mapping[str, Any]]:
    labelled = next((one for one in result if one.get("id") == revision.region and _label_key(one)), None)
    if labelled is None:
        raise Conflict("the box was taken away meanwhile")
    binding = controls.get(str(labelled.get("from_name")))
    if binding is None:
        raise Conflict("the label config no longer has its control")
    key, value = _label_key(labelled), dict(labelled["value"])
    marks = {mark for name in value[key] for mark in binding.meanings.get(name, ())}
    if revision.was not in marks:
        raise Conflict(f"it is called {', '.join(sorted(marks)) or 'otherwise'} by now")
    if revision.label == revision.was:
        return result
    if revision.label == NO_MARK:
        return [one for one in result if not _touches(one, revision.region)]
    word = binding.labels.get(revision.label)
    if word is None:
        raise Conflict(f"the label config has no label for {revision.label}")
    changed = {**labelled, "value": value | {key: [word]}}
    if str(labelled.get("origin") or "").startswith("prediction"):
        changed["origin"] = "prediction-changed"
    return [changed if one is labelled else one for one in result]


def _label_key(entry: Mapping[str, Any]) -> str:
    """The key under which a region bears its labels, such as `rectanglelabels`; "" where it bears none."""
    kind, value = str(entry.get("type") or ""), entry.get("value")
    labels = value.get(kind) if isinstance(value, Mapping) and kind.endswith(_LABELS) else None
    return kind if isinstance(labels, list) and labels else ""
