"""What an annotation was made of, by Label Studio: the stored prediction that it names, or whose regions it has."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from backend.errors import LabelStudioError, RequestError
from backend.labelstudio.annotations import Annotation, Region, moment
from backend.labelstudio.vocabulary import Shown

__all__ = ["Parent", "Predictions", "parent_among", "task_parent", "word_of"]

# The prediction is gone, or the token's user may not see it: then the ledger alone tells.
_NOT_TOLD = (401, 403, 404)


@dataclass(frozen=True, kw_only=True)
class Parent:
    """A prediction as Label Studio has it, before the sizes of its pages are known.

    Attributes:
        version: Its model version.
        shown: When it was stored, in seconds since the epoch.
        regions: Its regions, read like an annotation's: by label configs of before, where the present one lacks a name.
    """

    version: str
    shown: float
    regions: Annotation

    @property
    def ids(self) -> frozenset[str]:
        """Ids of its regions."""
        return frozenset(str(one["id"]) for one in self.regions.result if "id" in one)

    def pages(self) -> frozenset[int]:
        """Indices of the pages that bear one."""
        return self.regions.pages()

    def words(self) -> dict[str, Shown]:
        """What was shown under which label, by region id."""
        sizes = dict.fromkeys(self.pages(), (100, 100))
        return {one.id: Shown(mark=one.label, word=word_of(body)) for one, body in self.read(sizes)}

    def read(self, sizes: Mapping[int, tuple[int, int]]) -> tuple[tuple[Region, Mapping[str, Any]], ...]:
        """Its regions, each with Label Studio's JSON of it.

        Args:
            sizes: Width and height in pixels of each upright page that bears one.
        """
        by_id = {str(one.get("id")): one for one in self.regions.result}
        return tuple((one, by_id[one.id]) for one in self.regions.read(sizes))


def parent_among(predictions: Sequence[Mapping[str, Any]], left: Annotation) -> Parent | None:
    """The prediction of a task that an annotation was made of; None where none of them can be it.

    It is the one that the annotation names. If it names none, such as a copy of another annotation, the most shared
    regions decide, of those that the editor took from a prediction.

    Args:
        predictions: Those of the task, as Label Studio's API gives them.
        left: The annotation.
    """
    named = next((one for one in predictions if left.parent is not None and one.get("id") == left.parent), None)
    if named is None:
        taken = frozenset(left.taken_ids())
        shared = [(len(taken & _ids(one)), -place) for place, one in enumerate(predictions)]
        most, place = max(shared, default=(0, 0))
        if not most:
            return None
        named = predictions[-place]
    blank = replace(left, result=(), skipped=False, assumed=False, known=replace(left.known, shown={}))
    result = (one for one in named.get("result") or () if isinstance(one, Mapping) and "id" in one)
    return Parent(
        version=str(named.get("model_version") or ""),
        shown=_stored(named.get("created_at"), otherwise=left.created),
        regions=replace(blank, result=tuple(one for one in result if _is_readable(one, blank))),
    )


class Predictions(Protocol):
    """What is asked of Label Studio; `backend.labelstudio.client.LabelStudio` answers."""

    @property
    def has_token(self) -> bool: ...

    def predictions(self, task: int) -> Sequence[Mapping[str, Any]]: ...


def task_parent(studio_of: Callable[[str], Predictions]) -> Callable[[Annotation], Parent | None]:
    """A function that asks Label Studio what an annotation was made of; None where it is not told.

    It raises LabelStudioError where Label Studio does not answer: asked again, it may.

    Args:
        studio_of: Gives the API, with the token of a project.
    """

    def parent_of(left: Annotation) -> Parent | None:
        studio = studio_of("" if left.project is None else str(left.project))
        if not studio.has_token:
            return None
        try:
            return parent_among(studio.predictions(left.task), left)
        except LabelStudioError as error:
            if error.answered in _NOT_TOLD:
                return None
            raise

    return parent_of


def _is_readable(region: Mapping[str, Any], blank: Annotation) -> bool:
    """Whether a region of a prediction says anything: others than this program make some, too."""
    alone = replace(blank, result=(region,))
    try:
        alone.read(dict.fromkeys(alone.pages(), (100, 100)))
    except RequestError:
        return False
    return True


def _ids(prediction: Mapping[str, Any]) -> frozenset[str]:
    regions: Iterable[Any] = prediction.get("result") or ()
    return frozenset(str(one["id"]) for one in regions if isinstance(one, Mapping) and "id" in one)


def word_of(region: Mapping[str, Any]) -> str | None:
    """A region's label as the label config calls it; None where it has none."""
    value = region.get("value")
    names = value.get(str(region.get("type"))) if isinstance(value, Mapping) else None
    return str(names[0]) if isinstance(names, list) and names else None


def _stored(text: object, *, otherwise: float) -> float:
    try:
        return moment(text)
    except RequestError:
        return otherwise
