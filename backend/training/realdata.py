"""Openly licensed real pages and single marks, as their manifest lists them; documents stay on one side."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from backend.errors import TrainingError
from backend.nets.config import MARKS
from backend.training.crops import split_of
from backend.training.pagestore import Corners, LabelledPage, PageStore

__all__ = ["MEASURED", "add_real_pages", "document_of", "real_marks", "sides_of"]

MEASURED = "page_full"
"""The subset that the benchmark measures on: most of its documents, and all their images, are kept out of training."""
_MEASURED_SHARES = (0.4, 0.0, 0.6)
_SHARES = (0.70, 0.15, 0.15)
_UNCERTAIN = frozenset({"handwriting", "seal_sticker", "ignore"})
_COMPLETE = {MEASURED: MARKS, "page_bw": ("signature",)}
"""Classes of which every mark is boxed, by subset; on pages without marks it is all of them."""
_COPY_BITS = 3
_HASH_SIDE = 16


def add_real_pages(store: PageStore, folder: Path) -> None:
    """Adds the pages of `folder/manifest.json`; those in the store, and copies of earlier ones, are passed over.

    Raises:
        TrainingError: There is no readable manifest, or it names an image that is missing or unreadable.
    """
    images = _listed(folder / "manifest.json")
    sides = sides_of(images)
    pages = [image for image in images if image["kind"] not in MARKS]
    for image, pixels in _without_copies(tqdm(pages, unit="page", desc="real", disable=None), folder):
        if image["file"] not in store:
            store.add(_facts(image, sides[document_of(image)]), pixels)


def real_marks(folder: Path) -> Iterator[tuple[LabelledPage, NDArray[np.uint8]]]:
    """The images that show one mark, as pages that are all mark, with their (h, w, 3) RGB pixels.

    Raises:
        TrainingError: There is no readable manifest, or it names an image that is missing or unreadable.
    """
    images = _listed(folder / "manifest.json")
    sides = sides_of(images)
    marks = [image for image in images if image["kind"] in MARKS]
    for image, pixels in _without_copies(tqdm(marks, unit="mark", desc="real", disable=None), folder):
        height, width = pixels.shape[:2]
        whole = (0.0, 0.0, float(width), float(height))
        facts = _facts({**image, "boxes": ()}, sides[document_of(image)])
        yield replace(facts, boxes=(whole,), labels=(image["kind"],)), pixels


def sides_of(images: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The side of the split, train, validation or gold, of each document that the manifest's images belong to."""
    measured = {document_of(image) for image in images if image["subset"] == MEASURED}
    documents = {document_of(image) for image in images}
    return {one: split_of(one, _MEASURED_SHARES if one in measured else _SHARES) for one in documents}


def _listed(manifest: Path) -> list[dict[str, Any]]:
    """The images that a manifest lists.

    Raises:
        TrainingError: It cannot be read, or is no manifest.
    """
    try:
        images: list[dict[str, Any]] = json.loads(manifest.read_text(encoding="utf-8"))["images"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(f"{manifest} is no manifest of real pages: {error!r}") from error
    return images


def document_of(image: Mapping[str, Any]) -> str:
    """The document, or where it is known the writer, that an image belongs to, whatever the subset calls it."""
    return str(image.get("writer") or image["document"]).lower().removesuffix("_png_jpg")


def _without_copies(
    images: Iterable[Mapping[str, Any]], folder: Path
) -> Iterator[tuple[Mapping[str, Any], NDArray[np.uint8]]]:
    """The images with their pixels; a page that looks like an earlier one is left out, since it is a copy."""
    seen: list[NDArray[np.bool_]] = []
    for image in images:
        pixels = _read(folder / image["file"])
        if image["kind"] == "page":
            look = _difference_hash(pixels)
            if any(int((look != other).sum()) <= _COPY_BITS for other in seen):
                continue
            seen.append(look)
        yield image, pixels


def _read(path: Path) -> NDArray[np.uint8]:
    pixels = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
    if pixels is None:
        raise TrainingError(f"{path} is listed in the manifest, but is no readable image")
    return np.asarray(pixels, np.uint8)


def _difference_hash(pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Whether each pixel of a 17 x 16 grey thumbnail is brighter than its left neighbour, (256,)."""
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (_HASH_SIDE + 1, _HASH_SIDE), interpolation=cv2.INTER_AREA)
    return np.asarray(small[:, 1:] > small[:, :-1]).ravel()


def _facts(image: Mapping[str, Any], split: str) -> LabelledPage:
    marks = [box for box in image["boxes"] if box["class"] in MARKS]
    return LabelledPage(
        name=image["file"],
        document=f"real-{document_of(image)}",
        split=split,
        domain="real",
        source=image["subset"],
        licence=image["licence"],
        dpi=None,
        boxes=tuple(map(_corners, marks)),
        labels=tuple(box["class"] for box in marks),
        ignored=tuple(_corners(box) for box in image["boxes"] if box["class"] in _UNCERTAIN),
        complete=MARKS if image["kind"] == "negative" else _COMPLETE.get(image["subset"], ()),
        logos=tuple(_corners(box) for box in image["boxes"] if box["class"] == "logo"),
    )


def _corners(box: Mapping[str, float]) -> Corners:
    return box["x"], box["y"], box["x"] + box["w"], box["y"] + box["h"]
