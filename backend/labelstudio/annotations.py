"""Label Studio's annotations and the events about them, as typed values: who left which boxes on which pages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from backend.errors import LabelConfigError, RequestError
from backend.labelstudio.labelling import Binding, bind
from backend.labelstudio.results import drawn_box

__all__ = ["Annotation", "AnnotationEvent", "Region", "moment", "read_annotation", "read_event", "without_secrets"]

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
_PROJECT = ("id", "label_config")


@dataclass(frozen=True, kw_only=True)
class Region:
    """One labelled box on one page of a task, shown by the backend or left by an annotator.

    Attributes:
        id: Label Studio's region id; it survives from a prediction into the annotation made of it.
        page: Index of the page within the task, from 0.
        label: signature, stamp or thumb, whatever the label config calls it.
        box: x1, y1, x2, y2 in pixels of the upright page.
    """

    id: str
    page: int
    label: str
    box: tuple[float, float, float, float]


@dataclass(frozen=True, kw_only=True)
class Annotation:
    """One annotator's submitted work on one task.

    Attributes:
        created: When it was first saved, in seconds since the epoch.
        updated: When it was last saved; of two states of one annotation the later one holds.
        skipped: Whether the annotator skipped the task: then it says nothing about the marks.
        began_with_boxes: Whether it was made of a prediction; one drawn from scratch says little about boxes it lacks.
        annotator: Label Studio's user id.
        lead_time: Seconds of work.
        result: Label Studio's regions as they came.
        data: The task's data.
        label_config: The project's label config when it was saved.
    """

    id: int
    task: int
    project: int | None
    created: float
    updated: float
    skipped: bool
    began_with_boxes: bool
    annotator: int | None
    lead_time: float | None
    result: Sequence[Mapping[str, Any]]
    data: Mapping[str, Any]
    label_config: str

    @property
    def binding(self) -> Binding:
        """The control that the regions are read from.

        Raises:
            LabelConfigError: The label config offers none.
        """
        bindings = bind(self.label_config)
        used = {region.get("from_name") for region in self.result}
        return next((binding for binding in bindings if binding.control in used), bindings[0])

    @property
    def references(self) -> tuple[str, ...]:
        """Where the task's pages are, in order."""
        value = self.data.get(self.binding.field)
        if isinstance(value, str):
            return (value,)
        return tuple(str(one) for one in value) if isinstance(value, list) else ()

    @property
    def document(self) -> str | None:
        """The name of the document that the task is a part of, where the import kept one."""
        name = self.data.get("document")
        return name if isinstance(name, str) and name else None

    def region_ids(self) -> tuple[str, ...]:
        return tuple(str(region["id"]) for region in self._rectangles())

    def pages(self) -> frozenset[int]:
        """Indices of the pages that bear a region."""
        return frozenset(_page(region) for region in self._rectangles())

    def regions(self, sizes: Mapping[int, tuple[int, int]]) -> tuple[Region, ...]:
        """The marks that the annotator left; regions under labels that stand for no mark are none.

        Args:
            sizes: Width and height in pixels of each upright page that bears a region.

        Raises:
            RequestError: A region is no rectangle.
        """
        marks = {label: mark for mark, label in self.binding.labels.items()}
        found: list[Region] = []
        for region in self._rectangles():
            label = next((marks[name] for name in region["value"].get("rectanglelabels") or [] if name in marks), None)
            if label is None:
                continue
            width, height = sizes[_page(region)]
            x1, y1, x2, y2 = drawn_box(region, width=width, height=height)[0].tolist()
            if x2 > x1 and y2 > y1:
                found.append(Region(id=str(region["id"]), page=_page(region), label=label, box=(x1, y1, x2, y2)))
        return tuple(found)

    def _rectangles(self) -> Iterable[Mapping[str, Any]]:
        control = self.binding.control
        return (
            region
            for region in self.result
            if region.get("type") == "rectanglelabels" and region.get("from_name") == control and region.get("id")
        )


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


def read_event(payload: Mapping[str, Any]) -> AnnotationEvent:
    """Reads an annotation event, in the singular or the plural form.

    Raises:
        RequestError: It lacks what its action promises.
    """
    action = str(payload.get("action"))
    annotations = _many(payload, "annotation")
    if action in {"ANNOTATIONS_DELETED", "ANNOTATION_DELETED"}:
        return AnnotationEvent(action=action, deleted=tuple(int(_need(one, "id", action)) for one in annotations))
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


def read_annotation(annotation: Mapping[str, Any], *, task: Mapping[str, Any], label_config: str) -> Annotation:
    """Reads one annotation, as a webhook or the API gives it.

    Raises:
        RequestError: A field that samples need is missing.
        LabelConfigError: The label config has nothing that marks could be read from.
    """
    if not label_config:
        raise LabelConfigError("the event's project has no label config")
    identity = int(_need(annotation, "id", "annotation"))
    result = annotation.get("result")
    regions = tuple(region for region in result if isinstance(region, Mapping)) if isinstance(result, list) else ()
    created = moment(_need(annotation, "created_at", f"annotation {identity}"))
    annotator = annotation.get("completed_by")
    return Annotation(
        id=identity,
        task=int(annotation.get("task") or _need(task, "id", f"annotation {identity}")),
        project=annotation.get("project") or task.get("project"),
        created=created,
        updated=moment(annotation.get("updated_at") or annotation["created_at"]),
        skipped=bool(annotation.get("was_cancelled")),
        began_with_boxes=annotation.get("parent_prediction") is not None
        or any(str(region.get("origin", "")).startswith("prediction") for region in regions),
        annotator=annotator.get("id") if isinstance(annotator, Mapping) else annotator,
        lead_time=annotation.get("lead_time"),
        result=regions,
        data=task.get("data") or {},
        label_config=label_config,
    )


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


def _need(value: Mapping[str, Any], key: str, what: str) -> Any:
    if value.get(key) is None:
        raise RequestError(f"{what} without {key}")
    return value[key]


def moment(text: Any) -> float:
    """Seconds since the epoch of a moment in ISO 8601.

    Label Studio leaves microseconds out where they are zero, so moments are compared as numbers, never as text.

    Raises:
        RequestError: It is none.
    """
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except ValueError as error:
        raise RequestError(f"{text!r} is no moment in ISO 8601") from error


def _page(region: Mapping[str, Any]) -> int:
    return int(region.get("item_index") or 0)
