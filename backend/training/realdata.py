"""Openly licensed real pages and crops, as their manifest describes them, become crops; documents stay on one side."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from backend.detection import ColourDetector
from backend.errors import TrainingError
from backend.geometry import Boxes, as_boxes
from backend.nets.config import CLASSES, MARKS, NONE
from backend.training.crops import CropStore, Found, split_of
from backend.training.harvest import finds
from backend.training.labelling import Truth

__all__ = ["MEASURED", "document_of", "found_on_page", "harvest_real", "sides_of"]

MEASURED = "page_full"
"""The subset that the benchmark measures on: most of its documents, and all their images, are kept out of training."""
_MEASURED_SHARES = (0.4, 0.0, 0.6)
_SHARES = (0.70, 0.15, 0.15)
_UNCERTAIN = frozenset({"handwriting", "seal_sticker", "ignore"})
_COPY_BITS = 3
_HASH_SIDE = 16


def harvest_real(store: CropStore, folder: Path) -> None:
    """Adds the images that `folder/manifest.json` lists to `store`; those in it already are passed over.

    Raises:
        TrainingError: There is no readable manifest, or it names an image that is missing or unreadable.
    """
    images = _listed(folder / "manifest.json")
    sides = sides_of(images)
    detector = ColourDetector()
    for image, pixels in _without_copies(tqdm(images, unit="image", desc="real", disable=None), folder, store):
        document = document_of(image)
        facts = {
            "document": f"real-{document}",
            "split": sides[document],
            "domain": "real",
            "source": image["subset"],
            "licence": image["licence"],
        }
        store.add(image["file"], pixels, _found(image, pixels, detector), facts)


def sides_of(images: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The side of the split, train, validation or gold, of each document that the manifest's images belong to."""
    measured = {document_of(image) for image in images if image["subset"] == MEASURED}
    documents = {document_of(image) for image in images}
    return {one: split_of(one, _MEASURED_SHARES if one in measured else _SHARES) for one in documents}


def _listed(manifest: Path) -> list[dict[str, Any]]:
    try:
        images: list[dict[str, Any]] = json.loads(manifest.read_text(encoding="utf-8"))["images"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(f"{manifest} is no manifest of real pages: {error!r}") from error
    return images


def document_of(image: Mapping[str, Any]) -> str:
    """The document, or where it is known the writer, that an image belongs to, whatever the subset calls it."""
    return str(image.get("writer") or image["document"]).lower().removesuffix("_png_jpg")


def _without_copies(
    images: Sequence[Mapping[str, Any]], folder: Path, store: CropStore
) -> Iterator[tuple[Mapping[str, Any], NDArray[np.uint8]]]:
    """The images that are not in the store; a page that looks like an earlier one is left out, since it is a copy."""
    seen: list[NDArray[np.bool_]] = []
    for image in images:
        pixels = _read(folder / image["file"])
        if image["kind"] == "page":
            look = _difference_hash(pixels)
            if any(int((look != other).sum()) <= _COPY_BITS for other in seen):
                continue
            seen.append(look)
        if image["file"] not in store:
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


def _found(image: Mapping[str, Any], pixels: NDArray[np.uint8], detector: ColourDetector) -> list[Found]:
    if image["kind"] in MARKS:
        height, width = pixels.shape[:2]
        return [Found(box=(0.0, 0.0, float(width), float(height)), label=image["kind"], origin="crop")]
    rng = np.random.default_rng([2, *image["file"].encode()])
    return found_on_page(image, detector(pixels).boxes, rng)


def found_on_page(image: Mapping[str, Any], candidates: Boxes, rng: np.random.Generator) -> list[Found]:
    """What a page of the manifest teaches, given the detector's `candidates` (N, 4).

    Only where every mark is boxed can an unmatched candidate be called `none`. Where only stamps are boxed there may be
    unboxed signatures, and even unboxed stamps. A logo that somebody boxed is `none`.
    """
    marks = [box for box in image["boxes"] if box["class"] in MARKS]
    truth = Truth(
        boxes=_boxes(marks),
        labels=tuple(box["class"] for box in marks),
        ignored=_boxes([box for box in image["boxes"] if box["class"] in _UNCERTAIN]),
        complete=image["subset"] == MEASURED or image["kind"] == "negative",
    )
    logos = _boxes([box for box in image["boxes"] if box["class"] == "logo"])
    found = finds(candidates, truth, rng, most_none=len(candidates))
    labels = {one.box for one in found if one.origin == "truth"}
    missing = [
        Found(box=_corners(box), label=label, origin="truth")
        for box, label in zip(truth.boxes, truth.labels, strict=True)
        if _corners(box) not in labels
    ]
    return found + missing + [Found(box=_corners(box), label=CLASSES[NONE], origin="truth") for box in logos]


def _boxes(rows: Sequence[Mapping[str, Any]]) -> Boxes:
    return as_boxes([(row["x"], row["y"], row["x"] + row["w"], row["y"] + row["h"]) for row in rows])


def _corners(box: Boxes) -> tuple[float, float, float, float]:
    left, top, right, bottom = (float(value) for value in box)
    return left, top, right, bottom
