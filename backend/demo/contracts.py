"""Draws the demo's contracts, once for each folder: pages of one image, and a document of several."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from backend.synthetic.page import draw_page
from backend.synthetic.scan import draw_style

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from backend.synthetic.drawn import Language

__all__ = ["document_pages", "draw_contracts", "single_pages"]

_FIRST_SEED = 20_000
_JPEG_QUALITY = 88
# Language and number of marks of each page; one contract has none, as it happens.
_SINGLES: tuple[tuple[Language, int], ...] = (
    ("mixed", 4),
    ("ar", 3),
    ("en", 3),
    ("mixed", 2),
    ("ar", 5),
    ("en", 2),
    ("mixed", 3),
    ("en", 0),
    ("ar", 2),
    ("en", 4),
    ("ar", 1),
)
_DOCUMENT: tuple[tuple[Language, int], ...] = (("mixed", 0), ("mixed", 2), ("mixed", 4))


def single_pages(folder: Path) -> list[Path]:
    """Where the contracts of one page each lie, drawn or not."""
    return [folder / f"contract-{number:02}.jpg" for number in range(1, len(_SINGLES) + 1)]


def document_pages(folder: Path) -> list[Path]:
    """Where the pages of the long contract lie, drawn or not."""
    return [folder / f"long-contract-page-{number}.jpg" for number in range(1, len(_DOCUMENT) + 1)]


def draw_contracts(folder: Path, *, drawn: Callable[[int, int], None]) -> None:
    """Draws the pages that `folder` lacks; `drawn` is told how many of how many are there."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [*single_pages(folder), *document_pages(folder)]
    for index, (path, (language, marks)) in enumerate(zip(paths, (*_SINGLES, *_DOCUMENT), strict=True)):
        if not path.exists():
            _draw(path, _FIRST_SEED + index, language=language, marks=marks)
        drawn(index + 1, len(paths))


def _draw(path: Path, seed: int, *, language: Language, marks: int) -> None:
    # Scans of all sorts, but in colour: the marks in colour are what the program is for.
    style = replace(draw_style(np.random.default_rng(seed)), tone="colour")
    page = draw_page(seed, language=language, marks=marks, style=style)
    partial = path.with_suffix(".part")
    Image.fromarray(page.pixels).save(partial, format="JPEG", quality=_JPEG_QUALITY, dpi=(page.dpi, page.dpi))
    partial.replace(path)
