"""Crops on disk: small JPEG files, an index by page, and the side of the split that each document is on for ever."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from backend.errors import TrainingError
from backend.files import write_private
from backend.geometry import Boxes, as_boxes
from backend.pages.encoding import jpeg_bytes
from backend.vision.network_config import CLASSES

__all__ = [
    "MARGIN",
    "SPLITS",
    "Crop",
    "CropFolder",
    "LabelledBox",
    "box_within",
    "cut",
    "split_of",
    "truth_of_crops",
]

SPLITS = ("train", "validation", "gold")
MARGIN = 0.125
"""Context kept on each side of a crop, as a share of its box, so that augmentation can move the box."""
_LONGEST = 320
_QUALITY = 95


@dataclass(frozen=True, kw_only=True)
class Crop:
    """One line of the index.

    Attributes:
        file: Image file, relative to the store's folder.
        document: Names the document, whose crops all stay on one side of the split.
        split: One of `SPLITS`.
        label: One of the classes.
        domain: `drawn` or `real`.
        source: Where the page comes from, finer than the domain.
        origin: `candidate` (the detector's box), `truth` (the annotation's), `patch` (random), `crop` (came as one).
        licence: Of the page.
    """

    file: str
    document: str
    split: str
    label: str
    domain: str
    source: str
    origin: str
    licence: str


@dataclass(frozen=True, kw_only=True)
class LabelledBox:
    """A labelled box of a page, before it is cut out."""

    box: tuple[float, float, float, float]
    label: str
    origin: str


def split_of(document: str, shares: Sequence[float] = (0.70, 0.15, 0.15)) -> str:
    """The side of a document: its SHA-256 as a number in [0, 1), against the cumulated `shares` of `SPLITS`."""
    place = int.from_bytes(hashlib.sha256(document.encode()).digest()[:8], "big") / 2**64
    bounds = np.cumsum(shares)
    return SPLITS[min(int(np.searchsorted(bounds, place, side="right")), len(SPLITS) - 1)]


def cut(pixels: NDArray[np.uint8], box: Boxes) -> NDArray[np.uint8]:
    """Cuts `box` (4,) with `MARGIN` around it out of an (H, W, 3) page; what lies off the page repeats its edge.

    The longer side is shrunk to 320 pixels where it is longer.
    """
    height, width = pixels.shape[:2]
    margin = MARGIN * np.tile(box[2:] - box[:2], 2) * [-1, -1, 1, 1]
    left, top, right, bottom = (int(value) for value in np.round(box + margin))
    right, bottom = max(right, left + 1), max(bottom, top + 1)
    inside = pixels[max(0, top) : min(height, bottom), max(0, left) : min(width, right)]
    if not inside.size:
        raise ValueError(f"the box {np.round(box, 1).tolist()} lies outside a page of {width} x {height} pixels")
    crop = cv2.copyMakeBorder(
        inside,
        top=max(0, -top),
        bottom=max(0, bottom - height),
        left=max(0, -left),
        right=max(0, right - width),
        borderType=cv2.BORDER_REPLICATE,
    )
    scale = _LONGEST / max(crop.shape[:2])
    if scale < 1:
        size = max(1, round(crop.shape[1] * scale)), max(1, round(crop.shape[0] * scale))
        crop = cv2.resize(crop, size, interpolation=cv2.INTER_AREA)
    return np.asarray(crop, np.uint8)


def box_within(crop: NDArray[np.uint8]) -> Boxes:
    """The box of a stored crop within its pixels, (1, 4)."""
    height, width = crop.shape[:2]
    margin = np.array([width, height, -width, -height]) * MARGIN / (1 + 2 * MARGIN)
    return as_boxes(np.array([0, 0, width, height]) + margin)


def truth_of_crops(crops: Sequence[Crop]) -> NDArray[np.int64]:
    """Indices into `CLASSES`, (N,)."""
    return np.array([CLASSES.index(crop.label) for crop in crops], np.int64)


class CropFolder:
    """A folder of crops that grows page by page; a page is in it wholly or not at all.

    Args:
        folder: Where the crops are; made when missing.
        only: Names of the pages whose crops are read; those of all pages where None.
    """

    def __init__(self, folder: Path, *, only: Collection[str] | None = None) -> None:
        self.folder = folder
        self._only = only
        self._pages = folder / "pages"
        self._images = folder / "images"

    def __contains__(self, page: str) -> bool:
        return self._index_file(page).exists()

    def add(self, page: str, pixels: NDArray[np.uint8], found: Iterable[LabelledBox], facts: Mapping[str, str]) -> None:
        """Cuts the found boxes out of a page and indexes them; `facts` are the remaining fields of `Crop`."""
        key = _key(page)
        self._images.mkdir(parents=True, exist_ok=True)
        self._pages.mkdir(parents=True, exist_ok=True)
        lines = []
        for number, one in enumerate(found):
            name = f"images/{key}-{number:03d}.jpg"
            picture = jpeg_bytes(cut(pixels, np.array(one.box)), quality=_QUALITY, full_colour=True)
            write_private(self.folder / name, picture)
            lines.append(Crop(file=name, label=one.label, origin=one.origin, **facts))
        write_private(self._index_file(page), json.dumps([dataclasses.asdict(line) for line in lines]))

    def read(self) -> list[Crop]:
        """All crops, in an order that does not depend on the order in which they were made."""
        wanted = None if self._only is None else {self._index_file(page) for page in self._only}
        files = [file for file in sorted(self._pages.glob("*.json")) if wanted is None or file in wanted]
        return [Crop(**line) for file in files for line in json.loads(file.read_text(encoding="utf-8"))]

    def image(self, crop: Crop) -> NDArray[np.uint8]:
        """The (h, w, 3) RGB pixels of a crop, its margin included.

        Raises:
            TrainingError: The file is missing or is no image.
        """
        pixels = cv2.imread(str(self.folder / crop.file), cv2.IMREAD_COLOR_RGB)
        if pixels is None:
            raise TrainingError(
                f"{self.folder / crop.file} is no readable image: delete its page from the store and harvest again"
            )
        return np.asarray(pixels, np.uint8)

    def checksum(self) -> str:
        """Names the data: SHA-256 over the index and all image files, as hexadecimal digits."""
        digest = hashlib.sha256()
        for crop in self.read():
            digest.update(json.dumps(dataclasses.asdict(crop), sort_keys=True).encode())
            digest.update((self.folder / crop.file).read_bytes())
        return digest.hexdigest()

    def _index_file(self, page: str) -> Path:
        return self._pages / f"{_key(page)}.json"


def _key(page: str) -> str:
    return hashlib.sha256(page.encode()).hexdigest()[:16]
