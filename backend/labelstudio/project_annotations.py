"""What annotators left in a project: of each task the annotation that rules, and what it says of every region."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from backend.errors import RequestError
from backend.labelstudio.annotations import Annotation, read_annotation
from backend.labelstudio.client import LabelStudio
from backend.labelstudio.parents import parent_among
from backend.labelstudio.projects import named_project
from backend.labelstudio.vocabulary import NOTHING_KNOWN, Known

__all__ = ["Past", "Ruling", "project_ids", "rulings", "turned_page", "turns"]

_SAME_RATIO = 0.02
"""Difference of two aspect ratios, as a logarithm, up to which they are the same page's."""


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
    """Each annotated task of a project by its id, ascending: what rules there; None where all that there is are skips.

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
    states = [_state(one, task, project, label_config, past) for one in bodies.values()]
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
    # What the ledger remembers was noted with its mark when it was shown: that counts before what is read of it now.
    shown = {} if parent is None else parent.words()
    return replace(left, known=replace(known, shown=shown | known.shown))


def turns(annotation: Annotation) -> dict[str, float]:
    """Degrees, clockwise, by which each turned rectangle was turned about its top left corner, by region id."""
    found = {}
    for region in annotation.result:
        value = region.get("value")
        turn = value.get("rotation") if isinstance(value, Mapping) else None
        if isinstance(turn, int | float) and math.isfinite(turn) and turn % 360:
            found[str(region.get("id"))] = float(turn % 360)
    return found


def turned_page(annotation: Annotation, page: int, *, width: int, height: int) -> str | None:
    """Says so when a region was drawn on a page that lay on its side, as `original_width` tells; else None.

    The percent of such a region belong to other sides than the page's: it was replaced, or its orientation changed.
    """
    ours, sheet = math.log(width / height), annotation.sheets[page]
    controls = {binding.control for binding in sheet.bindings}
    for region in annotation.result:
        across, down = region.get("original_width"), region.get("original_height")
        if not (isinstance(across, int | float) and isinstance(down, int | float) and across > 0 and down > 0):
            continue
        here = sheet.item is None or sheet.item == (region.get("item_index") or 0)
        theirs = math.log(across / down)
        if here and region.get("from_name") in controls and abs(theirs + ours) <= _SAME_RATIO < abs(theirs - ours):
            return f"annotated at {across:g} x {down:g} pixels, but it is {width} x {height} now: was it replaced?"
    return None
