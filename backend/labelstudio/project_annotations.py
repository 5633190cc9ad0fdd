"""Reads what annotators left in a project: for each task the annotation that counts, and the prediction behind it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from backend.errors import LabelStudioError, RequestError
from backend.labelstudio.annotations import Annotation, Region, read_annotation
from backend.labelstudio.client import LabelStudio
from backend.labelstudio.json_fields import may_be_drawn, moment, names_of, place_in_list
from backend.labelstudio.projects import named_project
from backend.labelstudio.vocabulary import NOTHING_KNOWN, DrawnBy, Known, Shown, tags_of

__all__ = [
    "Parent",
    "Past",
    "Ruling",
    "drawn_by",
    "is_reshaped",
    "parent_among",
    "project_ids",
    "rulings",
    "task_parent",
    "turned_page",
    "turns",
    "word_of",
]

# Label Studio sets both moments of a prediction that it stores, one after the other.
_STORING_SECONDS = 1.0
# The prediction is gone, or the token's user may not see it: then the ledger alone tells.
_NOT_TOLD = (401, 403, 404)
_PLACE = ("x", "y", "width", "height", "radiusX", "radiusY", "rotation", "points", "rle")
_ROUNDED = 0.01
"""Percent of the page that the editor's places are off by."""
_MOST_REGIONS = 1000
"""Of a prediction that is told apart: an annotation of more is read no further either."""


@dataclass(frozen=True, kw_only=True)
class Parent:
    """A prediction as Label Studio has it, before the sizes of its pages are known.

    Attributes:
        version: Its model version.
        shown: When it was stored, in seconds since the epoch.
        rewritten: When it was changed last, by the same clock; None where it is as it was stored.
        regions: Its regions, read like an annotation's: by label configs of before, where the present one lacks a name.
        perhaps_moved: Ids of those of which nobody can say whether the annotator deleted them or moved them.
    """

    version: str
    shown: float
    rewritten: float | None
    regions: Annotation
    perhaps_moved: frozenset[str] = frozenset()

    def names(self) -> dict[str, str | None]:
        """The label of each region by its id; None where it has none."""
        found: dict[str, str | None] = {}
        for one in self.regions.result:
            found[str(one["id"])] = word_of(one) or found.get(str(one["id"]))
        return found

    def pages(self) -> frozenset[int]:
        """Indices of the pages that bear one."""
        return self.regions.pages()

    def words(self) -> dict[str, Shown]:
        """What was shown under which label, by region id."""
        sizes = dict.fromkeys(self.pages(), (100, 100))
        read = self.read(sizes)
        return {one.id: Shown(mark=one.label, word=word_of(body), drawn_by=drawn_by(body)) for one, body in read}

    def read(self, sizes: Mapping[int, tuple[int, int]]) -> tuple[tuple[Region, Mapping[str, Any]], ...]:
        """Its regions, each with Label Studio's JSON of it.

        Args:
            sizes: Width and height in pixels of each upright page that bears one.
        """
        by_id = {str(one.get("id")): one for one in self.regions.result}
        return tuple((one, by_id[one.id]) for one in self.regions.read(sizes))


def parent_among(predictions: Sequence[Mapping[str, Any]], left: Annotation) -> Parent | None:
    """The prediction of a task that an annotation was made of; None where none of them can be it.

    It is the one that the annotation names. If it names none, such as a copy of another annotation, the most shared
    regions decide, of those that the editor took from a prediction. One of very many regions tells nothing: to find
    each of them again among what was left would take hours.

    Args:
        predictions: Those of the task, as Label Studio's API gives them.
        left: The annotation.
    """
    named = next((one for one in predictions if left.parent is not None and one.get("id") == left.parent), None)
    if named is None:
        taken = frozenset(left.taken_ids())
        shared = [(len(taken & _ids(one)), -place) for place, one in enumerate(predictions)]
        most, place = max(shared, default=(0, 0))
        if not most:
            return None
        named = predictions[-place]
    # The label config that it was made under is not known: a name whose meaning has changed since says nothing.
    blank = replace(left, result=(), skipped=False, assumed=True, known=replace(left.known, shown={}))
    drawn = [one for one in _parts(named) if may_be_drawn(one)]
    if len(drawn) > _MOST_REGIONS:
        return None
    result, perhaps_moved = _identified(drawn, left)
    stored = _stored(named.get("created_at"), otherwise=left.created)
    changed = _stored(named.get("updated_at"), otherwise=stored)
    return Parent(
        version=str(named.get("model_version") or ""),
        shown=stored,
        rewritten=changed if changed > stored + _STORING_SECONDS else None,
        regions=replace(blank, result=tuple(one for one in result if _is_readable(one, blank))),
        perhaps_moved=perhaps_moved,
    )


def _identified(parts: Sequence[Mapping[str, Any]], left: Annotation) -> tuple[list[Mapping[str, Any]], frozenset[str]]:
    """Regions of a prediction under the ids that the editor gave them, and those that may have gone anywhere.

    Programs may leave ids out, and the editor makes them up. So a region is known again by its place. Where another one
    of its page has changed its place, nobody knows which of those that are gone it was.
    """
    known = {str(one["id"]) for one in parts if one.get("id")}
    taken = [one for one in left.result if str(one.get("origin", "")).startswith("prediction")]
    open_ones = {str(one["id"]): one for one in taken if may_be_drawn(one) and str(one["id"]) not in known}
    found: list[Mapping[str, Any]] = []
    gone: list[Mapping[str, Any]] = []
    for place, part in enumerate(parts):
        if part.get("id"):
            found.append(part)
            continue
        same = next((name for name, one in open_ones.items() if _is_same_place(part, one)), None)
        found.append({**part, "id": same or f"?{place}"})
        if same is None:
            gone.append(found[-1])
        else:
            del open_ones[same]
    moved = {place_in_list(one.get("item_index")) for one in open_ones.values()}
    return found, frozenset(str(one["id"]) for one in gone if place_in_list(one.get("item_index")) in moved)


def _is_same_place(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two regions have one place on one page, whatever their labels; the editor rounds."""
    pages = {(region.get("to_name"), place_in_list(region.get("item_index"))) for region in (one, other)}
    if len(pages) > 1:
        return False
    here, there = one.get("value"), other.get("value")
    if not isinstance(here, Mapping) or not isinstance(there, Mapping):
        return False
    names = [name for name in _PLACE if name in here or name in there]
    return bool(names) and all(_is_close(here.get(name, 0), there.get(name, 0)) for name in names)


def _is_close(one: object, other: object) -> bool:
    if isinstance(one, int | float) and isinstance(other, int | float):
        return abs(one - other) <= _ROUNDED
    return one == other


class Predictions(Protocol):
    """What is asked of Label Studio; `backend.labelstudio.client.LabelStudio` answers."""

    @property
    def has_token(self) -> bool: ...

    def predictions(self, task: int) -> Sequence[Mapping[str, Any]]: ...


def task_parent(studio_of: Callable[[str], Predictions]) -> Callable[[Annotation], Parent | None]:
    """A function that asks Label Studio what an annotation was made of; None where it is not told.

    It raises LabelStudioError where Label Studio does not answer: asked again, it may.

    Args:
        studio_of: Gives the API, with the token of a project.
    """

    def parent_of(left: Annotation) -> Parent | None:
        studio = studio_of("" if left.project is None else str(left.project))
        if not studio.has_token:
            return None
        try:
            return parent_among(studio.predictions(left.task), left)
        except LabelStudioError as error:
            if error.answered in _NOT_TOLD:
                return None
            raise

    return parent_of


def _is_readable(region: Mapping[str, Any], blank: Annotation) -> bool:
    """Whether a region of a prediction says anything: others than this program make some, too."""
    alone = replace(blank, result=(region,))
    try:
        alone.read(dict.fromkeys(alone.pages(), (100, 100)))
    except RequestError:
        return False
    return True


def _ids(prediction: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(str(one["id"]) for one in _parts(prediction) if "id" in one)


def _parts(prediction: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What a stored prediction holds; through its API, Label Studio takes anything for its result."""
    found = prediction.get("result")
    return [one for one in found if isinstance(one, Mapping)] if isinstance(found, list) else []


def word_of(region: Mapping[str, Any]) -> str | None:
    """A region's label as the label config calls it; None where it has none."""
    return next(iter(names_of(region)), None)


def drawn_by(region: Mapping[str, Any]) -> DrawnBy | None:
    """The tags of the label config that a region names; None where it names none."""
    names = [name for key in ("from_name", "to_name", "type") if isinstance(name := region.get(key), str)]
    return tags_of(names) if len(names) == 3 else None


def _stored(text: object, *, otherwise: float) -> float:
    try:
        return moment(text)
    except RequestError:
        return otherwise


_SAME_RATIO = 0.02
"""Difference of two aspect ratios, as a logarithm, up to which they are the same page's."""
_LONGEST_SIDE = 1e6
"""Pixels; no image has more along one side."""
_MOST_DEGREES = 1e6


class Past(Protocol):
    """What a ledger knows of a project's past; `backend.corrections.label_history.LabelHistory` has it."""

    def known(self, *, project: int, task: int, label_config: str) -> Known:
        """What an annotation's names are read by."""
        ...

    def saved_under(self, identity: int, *, updated: float) -> str | None:
        """The label config that an annotation was saved under, where an event told."""
        ...


@dataclass(frozen=True, kw_only=True)
class Ruling:
    """A task that somebody annotated.

    Attributes:
        annotation: The newest that was submitted and not skipped.
        others: The task's other submitted annotations.
        shown: Version of the model whose prediction the annotation was made of; None where it was drawn from scratch.
        language: Of the document, where the task's data say so.
        numbers: Page numbers within the document, from 1, where the task's data hold them.
    """

    annotation: Annotation
    others: tuple[Annotation, ...]
    shown: str | None
    language: str | None
    numbers: tuple[int, ...]


def project_ids(studio: LabelStudio, wanted: Sequence[str]) -> tuple[int, ...]:
    """Ids of projects that are named by id or by title, each once.

    Raises:
        LabelStudioError: There is no such project, or Label Studio did not answer.
    """
    found: dict[int, None] = {}
    for one in wanted:
        found[named_project(studio, one)] = None
    return tuple(found)


def rulings(
    studio: LabelStudio, project: int, *, past: Past | None = None
) -> Iterator[tuple[int, Ruling | RequestError | None]]:
    """The annotation that counts on each annotated task of a project, by ascending id; None where all were skipped.

    An annotation that cannot be read is given as the error, so that one task does not hide the others. Labels are read
    as the ledger's samples are: by what they stood for when they were given.

    Args:
        studio: Label Studio.
        project: The project's id.
        past: The ledger's memory of it; without one, the present label config and the stored predictions are all.

    Raises:
        LabelStudioError: Label Studio refused or did not answer.
        LabelConfigError: The project's label config has nothing that marks could be read from.
    """
    label_config = str(studio.project(project).get("label_config") or "")
    for task in studio.tasks(project, annotated=True):
        try:
            yield int(task["id"]), _ruling(task, project, label_config, past)
        except RequestError as error:
            yield int(task["id"]), error


def _ruling(task: Mapping[str, Any], project: int, label_config: str, past: Past | None) -> Ruling | None:
    bodies = {int(one["id"]): one for one in task.get("annotations") or () if not one.get("was_cancelled")}
    every = (_state(one, task, project, label_config, past) for one in bodies.values())
    states = [one for one in every if not one.skipped]
    if not states:
        return None
    # As the gold pages have it: of two saved in one moment the earlier one rules.
    newest, *others = sorted(states, key=lambda one: (-one.updated, one.id))
    parent = bodies[newest.id].get("parent_prediction")
    versions = {one.get("id"): one.get("model_version") for one in task.get("predictions") or () if one.get("id")}
    language, numbers = newest.data.get("language"), newest.data.get("page_numbers")
    return Ruling(
        annotation=newest,
        others=tuple(others),
        shown=versions.get(parent) or None,
        language=language if isinstance(language, str) and language else None,
        numbers=tuple(numbers) if isinstance(numbers, list) and all(isinstance(one, int) for one in numbers) else (),
    )


def _state(
    body: Mapping[str, Any], task: Mapping[str, Any], project: int, label_config: str, past: Past | None
) -> Annotation:
    """An annotation, with what its names are read by."""
    left = read_annotation(body, task=task, label_config=label_config, assumed=True)
    known = NOTHING_KNOWN
    if past is not None:
        told = past.saved_under(left.id, updated=left.updated)
        left = replace(left, label_config=told or label_config, assumed=told is None)
        known = past.known(project=project, task=left.task, label_config=left.label_config)
        if told is not None and label_config not in (told, *known.configs):
            known = replace(known, configs=(label_config, *known.configs))
    left = replace(left, known=known)
    predictions = [one for one in task.get("predictions") or () if isinstance(one, Mapping)]
    parent = parent_among(predictions, left) if predictions else None
    # The ledger noted each label's mark when it was shown. That counts before what the label means now.
    shown = {} if parent is None else parent.words()
    return replace(left, known=replace(known, shown=shown | known.shown))


def turns(annotation: Annotation) -> dict[str, float]:
    """Degrees, clockwise, by which each turned rectangle was turned about its top left corner, by region id."""
    found = {}
    for region in annotation.result:
        value = region.get("value")
        turn = value.get("rotation") if isinstance(value, Mapping) and "radiusX" not in value else None
        if isinstance(turn, int | float) and abs(turn) < _MOST_DEGREES and turn % 360:
            found[str(region.get("id"))] = float(turn % 360)
    return found


def turned_page(annotation: Annotation, page: int, *, width: int, height: int) -> str | None:
    """Says so when a region was drawn on a page that lay on its side, as `original_width` tells; else None.

    The percent of such a region belong to other sides than the page's: it was replaced, or its orientation changed.
    """
    ours = math.log(width / height)
    for across, down in _drawn_at(annotation, page):
        theirs = math.log(across / down)
        if abs(theirs + ours) <= _SAME_RATIO < abs(theirs - ours):
            return f"annotated at {across:g} x {down:g} pixels, but it is {width} x {height} now: was it replaced?"
    return None


def is_reshaped(annotation: Annotation, page: int, size: tuple[int, int]) -> bool:
    """Whether a region was drawn on a page of other proportions, as `original_width` tells: that was another page.

    The editor writes the size of the page that it shows, and each region's origin. Other programs make sizes up.

    Args:
        annotation: The annotation.
        page: Index of the page.
        size: Its width and height now, in pixels.
    """
    ours, edited = math.log(size[0] / size[1]), tuple(one for one in annotation.result if "origin" in one)
    drawn_at = _drawn_at(replace(annotation, result=edited), page)
    return any(abs(math.log(across / down) - ours) > _SAME_RATIO for across, down in drawn_at)


def _drawn_at(annotation: Annotation, page: int) -> Iterator[tuple[float, float]]:
    """Width and height of a page when each of its regions was drawn, as far as they tell."""
    controls = {binding.control for binding in annotation.task_pages[page].bindings}
    for region in annotation.result:
        across, down = region.get("original_width"), region.get("original_height")
        sides = (one for one in (across, down) if isinstance(one, int | float) and 1 <= one < _LONGEST_SIDE)
        here = region.get("from_name") in controls and annotation.page_of(region) == page
        if here and len(found := tuple(sides)) == 2:
            yield found[0], found[1]
