"""What a project's labels mean, now and before: a region's name → the mark that it stood for when it was given.

A label config is edited while regions that were made under an earlier one live on. So a name is looked up in three
places. They are the label config that held when the annotation was saved, what was shown, and the project's other label
configs. A name that nobody knows is `UNKNOWN`: it says nothing, least of all that a mark is none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from backend.errors import LabelConfigError
from backend.labelstudio.config_tags import read_tags, repeats, targets
from backend.labelstudio.labelling import namings

__all__ = ["NOTHING_KNOWN", "UNKNOWN", "DrawnBy", "Known", "Shown", "could_show", "meaning", "meant", "tags_of"]

UNKNOWN = "unknown"
"""The class of a region whose name no label config knows."""

Marks = tuple[str, ...]
_NUMBER = "\0"  # stands in no name


@dataclass(frozen=True, kw_only=True)
class DrawnBy:
    """The tags of a label config by which a region was shown.

    Attributes:
        control: The region's `from_name`.
        image: Its `to_name`.
        kind: Its `type`, such as `rectanglelabels`.
    """

    control: str
    image: str
    kind: str


def tags_of(stored: Sequence[str] | None) -> DrawnBy | None:
    """What a ledger has stored of a `DrawnBy`: control, image and kind; None where it has not."""
    return None if stored is None else DrawnBy(control=stored[0], image=stored[1], kind=stored[2])


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A region as it was shown.

    Attributes:
        mark: The class that its label stood for then; `UNKNOWN` where that is not known.
        word: The label itself; None where an older ledger has not kept it.
        drawn_by: The tags that drew it; None where an older ledger has not kept them.
    """

    mark: str
    word: str | None = None
    drawn_by: DrawnBy | None = None


@dataclass(frozen=True, kw_only=True)
class Known:
    """What is known of a project's past where one of its annotations is read.

    Attributes:
        configs: Its other label configs, the newest first.
        rumoured: More of them, of which an event about the project alone told: they say what a name meant where no
            other one knows, and make doubtful what no event told.
        shown: What was shown on the task, by region id.
    """

    configs: Sequence[str] = ()
    rumoured: Sequence[str] = ()
    shown: dict[str, Shown] = field(default_factory=dict)


NOTHING_KNOWN = Known()


def meaning(
    name: str | None,
    *,
    control: str,
    region: str,
    label_config: str,
    assumed: bool = False,
    changed: bool = False,
    known: Known = NOTHING_KNOWN,
) -> Marks:
    """The mark that a region's label stands for: none where the label is of something else, `(UNKNOWN,)` if not known.

    A label may stand for several marks. Then it says which one only of a box that was shown as one of them, and that
    nobody changed.

    Args:
        name: The region's label; None where it has none, or where a program dropped a name that it does not know.
        control: The region's `from_name`.
        region: Its id.
        label_config: That of the project when the annotation was saved.
        assumed: Whether nobody told that it held then: it is the one that holds now.
        changed: Whether the annotator changed the region: then it may have had another label before it lost that.
        known: What was before.
    """
    then = known.shown.get(region)
    marks = _marks(
        name, then, control=control, label_config=label_config, assumed=assumed, changed=changed, known=known
    )
    if len(marks) < 2:
        return marks
    return (then.mark,) if then is not None and then.mark in marks and not changed else (UNKNOWN,)


def _marks(
    name: str | None,
    then: Shown | None,
    *,
    control: str,
    label_config: str,
    assumed: bool,
    changed: bool,
    known: Known,
) -> Marks:
    now = _meanings(label_config, control)
    if name is None:
        # A name that the config still has was taken off by hand, except by an editor that has no such control any more.
        unnamed = (
            then is not None
            and not changed
            and (then.word is None or now.of(then.word) is None or _lost_control(label_config, then.drawn_by))
        )
        return (then.mark,) if then is not None and unnamed else (UNKNOWN,)
    marks = now.of(name)
    if marks is not None:
        if then is not None and then.word == name and then.mark not in marks:
            return (UNKNOWN,)  # nobody renamed it: the label has come to mean something else
        if assumed and _opinions((*known.configs, *known.rumoured), control, name) - {marks}:
            return (UNKNOWN,)
        return marks
    if then is not None and then.word == name:
        return (then.mark,)
    before = meant(name, control=control, configs=known.configs)
    if before is None:
        before = meant(name, control=control, configs=(*known.configs, *known.rumoured))
    return (UNKNOWN,) if before is None else before


def meant(name: str, *, control: str, configs: Iterable[str]) -> Marks | None:
    """What a name has meant in some label configs; None where none knows it, or where they do not agree.

    A label of theirs counts before a further name that `predicted_values` gives to one.

    Args:
        name: A region's label.
        control: The region's `from_name`.
        configs: Label configs, the newest first.
    """
    readers = [_meanings(config, control) for config in configs]
    for further in (False, True):
        found = [marks for one in readers if (marks := one.of(name, further=further)) is not None]
        named = {marks for marks in found if marks}
        if len(named) == 1:
            return named.pop()
        if found:
            return None if named else ()
    return None


def could_show(label_config: str, one: DrawnBy) -> bool:
    """Whether Label Studio's editor draws a region under a label config, which may be a later one than its own.

    As seen in 1.23.2: it leaves out a region whose image has another name now. One whose control is not there any more
    loses its label, and goes to another control of its kind on that image; where there is none, it is left out, too.
    """
    tags = _tags(label_config)
    if not any(_fits(name, one.image) for _, name, _ in tags):
        return False
    if any(_fits(name, one.control) for _, name, _ in tags):
        return True
    kinds = {one.kind, one.kind.removesuffix("labels"), "labels"}
    return any(kind in kinds and any(_fits(name, one.image) for name in wanted) for kind, _, wanted in tags)


def _lost_control(label_config: str, one: DrawnBy | None) -> bool:
    return one is not None and not any(_fits(name, one.control) for _, name, _ in _tags(label_config))


@lru_cache(maxsize=256)
def _tags(label_config: str) -> tuple[tuple[str, str, tuple[str, ...]], ...]:
    """The kind of each named tag in small letters, its name, and the names of those that it is for.

    What a Repeater puts a number for is `_NUMBER` in a name.
    """
    try:
        root = read_tags(label_config)
    except LabelConfigError:
        return ()
    flags = {one.flag for one in repeats(root).values()}

    def numbered(name: str) -> str:
        return next((name.replace(flag, _NUMBER, 1) for flag in flags if flag in name), name)

    named = [tag for tag in root.iter() if isinstance(tag.tag, str) and tag.get("name")]
    return tuple(
        (tag.tag.rpartition("}")[2].lower(), numbered(tag.get("name", "")), tuple(map(numbered, targets(tag))))
        for tag in named
    )


def _fits(name: str, borne: str) -> bool:
    """Whether a tag's name is the one that a region bears; a Repeater puts a number into some."""
    before, numbered, after = name.partition(_NUMBER)
    if not numbered:
        return name == borne
    middle = borne[len(before) : len(borne) - len(after)]
    return middle.isdecimal() and borne == before + middle + after


def _opinions(configs: Iterable[str], control: str, name: str) -> set[Marks]:
    found = (_meanings(config, control).of(name, further=False) for config in configs)
    return {marks for marks in found if marks}


@dataclass(frozen=True, kw_only=True)
class _Meanings:
    """One label config's words for regions of one control.

    Attributes:
        labels: By label as regions bear it; marks of those that have any.
        further: The same by the further names of `predicted_values`, in small letters.
        other: Whether the control is of another kind: then none of its names means a mark.
    """

    labels: Mapping[str, Marks]
    further: Mapping[str, Marks]
    other: bool = False

    def of(self, name: str, *, further: bool | None = None) -> Marks | None:
        """The marks of a name; None where it is not known. `further` looks only among such names, or only elsewhere."""
        if self.other:
            return ()
        if further is not True and name in self.labels:
            return self.labels[name]
        return self.further.get(name.strip().casefold()) if further is not False else None


@lru_cache(maxsize=1024)
def _meanings(label_config: str, control: str) -> _Meanings:
    """The words of a control; of all controls where the config has none of that name, as after a rename."""
    try:
        found = namings(label_config)
    except LabelConfigError:
        return _Meanings(labels={}, further={})
    mine = [one for one in found if one.control == control]
    if mine and all(one.other for one in mine):
        return _Meanings(labels={}, further={}, other=True)
    return _Meanings(
        labels=_agreed((name, marks) for one in mine or found for name, marks in one.labels.items()),
        further=_agreed((name, marks) for one in mine or found for name, marks in one.further.items()),
    )


def _agreed(pairs: Iterable[tuple[str, Marks]]) -> dict[str, Marks]:
    """By name; a name that stands for different things in different controls is left out."""
    found: dict[str, set[Marks]] = {}
    for name, marks in pairs:
        found.setdefault(name, set()).add(marks)
    return {name: marks.pop() for name, marks in found.items() if len(marks) == 1}
