"""Labelled pages on disk, for detectors to learn from and crops to be cut from; each is there wholly or not at all."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from backend.errors import TrainingError
from backend.files import write_private
from backend.pages.encoding import jpeg_bytes

__all__ = ["JoinedPages", "LabelledPage", "LabelledPages", "PageStore"]

Corners = tuple[float, float, float, float]

_QUALITY = 94


@dataclass(frozen=True, kw_only=True)
class LabelledPage:
    """One page of the store and what is known about it.

    Attributes:
        name: Of the page, unique in the store.
        document: Names the document, whose pages all stay on one side of the split.
        split: `train`, `validation` or `gold`.
        domain: `drawn` or `real`.
        source: Where the page comes from, finer than the domain.
        licence: Of the page.
        dpi: Its resolution, where a reader of the file would know it.
        boxes: xyxy pixels of its marks.
        labels: Their classes.
        ignored: Places about which nothing is said, such as handwriting that is no signature.
        complete: The classes whose marks are all boxed; `handwriting` and `print` too where everything is boxed.
        logos: Boxes that somebody could take for a mark, and that are none.
        handwriting: Boxes of filled-in names, dates and numbers, which are no signatures.
        sha256: Of its pixels as they came, where the ledger would know them by it: the store compresses them.
    """

    name: str
    document: str
    split: str
    domain: str
    source: str
    licence: str
    dpi: float | None
    boxes: tuple[Corners, ...] = ()
    labels: tuple[str, ...] = ()
    ignored: tuple[Corners, ...] = ()
    complete: tuple[str, ...] = ()
    logos: tuple[Corners, ...] = ()
    handwriting: tuple[Corners, ...] = ()
    sha256: str = ""

    @classmethod
    def from_json(cls, facts: dict[str, Any]) -> LabelledPage:
        """The page that `dataclasses.asdict` and JSON made of one."""
        lists = {
            name: tuple(map(tuple, facts[name]))
            for name in ("boxes", "ignored", "logos", "handwriting")
            if name in facts
        }
        return cls(**facts | lists | {name: tuple(facts[name]) for name in ("labels", "complete")})


class PageStore:
    """A folder of labelled pages.

    Args:
        folder: Where they are; made when missing.
        only: Names of the pages that are read; all of them where None.
    """

    def __init__(self, folder: Path, *, only: Collection[str] | None = None) -> None:
        self.folder = folder
        self._only = only

    def __contains__(self, name: str) -> bool:
        return self._facts_file(name).exists()

    def add(self, page: LabelledPage, pixels: NDArray[np.uint8]) -> None:
        """Writes the (H, W, 3) RGB pixels, then what is known: a page without the latter is not in the store."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self._image_file(page.name)
        write_private(path, jpeg_bytes(pixels, quality=_QUALITY, full_colour=True))
        facts = dataclasses.asdict(page)
        if not page.sha256:
            del facts["sha256"]
        write_private(self._facts_file(page.name), json.dumps(facts))

    def read(self) -> list[LabelledPage]:
        """All pages, in an order that does not depend on the order in which they were made."""
        wanted = None if self._only is None else {self._facts_file(name) for name in self._only}
        files = [file for file in sorted(self.folder.glob("*.json")) if wanted is None or file in wanted]
        return [LabelledPage.from_json(json.loads(file.read_text(encoding="utf-8"))) for file in files]

    def seen(self) -> set[str]:
        """What a training on these pages sees: documents off the gold side, and the SHA-256 of pages where known."""
        pages = [page for page in self.read() if page.split != "gold"]
        return {page.document for page in pages} | {page.sha256 for page in pages if page.sha256}

    def pixels(self, page: LabelledPage) -> NDArray[np.uint8]:
        """The (H, W, 3) RGB pixels of a page.

        Raises:
            TrainingError: The file is missing or is no image.
        """
        path = self._image_file(page.name)
        pixels = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
        if pixels is None:
            raise TrainingError(f"{path} is no readable image: delete {self._facts_file(page.name)} and draw it again")
        return np.asarray(pixels, np.uint8)

    def checksum(self) -> str:
        """Names the data: SHA-256 over what is known of all pages, and their image files, as hexadecimal digits."""
        digest = hashlib.sha256()
        for page in self.read():
            digest.update(json.dumps(dataclasses.asdict(page), sort_keys=True).encode())
            digest.update(self._image_file(page.name).read_bytes())
        return digest.hexdigest()

    def _facts_file(self, name: str) -> Path:
        return self.folder / f"{_key(name)}.json"

    def _image_file(self, name: str) -> Path:
        return self.folder / f"{_key(name)}.jpg"


class LabelledPages(Protocol):
    """Where labelled pages come from."""

    def read(self) -> list[LabelledPage]:
        """All pages, always in the same order."""
        ...

    def pixels(self, page: LabelledPage) -> NDArray[np.uint8]:
        """The (H, W, 3) RGB pixels of a page."""
        ...


class JoinedPages:
    """Several stores as one, in their order; no two hold a page of the same name."""

    def __init__(self, stores: Sequence[PageStore]) -> None:
        self._stores = stores

    def read(self) -> list[LabelledPage]:
        """The pages of all of them."""
        return [page for store in self._stores for page in store.read()]

    def pixels(self, page: LabelledPage) -> NDArray[np.uint8]:
        """The (H, W, 3) RGB pixels of a page.

        Raises:
            TrainingError: No store has it, or its file is no image.
        """
        for store in self._stores:
            if page.name in store:
                return store.pixels(page)
        raise TrainingError(f"no store has the page {page.name}")


def _key(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:16]
