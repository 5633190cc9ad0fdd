"""Label Studio's annotations as typed values: who left which boxes on which pages."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from backend.errors import LabelConfigError, RequestError
from backend.escaping import printable
from backend.geometry import as_boxes, coverage, iou
from backend.labelstudio.json_fields import (
    FIGURES,
    has_extent,
    identity_if_any,
    identity_of,
    is_drawn,
    may_be_drawn,
    moment,
    names_of,
    needed,
    parent_of,
    place_in_list,
    seconds_of,
    storable,
)
from backend.labelstudio.labelling import bind
from backend.labelstudio.results import drawn_box
from backend.labelstudio.tasks import TaskPage, task_pages
from backend.labelstudio.visibility import says_nothing
from backend.labelstudio.vocabulary import NOTHING_KNOWN, UNKNOWN, Known, meaning

__all__ = ["Annotation", "Region", "Unplaced", "read_annotation"]

# Longer ones are of no editor, and the ledger has no room for them.
_LONGEST_REGION_ID = 64
_SAME_MARK = 0.5
_COPY = 0.7
"""IoU from which two regions of one label are one mark."""
_OPENING_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True)
class Region:
    """One labelled box on one page of a task, shown by the backend or left by an annotator.

    Attributes:
        id: Label Studio's region id; it survives from a prediction into the annotation made of it.
        page: Index of the page within the task, from 0, over all images of the label config.
        label: signature, stamp or thumb, whatever the label config calls it; `UNKNOWN` where it knows no such name.
        box: x1, y1, x2, y2 in pixels of the upright page.
    """

    id: str
    page: int
    label: str
    box: tuple[float, float, float, float]


@dataclass(frozen=True, kw_only=True)
class Unplaced:
    """Regions of an annotation that may be marks, and of which nobody can say where.

    Attributes:
        ids: Their ids.
        pages: Indices of the pages that bear one somewhere.
    """

    ids: frozenset[str] = frozenset()
    pages: frozenset[int] = frozenset()


@dataclass(frozen=True, kw_only=True)
class Annotation:
    """One annotator's submitted work on one task.

    Attributes:
        created: When it was first saved, in seconds since the epoch.
        updated: When it was last saved; of two states of one annotation the later one holds.
        skipped: Whether it says nothing about the marks: its task was skipped, or Label Studio left all of them out.
        began_with_boxes: Whether it was made of a prediction; one drawn from scratch says little about boxes it lacks.
        annotator: Label Studio's user id.
        lead_time: Seconds of work.
        result: Label Studio's regions as they came.
        data: The task's data.
        label_config: The project's label config when it was saved.
        assumed: Whether that is the label config that held later, since nobody told which one held then.
        parent: Label Studio's id of the prediction that it was made of, where it says so.
        began: When its annotator had opened the task at the latest, in seconds; None where an older program stored it.
        copied: Whether it was made as a copy of another annotation.
        known: What its names are read by, beside the label config; not stored with it.
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
    assumed: bool = False
    parent: int | None = None
    began: float | None = None
    copied: bool = False
    known: Known = NOTHING_KNOWN

    def body(self) -> dict[str, Any]:
        """What is stored of it, as JSON values."""
        return {name: value for name, value in asdict(self).items() if name != "known"}

    @property
    def opened(self) -> float:
        """When its annotator was sent the task, at the latest; the browser takes some seconds to draw it."""
        return (self.created if self.began is None else self.began) - _OPENING_SECONDS

    @cached_property
    def task_pages(self) -> tuple[TaskPage, ...]:
        """The task's pages, in order, with the controls that regions on them are read from.

        Raises:
            LabelConfigError: The label config offers no control.
            RequestError: The task names no pages.
        """
        task = {"id": self.task, "data": dict(self.data)}
        return tuple(task_pages(0, task, bind(self.label_config)))

    @property
    def references(self) -> tuple[str, ...]:
        """Where the task's pages are, in order."""
        return tuple(task_page.reference for task_page in self.task_pages)

    @property
    def document(self) -> str | None:
        """The name of the document that the task is a part of, where the import kept one."""
        name = self.data.get("document")
        return name if isinstance(name, str) and name else None

    def region_ids(self) -> tuple[str, ...]:
        return tuple(str(region["id"]) for region, _, _ in self._labelled())

    def taken_ids(self) -> tuple[str, ...]:
        """Ids of the regions that the editor took from a prediction, changed or not; answers beside them are none."""
        drawn = (one for one in self.result if "id" in one and may_be_drawn(one))
        return tuple(str(one["id"]) for one in drawn if str(one.get("origin", "")).startswith("prediction"))

    def pages(self) -> frozenset[int]:
        """Indices of the pages that bear a region."""
        return frozenset(page for _, page, _ in self._labelled())

    def unknown_names(self) -> tuple[str, ...]:
        """Labels that stand for no known mark, one for each region; "" for a region without a label."""
        read = (region for region, _, marks in self._labelled() if marks == (UNKNOWN,))
        return tuple(" + ".join(names_of(region)) for region in read)

    def needs_past(self) -> bool:
        """Whether its label config lacks one of its names, so that another label config may explain it later."""
        read = (self._meaning(region, known=NOTHING_KNOWN) for region in self._drawn())
        return any(marks == (UNKNOWN,) for marks in read)

    def regions(self, sizes: Mapping[int, tuple[int, int]]) -> tuple[Region, ...]:
        """The marks that the annotator left: regions whose label stands for a mark.

        Args:
            sizes: Width and height in pixels of each upright page that bears a region.

        Raises:
            RequestError: A region has no place on its page.
        """
        return tuple(one for one in self.read(sizes) if one.label != UNKNOWN)

    def unread(self, sizes: Mapping[int, tuple[int, int]]) -> tuple[Region, ...]:
        """The regions whose label is not known, so that they may be any mark or none.

        Args:
            sizes: Width and height in pixels of each upright page that bears a region.

        Raises:
            RequestError: A region is no rectangle.
        """
        return tuple(one for one in self.read(sizes) if one.label == UNKNOWN)

    def read(self, sizes: Mapping[int, tuple[int, int]]) -> tuple[Region, ...]:
        """The marks that the annotator left, and the regions whose label is not known, under `UNKNOWN`.

        A mark that is boxed, and outlined by another control as well, is one. So is one that was boxed twice over.

        Args:
            sizes: Width and height in pixels of each upright page that bears a region.

        Raises:
            RequestError: A region is no rectangle.
        """
        found: dict[str, Region] = {}
        others: dict[str, Region] = {}
        for region, page, marks in self._labelled():
            if not marks:
                continue
            width, height = sizes[page]
            try:
                x1, y1, x2, y2 = drawn_box(region, width=width, height=height)[0].tolist()
            except RequestError as error:
                raise RequestError(f"region {printable(region['id'])} of page {page + 1}: {error}") from error
            if x2 > x1 and y2 > y1:
                one = Region(id=str(region["id"]), page=page, label=marks[0], box=(x1, y1, x2, y2))
                (others if self._is_beside(region) else found).setdefault(one.id, one)
        found = self._without_copies(found)
        for one in others.values():
            if not _is_one_mark(one, found.values()):
                found.setdefault(one.id, one)
        return tuple(found.values())

    def _without_copies(self, found: Mapping[str, Region]) -> dict[str, Region]:
        """Regions without those that were drawn by hand where another one of their label is: pasted once too often."""
        manual = {str(one["id"]) for one in self.result if one.get("origin") == "manual"}
        by_hand = {name for name in manual - self.known.shown.keys() if not name.startswith("#")}  # see `_with_ids`
        kept = {name: one for name, one in found.items() if name not in by_hand}
        for name, one in found.items():
            if name in by_hand and not _is_copy(one, list(kept.values())):
                kept[name] = one
        return {name: one for name, one in found.items() if name in kept}

    def unplaced(self, placed: Collection[str]) -> Unplaced:
        """The regions that may be marks without a place: a point, a box of no size, a page that the task has not.

        What was shown under such an id, or on the page of a point, was not deleted for certain.

        Args:
            placed: Ids of those that `read` gave.
        """
        ids: set[str] = set()
        pages: set[int | None] = set()
        for region in self.result:
            if (
                not may_be_drawn(region)
                or str(region.get("id")) in placed
                or not self._meaning(region, known=self.known)
            ):
                continue
            ids.add(str(region.get("id")))
            if isinstance(region.get("value"), Mapping) and not has_extent(region):
                pages.add(self.page_of(region))
        return Unplaced(ids=frozenset(ids), pages=frozenset(page for page in pages if page is not None))

    def page_of(self, region: Mapping[str, Any]) -> int | None:
        """The page that a region is on: by its control and its image, or by one of them where the other was renamed."""
        item = place_in_list(region.get("item_index"))
        bound = [
            (page, task_page, one.control == region.get("from_name"), one.image == region.get("to_name"))
            for page, task_page in enumerate(self.task_pages)
            for one in task_page.bindings
        ]
        for named in (
            [(page, task_page) for page, task_page, control, image in bound if control and image],
            [(page, task_page) for page, task_page, control, _ in bound if control],
            [(page, task_page) for page, task_page, _, image in bound if image],
        ):
            if named:
                break
        if not named and len({one.image for task_page in self.task_pages for one in task_page.bindings}) == 1:
            named = list(enumerate(self.task_pages))  # the image was renamed, too
        return next((page for page, task_page in named if task_page.item is None or task_page.item == item), None)

    def _is_beside(self, region: Mapping[str, Any]) -> bool:
        """Whether another control of the label config drew a region than one that marks are shown in."""
        control = region.get("from_name")
        if any(one.control == control for task_page in self.task_pages for one in task_page.bindings):
            return False
        return str(region["type"]) not in {one.kind for task_page in self.task_pages for one in task_page.bindings}

    def _drawn(self) -> Iterator[Mapping[str, Any]]:
        """Each region that is drawn on a page; of a figure and its labels, which have one id, the labels."""
        labelled = {str(one.get("id")) for one in self.result if one.get("type") == "labels"}
        for region in self.result:
            if is_drawn(region) and (region["type"] not in FIGURES or str(region.get("id")) not in labelled):
                yield region

    def _labelled(self) -> Iterator[tuple[Mapping[str, Any], int, tuple[str, ...]]]:
        """Each region that marks are read from, with its page's index and the marks that its label stands for."""
        for region in self._drawn():
            bound = any(
                region.get("from_name") == one.control for task_page in self.task_pages for one in task_page.bindings
            )
            marks = self._meaning(region, known=self.known)
            page = self.page_of(region) if (bound or marks) and has_extent(region) else None
            if page is not None:
                yield region, page, marks

    def _meaning(self, region: Mapping[str, Any], *, known: Known) -> tuple[str, ...]:
        """Of several labels, those count that stand for a mark; where they contradict each other, nobody knows."""
        read = [
            meaning(
                name,
                control=str(region.get("from_name") or ""),
                region=str(region.get("id")),
                label_config=self.label_config,
                assumed=self.assumed,
                changed=region.get("origin", "prediction") != "prediction",
                known=known,
            )
            for name in names_of(region) or (None,)
        ]
        told = {marks for marks in read if marks and marks != (UNKNOWN,)}
        if len(told) == 1:
            return told.pop()
        return (UNKNOWN,) if told or (UNKNOWN,) in read else ()


def read_annotation(
    annotation: Mapping[str, Any], *, task: Mapping[str, Any], label_config: str, assumed: bool = False
) -> Annotation:
    """Reads one annotation, as a webhook or the API gives it.

    Args:
        annotation: Label Studio's JSON.
        task: Its task's.
        label_config: The project's.
        assumed: Whether that is the one that holds now, and not for certain the one that it was saved under.

    Raises:
        RequestError: A field that samples need is missing, or of a kind that Label Studio does not give.
        LabelConfigError: The label config has nothing that marks could be read from.
    """
    if not label_config:
        raise LabelConfigError("the event's project has no label config")
    identity = identity_of(annotation, "id", "annotation")
    this = f"annotation {identity}"
    skipped = bool(annotation.get("was_cancelled"))
    result = [] if skipped and not annotation.get("result") else annotation.get("result")
    if not isinstance(result, list) or not all(isinstance(region, Mapping) for region in result):
        raise RequestError(f"{this}: result is no list of regions, so nobody knows what was left")
    regions = tuple(_with_ids(storable(result)))
    created = moment(needed(annotation, "created_at", this))
    annotator = annotation.get("completed_by")
    annotator = annotator.get("id") if isinstance(annotator, Mapping) else annotator
    lead_time = seconds_of(annotation, "lead_time", this)
    return Annotation(
        id=identity,
        task=identity_of({"task": annotation.get("task") or task.get("id")}, "task", this),
        project=identity_if_any({"project": annotation.get("project") or task.get("project")}, "project", this),
        created=created,
        updated=moment(annotation.get("updated_at") or annotation["created_at"]),
        skipped=skipped or says_nothing(label_config, regions),
        began_with_boxes=annotation.get("parent_prediction") is not None
        or any(str(region.get("origin", "")).startswith("prediction") for region in regions),
        annotator=identity_if_any({"completed_by": annotator}, "completed_by", this),
        lead_time=lead_time,
        result=regions,
        data=storable(task.get("data") or {}),
        label_config=label_config,
        assumed=assumed,
        parent=parent_of(annotation.get("parent_prediction")),
        began=_began(annotation.get("draft_created_at"), created=created, lead_time=lead_time),
        copied=annotation.get("parent_annotation") is not None,
    )


def _began(draft: object, *, created: float, lead_time: float | None) -> float:
    """When the task was opened at the latest: later saves add to the seconds of work, and make it seem earlier."""
    opened = created - max(lead_time or 0.0, 0.0)
    return opened if draft is None else min(opened, moment(draft))


def _with_ids(result: list[Any]) -> Iterator[Mapping[str, Any]]:
    """Regions under the ids that the editor gave them; one that a program posted without any has its place for it.

    So has a second one under the same id, which is none of a prediction's. A figure, its labels and answers about it
    share one, and stay together.
    """
    seen: set[tuple[str, str, str]] = set()
    for place, region in enumerate(result):
        identity = str(region.get("id") or "")
        part = identity, str(region.get("type")), str(region.get("from_name"))
        again = part in seen and may_be_drawn(region)
        seen.add(part)
        if again:
            yield {**region, "id": f"#{place}", "origin": "manual"}
        else:
            yield region if 0 < len(identity) <= _LONGEST_REGION_ID else {**region, "id": f"#{place}"}


def _is_one_mark(one: Region, others: Iterable[Region]) -> bool:
    """Whether a region and one of the others are of one mark: one lies within the other for the most part."""
    alike = [other.box for other in others if (other.page, other.label) == (one.page, one.label)]
    boxes = as_boxes([one.box]), as_boxes(alike)
    within = max(coverage(*boxes).max(initial=0), coverage(*reversed(boxes)).max(initial=0))
    return bool(within >= _SAME_MARK)


def _is_copy(one: Region, others: Sequence[Region]) -> bool:
    """Whether another region of its label is at the same place: no two marks of a class lie upon each other so."""
    alike = [other.box for other in others if (other.page, other.label) == (one.page, one.label)]
    return bool(iou(as_boxes([one.box]), as_boxes(alike)).max(initial=0) >= _COPY)
