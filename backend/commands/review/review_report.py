"""A review as one HTML page that needs no other file and no network, for its owner's eyes.

Doubts as pictures: the place on the page with some context, the annotator's boxes and the model's over it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from backend.commands.review.doubts import Doubt, Kind, Place, ReviewedPage
from backend.errors import BackendError
from backend.evaluation.mistakes import Box, CutOut, cut_out
from backend.markup import moment, render

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from backend.commands.review.annotated_pages import Source
    from backend.commands.review.doubts import Review

__all__ = ["DoubtPicture", "html_report", "pictures"]

_MEANINGS = {
    Kind.OVERLOOKED: "the model is sure of a mark, and no box is there",
    Kind.SWAPPED: "the model has another name for what is in the box",
    Kind.BADLY_PLACED: "the model's box of that name lies elsewhere",
}


@dataclass(frozen=True, kw_only=True)
class DoubtPicture:
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


def pictures(pages: Sequence[ReviewedPage], source: Source) -> Iterator[DoubtPicture]:
    """A picture of each doubt, page by page; each page is read once."""
    for page in pages:
        try:
            pixels = source.page(page.place).pixels
        except BackendError as error:
            yield from (DoubtPicture(page=page, doubt=one, reason=str(error)) for one in page.doubts)
        else:
            yield from (_picture(page, one, pixels) for one in page.doubts)


def _picture(page: ReviewedPage, doubt: Doubt, pixels: NDArray[np.uint8]) -> DoubtPicture:
    cut = cut_out(pixels, [one.box for one in (doubt.given, doubt.seen) if one is not None])
    others = (cut.placed(one.box) for one in page.given if one != doubt.given)
    return DoubtPicture(
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


def html_report(review: Review, source: Source, *, what: str, label_studio: str, most: int) -> str:
    """The report. It holds pictures of the pages: write it with `private.write_private`.

    Args:
        review: What was found.
        source: Where the pages are, which are read again for the pictures.
        what: What was reviewed, in words.
        label_studio: Its address, to which tasks are linked.
        most: Pages that are shown at most, the least believed.
    """
    shown = review.doubted[:most]
    return render(
        "review.html",
        "backend.commands.review",
        review=review,
        what=what,
        shown=shown,
        pictures=pictures(shown, source),
        meanings=_MEANINGS,
        link=lambda place: _link(label_studio, place),
        moment=moment(time.time()),
    )


def _link(label_studio: str, place: Place) -> str | None:
    """Where the task is opened in Label Studio; None for a page that is not of one."""
    if place.task is None:
        return None
    return f"{label_studio.rstrip('/')}/projects/{place.project}/data?task={place.task}"
