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
from backend.labelstudio.labelling import namings

__all__ = ["NOTHING_KNOWN", "UNKNOWN", "Known", "Shown", "meaning", "meant"]

UNKNOWN = "unknown"
"""The class of a region whose name no label config knows."""

Marks = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A region as it was shown.

    Attributes:
        mark: The class that its label stood for then; `UNKNOWN` where that is not known.
        word: The label itself; None where an older ledger has not kept it.
    """

    mark: str
    word: str | None = None


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
    """The marks that a region's label stands for: none where the label is of something else, `(UNKNOWN,)` if not known.

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
    now = _meanings(label_config, control)
    if name is None:
        # A name that the config still has was taken off by hand.
        unnamed = then is not None and not changed and (then.word is None or now.of(then.word) is None)
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
