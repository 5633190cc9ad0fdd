"""Where marks go in a project: the label config's rectangle controls, bound to the three marks."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import defusedxml.ElementTree
from defusedxml import DefusedXmlException

from backend.errors import LabelConfigError
from backend.vision.network_config import MARKS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from xml.etree.ElementTree import Element

__all__ = ["Binding", "Naming", "bind", "namings", "versioned"]

_YES = ("1", "true", "yes")
# A config has a handful; every mark is written once for each control, and a hostile config must not multiply them.
_MOST_CONTROLS = 32
# Those of label_config.xml and label_config_pages.xml.
_OWN_NAMES = tuple(
    [("mark", "page", field, paged, [(mark, mark) for mark in sorted(MARKS)])]
    for field, paged in (("image", False), ("pages", True))
)


@dataclass(frozen=True, kw_only=True)
class Binding:
    """One RectangleLabels control on one Image.

    Attributes:
        control: The control's name; a region's `from_name`.
        image: The image's name; a region's `to_name`.
        field: Key of the task's data that holds the page, or the list of pages.
        paged: Whether that field holds a list (`valueList`).
        labels: The project's own label for each mark that it has one for, such as `{"stamp": "Seal"}`.
        threshold: Lowest probability to show.
        meanings: The marks that each of the control's labels stands for: annotators may use more labels than are shown.
    """

    control: str
    image: str
    field: str
    paged: bool
    labels: Mapping[str, str]
    threshold: float
    meanings: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Naming:
    """The words that one control has for regions.

    Attributes:
        control: Its name; a region's `from_name`.
        labels: By each label as regions bear it, the marks that it stands for; none for labels of other things.
        further: The same by the further names that `predicted_values` gives to labels, in small letters.
        other: Whether marks are not read from it: it draws no rectangles, or says `model_skip`.
    """

    control: str
    labels: Mapping[str, tuple[str, ...]]
    further: Mapping[str, tuple[str, ...]]
    other: bool


def bind(label_config: str, *, confidence: float = 0.5) -> tuple[Binding, ...]:
    """Reads a label config: one binding for each RectangleLabels control on an Image that has a label for a mark.

    A label stands for a mark when its `predicted_values` (comma separated) name the mark, or else when its own `value`
    or `alias` is the mark's name; letter case does not count. `model_score_threshold` and `model_skip="true"` on the
    control mean what they mean to Label Studio's YOLO backend.

    Args:
        label_config: The project's XML.
        confidence: The threshold of controls that set none.

    Raises:
        LabelConfigError: It is no XML, or offers nothing to put marks on; the message says what is missing.
    """
    root = _parse(label_config)
    images = _images(root)
    if not images:
        raise LabelConfigError(
            'The label config has no Image tag with a task field: add <Image name="image" value="$image"/>, '
            'or valueList="$pages" for tasks of several pages'
        )
    controls = [tag for tag in root.iter() if _is(tag, "rectanglelabels")]
    on_images = [(tag, name) for tag in controls for name in _targets(tag) if name in images]
    if not on_images:
        name = next(iter(images))
        raise LabelConfigError(
            "The label config has no RectangleLabels tag for its Image: "
            f'add <RectangleLabels name="label" toName="{name}">'
        )
    wanted = [(tag, name) for tag, name in on_images if tag.get("model_skip", "").strip().lower() not in _YES]
    if not wanted:
        raise LabelConfigError('Every RectangleLabels tag on an Image says model_skip="true": take it off one of them')
    if len(wanted) > _MOST_CONTROLS:
        raise LabelConfigError(
            f"The label config has {len(wanted)} RectangleLabels tags: at most {_MOST_CONTROLS} get marks"
        )
    bindings = [_binding(tag, name, images[name], confidence) for tag, name in wanted]
    useful = tuple(binding for binding in bindings if binding.labels)
    if not useful:
        raise LabelConfigError(_no_labels([tag for tag, _ in wanted]))
    return useful


def namings(label_config: str) -> tuple[Naming, ...]:
    """The words of every control of a label config, also of those that get no marks.

    Raises:
        LabelConfigError: It is no XML.
    """
    return tuple(_naming(tag) for tag in _parse(label_config).iter() if tag.get("name") and tag.get("toName"))


def versioned(version: str, bindings: Sequence[Binding], *, confidence: float) -> str:
    """The version of a project's predictions: the pipeline's, and what of the project decides on their content.

    It changes exactly when a prediction would: Label Studio takes a task for done that has one of this version. One
    threshold is named, such as `-t0.6`; where controls differ, a digest stands for what each of them has. Another
    digest, such as `-c1a2b3c4d`, stands for names of controls, labels and fields that are not those of this program's
    own label configs.

    Args:
        version: The pipeline's.
        bindings: The project's controls.
        confidence: The operator's threshold, which the pipeline's version knows of.
    """
    return version + _thresholds_part(bindings, confidence) + _names_part(bindings)


def _thresholds_part(bindings: Sequence[Binding], confidence: float) -> str:
    thresholds = {binding.threshold for binding in bindings}
    if thresholds <= {confidence}:
        return ""
    if len(thresholds) == 1:
        return f"-t{thresholds.pop()!r}"
    return f"-t{_digest(sorted({(one.control, one.image, repr(one.threshold)) for one in bindings}))}"


def _names_part(bindings: Sequence[Binding]) -> str:
    names = sorted((one.control, one.image, one.field, one.paged, sorted(one.labels.items())) for one in bindings)
    return "" if names in _OWN_NAMES else f"-c{_digest(names)}"


def _digest(facts: object) -> str:
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:8]


def _parse(label_config: str) -> Element:
    try:
        root: Element = defusedxml.ElementTree.fromstring(label_config, forbid_dtd=True)
    except DefusedXmlException as error:
        raise LabelConfigError("The label config declares a document type or entities: take that out") from error
    except (defusedxml.ElementTree.ParseError, ValueError, RecursionError) as error:
        raise LabelConfigError(f"The label config is not well-formed XML ({error})") from error
    return root


def _is(tag: Element, name: str) -> bool:
    return isinstance(tag.tag, str) and tag.tag.lower() == name


def _targets(control: Element) -> list[str]:
    return [name.strip() for name in control.get("toName", "").split(",")] if control.get("name") else []


def _images(root: Element) -> dict[str, tuple[str, bool]]:
    """Task field of each Image by the Image's name, and whether the field holds a list."""
    found: dict[str, tuple[str, bool]] = {}
    for tag in root.iter():
        pages, page = tag.get("valueList", ""), tag.get("value", "")
        key = pages or page
        # "$pages[{{idx}}]" inside a Repeater stands for no one field.
        if _is(tag, "image") and tag.get("name") and key[:1] == "$" and len(key) > 1 and "{{" not in key:
            found[tag.get("name", "")] = (key[1:], bool(pages))
    return found


def _binding(control: Element, image: str, source: tuple[str, bool], confidence: float) -> Binding:
    key, paged = source
    name = control.get("name", "")
    return Binding(
        control=name,
        image=image,
        field=key,
        paged=paged,
        labels=_labels(control),
        threshold=_threshold(control, name, confidence),
        meanings=_meanings(control),
    )


def _labels(control: Element) -> dict[str, str]:
    """The control's label for each mark; an explicit mapping wins over an equal name, an earlier label over a later."""
    mapped: dict[str, str] = {}
    named: dict[str, str] = {}
    for shown, marks, explicit in _label_tags(control):
        for mark in marks:
            (mapped if explicit else named).setdefault(mark, shown)
    found = named | mapped
    return {mark: found[mark] for mark in MARKS if mark in found}


def _meanings(control: Element) -> dict[str, tuple[str, ...]]:
    """The marks that each label stands for, those labels among them that predictions do not use."""
    found: dict[str, tuple[str, ...]] = {}
    for shown, marks, _ in _label_tags(control):
        if marks:
            found.setdefault(shown, marks)
    return found


def _naming(control: Element) -> Naming:
    name = control.get("name", "")
    if not _is(control, "rectanglelabels") or control.get("model_skip", "").strip().lower() in _YES:
        return Naming(control=name, labels={}, further={}, other=True)
    labels: dict[str, tuple[str, ...]] = {}
    further: dict[str, tuple[str, ...]] = {}
    for tag in control.iter():
        shown = tag.get("alias") or tag.get("value", "")
        if not _is(tag, "label") or not shown:
            continue
        marks, _ = _marks_of(tag)
        labels[shown] = labels.get(shown) or marks
        for other in (tag.get("value", ""), *tag.get("predicted_values", "").split(",")):
            if marks and other.strip():
                further.setdefault(other.strip().casefold(), marks)
    return Naming(control=name, labels=labels, further=further, other=False)


def _label_tags(control: Element) -> Iterator[tuple[str, tuple[str, ...], bool]]:
    """Each label as regions bear it, the marks that it stands for, and whether `predicted_values` says so."""
    for tag in control.iter():
        shown = tag.get("alias") or tag.get("value", "")
        if not _is(tag, "label") or not shown:
            continue
        marks, explicit = _marks_of(tag)
        yield shown, marks, explicit


def _marks_of(label: Element) -> tuple[tuple[str, ...], bool]:
    """The marks that a label stands for, and whether `predicted_values` says so."""
    values = {value.strip().casefold() for value in label.get("predicted_values", "").split(",")}
    names = {label.get("alias", "").strip().casefold(), label.get("value", "").strip().casefold()}
    predicted = tuple(mark for mark in MARKS if mark in values)
    return predicted or tuple(mark for mark in MARKS if mark in names), bool(predicted)


def _threshold(control: Element, name: str, confidence: float) -> float:
    # `score_threshold` is the name that older label configs use.
    text = (control.get("model_score_threshold") or control.get("score_threshold") or "").strip()
    if not text:
        return confidence
    try:
        threshold = float(text)
    except ValueError:
        threshold = -1.0
    if not 0 <= threshold <= 1:
        raise LabelConfigError(
            f'model_score_threshold="{text[:40]}" of RectangleLabels "{name}" is no probability: write one such as 0.5'
        )
    return threshold


def _no_labels(controls: list[Element]) -> str:
    found = [tag.get("value", "") for control in controls for tag in control.iter() if _is(tag, "label")]
    listed = ", ".join(name for name in found[:20] if name) or "none"
    example = next((name for name in found if name), "Seal")
    return (
        f"No label of the label config's RectangleLabels stands for {', '.join(MARKS[:-1])} or {MARKS[-1]} "
        f'(found: {listed}): name one so, or map it, such as <Label value="{example}" predicted_values="stamp"/>'
    )
