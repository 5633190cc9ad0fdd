"""Pages whose marks are known, such as drawn ones → pages of a draft."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from backend.dataset.manifest import Corners, FrozenMark, FrozenPage, corners
from backend.dataset.sides import Look
from backend.errors import DatasetError
from backend.feedback.crops import perceptual
from backend.feedback.splits import document_key
from backend.nets.config import MARKS
from backend.pages.source import from_path

if TYPE_CHECKING:
    from backend.dataset.store import Draft
    from backend.evaluation.truth import TruePage, Truth
    from backend.pages.page import Page
    from backend.settings import Settings

__all__ = ["known_pages"]


def known_pages(
    truth: Truth, draft: Draft, settings: Settings, progress: Callable[[], object]
) -> tuple[list[FrozenPage], list[Look]]:
    """Stores each page, and gives what is known about it, its side left empty, and how its document is known again.

    Raises:
        DatasetError: A page has not the size that its boxes were drawn on.
        PageError: A page cannot be read.
    """
    pages, looks = [], []
    stems = Counter(_stem(page.name) for page in truth.pages)
    for known in sorted(truth.pages, key=lambda page: page.name):
        read = next(from_path(known.path, settings, pages=slice(0, 1)))
        if known.size not in (None, (read.width, read.height)):
            raise DatasetError(
                f"{known.name} is {read.width} x {read.height} pixels when upright, but its boxes were drawn on "
                f"{known.size}: export the COCO file anew from upright images"
            )
        frozen = _page(known, read, draft.add(read.pixels), alone=stems[_stem(known.name)] == 1)
        pages.append(frozen)
        looks.append(Look(document=frozen.document, page_sha256=frozen.sha256, page_phash=perceptual(read.pixels)))
        progress()
    return pages, looks


def _page(known: TruePage, read: Page, sha256: str, *, alone: bool) -> FrozenPage:
    labels = [MARKS[index] for index in known.labels]
    marks = sorted(
        (label, corners(box), tuple(sorted(traits)))
        for label, box, traits in zip(labels, known.boxes, known.traits, strict=True)
    )
    return FrozenPage(
        name=_stem(known.name) if alone else f"{_stem(known.name)}-{_digits(known.name)}",
        document=document_key(known.document, ()),
        split="",
        sha256=sha256,
        width=read.width,
        height=read.height,
        dpi=None if read.dpi is None else round(read.dpi, 2),
        language=known.language,
        marks=tuple(
            # By what it is, so that marks of two versions are told apart by their place, and not by their order.
            FrozenMark(id=f"{_digits(f'{label} {box}')}-{number}", label=label, box=box, traits=traits)
            for (label, box, traits), number in zip(marks, _copies(marks), strict=True)
        ),
        ignored=tuple(corners(box) for box in known.ignored),
    )


def _copies(marks: Sequence[tuple[str, Corners, tuple[str, ...]]]) -> list[int]:
    """How many marks before each one are of its class and at its place."""
    return [sum(other[:2] == one[:2] for other in marks[:place]) for place, one in enumerate(marks)]


def _stem(name: str) -> str:
    """A file name's letters, digits and dashes: fit for a file of any system."""
    return re.sub(r"[^A-Za-z0-9-]+", "-", name.rpartition(".")[0] or name).strip("-") or _digits(name)


def _digits(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:8]
