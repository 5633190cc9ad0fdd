"""A version's statistics as one HTML page that needs no other file and no network, for its owner's eyes.

Bars as inline SVG: no plotting library, no script, and colours of the page's own theme, light or dark.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from markupsafe import Markup, escape

from backend.dataset.manifest import SPLITS
from backend.dataset.statistics import INKS, LARGE_MM, SLICES, SMALL_MM, MarkFacts, Statistics, wants
from backend.markup import render
from backend.pages.encoding import jpeg_uri
from backend.vision.network_config import MARKS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from backend.dataset.store import Version

__all__ = ["bars", "html_report"]

_WIDTH, _LEFT, _RIGHT, _STEP, _THICK = 520, 96, 62, 34, 18
_MOST = 8
"""Pictures of each class."""
_CONTEXT = 0.25
"""Margin around a mark, as a share of its longer side."""
_LONGEST = 300
_OUTLINE = (18, 130, 66)
"""Blue, green and red of the line around a mark."""
_GROUPS = {"size": ("small", "medium", "large"), "ink": INKS, "overlap": ("alone", "overlaps")}
_NOTES = {
    "size": f"longer side: small below {SMALL_MM:.0f} mm, large from {LARGE_MM:.0f} mm",
    "ink": "measured as optical density in the mark's box; of overlapping marks the stronger ink",
    "overlap": "one box lies by a twentieth or more within another",
    "language": "as the import or the COCO file said; nothing here guesses it",
}


def bars(rows: Mapping[str, Mapping[str, int]], parts: Sequence[str], *, title: str) -> Markup:
    """A bar for each row, its parts beside each other in one scale, and the sum at its end.

    Args:
        rows: Name of each bar, and how much each part of it is.
        parts: The parts, in order; each is a CSS class of the page.
        title: Read out to those who do not see the plot.
    """
    largest = max((sum(row.values()) for row in rows.values()), default=0) or 1
    span = _WIDTH - _LEFT - _RIGHT
    body = []
    for place, (name, row) in enumerate(rows.items()):
        top = place * _STEP + (_STEP - _THICK) / 2
        middle, at = top + _THICK / 2 + 4, float(_LEFT)
        body.append(f'<text class="name" x="{_LEFT - 10}" y="{middle}" text-anchor="end">{escape(name)}</text>')
        for part in parts:
            wide = span * row.get(part, 0) / largest
            if wide:
                tip = f"{name}, {part}: {row[part]}"
                body.append(
                    f'<rect class="{escape(part)}" x="{at:.1f}" y="{top}" width="{wide:.1f}" height="{_THICK}">'
                    f"<title>{escape(tip)}</title></rect>"
                )
                at += wide
        body.append(f'<text class="value" x="{at + 8:.1f}" y="{middle}">{sum(row.values())}</text>')
    # Every part was made here, and what came from outside was escaped where it went in.
    return Markup(  # noqa: S704
        f'<svg viewBox="0 0 {_WIDTH} {max(1, len(rows)) * _STEP}" role="img" aria-label="{escape(title)}">'
        + "".join(body)
        + "</svg>"
    )


@dataclass(frozen=True, kw_only=True)
class MarkPicture:
    """A mark to look at.

    Attributes:
        one: What it is.
        image: With some context, as a data URI.
    """

    one: MarkFacts
    image: str


def html_report(version: Version, found: Statistics) -> str:
    """The report. It holds pictures of the pages: only their owner should be able to read the file.

    Raises:
        DatasetError: A page is damaged.
    """
    by_class = {label: {split: found.counts[split][label] for split in SPLITS} for label in MARKS}
    return render(
        "statistics.html",
        "backend.dataset",
        version=version,
        found=found,
        marks=MARKS,
        splits=SPLITS,
        by_class=bars(by_class, SPLITS, title="Marks by class and side of the split"),
        plots=[(kind, _NOTES[kind], *_slice_plot(found, kind)) for kind in SLICES],
        wants=wants(found),
        shelves={label: list(_pictures(version, _picked(found, label))) for label in MARKS},
    )


def _slice_plot(found: Statistics, kind: str) -> tuple[str, Sequence[str]]:
    rows: Mapping[str, Mapping[str, int]] = found.slices(kind)
    seen = {group for row in rows.values() for group in row}
    groups = [group for group in _GROUPS.get(kind, sorted(seen)) if group in seen]
    if kind == "language":
        # Languages have no colours of their own: they take those of the classes, in order.
        names = {group: f"l{place % 4}" for place, group in enumerate(groups)}
        renamed = {label: {names[group]: count for group, count in row.items()} for label, row in rows.items()}
        return bars(renamed, [names[group] for group in groups], title="Marks by language"), groups
    return bars(rows, groups, title=f"Marks by {kind}"), groups


def _picked(found: Statistics, label: str) -> list[MarkFacts]:
    """Marks of a class from its smallest to its largest, evenly."""
    members = sorted((one for one in found.marks if one.mark.label == label), key=lambda one: one.size_mm)
    places = np.unique(np.linspace(0, len(members) - 1, min(_MOST, len(members))).round().astype(int))
    return [members[place] for place in places]


def _pictures(version: Version, picked: Sequence[MarkFacts]) -> Iterator[MarkPicture]:
    for one in picked:
        yield MarkPicture(one=one, image=_thumbnail(version.pixels(one.page), one))


def _thumbnail(pixels: NDArray[np.uint8], one: MarkFacts) -> str:
    height, width = pixels.shape[:2]
    x1, y1, x2, y2 = one.mark.box
    margin = _CONTEXT * max(x2 - x1, y2 - y1)
    left, top = int(max(0, x1 - margin)), int(max(0, y1 - margin))
    right, bottom = int(np.ceil(min(width, x2 + margin))), int(np.ceil(min(height, y2 + margin)))
    scale = min(1.0, _LONGEST / max(right - left, bottom - top, 1))
    size = max(1, round(scale * (right - left))), max(1, round(scale * (bottom - top)))
    cut = cv2.resize(np.ascontiguousarray(pixels[top:bottom, left:right]), size, interpolation=cv2.INTER_AREA)
    places = [round(scale * side) for side in (x1 - left, y1 - top, x2 - left, y2 - top)]
    cv2.rectangle(cut, (places[0], places[1]), (places[2], places[3]), _OUTLINE, 1, cv2.LINE_AA)
    return jpeg_uri(np.asarray(cut, np.uint8))
