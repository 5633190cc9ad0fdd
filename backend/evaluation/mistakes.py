"""What an annotator would have to correct, in the words of the ledger; and the corrections worth looking at.

Mistakes as pictures: the place on the page with some context, the boxes as SVG over it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from backend.corrections.outcomes import Outcome
from backend.corrections.outcomes import match as pair
from backend.evaluation.study import FoundMarks, Match, match, pixels_of
from backend.evaluation.truth import TruePage, Truth
from backend.geometry import as_boxes, clip, union
from backend.labelstudio.annotations import Region
from backend.pages.encoding import jpeg_uri
from backend.vision.network_config import MARKS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from backend.settings import Settings

__all__ = ["KINDS", "Box", "CutOut", "Mistake", "MistakePicture", "corrections", "cut_out", "pictures", "worst"]

KINDS = (Outcome.RELABELLED, Outcome.REJECTED, Outcome.MOVED, Outcome.DUPLICATE, Outcome.MISSED)
"""Outcomes that are work for an annotator."""
_IOU = 0.5
_HARD = frozenset({"faded", "overlap", "partial", "small", "black ink"})

Box = tuple[float, float, float, float]
_CONTEXT = 0.35
"""Margin around the boxes, as a share of their longer side."""
_LONGEST = 420


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """One thing to correct on a page.

    Attributes:
        page: Index of the page.
        kind: One of `KINDS`.
        true: Box and label of the mark; None where there is none.
        shown: Box and label of what was shown; None where nothing was.
        score: Of what was shown; 0 where nothing was.
        traits: What is known of the mark.
    """

    page: int
    kind: Outcome
    true: tuple[Box, str] | None
    shown: tuple[Box, str] | None
    score: float
    traits: frozenset[str] = frozenset()


def corrections(page: int, known: TruePage, found: FoundMarks) -> list[Mistake]:
    """What an annotator would change on page number `page`; boxes on things that do not count are left out."""
    judged: Match = match(known, found, _IOU)
    shown = {f"shown {index:06d}": index for index in np.flatnonzero(~judged.ignored).tolist()}
    drawn = {f"true {index:06d}": index for index in range(len(known))}
    rows = pair(
        [_region(name, found.boxes[index], found.labels[index]) for name, index in shown.items()],
        [_region(name, known.boxes[index], known.labels[index]) for name, index in drawn.items()],
    )
    return [
        Mistake(
            page=page,
            kind=row.outcome,
            true=(row.drawn.box, row.drawn.label) if row.drawn else None,
            shown=(row.shown.box, row.shown.label) if row.shown else None,
            score=float(found.scores[shown[row.shown.id]]) if row.shown else 0.0,
            traits=known.traits[drawn[row.drawn.id]] if row.drawn else frozenset(),
        )
        for row in rows
        if row.outcome in KINDS
    ]


def worst(mistakes: Sequence[Mistake], kind: Outcome, most: int) -> list[Mistake]:
    """The `most` worst of a kind: the surest boxes; of missed marks those with the fewest excuses, large ones first."""
    own = [one for one in mistakes if one.kind is kind]
    if kind is Outcome.MISSED:
        return sorted(own, key=lambda one: (len(one.traits & _HARD), -_area(one.true)))[:most]
    return sorted(own, key=lambda one: -one.score)[:most]


def _region(name: str, box: np.ndarray[tuple[int], np.dtype[np.float64]], label: int) -> Region:
    left, top, right, bottom = (float(side) for side in box)
    return Region(id=name, page=0, label=MARKS[label], box=(left, top, right, bottom))


def _area(mark: tuple[Box, str] | None) -> float:
    if mark is None:
        return 0.0
    left, top, right, bottom = mark[0]
    return (right - left) * (bottom - top)


@dataclass(frozen=True, kw_only=True)
class CutOut:
    """A place on a page.

    Attributes:
        image: It, as a data URI.
        width: Pixels of the image.
        height: Pixels of the image.
        left: Where it begins on the page, pixels.
        top: Where it begins on the page, pixels.
        scale: Pixels of the image for one of the page.
    """

    image: str
    width: int
    height: int
    left: int
    top: int
    scale: float

    def placed(self, box: Box) -> Box:
        """x, y, width, height on the image of a box of the page."""
        x1, y1, x2, y2 = (side - start for side, start in zip(box, (self.left, self.top) * 2, strict=True))
        x, y, across, down = (round(self.scale * side, 1) for side in (x1, y1, x2 - x1, y2 - y1))
        return x, y, across, down


@dataclass(frozen=True, kw_only=True)
class MistakePicture:
    """One mistake to look at.

    Attributes:
        mistake: What it is.
        page: File name of its page.
        image: The place as a data URI.
        width: Pixels of the image.
        height: Pixels of the image.
        true: x, y, width, height of the true mark on the image; None where there is none.
        shown: The same of the shown box.
    """

    mistake: Mistake
    page: str
    image: str
    width: int
    height: int
    true: Box | None
    shown: Box | None


def pictures(mistakes: Sequence[Mistake], truth: Truth, settings: Settings) -> list[MistakePicture]:
    """A picture of each mistake, in their order; each page is read once.

    Raises:
        PageError: A page can no longer be read.
    """
    made = dict(_made(mistakes, truth, settings))
    return [made[place] for place in range(len(mistakes))]


def _made(mistakes: Sequence[Mistake], truth: Truth, settings: Settings) -> Iterator[tuple[int, MistakePicture]]:
    for number in sorted({one.page for one in mistakes}):
        known = truth.pages[number]
        pixels = pixels_of(known, settings).pixels
        for place, one in enumerate(mistakes):
            if one.page == number:
                yield place, _picture(one, known.name, pixels)


def cut_out(pixels: NDArray[np.uint8], boxes: Sequence[Box]) -> CutOut:
    """The place around some boxes of a page, (H, W, 3) RGB, with some context."""
    height, width = pixels.shape[:2]
    around = union(as_boxes(boxes))
    margin = _CONTEXT * max(around[0, 2] - around[0, 0], around[0, 3] - around[0, 1])
    frame = clip(around + margin * np.array([-1, -1, 1, 1]), width=width, height=height)[0]
    left, top, right, bottom = (int(side) for side in (*np.floor(frame[:2]), *np.ceil(frame[2:])))
    scale = _LONGEST / max(right - left, bottom - top)
    size = max(1, round(scale * (right - left))), max(1, round(scale * (bottom - top)))
    smooth = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    cut = cv2.resize(np.ascontiguousarray(pixels[top:bottom, left:right]), size, interpolation=smooth)
    image = jpeg_uri(np.asarray(cut, np.uint8))
    return CutOut(image=image, width=size[0], height=size[1], left=left, top=top, scale=scale)


def _picture(mistake: Mistake, page: str, pixels: NDArray[np.uint8]) -> MistakePicture:
    cut = cut_out(pixels, [mark[0] for mark in (mistake.true, mistake.shown) if mark is not None])
    return MistakePicture(
        mistake=mistake,
        page=page,
        image=cut.image,
        width=cut.width,
        height=cut.height,
        true=cut.placed(mistake.true[0]) if mistake.true else None,
        shown=cut.placed(mistake.shown[0]) if mistake.shown else None,
    )
