"""What the formats share: checked pages as files, and their folders."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tqdm import tqdm

from backend.dataset.manifest import SPLITS, FrozenPage
from backend.dataset.store import Version

__all__ = ["by_split", "lay", "watched"]


def by_split(version: Version) -> Iterator[tuple[str, list[FrozenPage]]]:
    """Each side of the split that has pages, with them."""
    for split in SPLITS:
        here = [page for page in version.manifest.pages if page.split == split]
        if here:
            yield split, here


def watched(pages: Sequence[FrozenPage], split: str) -> Iterator[FrozenPage]:
    """The pages, with a bar over them on a terminal."""
    yield from tqdm(pages, unit="page", desc=split, disable=None, file=sys.stderr)


def lay(version: Version, page: FrozenPage, folder: Path) -> str:
    """Copies a page, checked, into a folder that is made where needed; gives the file's name.

    Raises:
        DatasetError: The page is damaged.
    """
    version.pixels(page)
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{page.name}.png"
    shutil.copyfile(version.file(page), folder / name)
    return name
