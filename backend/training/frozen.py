"""Pages of frozen data sets among those of a training: their part of an epoch, and a run of their own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from tqdm import tqdm

from backend.dataset.freezing import datasets
from backend.errors import TrainingError
from backend.nets.weights import BUNDLED
from backend.training.pagestore import LabelledPage, PageStore

if TYPE_CHECKING:
    from backend.dataset.manifest import FrozenPage
    from backend.dataset.store import Version
    from backend.settings import Settings

__all__ = ["add_frozen", "ask_for_folder", "collect_frozen", "has_frozen", "is_frozen", "run_name", "shared"]

_DOMAINS = {"label-studio": "real", "coco": "real", "drawn": "drawn"}
_DIGITS = 12
_SOURCE = "dataset-"
SHOWINGS = 3.0
"""How often an epoch shows a page or a crop of a data set, as long as they are few."""
MOST = 0.3
"""Most of an epoch that all data sets make together."""


class Sourced(Protocol):
    """A page of a store, or a crop."""

    @property
    def source(self) -> str: ...


class Checked(Protocol):
    """A store that can name its data."""

    def checksum(self) -> str: ...


def collect_frozen(work: Path, names: Sequence[str], settings: Settings) -> None:
    """Adds the pages of data sets to `work/pages`.

    Raises:
        DatasetError: There is no data set of that name, or it is damaged.
    """
    versions = [datasets(settings).open(name) for name in names]
    for version in versions:
        add_frozen(PageStore(work / "pages"), version)


def add_frozen(store: PageStore, version: Version) -> int:
    """Adds a version's pages, each on its side of the split, complete in the classes that it is labelled for.

    Pages that are in the store already are passed over. Gives the number that was added.

    Raises:
        DatasetError: A page is damaged.
    """
    added = 0
    for page in tqdm(version.manifest.pages, unit="page", desc=version.name, disable=None):
        facts = _facts(page, version)
        if facts.name not in store:
            store.add(facts, version.pixels(page))
            added += 1
    return added


def is_frozen(one: Sourced) -> bool:
    """Whether a page or a crop is of a data set."""
    return one.source.startswith(_SOURCE)


def has_frozen(found: Iterable[Sourced]) -> bool:
    """Whether some page or crop is of a data set."""
    return any(map(is_frozen, found))


def shared(
    shares: Mapping[str, float],
    groups: Sequence[str],
    new: Collection[str],
    *,
    samples: int,
    showings: float = SHOWINGS,
    most: float = MOST,
    times: Mapping[str, float] | None = None,
) -> Mapping[str, float]:
    """The shares of a recipe, and beside them one for each new group that it has no share for.

    Without a share a group is never shown. An epoch shows each of its members some times; where that would be too much
    of the epoch, they take turns.

    Args:
        shares: The recipe's, by group.
        groups: The group of each page or crop that trains.
        new: Groups of data sets, or of annotators' own pages.
        samples: Pages or crops of an epoch.
        showings: How often an epoch shows each member of the new groups, as long as they are few.
        most: Most of an epoch that all of them make together.
        times: How many times as often it shows those of some of the groups.
    """
    counts = Counter(group for group in groups if group in new and group not in shares)
    if not counts:
        return shares
    weighed = {name: count * (times or {}).get(name, 1.0) for name, count in sorted(counts.items())}
    total = sum(weighed.values())
    there = sum(share for name, share in shares.items() if name in set(groups)) or 1.0
    part = min(most, showings * total / samples)
    each = there * part / (1 - part) / total
    return {**shares, **{name: each * weight for name, weight in weighed.items()}}


def run_name(kind: str, digest: str, found: Iterable[Sourced], store: Checked) -> str:
    """Name of the folder of a run: by its recipe, and with data sets by the data as well.

    What is drawn, and what comes from outside, is added once; another data set makes another training.
    """
    return f"{kind}-{digest}-{store.checksum()[:_DIGITS]}" if has_frozen(found) else f"{kind}-{digest}"


def ask_for_folder(out: Path) -> None:
    """Refuses the folder of the bundled weights for what learnt from data sets: only the gate lets such weights serve.

    Raises:
        TrainingError: It is that folder.
    """
    if out.resolve() == BUNDLED.resolve():
        raise TrainingError(
            "what learns from a data set does not overwrite the bundled weights: name another folder with --out; then "
            "`models publish` it and ask the gate with `models judge`"
        )


def _facts(page: FrozenPage, version: Version) -> LabelledPage:
    return LabelledPage(
        name=f"{version.id[:_DIGITS]}-{page.name}",
        document=page.document,
        split=page.split,
        domain=_DOMAINS[version.manifest.source],
        source=f"{_SOURCE}{version.name}",
        licence="private",
        dpi=page.dpi,
        boxes=tuple(mark.box for mark in page.marks),
        labels=tuple(mark.label for mark in page.marks),
        ignored=page.ignored,
        complete=page.classes,
        sha256=page.sha256,
    )
