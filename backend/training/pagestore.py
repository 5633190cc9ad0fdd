"""Labelled pages on disk, for detectors to learn from and crops to be cut from; each is there wholly or not at all."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from backend.errors import TrainingError

__all__ = ["LabelledPage", "PageStore"]

Corners = tuple[float, float, float, float]

_OPTIONS = [
    cv2.IMWRITE_JPEG_QUALITY,
    94,
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
]


@dataclass(frozen=True, kw_only=True)
class LabelledPage:
    """One page of the store and what is known about it.

    Attributes:
        name: Of the page, unique in the store.
        document: What is kept on one side of the split.
        split: `train`, `validation` or `gold`.
        domain: `drawn` or `real`.
        source: Where the page comes from, finer than the domain.
        licence: Of the page.
        dpi: Its resolution, where a reader of the file would know it.
        boxes: xyxy pixels of its marks.
        labels: Their classes.
        ignored: Places about which nothing is said, such as handwriting that is no signature.
        complete: The classes of which every mark is among `boxes`.
        logos: Boxes that somebody could take for a mark, and that are none.
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

    @classmethod
    def from_json(cls, facts: dict[str, Any]) -> LabelledPage:
        """The page that `dataclasses.asdict` and JSON made of one."""
        lists = {name: tuple(map(tuple, facts[name])) for name in ("boxes", "ignored", "logos")}
        return cls(**facts | lists | {name: tuple(facts[name]) for name in ("labels", "complete")})


class PageStore:
    """A folder of labelled pages.

    Args:
        folder: Where they are; made when missing.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __contains__(self, name: str) -> bool:
        return self._facts_file(name).exists()

    def add(self, page: LabelledPage, pixels: NDArray[np.uint8]) -> None:
        """Writes the (H, W, 3) RGB pixels, then what is known: a page without the latter is not in the store."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self._image_file(page.name)
        if not cv2.imwrite(str(path), np.ascontiguousarray(pixels[..., ::-1]), _OPTIONS):
            raise OSError(f"{path} could not be written: check the folder's permissions and the space left")
        target = self._facts_file(page.name)
        aside = target.with_suffix(".part")
        aside.write_text(json.dumps(dataclasses.asdict(page)), encoding="utf-8")
        aside.replace(target)

    def read(self) -> list[LabelledPage]:
        """All pages, in an order that does not depend on the order in which they were made."""
        files = sorted(self.folder.glob("*.json"))
        return [LabelledPage.from_json(json.loads(file.read_text(encoding="utf-8"))) for file in files]

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

    def _facts_file(self, name: str) -> Path:
        return self.folder / f"{_key(name)}.json"

    def _image_file(self, name: str) -> Path:
        return self.folder / f"{_key(name)}.jpg"


def _key(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:16]
