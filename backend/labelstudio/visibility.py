"""Controls whose regions Label Studio leaves out of an annotation, by the `visibleWhen` of Views around them.

A View may be there only for an answer of a Choices. Where nobody answered, the editor shows the regions of its controls
all the same. But it leaves them out of what it submits (seen in 1.23.2). Nobody deleted them. With another answer than
the View asks for, they are submitted.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from backend.errors import LabelConfigError
from backend.labelstudio.config_tags import is_called, is_yes, read_tags
from backend.labelstudio.labelling import namings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from xml.etree.ElementTree import Element

__all__ = ["awaited_answers", "left_out", "says_nothing"]


def left_out(label_config: str, result: Sequence[Mapping[str, Any]]) -> frozenset[str]:
    """Names of the controls for marks whose regions Label Studio left out of a result; none that it has regions of.

    Args:
        label_config: The project's XML; by one that cannot be read, nothing is left out.
        result: Label Studio's regions and answers.
    """
    named = {str(one.get("from_name")) for one in result}
    waiting = awaited_answers(label_config).items()
    return frozenset(control for control, asked in waiting if control not in named and not asked <= named)


def says_nothing(label_config: str, result: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the regions of all controls for marks were left out of a result."""
    missing = left_out(label_config, result)
    return bool(missing) and missing >= _controls(label_config)


@lru_cache(maxsize=256)
def awaited_answers(label_config: str) -> Mapping[str, frozenset[str]]:
    """By the name of each control for marks that awaits answers: the names of the Choices that have to be answered."""
    try:
        root, controls = read_tags(label_config), _controls(label_config)
    except LabelConfigError:
        return {}
    found: dict[str, frozenset[str]] = {}
    asked = {tag.get("name", "") for tag in root.iter() if _may_stay_open(tag)}
    inside: list[tuple[Element, frozenset[str]]] = [(root, frozenset())]
    while inside:
        tag, around = inside.pop()
        if is_called(tag, "repeater"):  # its controls, and their names, are made for each page
            continue
        if is_called(tag, "view") and tag.get("visibleWhen", "").strip() == "choice-selected":
            around |= asked & {tag.get("whenTagName", "").strip()}
        if around and tag.get("toName") and tag.get("name") in controls:
            found[tag.get("name", "")] = around
        inside += [(inner, around) for inner in tag]
    return found


def _may_stay_open(tag: Element) -> bool:
    """Whether it is a Choices about the task that need not be answered."""
    return is_called(tag, "choices") and not is_yes(tag, "perRegion") and not is_yes(tag, "required")


@lru_cache(maxsize=256)
def _controls(label_config: str) -> frozenset[str]:
    return frozenset(one.control for one in namings(label_config) if any(one.labels.values()))
