"""Pages with known marks to measure on: drawn pages, and the real pages that may lie beside the project."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from backend.geometry import Boxes, areas, as_boxes, coverage
from backend.synthetic.drawn_page import draw_page
from backend.training.training_pages import document_of, sides_of
from backend.vision.network_config import MARKS

__all__ = ["DRAWN_DPI", "REALDATA", "Mark", "TruePage", "drawn_pages", "real_pages"]

REALDATA = Path(__file__).resolve().parents[2] / "shared" / "realdata"
DRAWN_DPI = (200, 150, 300, 100)
"""Resolutions of the drawn pages, in turn."""

_SMALL = 0.004
"""Share of the page below which a mark is small: 16 mm squared on A4."""
_DONT_CARE = ("handwriting", "seal_sticker", "ignore")
_OVER = 0.2
"""Share of a signature inside a stamp from which it lies over it."""
_BESIDE = 0.5
"""How much of its own size a mark is grown by, at each side, to look for handwriting beside it."""


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A true mark: its class and what makes it easy or hard to find.

    Attributes:
        label: Its class.
        box: xyxy pixels.
        coloured: Whether its ink has a colour that the page shows: what a person said who boxed it, or what it was
            drawn in. On a grey scan nothing has.
        traits: What else is known, such as `faded`.
    """

    label: str
    box: tuple[float, float, float, float]
    coloured: bool = False
    traits: tuple[str, ...] = ()

    @property
    def groups(self) -> tuple[str, ...]:
        """What it is counted under."""
        return "all", "coloured ink" if self.coloured else "black ink", *self.traits


@dataclass(frozen=True, kw_only=True, eq=False)
class TruePage:
    """A page with the marks that are on it.

    Attributes:
        name: For people to read.
        pixels: (H, W, 3) uint8 RGB.
        dpi: Resolution, where it is known.
        marks: The marks; real pages of some subsets do not list all of them.
        ignored: (N, 4) boxes of things that are neither right nor wrong to find.
        side: Of the split that training uses: train, validation, or gold, which no training saw.
        complete: Classes of which every mark is among `marks`.
        document: What the page belongs to; empty where that is not asked for.
        source: Who collected it, where that is known.
    """

    name: str
    pixels: NDArray[np.uint8]
    dpi: float | None
    marks: tuple[Mark, ...]
    ignored: Boxes = field(default_factory=lambda: as_boxes([]))
    side: str = "gold"
    complete: tuple[str, ...] = MARKS
    document: str = ""
    source: str = ""

    @property
    def held_out(self) -> bool:
        """Whether neither a training nor a choice saw the page's document."""
        return self.side == "gold"

    @property
    def boxes(self) -> Boxes:
        return as_boxes([mark.box for mark in self.marks])


def drawn_pages(seeds: range, *, lookalikes: int = 0) -> Iterator[TruePage]:
    """Drawn pages of the given seeds, at the resolutions of `DRAWN_DPI` in turn; with things that only look like marks.

    Each has up to so many of them: filled-in words, brands in a script face, and smudges.
    """
    for seed in seeds:
        page = draw_page(seed, dpi=DRAWN_DPI[seed % len(DRAWN_DPI)], lookalikes=lookalikes)
        grey = bool((np.ptp(page.pixels[::4, ::4].astype(int), axis=2)).mean() < 1)
        marks = []
        for mark in page.marks:
            traits = {
                "faded": mark.faded,
                "overlap": mark.overlaps,
                "partial": mark.partial,
                "small": _is_small(mark.box, page.pixels),
                "grey scan": grey,
            }
            held = tuple(name for name, holds in traits.items() if holds)
            coloured = not grey and "black" not in mark.ink
            marks.append(Mark(label=mark.label, box=mark.box, coloured=coloured, traits=held))
        name = f"drawn {seed}"
        yield TruePage(name=name, document=name, pixels=page.pixels, dpi=page.dpi, marks=tuple(marks))


def _is_small(box: tuple[float, float, float, float], pixels: NDArray[np.uint8]) -> bool:
    return bool(areas(as_boxes([box]))[0] < _SMALL * pixels.shape[0] * pixels.shape[1])


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
        pixels = np.ascontiguousarray(image[..., ::-1], np.uint8)
        yield TruePage(
            name=Path(entry["file"]).name,
            document=document_of(entry),
            pixels=pixels,
            dpi=None,
            marks=_real_marks(entry["boxes"], pixels),
            ignored=as_boxes([_corners(box) for box in entry["boxes"] if box["class"] in _DONT_CARE]),
            side=sides[document_of(entry)],
            complete=MARKS if entry["kind"] == "negative" else _known(entry),
            source=str(entry.get("source", "")).split("/")[0].split(" ")[0],
        )


def _known(entry: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(mark for mark in MARKS if mark in entry.get("label_scope", ()))


def _corners(box: Mapping[str, Any]) -> tuple[float, float, float, float]:
    return box["x"], box["y"], box["x"] + box["w"], box["y"] + box["h"]


def _real_marks(boxes: Sequence[Mapping[str, Any]], pixels: NDArray[np.uint8]) -> tuple[Mark, ...]:
    """The marks among a page's boxes, with what makes each of them hard."""
    stamps = as_boxes([_corners(box) for box in boxes if box["class"] == "stamp"])
    written = as_boxes([_corners(box) for box in boxes if box["class"] == "handwriting"])
    marks = []
    for box in boxes:
        if box["class"] not in MARKS:
            continue
        own = as_boxes([_corners(box)])
        grown = own + _BESIDE * np.tile(own[:, 2:] - own[:, :2], 2) * [-1, -1, 1, 1]
        traits = {
            "over a stamp": box["class"] == "signature" and coverage(own, stamps).max(initial=0) >= _OVER,
            "beside handwriting": coverage(written, grown).max(initial=0) > 0,
            "small": _is_small(_corners(box), pixels),
        }
        held = tuple(name for name, holds in traits.items() if holds)
        coloured = box.get("ink") not in (None, "black")
        marks.append(Mark(label=box["class"], box=_corners(box), coloured=coloured, traits=held))
    return tuple(marks)
