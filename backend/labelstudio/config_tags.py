"""The tags of a label config: read within bounds; its Images with their fields, and what a Repeater makes of them.

A Repeater makes controls once for each entry of a list in the task's data.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import defusedxml.ElementTree
from defusedxml import DefusedXmlException

from backend.errors import LabelConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from xml.etree.ElementTree import Element

__all__ = ["Repeat", "images", "is_called", "is_yes", "read_tags", "repeats", "targets"]

# Each tag takes kilobytes while it is read. A config with hundreds of labels has a few hundred.
_LONGEST_CONFIG = 512 * 1024
_MOST_TAGS = 20_000
# Names of labels, `predicted_values` included: each is looked up among the words for marks, for each control around it.
_MOST_NAMES = 2_000
_YES = ("1", "true", "yes")

_FLAG = "{{idx}}"
"""What stands for the place in the list, where the Repeater names nothing else."""


def read_tags(label_config: str) -> Element:
    """The root of a label config.

    Raises:
        LabelConfigError: It is no XML, declares entities, or is longer, or has more tags or names, than are read.
    """
    if len(label_config) > _LONGEST_CONFIG or label_config.count("<") > _MOST_TAGS:
        raise LabelConfigError(
            f"The label config has {len(label_config)} characters and {label_config.count('<')} tags: at most "
            f"{_LONGEST_CONFIG} and {_MOST_TAGS} are read"
        )
    try:
        root: Element = defusedxml.ElementTree.fromstring(label_config, forbid_dtd=True)
    except DefusedXmlException as error:
        raise LabelConfigError("The label config declares a document type or entities: take that out") from error
    except (defusedxml.ElementTree.ParseError, ValueError, RecursionError) as error:
        # An undefined entity stands in the reason, and may be of letters that Label Studio's dialog does not show.
        reason = str(error).encode("ascii", "replace").decode()
        raise LabelConfigError(
            f"The label config is not well-formed XML ({reason}): close every tag there, and write &amp; for a lone &"
        ) from error
    names = sum(1 + tag.get("predicted_values", "").count(",") for tag in root.iter() if is_called(tag, "label"))
    if names > _MOST_NAMES:
        raise LabelConfigError(f"The label config names {names} labels and predicted_values: at most {_MOST_NAMES}")
    return root


def is_called(tag: Element, name: str) -> bool:
    """Whether it is a tag of that name, in letters of any case and in any namespace; comments are none."""
    return isinstance(tag.tag, str) and tag.tag.rpartition("}")[2].lower() == name


def is_yes(tag: Element, attribute: str) -> bool:
    """Whether an attribute of the tag says yes, as Label Studio understands it."""
    return tag.get(attribute, "").strip().lower() in _YES


def targets(control: Element) -> list[str]:
    """The names of the tags that a control is for; none for a control without a name of its own."""
    return [name.strip() for name in control.get("toName", "").split(",")] if control.get("name") else []


def images(root: Element, repeated: Mapping[Element, Repeat]) -> dict[str, tuple[str, bool]]:
    """Task field of each Image by the Image's name, and whether the field holds a list."""
    found: dict[str, tuple[str, bool]] = {}
    for tag in root.iter():
        if not is_called(tag, "image") or not tag.get("name"):
            continue
        repeat = repeated.get(tag)
        pages, page = tag.get("valueList", ""), tag.get("value", "")
        key = pages or page
        if repeat is not None:
            found[tag.get("name", "")] = (repeat.field, True)
        # "$pages[{{idx}}]" outside a Repeater stands for no one field.
        elif key[:1] == "$" and len(key) > 1 and "{{" not in key:
            found[tag.get("name", "")] = (key[1:], bool(pages))
    return found


@dataclass(frozen=True, kw_only=True)
class Repeat:
    """What a Repeater makes of a list.

    Attributes:
        field: Key of the task's data that holds the list.
        flag: The text that stands for the place in it.
        path: Keys that lead from an entry to the page's reference; empty where the entry is the reference.
    """

    field: str
    flag: str
    path: tuple[str, ...] = ()

    def named(self, name: str, index: int) -> str:
        """A name as it is at a place of the list; the editor replaces the flag once."""
        return name.replace(self.flag, str(index), 1)

    def reference(self, entry: Any) -> Any:
        """The page's reference in an entry of the list; None where the entry holds none."""
        for key in self.path:
            entry = entry.get(key) if isinstance(entry, dict) else None
        return entry

    def entry(self, reference: str) -> Any:
        """An entry of the list that holds a page's reference."""
        found: Any = reference
        for key in reversed(self.path):
            found = {key: found}
        return found


def repeats(root: Element) -> dict[Element, Repeat]:
    """For each tag inside a Repeater over a field of the task: how it is repeated.

    Images whose name or `value` stays the same for each entry are left out, and so are Repeaters inside one another.
    """
    found: dict[Element, Repeat] = {}
    for repeater in root.iter():
        field = repeater.get("on", "")[1:]
        if not is_called(repeater, "repeater") or not repeater.get("on", "").startswith("$") or not field:
            continue
        flag = repeater.get("indexFlag") or _FLAG
        inside = [tag for tag in repeater.iter() if tag is not repeater]
        if any(is_called(tag, "repeater") for tag in inside):
            continue
        inner = (tag for tag in inside if is_called(tag, "image"))
        paths = {tag.get("name", ""): _path(tag, field=field, flag=flag) for tag in inner}
        for tag in inside:
            path = paths.get(tag.get("name" if is_called(tag, "image") else "toName", ""))
            if path is not None and flag in tag.get("name", ""):
                found[tag] = Repeat(field=field, flag=flag, path=path)
    return found


def _path(image: Element, *, field: str, flag: str) -> tuple[str, ...] | None:
    """The keys behind `$field[flag]` in an Image's value; None where it is another value."""
    matched = re.fullmatch(rf"\${re.escape(field)}\[{re.escape(flag)}\]((?:\.\w+)*)", image.get("value", "").strip())
    return None if matched is None else tuple(matched[1].split(".")[1:])
