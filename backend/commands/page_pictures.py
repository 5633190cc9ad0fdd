"""Pages as pictures for people: marks drawn in or covered, written into a PDF, a picture or a folder of pictures."""

from __future__ import annotations

import itertools
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import cv2
import numpy as np
from PIL import Image

from backend.errors import OutputError
from backend.files import ask_for_place, private_file, writing
from backend.pages.source import PAGE_SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

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
_FORMATS = {".pdf": "PDF", ".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}
_OTHERS = (PAGE_SUFFIXES - set(_FORMATS)) | {".doc", ".docx", ".htm", ".html", ".json", ".svg", ".txt", ".zip"}
"""How a file's name ends that is no folder's."""
_DPI = 200
_QUALITY = 90
"""Of JPEG, in a PDF as well: faint ink stays what it was."""


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
    """Writes pages where the user said: into one PDF, one picture, or a folder of pictures; nothing is overwritten.

    A PDF and a picture are there when all is written, or not at all. In a folder, each picture is whole.

    Args:
        out: A name that ends in .pdf, .png or .jpg, or else a folder, which is made.
        sources: The files whose pages are written.

    Raises:
        OutputError: There is something of that name already, or nothing can be written there.

    Example:
        >>> with PagePictures(Path("out.pdf"), [file]) as pictures:  # doctest: +SKIP
        ...     pictures.add(page, pixels, source=file)
    """

    def __init__(self, out: Path, sources: Sequence[Path]) -> None:
        self._out = out
        self._format = _FORMATS.get(out.suffix.lower(), "")
        self._pages = 0
        self._aside = Path()
        self._names = _names(sources)
        if self._format:
            if out.exists():
                raise OutputError(f"{out} is there already: name another file, or take it away first")
            ask_for_place(out)
            return
        if out.exists() and not out.is_dir():
            raise OutputError(f"{out} is no folder: name one, or a file that ends in .pdf, .png or .jpg")
        if out.suffix.lower() in _OTHERS and not out.exists():
            raise OutputError(f"{out} cannot be written: pages become a .pdf, a .png, a .jpg or a folder")
        with writing(out):
            out.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> Self:
        if self._format:
            with writing(self._out):
                handle, aside = tempfile.mkstemp(dir=self._out.parent, prefix=".pages.")
            os.close(handle)
            self._aside = Path(aside)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._format and kind is None and self._pages:
            with writing(self._out):
                os.replace(self._aside, self._out)
        elif self._format:
            self._aside.unlink()

    def add(self, page: Page, pixels: NDArray[np.uint8], *, source: Path) -> None:
        """Writes a page of a source file.

        Raises:
            OutputError: It cannot be written, something of its name is there already, or there are more pages than
                one picture can hold.
        """
        image = Image.fromarray(pixels)
        dpi = page.pixels_dpi or _DPI
        if not self._format:
            self._add_file(image, self._out / f"{self._names[source]}-{page.index + 1:03}.png", dpi)
        elif self._format == "PDF":
            # Pillow takes a PDF's title from the name of the file, and the one aside has none to tell.
            more: dict[str, Any] = {"append": True} if self._pages else {"title": self._out.stem}
            with writing(self._out):
                image.save(self._aside, "PDF", resolution=dpi, quality=_QUALITY, **more)
        elif self._pages:
            raise OutputError(f"{self._out} holds one page, and there are more: name a folder, or a file .pdf")
        else:
            with writing(self._out):
                image.save(self._aside, self._format, dpi=(dpi, dpi), quality=_QUALITY)
        self._pages += 1

    @staticmethod
    def _add_file(image: Image.Image, file: Path, dpi: float) -> None:
        if file.exists():
            raise OutputError(f"{file} is there already: name another folder, or take it away first")
        with private_file(file) as opened:
            image.save(opened, "PNG", dpi=(dpi, dpi))


def _names(sources: Sequence[Path]) -> dict[Path, str]:
    """How the pictures of each file begin: its name without the ending, numbered where another file has the same."""
    found: dict[Path, str] = {}
    for source in sources:
        names = (source.stem if number == 1 else f"{source.stem}-{number}" for number in itertools.count(1))
        found.setdefault(source, next(name for name in names if name not in found.values()))
    return found
