"""What changed from one frozen version to another: pages, and marks on the pages that both have."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from backend.corrections.outcomes import Outcome, match
from backend.dataset.manifest import FrozenMark, FrozenPage, Manifest
from backend.labelstudio.annotations import Region

__all__ = ["Change", "Difference", "difference"]

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
    """Compares two versions; pages are the same when their pixels are, marks as the ledger matches them."""
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
