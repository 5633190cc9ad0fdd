"""What a frozen version holds, as values and as canonical JSON, whose SHA-256 is its id; what changed between two."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

from backend.corrections.outcomes import Outcome, match
from backend.errors import DatasetError
from backend.labelstudio.annotations import Region
from backend.vision.network_config import MARKS

__all__ = [
    "SPLITS",
    "Corners",
    "FrozenMark",
    "FrozenPage",
    "FrozenSample",
    "Manifest",
    "Origin",
    "corners",
    "difference",
]

Corners = tuple[float, float, float, float]
SPLITS = ("train", "validation", "gold")
FORMAT = 1
_PLACES = 2
"""Of a box's pixels: Label Studio's percent do not tell more, and rounding noise must not change the id."""


@dataclass(frozen=True, kw_only=True)
class FrozenMark:
    """One mark of a page.

    Attributes:
        id: Label Studio's region id, or one that its place gives.
        label: signature, stamp or thumb.
        box: x1, y1, x2, y2 in pixels of the upright page, around the rectangle as it was turned.
        rotation: Degrees, clockwise, by which the annotator had turned the rectangle.
        traits: What is known of it besides, such as `faded`.
    """

    id: str
    label: str
    box: Corners
    rotation: float = 0.0
    traits: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a page and its marks come from; the annotator is not kept.

    Attributes:
        project: Label Studio's project.
        task: Its task.
        item: Index of the page within the task, from 0.
        annotation: The annotation that rules.
        updated: When that was saved, ISO 8601, UTC.
        shown: Version of the model whose boxes the annotator began with; None where they drew from scratch.
        number: Page number within the document, from 1, where the import kept it.
    """

    project: int
    task: int
    item: int
    annotation: int
    updated: str
    shown: str | None
    number: int | None


@dataclass(frozen=True, kw_only=True)
class FrozenPage:
    """One page.

    Attributes:
        name: Unique in its version, and fit for a file name.
        document: Key of the document, a hash; what is kept on one side of the split.
        split: `train`, `validation` or `gold`.
        sha256: Of the upright pixels, as the ledger has it; the page's file bears it as its name.
        width: Pixels.
        height: Pixels.
        dpi: Dots an inch, where the page's file says so.
        language: Of the document, where it is known.
        classes: Classes of which `marks` holds every mark: those that the annotators had a label for.
        marks: The marks; a page without any was looked at and has none.
        ignored: Boxes about which nothing is said, such as marks that two annotators call by different names.
        origin: Where it was annotated; None for pages that do not come from Label Studio.
    """

    name: str
    document: str
    split: str
    sha256: str
    width: int
    height: int
    dpi: float | None = None
    language: str | None = None
    classes: tuple[str, ...] = MARKS
    marks: tuple[FrozenMark, ...] = ()
    ignored: tuple[Corners, ...] = ()
    origin: Origin | None = None


@dataclass(frozen=True, kw_only=True)
class FrozenSample:
    """One training example of the ledger, as far as it belongs to a page of the version.

    Attributes:
        id: The ledger's.
        page: Name of the page.
        outcome: What the annotator made of what was shown, in the ledger's words.
        label: signature, stamp, thumb or none.
        wrong: What was shown instead, where that differs.
        weak: Whether it counts for less.
        version: Model that had shown the box, if one did.
        box: x1, y1, x2, y2 in pixels of the upright page.
    """

    id: str
    page: str
    outcome: str
    label: str
    wrong: str | None
    weak: bool
    version: str | None
    box: Corners


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """All of a version but its pixels and its name; the same pages, marks and samples make the same bytes.

    Attributes:
        source: `label-studio`; `drawn`, where `draw` wrote every page; or `coco`.
        pages: By name.
        samples: By id.
    """

    source: str
    pages: tuple[FrozenPage, ...]
    samples: tuple[FrozenSample, ...] = ()

    @classmethod
    def of(cls, source: str, pages: Iterable[FrozenPage], samples: Iterable[FrozenSample] = ()) -> Manifest:
        """Brings pages, marks and samples into the one order that the id depends on.

        Raises:
            DatasetError: There are no pages, or two have one name.
        """
        ordered = tuple(
            dataclasses.replace(
                page, marks=tuple(sorted(page.marks, key=lambda one: one.id)), ignored=tuple(sorted(page.ignored))
            )
            for page in sorted(pages, key=lambda page: page.name)
        )
        if not ordered:
            raise DatasetError("there is nothing to freeze: no page was annotated")
        twice = [one.name for one, other in pairwise(ordered) if one.name == other.name]
        if twice:
            raise DatasetError(f"two pages bear the name {twice[0]!r}")
        return cls(source=source, pages=ordered, samples=tuple(sorted(samples, key=lambda one: one.id)))

    @cached_property
    def text(self) -> bytes:
        """Canonical JSON, as it is in `manifest.json`."""
        facts = {"format": FORMAT, **dataclasses.asdict(self), "counts": self.counts()}
        return json.dumps(facts, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()

    @cached_property
    def id(self) -> str:
        """SHA-256 over `text`, 64 hexadecimal digits: what `sha256sum manifest.json` prints."""
        return hashlib.sha256(self.text).hexdigest()

    @classmethod
    def read(cls, text: bytes) -> Manifest:
        """Reads what `text` gave.

        Raises:
            DatasetError: It is no manifest of this format.
        """
        try:
            facts = json.loads(text)
            if facts["format"] != FORMAT:
                raise DatasetError(f"the manifest is of format {facts['format']}, this program reads {FORMAT}")
            samples = tuple(FrozenSample(**one | {"box": tuple(one["box"])}) for one in facts["samples"])
            return cls(source=facts["source"], pages=tuple(map(_page, facts["pages"])), samples=samples)
        except (ValueError, KeyError, TypeError) as error:
            raise DatasetError(f"the manifest cannot be read: {error!r}") from error

    def counts(self) -> dict[str, dict[str, int]]:
        """By split: documents, pages, pages without marks, marks of each class, and samples."""
        return {split: self._counts(split) for split in SPLITS}

    def _counts(self, split: str) -> dict[str, int]:
        pages = [page for page in self.pages if page.split == split]
        names = {page.name for page in pages}
        labels = [mark.label for page in pages for mark in page.marks]
        return {
            "documents": len({page.document for page in pages}),
            "pages": len(pages),
            "pages_without_marks": sum(not page.marks for page in pages),
            **{label: labels.count(label) for label in MARKS},
            "samples": sum(sample.page in names for sample in self.samples),
        }


def corners(box: Iterable[float]) -> Corners:
    """A box as a manifest has it, in hundredths of a pixel."""
    x1, y1, x2, y2 = (round(float(side), _PLACES) for side in box)
    return x1, y1, x2, y2


def _page(facts: dict[str, Any]) -> FrozenPage:
    marks = tuple(
        FrozenMark(**one | {"box": tuple(one["box"]), "traits": tuple(one["traits"])}) for one in facts["marks"]
    )
    return FrozenPage(
        **facts
        | {
            "marks": marks,
            "ignored": tuple(map(tuple, facts["ignored"])),
            "classes": tuple(facts["classes"]),
            "origin": Origin(**facts["origin"]) if facts["origin"] else None,
        }
    )


_STILL = 0.5
"""Pixels that each side of a box may be off without having moved."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """One mark that is not as it was.

    Attributes:
        kind: added, removed, moved or relabelled.
        page: Name of the page, in the later version.
        before: None for an added mark.
        after: None for a removed mark.
    """

    kind: str
    page: str
    before: FrozenMark | None
    after: FrozenMark | None

    def __str__(self) -> str:
        match self.before, self.after:
            case FrozenMark() as old, FrozenMark() as new if old.label != new.label:
                return f"{self.page}: {old.label} is now {new.label} at {_place(new)}"
            case FrozenMark() as old, FrozenMark() as new:
                return f"{self.page}: {new.label} moved from {_place(old)} to {_place(new)}"
            case _, FrozenMark() as new:
                return f"{self.page}: {new.label} added at {_place(new)}"
            case _:
                assert self.before is not None  # noqa: S101  a change has at least one side
                return f"{self.page}: {self.before.label} removed at {_place(self.before)}"


@dataclass(frozen=True, kw_only=True)
class Difference:
    """All that changed.

    Attributes:
        pages_added: Names.
        pages_removed: Names.
        changed_sides: Names of pages whose document is on another side of the split: there should be none.
        changes: Of marks on pages that both have.
        before: Counts by split of the earlier version.
        after: Counts by split of the later one.
    """

    pages_added: tuple[str, ...]
    pages_removed: tuple[str, ...]
    changed_sides: tuple[str, ...]
    changes: tuple[Change, ...]
    before: dict[str, dict[str, int]]
    after: dict[str, dict[str, int]]

    def count(self, kind: str) -> int:
        return sum(one.kind == kind for one in self.changes)

    def as_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "pages_added": list(self.pages_added),
            "pages_removed": list(self.pages_removed),
            "changed_sides": list(self.changed_sides),
            "changes": [
                {
                    "kind": one.kind,
                    "page": one.page,
                    **{
                        side: None if mark is None else {"label": mark.label, "box": list(mark.box)}
                        for side, mark in (("before", one.before), ("after", one.after))
                    },
                }
                for one in self.changes
            ],
            "counts": {"before": self.before, "after": self.after},
        }


def difference(before: Manifest, after: Manifest) -> Difference:
    """Compares two versions. Pages are the same where their pixels are; marks are matched as in the ledger."""
    pairs, removed, added = _paired(before.pages, after.pages)
    return Difference(
        pages_added=tuple(page.name for page in added),
        pages_removed=tuple(page.name for page in removed),
        changed_sides=tuple(new.name for old, new in pairs if old.split != new.split),
        changes=tuple(change for old, new in pairs for change in _changes(old, new)),
        before=before.counts(),
        after=after.counts(),
    )


def _paired(
    before: Iterable[FrozenPage], after: Iterable[FrozenPage]
) -> tuple[list[tuple[FrozenPage, FrozenPage]], list[FrozenPage], list[FrozenPage]]:
    """Pages that both have, those that went, those that came; of copies, those of one name belong together."""
    waiting: dict[str, list[FrozenPage]] = defaultdict(list)
    for page in before:
        waiting[page.sha256].append(page)
    pairs, added = [], []
    named = {(page.sha256, page.name) for pages in waiting.values() for page in pages}
    for page in sorted(after, key=lambda page: ((page.sha256, page.name) not in named, page.name)):
        copies = waiting[page.sha256]
        if not copies:
            added.append(page)
            continue
        old = next((one for one in copies if one.name == page.name), copies[0])
        copies.remove(old)
        pairs.append((old, page))
    removed = sorted((page for pages in waiting.values() for page in pages), key=lambda page: page.name)
    return sorted(pairs, key=lambda pair: pair[1].name), removed, sorted(added, key=lambda page: page.name)


def _changes(old: FrozenPage, new: FrozenPage) -> Iterator[Change]:
    were = {one.id: one for one in old.marks}
    are = {one.id: one for one in new.marks}
    for row in match([_region(one) for one in old.marks], [_region(one) for one in new.marks]):
        before = were[row.shown.id] if row.shown else None
        after = are[row.drawn.id] if row.drawn and row.outcome is not Outcome.DUPLICATE else None
        kind = _kind(before, after)
        if kind:
            yield Change(kind=kind, page=new.name, before=before, after=after)


def _kind(before: FrozenMark | None, after: FrozenMark | None) -> str | None:
    if before is None or after is None:
        return "added" if before is None else "removed"
    if before.label != after.label:
        return "relabelled"
    moved = any(abs(one - other) > _STILL for one, other in zip(before.box, after.box, strict=True))
    return "moved" if moved else None


def _region(mark: FrozenMark) -> Region:
    return Region(id=mark.id, page=0, label=mark.label, box=mark.box)


def _place(mark: FrozenMark) -> str:
    return ", ".join(f"{side:.0f}" for side in mark.box)
