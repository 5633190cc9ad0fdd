"""Pages with known marks to measure on: drawn pages, and the real pages that may lie beside the project."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from backend.geometry import Boxes, as_boxes
from backend.synthetic.page import draw_page
from backend.training.realdata import document_of, sides_of

__all__ = ["DRAWN_DPI", "REALDATA", "Mark", "TruePage", "drawn_pages", "real_pages"]

REALDATA = Path(__file__).resolve().parents[2] / "shared" / "realdata"
DRAWN_DPI = (200, 150, 300, 100)
"""Resolutions of the drawn pages, in turn."""

_CARE = ("signature", "stamp", "thumb")
_DONT_CARE = ("handwriting", "seal_sticker", "ignore")


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A true mark: its class and what makes it easy or hard to find."""

    label: str
    box: tuple[float, float, float, float]
    traits: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class TruePage:
    """A page with the marks that are on it.

    Attributes:
        name: For people to read.
        pixels: (H, W, 3) uint8 RGB.
        dpi: Resolution, where it is known.
        marks: The marks; real pages of some subsets do not list all of them.
        ignored: (N, 4) boxes of things that are neither right nor wrong to find.
        held_out: Whether no training saw the page's document.
    """

    name: str
    pixels: NDArray[np.uint8]
    dpi: float | None
    marks: tuple[Mark, ...]
    ignored: Boxes = field(default_factory=lambda: as_boxes([]))
    held_out: bool = True

    @property
    def boxes(self) -> Boxes:
        return as_boxes([mark.box for mark in self.marks])


def drawn_pages(seeds: range) -> Iterator[TruePage]:
    """Drawn pages of the given seeds, at the resolutions of `DRAWN_DPI` in turn."""
    for seed in seeds:
        page = draw_page(seed, dpi=DRAWN_DPI[seed % len(DRAWN_DPI)])
        grey = bool((np.ptp(page.pixels[::4, ::4].astype(int), axis=2)).mean() < 1)
        marks = []
        for mark in page.marks:
            traits = {
                "faded": mark.faded,
                "overlap": mark.overlaps,
                "partial": mark.partial,
                "grey scan": grey,
                "colour scan": not grey,
                f"{mark.ink} ink": not grey,
            }
            held = tuple(name for name, holds in traits.items() if holds)
            marks.append(Mark(label=mark.label, box=mark.box, traits=held))
        yield TruePage(name=f"drawn {seed}", pixels=page.pixels, dpi=page.dpi, marks=tuple(marks))


def real_pages(subset: str, root: Path = REALDATA) -> Iterator[TruePage]:
    """Real pages of one subset of the manifest; their resolution is not known.

    Raises:
        FileNotFoundError: There are no real pages at `root`.
    """
    images = json.loads((root / "manifest.json").read_text())["images"]
    sides = sides_of(images)
    for entry in images:
        if entry["subset"] != subset:
            continue
        image = cv2.imread(str(root / entry["file"]), cv2.IMREAD_COLOR)
        if image is None:
            raise FileNotFoundError(root / entry["file"])
        corners = [(b["x"], b["y"], b["x"] + b["w"], b["y"] + b["h"]) for b in entry["boxes"]]
        marks = tuple(
            Mark(
                label=box["class"],
                box=corner,
                traits=("black ink",) if box.get("ink") in (None, "black") else ("coloured ink", f"{box['ink']} ink"),
            )
            for box, corner in zip(entry["boxes"], corners, strict=True)
            if box["class"] in _CARE
        )
        ignored = [c for b, c in zip(entry["boxes"], corners, strict=True) if b["class"] in _DONT_CARE]
        pixels = np.ascontiguousarray(image[..., ::-1], np.uint8)
        yield TruePage(
            name=Path(entry["file"]).name,
            pixels=pixels,
            dpi=None,
            marks=marks,
            ignored=as_boxes(ignored),
            held_out=sides[document_of(entry)] == "gold",
        )
