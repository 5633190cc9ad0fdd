"""The tags of a label config: read within bounds, its Images and Repeaters, and what to add where a tag is lacking.

A Repeater makes controls once for each entry of a list in the task's data. What lacks is said in words that Label
Studio's dialog shows unchanged. The dialog takes away whatever looks like a tag, shows letters beyond ASCII as
question marks, and 300 letters at most.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import defusedxml.ElementTree
from defusedxml import DefusedXmlException

from backend.errors import LabelConfigError
from backend.vision.network_config import MARKS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from xml.etree.ElementTree import Element

__all__ = [
    "Repeat",
    "images",
    "is_called",
    "is_yes",
    "no_controls",
    "no_images",
    "no_labels",
    "plain",
    "read_tags",
    "repeats",
    "targets",
]

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


_MOST_LISTED = 6
_UNDRAWN = ("EllipseLabels", "KeyPointLabels", "BitmaskLabels", "VectorLabels")
"""Controls that no mark can be put into."""


def no_images(root: Element) -> str:
    """What the label config has in the place of an Image that a task fills, and what to add."""
    found = next((tag for tag in root.iter() if is_called(tag, "image")), None)
    there = ""
    if found is not None:
        value = found.get("valueList", "") or found.get("value", "")
        there = f" (its Image has {_quoted('value', value)})" if found.get("name") else " (its Image has no name)"
    elif any(is_called(tag, "pdf") for tag in root.iter()):
        there = " (no box can be put on its Pdf tag; the command import makes pages of PDF files)"
    return (
        f'The label config has no Image tag with a task field{there}: add an Image tag with name="image" and '
        'value="$image", or valueList="$pages" for tasks of several pages'
    )


def no_controls(root: Element, image: str) -> str:
    """What an Image has in the place of a control for marks, and what to add."""
    beside = [tag for tag in root.iter() if image in targets(tag)]
    names = {tag.get("name", "") for tag in root.iter()}
    fresh = next(
        name for name in ("label", "mark", *(f"mark{place}" for place in range(len(names)))) if name not in names
    )
    attributes = f'name="{fresh}" and toName="{plain(image) or "the name of the Image"}"'
    missing = "The label config has no RectangleLabels tag for its Image"
    if any(is_called(tag, "labels") for tag in beside):
        return f"{missing}, and beside its Labels nothing that draws: add a Rectangle tag with {attributes}"
    drawn = [name for name in _UNDRAWN if any(is_called(tag, name.lower()) for tag in beside)]
    if drawn:
        return (
            f"{missing}, and marks cannot be put into {drawn[0]}: add a RectangleLabels tag with "
            f"{attributes}, and the same Label tags in it"
        )
    return f"{missing} (nor PolygonLabels, BrushLabels, or Labels with a Rectangle): add one with {attributes}"


def _quoted(attribute: str, value: str) -> str:
    """An attribute with its value, where Label Studio's dialog shows that unchanged."""
    shown = plain(value)
    return f'{attribute}="{shown}"' if shown else f"another {attribute}" if value else f"no {attribute}"


def no_labels(controls: list[Element]) -> str:
    """What labels the controls have, none of them for a mark, and how to say what one stands for."""
    given = next((tag for tag in controls if tag.get("value", "").startswith("$")), None)
    if given is not None:
        return (
            f'The control "{plain(given.get("name", ""))}" takes its labels from the tasks '
            f"({_quoted('value', given.get('value', ''))}), and which of them means a stamp is not known: put Label "
            'tags into it, such as one with value="Stamp", and so for "Signature" and "Thumb"'
        )
    names = [tag.get("value", "") for control in controls for tag in control.iter() if is_called(tag, "label")]
    found = [plain(name) or f"number {place}" for place, name in enumerate(names, 1)]
    more = f" and {len(found) - _MOST_LISTED} more" if len(found) > _MOST_LISTED else ""
    return (
        f"No label of the label config stands for {', '.join(MARKS[:-1])} or {MARKS[-1]} "
        f"(found: {', '.join(found[:_MOST_LISTED]) or 'none'}{more}). Give the Label tag that means a stamp "
        'predicted_values="stamp", and so for "signature" and "thumb"'
    )


def plain(name: str) -> str:
    """A name as Label Studio's dialog shows it unchanged; "" for one that it would not."""
    fits = all(" " <= letter <= "~" and letter not in "<>" for letter in name)
    return name.strip()[:40] if fits else ""
