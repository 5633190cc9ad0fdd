"""A task's pages out of memory, until it is known what they are for: in a file that has no name."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from backend.feedback.crops import fingerprint, perceptual

if TYPE_CHECKING:
    from backend.pages.page import Page

__all__ = ["Spool", "SpooledPage"]

_OPTIONS = [cv2.IMWRITE_PNG_COMPRESSION, 1]


@dataclass(frozen=True, kw_only=True)
class SpooledPage:
    """What is known of a page while its pixels are elsewhere.

    Attributes:
        width: In pixels.
        height: In pixels.
        dpi: Its resolution, where the file says it.
        sha256: Of its pixels.
        phash: Its perceptual hash.
        start: Where its pixels begin in the file.
        size: Bytes there.
    """

    width: int
    height: int
    dpi: float | None
    sha256: str
    phash: str
    start: int
    size: int


class Spool:
    """Pages on disk, without loss; when the process ends, however that may be, they are gone.

    Args:
        folder: On the disk that is to have them.
    """

    def __init__(self, folder: Path) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  closed by __exit__

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, page: Page) -> SpooledPage:
        """Takes a page.

        Raises:
            OSError: The disk is full.
        """
        _, encoded = cv2.imencode(".png", page.pixels, _OPTIONS)  # the order of the channels is the reader's too
        start = self._file.seek(0, 2)
        self._file.write(encoded.tobytes())
        return SpooledPage(
            width=page.width,
            height=page.height,
            dpi=page.dpi,
            sha256=fingerprint(page.pixels),
            phash=perceptual(page.pixels),
            start=start,
            size=len(encoded),
        )

    def pixels(self, page: SpooledPage) -> NDArray[np.uint8]:
        """A page's pixels: (H, W, 3) RGB, as they were."""
        self._file.seek(page.start)
        data = np.frombuffer(self._file.read(page.size), np.uint8)
        return np.asarray(cv2.imdecode(data, cv2.IMREAD_UNCHANGED), np.uint8)
