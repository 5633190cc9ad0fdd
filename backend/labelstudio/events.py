"""Webhook events: which action, of which project, about which tasks and annotations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from backend.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Event"]


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
