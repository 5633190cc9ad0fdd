"""Pages with their marks shown or covered, as pictures or as one PDF."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image

from backend.errors import SettingsError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from backend.geometry import Boxes
    from backend.pages.page import Page
    from backend.vision.pipeline import Marks

__all__ = ["PagePictures", "covered", "with_boxes"]

_COLOURS = {"signature": (15, 118, 110), "stamp": (194, 65, 12), "thumb": (126, 34, 206)}
"""Those of the label configs."""
_LETTER_SHARE = 0.012
"""Height of the letters as a share of the page's."""
_MARGIN_SHARE = 0.003
"""How far a cover reaches beyond its mark, as a share of the page's longer side: a box may cut a stroke's end."""
_PICTURES = (".png", ".jpg", ".jpeg")
_DPI = 200


def with_boxes(page: Page, marks: Marks) -> NDArray[np.uint8]:
    """The page's pixels, with a box and a score for each mark."""
    drawn = page.pixels.copy()
    size = max(12.0, drawn.shape[0] * _LETTER_SHARE)
    pen = max(1, round(size / 8))
    for name, score, box in zip(marks.names, marks.scores, marks.boxes * page.scale, strict=True):
        left, top, right, bottom = (round(side) for side in box.tolist())
        cv2.rectangle(drawn, (left, top), (right, bottom), _COLOURS[name], pen, cv2.LINE_AA)
        place = (left, top - pen - 2 if top > 2 * size else round(bottom + size + pen))
        text = f"{name} {score:.2f}"
        cv2.putText(drawn, text, place, cv2.FONT_HERSHEY_SIMPLEX, size / 22, _COLOURS[name], pen, cv2.LINE_AA)
    return drawn


def covered(page: Page, boxes: Boxes) -> NDArray[np.uint8]:
    """The page's pixels, with black in the place of what is in the boxes: nothing of it is left to be found."""
    drawn = page.pixels.copy()
    margin = max(1, round(max(drawn.shape[:2]) * _MARGIN_SHARE))
    for box in boxes * page.scale:
        left, top = np.maximum(np.floor(box[:2]).astype(int) - margin, 0)
        right, bottom = np.ceil(box[2:]).astype(int) + margin
        drawn[top:bottom, left:right] = 0
    return drawn


class PagePictures:
    """Writes pages where the user said: into one PDF, one picture, or a folder of pictures.

    Args:
        out: A name that ends in .pdf, .png or .jpg, or else a folder, which is made.

    Raises:
        SettingsError: There is something of that name already.
    """

    def __init__(self, out: Path) -> None:
        self._out = out
        self._kind = out.suffix.lower()
        self._pages = 0
        if self._kind in (".pdf", *_PICTURES):
            if out.exists():
                raise SettingsError(f"{out} is there already: name another file, or take it away first")
        else:
            with suppress(FileExistsError):
                out.mkdir(parents=True)
            if not out.is_dir():
                raise SettingsError(f"{out} is no folder: name one, or a file that ends in .pdf, .png or .jpg")

    def add(self, page: Page, pixels: NDArray[np.uint8], *, source: Path) -> None:
        """Writes a page of a source file.

        Raises:
            SettingsError: There are more pages than one picture can hold.
        """
        image = Image.fromarray(pixels)
        dpi = page.pixels_dpi or _DPI
        self._pages += 1
        if self._kind == ".pdf":
            image.save(self._out, format="PDF", append=self._pages > 1, resolution=dpi)
        elif self._kind in _PICTURES:
            if self._pages > 1:
                raise SettingsError(f"{self._out} holds one page, and there are more: name a folder, or a file .pdf")
            image.save(self._out, dpi=(dpi, dpi))
        else:
            image.save(self._out / f"{source.stem}-{page.index + 1:03}.png", dpi=(dpi, dpi))
