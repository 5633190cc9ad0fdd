"""A task → the pages to look at, the controls that want them, and on which of them an annotator drew."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from backend.errors import RequestError, TooManyPages
from backend.escaping import printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from backend.labelstudio.config_tags import Repeat
    from backend.labelstudio.labelling import Binding

__all__ = ["UNNAMED_FIELD", "TaskPage", "just_drawn", "listed", "place_of", "project_id", "task_id", "task_pages"]

# Where Label Studio puts a file that was uploaded before the project had a label config.
UNNAMED_FIELD = "$undefined$"
_MOST_LISTED = 20
# A book has some hundreds; each page is fetched and looked at for every request.
_MOST_PAGES = 1000
# `doc.image`, `images[0]`, `docs[0].pages[1]`, `rows.0.image`.
_STEP = re.compile(r"([^.\[\]]+)|\[([0-9]{1,6})\]")
_PATH = re.compile(r"[^.\[\]]+(?:\.[^.\[\]]+|\[[0-9]{1,6}\])*")
# What the ledger's database has room for, and Label Studio's own.
_IDS = range(2**63)
_MOST_DIGITS = 19


@dataclass(frozen=True, kw_only=True)
class TaskPage:
    """One page of a task.

    Attributes:
        place: Place of the task in its request.
        task: Label Studio's id of the task.
        item: Place of the page in a `valueList`; None for a single image.
        reference: What the task names as the page.
        bindings: The controls on this page.
    """

    place: int
    task: int | None
    item: int | None
    reference: str
    bindings: tuple[Binding, ...]


def task_id(task: Mapping[str, Any]) -> int | None:
    """Label Studio's id of a task, where it has one that a database can hold."""
    found = task.get("id")
    return found if isinstance(found, int) and not isinstance(found, bool) and found in _IDS else None


def project_id(project: str) -> int | None:
    """The id that a request names its project by, where it is one that a database can hold."""
    if not project.isdecimal() or len(project) > _MOST_DIGITS:
        return None
    found = int(project)
    return found if found in _IDS else None


def listed(ids: Sequence[int | None]) -> str:
    """Ids as a line of the log shows them: the first twenty."""
    return ",".join(map(str, ids[:_MOST_LISTED])) + (f",… ({len(ids)})" if len(ids) > _MOST_LISTED else "")


def task_pages(
    place: int, task: Mapping[str, Any], bindings: Sequence[Binding], *, most: int = _MOST_PAGES
) -> list[TaskPage]:
    """The pages of a task: one for an Image whose field holds a reference, one for each entry of a list.

    Label Studio's editor shows the pages of a list behind `value`, too, not only behind `valueList`.

    Args:
        place: Place of the task in its request.
        task: The task.
        bindings: The controls.
        most: How many pages a task may have.

    Raises:
        TooManyPages: It has more pages.
        RequestError: The task's data lacks a field of the label config, or holds something else than references there.
    """
    images = dict.fromkeys((binding.image, binding.field, binding.paged, binding.repeat) for binding in bindings)
    found: list[TaskPage] = []
    for image, name, paged, repeat in images:
        wanting = tuple(binding for binding in bindings if binding.image == image)
        data = task.get("data")
        value = _value(data, name) if repeat is None else _entries(data, name, repeat)
        alone = isinstance(value, str) and not paged
        references = [value] if isinstance(value, str) else value
        if len(found) + len(references) > most:
            shown = f"field {printable(name, most=40)!r}"
            too_many = f"{len(references)} pages: a task of more than MAX_TASK_PAGES ({most}) is not read"
            raise TooManyPages(shown, f"{too_many}; split it, or raise that")
        for index, reference in enumerate(references):
            # A repeated Image stands once for each page; that of a list shows one page after another.
            item = None if alone or repeat is not None else index
            here = tuple(binding.on_page(index) for binding in wanting)
            found.append(TaskPage(place=place, task=task_id(task), item=item, reference=reference, bindings=here))
    return found


def just_drawn(regions: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """What an annotator drew, out of what Label Studio sends about it; each once.

    It sends the shown boxes of the same label beside it, which nobody touched. A figure and its labels are two regions
    of one id.
    """
    found = {str(region.get("id") or f"#{place}"): region for place, region in reversed(list(enumerate(regions)))}
    once = list(reversed(found.values()))
    return [one for one in once if one.get("origin") != "prediction"] or once


def place_of(region: Mapping[str, Any], pages: Sequence[TaskPage]) -> tuple[int, TaskPage, Binding]:
    """The page that a region was drawn on, its index, and the control; else the first on its image or of the task.

    Only bound controls get labels.

    Raises:
        RequestError: The task has no such page.
    """
    every = [(task_page, binding) for task_page in pages for binding in task_page.bindings]
    by_control = [one for one in every if region.get("from_name") in (one[1].control, one[1].figure or None)]
    by_image = [one for one in every if one[1].image == region.get("to_name")]
    both = [one for one in by_control if one in by_image]
    _, binding = next(iter([*both, *by_control, *by_image, *every]), (None, None))
    item = region.get("item_index") or 0
    own = [(index, task_page) for index, task_page in enumerate(pages) if binding in task_page.bindings]
    if binding is None or not isinstance(item, int) or not 0 <= item < len(own):
        raise RequestError(
            f"params.context.result holds a region of item_index {item!r}: the task has {len(own)} pages"
        )
    return (*own[item], binding)


def _entries(data: Any, name: str, repeat: Repeat) -> list[str]:
    """The references of the pages that a Repeater goes through."""
    entries = _found(data, name) if isinstance(data, dict) else None
    if not isinstance(entries, list):
        raise RequestError(f"field {name!r} of the task's data holds no list, which the label config's Repeater needs")
    found = [repeat.reference(entry) for entry in entries]
    if not all(isinstance(reference, str) for reference in found):
        raise RequestError(f"an entry of field {name!r} of the task's data holds no reference of a page")
    return found


def _value(data: Any, name: str) -> str | list[str]:
    """What the task's data holds for an Image: a reference, or a list of them."""
    if not isinstance(data, dict):
        raise RequestError("the task has no data")
    value = _found(data, name)
    if value is None:
        value = data.get(UNNAMED_FIELD)
    if value is None:
        shown = printable(name, most=40)
        raise RequestError(f"the task's data has no field {shown!r}, which the label config's Image asks for")
    if isinstance(value, str):
        return value
    if not isinstance(value, list) or not all(isinstance(reference, str) for reference in value):
        raise RequestError(
            f"field {printable(name, most=40)!r} of the task's data holds no reference, and no list of references"
        )
    return value


def _found(data: dict[str, Any], name: str) -> Any:
    """The value that a name leads to: a key of the data, or else a path such as `doc.image` or `images[0]`.

    The editor reads the names of a label config so.
    """
    if name in data:
        return data[name]
    if not _PATH.fullmatch(name):
        return None
    value: Any = data
    for key, index in _STEP.findall(name):
        step = key or index
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list) and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        else:
            return None
    return value
