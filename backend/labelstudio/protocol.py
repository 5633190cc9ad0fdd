"""What Label Studio sends, checked and typed: requests and events; what of an event is kept, and what it says."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from backend.errors import RequestError
from backend.labelstudio.annotations import Annotation, read_annotation
from backend.labelstudio.json_fields import identity_of, moment_if_told

__all__ = [
    "ANNOTATION_ACTIONS",
    "PROJECT_ACTIONS",
    "Event",
    "PredictRequest",
    "SetupRequest",
    "count_values",
    "creation_of",
    "only_ids",
    "parse_body",
    "project_told",
    "read_config",
    "read_event",
    "task_ids",
    "without_secrets",
    "worth_keeping",
]

_LONGEST_ACTION = 256
Json = dict[str, Any]

_MOST_VALUES = 1_000_000
_LONGEST_NAME = 100
_MOST_DIGITS = 18
_FIRST_RELEASE, _LATEST = 1_500_000_000, 32_503_680_000
"""From 2017, when no project was made yet, to the year 3000: what is less or more is no moment."""
# Label Studio's own go six deep. Whoever stores, copies or writes them again goes down once for each.
_DEEPEST = 100
# Text beyond ASCII takes up to four times as many bytes in memory; JSON can spell all of it in ASCII, and clients do.
_LARGEST_WIDE = 16 * 1024 * 1024
_ESCAPES = re.compile(r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F])|.)", re.DOTALL)
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


@dataclass(frozen=True, kw_only=True)
class Event:
    """One webhook call, reduced to the facts that may be logged.

    Attributes:
        action: Such as `ANNOTATION_CREATED` or `START_TRAINING`.
        project: The project's id, where the event names one.
        tasks: Ids of the tasks it is about.
        annotations: Ids of the annotations it is about.
    """

    action: str
    project: int | None
    tasks: tuple[int, ...]
    annotations: tuple[int, ...]

    @classmethod
    def parse(cls, action: object, data: Mapping[str, Any]) -> Event:
        """Reads an event; single and bulk forms alike (`task` and `annotation` may be objects, lists, or plural).

        Raises:
            RequestError: There is no action.
        """
        if not isinstance(action, str) or not action:
            raise RequestError("action is missing or no string: a webhook names its event there")
        if len(action) > _LONGEST_ACTION:
            raise RequestError(f"action has {len(action)} characters: no event of Label Studio's is called so")
        annotations = [*_objects(data, "annotation"), *_objects(data, "annotations")]
        tasks = [*_objects(data, "task"), *_objects(data, "tasks")]
        named = [*(task.get("id") for task in tasks), *(annotation.get("task") for annotation in annotations)]
        projects = [project.get("id") for project in _objects(data, "project")]
        return cls(
            action=action,
            project=next(iter(_ids(projects)), None),
            tasks=_ids(named),
            annotations=_ids([annotation.get("id") for annotation in annotations]),
        )


def _objects(data: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    value = data.get(key)
    return [item for item in (value if isinstance(value, list) else [value]) if isinstance(item, dict)]


def _ids(values: list[object]) -> tuple[int, ...]:
    """The integers among `values`, each once, in order."""
    return tuple(dict.fromkeys(value for value in values if isinstance(value, int) and not isinstance(value, bool)))


def parse_body(data: bytes) -> Json:
    """A request's body as a JSON object.

    Raises:
        RequestError: It is no JSON, or no object.
    """
    if (values := count_values(data)) > _MOST_VALUES:
        raise RequestError(f"the body holds {values} values: send at most {_MOST_VALUES} in one request")
    if len(data) > _LARGEST_WIDE and not data.isascii():
        raise RequestError(f"a body of more than {_LARGEST_WIDE} bytes must be ASCII: spell other letters as \\uXXXX")
    try:
        # By itself, the library takes UTF-16 as well, and halves of characters.
        text = data.decode("utf-8-sig")
        if _SURROGATE.search(data) and any(found[1] for found in _ESCAPES.finditer(text)):
            raise RequestError("the body is not JSON: it holds half a character, which is no text")
        body = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RequestError(f"the body is not JSON ({type(error).__name__}): send a JSON object") from error
    if not isinstance(body, dict):
        raise RequestError(f"the body is a JSON {_kind(body)}: send an object")
    if _is_deeper(body, _DEEPEST):
        raise RequestError(f"the body holds values within values, more than {_DEEPEST} deep")
    return body


def count_values(data: bytes) -> int:
    """About how many values a body of JSON holds: each becomes an object of a hundred bytes.

    What separates values is counted, in no time, and before there are any.
    """
    return sum(data.count(mark) for mark in (b",", b"{", b"["))


def _is_deeper(value: object, most: int) -> bool:
    level = [value]
    for _ in range(most):
        level = [
            inner
            for one in level
            for inner in (one.values() if isinstance(one, dict) else one if isinstance(one, list) else ())
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True


@dataclass(frozen=True, kw_only=True)
class SetupRequest:
    """POST /setup: a project introduces itself.

    Attributes:
        project: Label Studio's id of the project, as text; empty when it did not say.
        label_config: The project's label config, XML.
        hostname: What Label Studio calls itself.
        access_token: Legacy token of the project's creator; kept out of `repr`.
        made: When the project was made, in whole seconds since the epoch, where it says so.
    """

    project: str
    label_config: str
    made: int | None = None
    hostname: str = ""
    access_token: str = field(default="", repr=False)

    @classmethod
    def parse(cls, body: Json) -> SetupRequest:
        """Checks a body; `extra_params` may be an object, a string or null, and nothing here depends on it.

        Raises:
            RequestError: A field is missing or has the wrong type.
        """
        if not isinstance(body.get("extra_params"), dict | str | None):
            raise RequestError(f"extra_params is a {_kind(body['extra_params'])}: expected an object, a string or null")
        return cls(
            project=_project(body),
            made=_made(body),
            label_config=_text(body, "schema", required=True),
            hostname=_text(body, "hostname"),
            access_token=_text(body, "access_token"),
        )


@dataclass(frozen=True, kw_only=True)
class PredictRequest:
    """POST /predict: the marks of these tasks are wanted.

    Attributes:
        project: Label Studio's id of the project, as text.
        label_config: The project's label config, XML.
        tasks: The tasks, as Label Studio serialises them.
        context: What the annotator just drew, under `result`; None outside interactive labelling.
        made: When the project was made, in whole seconds since the epoch, where it says so.
    """

    project: str
    label_config: str
    tasks: list[Json]
    context: Json | None = None
    made: int | None = None

    @classmethod
    def parse(cls, body: Json) -> PredictRequest:
        """Checks a body.

        Raises:
            RequestError: A field is missing or has the wrong type.
        """
        tasks = body.get("tasks")
        if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
            raise RequestError("tasks is missing or no list of objects: send the tasks to predict")
        params = body.get("params")
        if not isinstance(params, dict | None):
            raise RequestError(f"params is a {_kind(params)}: expected an object or null")
        context = (params or {}).get("context")
        if not isinstance(context, dict | None):
            raise RequestError(f"params.context is a {_kind(context)}: expected an object or null")
        return cls(
            project=_project(body),
            made=_made(body),
            label_config=_text(body, "label_config", required=True),
            tasks=tasks,
            context=context or None,
        )


def _project(body: Json) -> str:
    """The id alone: Label Studio sends `<id>.<created>`."""
    project = body.get("project")
    if not isinstance(project, str | int | None) or isinstance(project, bool):
        raise RequestError(f"project is a {_kind(project)}: expected the project's id")
    return "" if project is None else str(project).partition(".")[0][:_LONGEST_NAME]


def _made(body: Json) -> int | None:
    """When the project was made, from `<id>.<created>`."""
    moment = str(body.get("project") or "").partition(".")[2]
    made = int(moment) if moment.isdecimal() and len(moment) <= _MOST_DIGITS else 0
    return made if _FIRST_RELEASE <= made < _LATEST else None


def project_told(data: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """The id of an event's project, and when that was made, in whole seconds since the epoch.

    Either is None where it is not told.
    """
    project = next(iter(_objects(data, "project")), {})
    return next(iter(_ids([project.get("id")])), None), creation_of(project)


def creation_of(project: Mapping[str, Any]) -> int | None:
    """When a project was made, as the API tells it, in whole seconds since the epoch; None where it does not."""
    told = moment_if_told(project.get("created_at"))
    return None if told is None else int(told)


def _text(body: Json, name: str, *, required: bool = False) -> str:
    value = body.get(name)
    if value is None and not required:
        return ""
    if not isinstance(value, str):
        raise RequestError(f"{name} is {'missing' if name not in body else 'a ' + _kind(value)}: expected a string")
    return value


def _kind(value: object) -> str:
    """JSON's word for a value's type."""
    names = {dict: "object", list: "list", str: "string", bool: "boolean", int: "number", float: "number"}
    return names.get(type(value), "null")


# What of a payload is kept: enough to make samples, nothing that opens a door (tokens, passwords) or names a person.
_ANNOTATION = (
    "id",
    "task",
    "project",
    "result",
    "was_cancelled",
    "draft_created_at",
    "parent_annotation",
    "parent_prediction",
    "created_at",
    "updated_at",
    "completed_by",
    "lead_time",
)
_TASK = ("id", "data", "project")
_IDENTITY = ("id", "task", "project")
_PROJECT = ("id", "label_config")
ANNOTATION_ACTIONS = frozenset(
    f"{noun}_{verb}" for noun in ("ANNOTATION", "ANNOTATIONS") for verb in ("CREATED", "UPDATED", "DELETED")
)
"""Events that say something about an annotation."""
PROJECT_ACTIONS = frozenset({"PROJECT_CREATED", "PROJECT_UPDATED"})
"""Events that bring a project's label config."""
_LARGEST_BODY = 1024 * 1024
_MOST_IDS = 100_000


@dataclass(frozen=True, kw_only=True)
class AnnotationEvent:
    """What one webhook says about annotations.

    Attributes:
        saved: States of created or updated annotations.
        deleted: Ids of deleted annotations.
    """

    action: str
    saved: tuple[Annotation, ...] = ()
    deleted: tuple[int, ...] = ()


def without_secrets(payload: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a webhook's payload that is worth keeping, in the same shape, single or plural."""
    kept: dict[str, Any] = {"action": payload.get("action")}
    for name, fields in (("annotation", _ANNOTATION), ("task", _TASK), ("project", _PROJECT)):
        for key in (name, f"{name}s"):
            value = payload.get(key)
            if isinstance(value, Mapping):
                kept[key] = _only(value, fields)
            elif isinstance(value, list):
                kept[key] = [_only(one, fields) for one in value if isinstance(one, Mapping)]
    return kept


def worth_keeping(payload: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a webhook's payload that the journal stores: what will be needed, and no more than a megabyte.

    Only the ids are kept of a larger event, and of one that is not about annotations or their project. Whoever takes it
    asks Label Studio for the rest.
    """
    kept = without_secrets(payload)
    needed = payload.get("action") in ANNOTATION_ACTIONS | PROJECT_ACTIONS
    if needed and len(json.dumps(kept, default=str)) <= _LARGEST_BODY:
        return kept
    return only_ids(kept)


def only_ids(payload: Mapping[str, Any]) -> dict[str, Any]:
    """A webhook's action, and the ids of what it is about."""
    identities: dict[str, Any] = {"action": payload.get("action")}
    for key, value in payload.items():
        if isinstance(value, Mapping):
            identities[key] = _only(value, _IDENTITY)
        elif isinstance(value, list):
            identities[key] = [_only(one, _IDENTITY) for one in value[:_MOST_IDS] if isinstance(one, Mapping)]
    return identities


def read_event(payload: Mapping[str, Any]) -> AnnotationEvent:
    """Reads an annotation event, in the singular or the plural form.

    Raises:
        RequestError: It lacks what its action promises.
    """
    action = str(payload.get("action"))
    annotations = _many(payload, "annotation")
    if action in {"ANNOTATIONS_DELETED", "ANNOTATION_DELETED"}:
        return AnnotationEvent(action=action, deleted=tuple(identity_of(one, "id", action) for one in annotations))
    if not annotations:
        raise RequestError(f"{action} without an annotation")
    tasks = {task.get("id"): task for task in _many(payload, "task")}
    projects = _many(payload, "project")
    saved = []
    for one in annotations:
        task = tasks.get(one.get("task")) or next(iter(tasks.values()), {})
        project = next((p for p in projects if p.get("id") == one.get("project")), projects[0] if projects else {})
        saved.append(read_annotation(one, task=task, label_config=str(project.get("label_config") or "")))
    return AnnotationEvent(action=action, saved=tuple(saved))


def read_config(payload: Mapping[str, Any]) -> str:
    """The label config of the project that an event is about; "" where it does not say."""
    found = next((project.get("label_config") for project in _many(payload, "project")), None)
    return found if isinstance(found, str) else ""


def task_ids(payload: Mapping[str, Any]) -> tuple[int, ...]:
    """Ids of the tasks that an event is about.

    Raises:
        RequestError: One is none.
    """
    return tuple(identity_of(task, "id", str(payload.get("action"))) for task in _many(payload, "task"))


def _only(value: Mapping[str, Any], fields: Iterable[str]) -> dict[str, Any]:
    return {field: value[field] for field in fields if field in value}


def _many(payload: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    for key in (name, f"{name}s"):
        value = payload.get(key)
        if isinstance(value, Mapping):
            return [value]
        if isinstance(value, list):
            return [one for one in value if isinstance(one, Mapping)]
    return []
