"""Events of Label Studio: what of one is kept, and what it says about annotations, projects and tasks."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from backend.errors import RequestError
from backend.labelstudio.annotations import Annotation, identity_of, read_annotation

__all__ = [
    "ANNOTATION_ACTIONS",
    "PROJECT_ACTIONS",
    "AnnotationEvent",
    "read_config",
    "read_event",
    "task_ids",
    "without_secrets",
    "worth_keeping",
]

# What of a payload is kept: enough to make samples, nothing that opens a door (tokens, passwords) or names a person.
_ANNOTATION = (
    "id",
    "task",
    "project",
    "result",
    "was_cancelled",
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
    identities: dict[str, Any] = {"action": payload.get("action")}
    for key, value in kept.items():
        if isinstance(value, Mapping):
            identities[key] = _only(value, _IDENTITY)
        elif isinstance(value, list):
            identities[key] = [_only(one, _IDENTITY) for one in value[:_MOST_IDS]]
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
