"""A review as one HTML page that needs no other file and no network, for its owner's eyes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined

from backend.review.doubts import Kind, Place
from backend.review.pictures import pictures

if TYPE_CHECKING:
    from backend.review.doubts import Review
    from backend.review.sources import Source

__all__ = ["html_report"]

_MEANINGS = {
    Kind.OVERLOOKED: "the model is sure of a mark, and no box is there",
    Kind.SWAPPED: "the model has another name for what is in the box",
    Kind.BADLY_PLACED: "the model's box of that name lies elsewhere",
}


def html_report(review: Review, source: Source, *, what: str, label_studio: str, most: int) -> str:
    """The report. It holds pictures of the pages: write it with `private.write_private`.

    Args:
        review: What was found.
        source: Where the pages are, which are read again for the pictures.
        what: What was reviewed, in words.
        label_studio: Its address, to which tasks are linked.
        most: Pages that are shown at most, the least believed.
    """
    environment = Environment(
        loader=PackageLoader("backend.review"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    shown = review.doubted[:most]
    return environment.get_template("review.html").render(
        review=review,
        what=what,
        shown=shown,
        pictures=pictures(shown, source),
        meanings=_MEANINGS,
        link=lambda place: _link(label_studio, place),
        moment=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )


def _link(label_studio: str, place: Place) -> str | None:
    """Where the task is opened in Label Studio; None for a page that is not of one."""
    if place.task is None:
        return None
    return f"{label_studio.rstrip('/')}/projects/{place.project}/data?task={place.task}"
