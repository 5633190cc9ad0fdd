"""What a label config lacks, and the way out, in words that Label Studio's dialog shows unchanged.

The dialog takes away whatever looks like a tag, shows letters beyond ASCII as question marks, and 300 letters at most.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from backend.labelstudio.config_tags import is_called, targets
from backend.vision.network_config import MARKS

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

__all__ = ["no_controls", "no_images", "no_labels", "plain"]

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
