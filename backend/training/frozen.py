"""Pages of frozen data sets, for the detector to learn from and crops to be cut from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from backend.dataset.freezing import datasets
from backend.training.pagestore import LabelledPage, PageStore

if TYPE_CHECKING:
    from backend.dataset.manifest import FrozenPage
    from backend.dataset.store import Version
    from backend.settings import Settings

__all__ = ["add_frozen", "collect_frozen"]

_DOMAINS = {"label-studio": "real", "coco": "drawn"}
_DIGITS = 12


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


def _facts(page: FrozenPage, version: Version) -> LabelledPage:
    return LabelledPage(
        name=f"{version.id[:_DIGITS]}-{page.name}",
        document=page.document,
        split=page.split,
        domain=_DOMAINS[version.manifest.source],
        source=f"dataset-{version.name}",
        licence="private",
        dpi=page.dpi,
        boxes=tuple(mark.box for mark in page.marks),
        labels=tuple(mark.label for mark in page.marks),
        ignored=page.ignored,
        complete=page.classes,
    )
