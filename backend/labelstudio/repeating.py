"""Label Studio's Repeater: controls that the editor makes once for each entry of a list in the task's data."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

__all__ = ["Repeat", "repeats"]

_FLAG = "{{idx}}"
"""What stands for the place in the list, where the Repeater names nothing else."""


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
        if not _is(repeater, "repeater") or not repeater.get("on", "").startswith("$") or not field:
            continue
        flag = repeater.get("indexFlag") or _FLAG
        inside = [tag for tag in repeater.iter() if tag is not repeater]
        if any(_is(tag, "repeater") for tag in inside):
            continue
        images = (tag for tag in inside if _is(tag, "image"))
        paths = {tag.get("name", ""): _path(tag, field=field, flag=flag) for tag in images}
        for tag in inside:
            path = paths.get(tag.get("name" if _is(tag, "image") else "toName", ""))
            if path is not None and flag in tag.get("name", ""):
                found[tag] = Repeat(field=field, flag=flag, path=path)
    return found


def _path(image: Element, *, field: str, flag: str) -> tuple[str, ...] | None:
    """The keys behind `$field[flag]` in an Image's value; None where it is another value."""
    matched = re.fullmatch(rf"\${re.escape(field)}\[{re.escape(flag)}\]((?:\.\w+)*)", image.get("value", "").strip())
    return None if matched is None else tuple(matched[1].split(".")[1:])


def _is(tag: Element, name: str) -> bool:
    return isinstance(tag.tag, str) and tag.tag.lower() == name
