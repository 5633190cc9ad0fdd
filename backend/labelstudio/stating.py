"""Answers of `Choices` about a whole task: made of the boxes, made anew when boxes change, and read back."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from backend.labelstudio.results import region_id

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from backend.labelstudio.labelling import Binding
    from backend.labelstudio.mark_words import Statement

__all__ = ["PageControls", "restated", "said", "stated"]

_KIND = "choices"
PageControls = tuple[int | None, "Sequence[Binding]"]
"""A page of a task: its place in a `valueList`, None for a single image; and the controls on it."""
Json = dict[str, Any]


def stated(result: Sequence[Mapping[str, Any]], pages: Sequence[PageControls], *, task: int | None) -> list[Json]:
    """What the Choices of a label config say of the boxes of a task, all of whose pages were looked at.

    Args:
        result: Its regions.
        pages: Its pages, all of them.
        task: Its id, part of the answers' ids.
    """
    found: list[Json] = []
    for statement, item, marks in _asked(result, pages):
        choices = statement.chosen(marks)
        if choices:
            answer = {
                "id": region_id(task, statement.control, item),
                "from_name": statement.control,
                "to_name": statement.image,
                "type": _KIND,
                "value": {_KIND: choices},
            }
            found.append(answer if item is None else answer | {"item_index": item})
    return found


def restated(
    before: Sequence[Mapping[str, Any]],
    after: Sequence[Mapping[str, Any]],
    pages: Sequence[PageControls],
    *,
    task: int,
) -> list[Mapping[str, Any]]:
    """Regions that were changed, with the answers that agreed with the boxes before made to agree with them again.

    Other answers are a person's, and stay.
    """
    agreed = {(one["from_name"], one.get("item_index")): one["value"] for one in stated(before, pages, task=task)}
    answers = {(one["from_name"], one.get("item_index")): one for one in stated(after, pages, task=task)}
    found: list[Mapping[str, Any]] = []
    for one in after:
        key = one.get("from_name"), one.get("item_index")
        if one.get("type") != _KIND or agreed.get(key) != one.get("value"):
            found.append(one)
        elif key in answers:
            found.append({**one, "value": answers[key]["value"]})
    return found


def said(result: Sequence[Mapping[str, Any]], pages: Sequence[PageControls]) -> dict[int | None, tuple[str, ...]]:
    """What the answers in a result say: by the page's place in its list, None for the whole task; see `SAYINGS`."""
    found: dict[int | None, list[str]] = defaultdict(list)
    for statement, item, _ in _asked(result, pages):
        for one in result:
            value = one.get("value")
            here = one.get("type") == _KIND and one.get("from_name") == statement.control
            if here and isinstance(value, dict) and (item is None or (one.get("item_index") or 0) == item):
                chosen = value.get(_KIND)
                found[item] += statement.sayings([str(name) for name in chosen] if isinstance(chosen, list) else [])
    return {item: tuple(dict.fromkeys(sayings)) for item, sayings in found.items() if sayings}


def _asked(
    result: Sequence[Mapping[str, Any]], pages: Sequence[PageControls]
) -> Iterator[tuple[Statement, int | None, set[str]]]:
    """Each question of the label config: the control, the page (None for all), and the marks that are boxed there."""
    statements = {
        (statement.control, statement.image): statement
        for _, bindings in pages
        for binding in bindings
        for statement in binding.statements
    }
    for statement in statements.values():
        items = [item for item, bindings in pages if any(binding.image == statement.image for binding in bindings)]
        for item in items if statement.by_page and items != [None] else [None]:
            yield statement, item, _marks(result, pages, statement.image, item)


def _marks(
    result: Sequence[Mapping[str, Any]], pages: Sequence[PageControls], image: str, item: int | None
) -> set[str]:
    """The marks that are boxed on an image, or on one page of it; labels that stand for several marks tell none."""
    controls = {binding.control: binding for _, bindings in pages for binding in bindings if binding.image == image}
    elsewhere = {binding.image for _, bindings in pages for binding in bindings} - {image}
    found: set[str] = set()
    for region in result:
        binding = controls.get(str(region.get("from_name")))
        value = region.get("value")
        here = item is None or (region.get("item_index") or 0) == item
        here = here and region.get("to_name") not in elsewhere
        if binding is None or not here or region.get("type") != binding.kind or not isinstance(value, dict):
            continue
        for label in value.get(binding.kind) or ():
            meant = binding.meanings.get(label, ())
            found |= set(meant) if len(meant) == 1 else set()
    return found
