"""Doubts as pictures: the place on the page with some context, the annotator's boxes and the model's over it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from backend.errors import BackendError
from backend.evaluation.mistakes import Box
from backend.evaluation.pictures import CutOut, cut_out
from backend.review.doubts import Doubt, Kind, ReviewedPage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from backend.review.sources import Source

__all__ = ["Picture", "pictures"]


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One doubt to look at.

    Attributes:
        page: Its page.
        doubt: What it is.
        cut: The place; None where the page could not be read again.
        given: x, y, width, height on the image of the annotator's box; None where there is none.
        seen: The same of the model's box; None where it is the annotator's.
        others: The same of the annotator's other boxes that reach into the image.
        reason: Why there is no place, in words.
    """

    page: ReviewedPage
    doubt: Doubt
    cut: CutOut | None = None
    given: Box | None = None
    seen: Box | None = None
    others: tuple[Box, ...] = ()
    reason: str = ""


def pictures(pages: Sequence[ReviewedPage], source: Source) -> Iterator[Picture]:
    """A picture of each doubt, page by page; each page is read once."""
    for page in pages:
        try:
            pixels = source.page(page.place).pixels
        except BackendError as error:
            yield from (Picture(page=page, doubt=one, reason=str(error)) for one in page.doubts)
        else:
            yield from (_picture(page, one, pixels) for one in page.doubts)


def _picture(page: ReviewedPage, doubt: Doubt, pixels: NDArray[np.uint8]) -> Picture:
    cut = cut_out(pixels, [one.box for one in (doubt.given, doubt.seen) if one is not None])
    others = (cut.placed(one.box) for one in page.given if one != doubt.given)
    return Picture(
        page=page,
        doubt=doubt,
        cut=cut,
        given=cut.placed(doubt.given.box) if doubt.given else None,
        seen=None if doubt.kind is Kind.SWAPPED else cut.placed(doubt.seen.box),
        others=tuple(one for one in others if _reaches(one, cut)),
    )


def _reaches(box: Box, cut: CutOut) -> bool:
    x, y, across, down = box
    return x < cut.width and y < cut.height and x + across > 0 and y + down > 0
