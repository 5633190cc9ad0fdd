"""Where marks go in a project: the label config's controls, bound to the three marks."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from backend.errors import LabelConfigError
from backend.labelstudio.config_tags import (
    Repeat,
    images,
    is_called,
    is_yes,
    no_controls,
    no_images,
    no_labels,
    plain,
    read_tags,
    repeats,
    targets,
)
from backend.labelstudio.mark_words import Statement, mark_named, read_statements
from backend.vision.network_config import MARKS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from xml.etree.ElementTree import Element

__all__ = ["Binding", "Naming", "Shape", "bind", "namings", "versioned"]

Shape: TypeAlias = Literal["rectangle", "polygon", "brush"]
"""How a control draws a mark: a box around it, the outline of its ink, or the ink itself as a mask."""

_SHAPES: tuple[Shape, ...] = ("rectangle", "polygon", "brush")
_READ: tuple[str, ...] = (*_SHAPES, "ellipse", "keypoint", "bitmask", "vector")
"""What annotators may draw with beside, and what their labels are read from as well."""
_NO_MARK = "none"
"""In `predicted_values`: the label stands for no mark, whatever it is called."""
# A config has a handful; every mark is written once for each control, and a hostile config must not multiply them.
_MOST_CONTROLS = 32
# Those of label_config.xml and label_config_pages.xml.
_OWN_NAMES = tuple(
    [("mark", "page", field, paged, [(mark, mark) for mark in sorted(MARKS)])]
    for field, paged in (("image", False), ("pages", True))
)


@dataclass(frozen=True, kw_only=True)
class Binding:
    """One control with labels on one Image.

    Attributes:
        control: The name of the control that holds the labels; a region's `from_name`.
        image: The image's name; a region's `to_name`.
        field: Key of the task's data that holds the page, or the list of pages.
        paged: Whether that field holds a list (`valueList`, or what a Repeater goes through).
        labels: The project's own label for each mark that it has one for, such as `{"stamp": "Seal"}`.
        threshold: Lowest probability to show.
        meanings: The marks that each of the control's labels stands for, none for labels of other things: annotators
            may use more labels than are shown.
        shape: What the control draws.
        figure: The name of the control that draws, where another holds the labels (`Rectangle` beside `Labels`);
            else "".
        turns: Whether a box may be turned (`canRotate="true"`).
        repeat: How the control and its Image are repeated for each page; None where they stand once.
        statements: The Choices beside it that say what a task bears.
        elsewhere: The marks that an earlier control of its Image shows.
    """

    control: str
    image: str
    field: str
    paged: bool
    labels: Mapping[str, str]
    threshold: float
    meanings: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    shape: Shape = "rectangle"
    figure: str = ""
    turns: bool = False
    repeat: Repeat | None = None
    statements: tuple[Statement, ...] = ()
    elsewhere: frozenset[str] = frozenset()

    @property
    def shown(self) -> dict[str, str]:
        """The label of each mark that predictions put into this control: each mark stands once on its Image."""
        return {mark: label for mark, label in self.labels.items() if mark not in self.elsewhere}

    @property
    def kind(self) -> str:
        """The type of its regions that bear labels, which is also the key of the labels in them."""
        return "labels" if self.figure else f"{self.shape}labels"

    def pages(self, references: Sequence[str]) -> list[Any]:
        """A document's pages as the field of a task's data holds them."""
        return list(references) if self.repeat is None else [self.repeat.entry(one) for one in references]

    def on_page(self, index: int) -> Binding:
        """The control and the Image of one page, by its index, as the editor makes them of a Repeater."""
        if self.repeat is None:
            return self
        names = (self.repeat.named(name, index) for name in (self.control, self.image, self.figure))
        control, image, figure = names
        return dataclasses.replace(self, control=control, image=image, figure=figure, repeat=None)


@dataclass(frozen=True, kw_only=True)
class Naming:
    """The words that one control has for regions.

    Attributes:
        control: Its name; a region's `from_name`.
        labels: By each label as regions bear it, the marks that it stands for; none for labels of other things.
        further: The same by the further names that `predicted_values` gives to labels, in small letters.
        other: Whether marks are not read from it: it draws no marks, or says `model_skip`.
    """

    control: str
    labels: Mapping[str, tuple[str, ...]]
    further: Mapping[str, tuple[str, ...]]
    other: bool


@lru_cache(maxsize=16)
def bind(label_config: str, *, confidence: float = 0.5) -> tuple[Binding, ...]:
    """Reads a label config: one binding for each control on an Image that has a label for a mark.

    Controls are `RectangleLabels`, or `Labels` with a `Rectangle` beside them. An Image that has neither is bound to
    its `PolygonLabels`, or else to its `BrushLabels`, so that no mark is shown twice. Where several controls of an
    Image have a label for a mark, the first of them shows it.

    A label stands for a mark when its `predicted_values` (comma separated) name the mark. Otherwise its own `value` or
    `alias` counts: the mark's name or a common word for it, in English or Arabic. `predicted_values="none"` makes it
    stand for no mark. `model_score_threshold` and `model_skip="true"` on the control mean what they mean to Label
    Studio's YOLO backend.

    Args:
        label_config: The project's XML.
        confidence: The threshold of controls that set none.

    Raises:
        LabelConfigError: It is no XML, or offers nothing to put marks on. The message says what is missing, in ASCII
            and without tags, because Label Studio shows no others.
    """
    root = read_tags(label_config)
    repeated = repeats(root)
    shown = images(root, repeated)
    if not shown:
        raise LabelConfigError(no_images(root))
    on_images = [one for one in _controls(root, shown) if one.image in shown]
    if not on_images:
        raise LabelConfigError(no_controls(root, next(iter(shown))))
    wanted = [one for one in on_images if not _is_skipped(one.tag)]
    if not wanted:
        raise LabelConfigError('Every RectangleLabels tag on an Image says model_skip="true": take it off one of them')
    if len(wanted) > _MOST_CONTROLS:
        raise LabelConfigError(_too_many_controls(len(wanted)))
    statements = read_statements(root, shown, repeated)
    bindings = [_binding(one, shown[one.image], confidence, repeated.get(one.tag), statements) for one in wanted]
    useful = [binding for binding in bindings if binding.labels]
    if not useful:
        raise LabelConfigError(no_labels([one.tag for one in wanted]))
    first = {image: min(_rank(one) for one in useful if one.image == image) for image in shown if _has(useful, image)}
    return tuple(_each_mark_once([one for one in useful if _rank(one) == first[one.image]]))


def _each_mark_once(bindings: Sequence[Binding]) -> Iterator[Binding]:
    taken: dict[str, frozenset[str]] = {}
    for binding in bindings:
        before = taken.get(binding.image, frozenset())
        yield dataclasses.replace(binding, elsewhere=before & frozenset(binding.labels))
        taken[binding.image] = before | frozenset(binding.labels)


@dataclass(frozen=True, kw_only=True)
class _Control:
    """A tag that holds labels, and the Image that one of its targets is."""

    tag: Element
    image: str
    shape: Shape
    figure: str


def _controls(root: Element, shown: Mapping[str, tuple[str, bool]]) -> list[_Control]:
    figures: dict[str, tuple[Shape, str]] = {}
    for shape in reversed(_SHAPES):
        for tag in root.iter():
            if is_called(tag, shape):
                figures.update({image: (shape, tag.get("name", "")) for image in targets(tag)})
    found: list[_Control] = []
    for tag in root.iter():
        for shape in _SHAPES:
            if is_called(tag, f"{shape}labels"):
                found += [_Control(tag=tag, image=image, shape=shape, figure="") for image in targets(tag)]
        if is_called(tag, "labels"):
            for image in targets(tag):
                if image in figures and image in shown:
                    drawn, figure = figures[image]
                    found.append(_Control(tag=tag, image=image, shape=drawn, figure=figure))
    return found


def _rank(binding: Binding) -> int:
    return _SHAPES.index(binding.shape)


def _has(bindings: Sequence[Binding], image: str) -> bool:
    return any(binding.image == image for binding in bindings)


def namings(label_config: str) -> tuple[Naming, ...]:
    """The words of every control of a label config that has any, also of those that get no marks.

    Raises:
        LabelConfigError: It is no XML, or has more tags, names or controls than are read.
    """
    root = read_tags(label_config)
    shown = {tag.get("name", "") for tag in root.iter() if is_called(tag, "image")}
    named = [tag for tag in root.iter() if tag.get("name") and tag.get("toName")]
    read = {tag for tag in named if _is_read(tag, shown)}
    if len(read) > _MOST_CONTROLS:
        raise LabelConfigError(_too_many_controls(len(read)))
    return tuple(_naming(tag, read=tag in read) for tag in named if not any(is_called(tag, shape) for shape in _READ))


def _is_read(tag: Element, shown: Collection[str]) -> bool:
    """Whether labels of a tag are read as marks, whatever is drawn with it: an outline may stand for a box."""
    labelled = is_called(tag, "labels") or any(is_called(tag, f"{shape}labels") for shape in _READ)
    return labelled and any(image in shown for image in targets(tag))


def _is_skipped(control: Element) -> bool:
    return is_yes(control, "model_skip")


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
    thresholds = {binding.threshold for binding in bindings if binding.shown}
    if thresholds <= {confidence}:
        return ""
    if len(thresholds) == 1:
        return f"-t{thresholds.pop()!r}"
    return f"-t{_digest(sorted({(one.control, one.image, repr(one.threshold)) for one in bindings if one.shown}))}"


def _names_part(bindings: Sequence[Binding]) -> str:
    names = sorted(
        (one.control, one.image, one.field, one.paged, sorted(one.shown.items()), *_drawn_as(one))
        for one in bindings
        if one.shown
    )
    return "" if names in _OWN_NAMES else f"-c{_digest(names)}"


def _drawn_as(binding: Binding) -> tuple[str, ...]:
    """What else decides on a prediction; nothing for upright boxes of one control, once on a page, without Choices."""
    drawn = (binding.shape, binding.figure, str(binding.turns), repr(binding.repeat))
    beside = tuple(repr(one) for one in binding.statements)
    return (() if drawn == ("rectangle", "", "False", "None") else drawn) + beside


def _digest(facts: object) -> str:
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:8]


def _too_many_controls(count: int) -> str:
    return f"The label config has {count} RectangleLabels tags: at most {_MOST_CONTROLS} get marks"


def _binding(
    control: _Control,
    source: tuple[str, bool],
    confidence: float,
    repeat: Repeat | None,
    statements: Sequence[Statement],
) -> Binding:
    key, paged = source
    tag = control.tag
    name = tag.get("name", "")
    return Binding(
        control=name,
        image=control.image,
        field=key,
        paged=paged,
        labels=_labels(tag),
        threshold=_threshold(tag, name, confidence),
        meanings=_meanings(tag),
        shape=control.shape,
        figure=control.figure,
        turns=is_yes(tag, "canRotate"),
        repeat=repeat,
        statements=tuple(one for one in statements if one.image == control.image),
    )


def _labels(control: Element) -> dict[str, str]:
    """The control's label for each mark: a mapping wins over an equal name, that over a word; then the earlier one."""
    ranked: tuple[dict[str, str], ...] = ({}, {}, {})
    for shown, marks, rank in _label_tags(control):
        for mark in marks:
            ranked[rank].setdefault(mark, shown)
    found = ranked[2] | ranked[1] | ranked[0]
    return {mark: found[mark] for mark in MARKS if mark in found}


def _meanings(control: Element) -> dict[str, tuple[str, ...]]:
    """The marks that each label stands for, also of labels that predictions do not use; none for other things."""
    found: dict[str, tuple[str, ...]] = {}
    for shown, marks, _ in _label_tags(control):
        found[shown] = found.get(shown) or marks
    return found


def _naming(control: Element, *, read: bool) -> Naming:
    name = control.get("name", "")
    if not read or _is_skipped(control):
        return Naming(control=name, labels={}, further={}, other=True)
    labels: dict[str, tuple[str, ...]] = {}
    further: dict[str, tuple[str, ...]] = {}
    for tag in control.iter():
        shown = tag.get("alias") or tag.get("value", "")
        if not is_called(tag, "label") or not shown:
            continue
        marks, _ = _marks_of(tag)
        labels[shown] = labels.get(shown) or marks
        for other in (tag.get("value", ""), *tag.get("predicted_values", "").split(",")):
            if marks and other.strip():
                further.setdefault(other.strip().casefold(), marks)
    return Naming(control=name, labels=labels, further=further, other=False)


def _label_tags(control: Element) -> Iterator[tuple[str, tuple[str, ...], int]]:
    """Each label as regions bear it, the marks that it stands for, and how that is known: the lower, the surer."""
    for tag in control.iter():
        shown = tag.get("alias") or tag.get("value", "")
        if not is_called(tag, "label") or not shown:
            continue
        marks, rank = _marks_of(tag)
        yield shown, marks, rank


def _marks_of(label: Element) -> tuple[tuple[str, ...], int]:
    """The marks that a label stands for, and how that is known: the lower, the surer."""
    values = [value.strip().casefold() for value in label.get("predicted_values", "").split(",")]
    predicted = tuple(mark for mark in MARKS if mark in values or mark in map(mark_named, values))
    if predicted or _NO_MARK in values:
        return predicted, 0
    names = label.get("alias", ""), label.get("value", "")
    own = {name.strip().casefold() for name in names}
    if found := tuple(mark for mark in MARKS if mark in own):
        return found, 1
    words = {mark_named(name) for name in names}
    return tuple(mark for mark in MARKS if mark in words), 2


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
            f'model_score_threshold="{plain(text)}" of the control "{plain(name)}" is no probability: write one such '
            "as 0.5"
        )
    return threshold
