"""The page as a value, the limits it keeps to, and what a decoder process holds until it is drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from backend.errors import PageError
    from backend.settings import Settings

__all__ = ["KEPT_BYTES", "PACKET_BYTES", "Desk", "Document", "Drawn", "Limits", "Page", "Refusal"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Page:
    """One upright page.

    Attributes:
        pixels: (H, W, 3) uint8 RGB, C-contiguous, EXIF orientation applied.
        reference: Where it came from, shortened and without query or credentials: fit for a log.
        index: 0-based place within its file.
        dpi: Dots an inch of the page where the file says so plausibly, else `None`.
        size: Width and height of the page, where `pixels` are fewer; `None` where they are all there are.
        digest: SHA-256 of its file, as hex digits; empty where the page is of no file.

    Example:
        >>> page = Page(pixels=np.zeros((50, 100, 3), np.uint8), reference="scan", dpi=300.0, size=(200, 100))
        >>> page.width, page.scale.tolist(), page.pixels_dpi
        (200, [0.5, 0.5, 0.5, 0.5], 150.0)
    """

    pixels: NDArray[np.uint8]
    reference: str
    index: int = 0
    dpi: float | None = None
    size: tuple[int, int] | None = None
    digest: str = ""

    @property
    def width(self) -> int:
        return self.size[0] if self.size else int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        return self.size[1] if self.size else int(self.pixels.shape[0])

    @property
    def scale(self) -> NDArray[np.float64]:
        """What boxes of the page are multiplied by to be boxes of `pixels`, (4,)."""
        return np.array([self.pixels.shape[1] / self.width, self.pixels.shape[0] / self.height] * 2)

    @property
    def pixels_dpi(self) -> float | None:
        """Dots an inch of `pixels`."""
        return None if self.dpi is None else self.dpi * self.pixels.shape[1] / self.width


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one reference may cost.

    Example:
        >>> Limits(max_bytes=1000, max_pixels=10**6, max_pages=3, seconds=5.0).redirects
        5
    """

    max_bytes: int
    max_pixels: int
    max_pages: int
    seconds: float
    redirects: int = 5

    @classmethod
    def of(cls, settings: Settings) -> Limits:
        return cls(
            max_bytes=settings.max_bytes,
            max_pixels=settings.max_pixels,
            max_pages=settings.max_pages,
            seconds=settings.fetch_timeout,
        )


KEPT_BYTES = 32 << 20
"""Largest memory of a page that is used again for the next one: an A4 page of 300 dpi has 26 MB."""
PACKET_BYTES = 64 * 1024
"""Longest request to a decoder process, and longest answer."""


class Refusal(Exception):
    """Why there are no pixels, said in the decoder process; the process that asked raises the error itself.

    Args:
        kind: The error, such as `LimitExceeded`.
        reason: Its reason, in words for an administrator.
    """

    def __init__(self, kind: type[PageError], reason: str) -> None:
        super().__init__(f"{kind.__name__}: {reason}")
        self.kind = kind
        self.reason = reason


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """What is known of a page whose pixels are on the canvas.

    Attributes:
        size: Width and height of the page as the file has it, upright, pixels.
        dpi: Dots an inch of that size, where the file says so plausibly.
    """

    size: tuple[int, int]
    dpi: float | None


class Desk(Protocol):
    """Where one page is drawn, and what it may cost."""

    @property
    def dpi(self) -> int:
        """Resolution at which a document without pixels of its own is drawn."""
        ...

    @property
    def enough(self) -> float | None:
        """Dots an inch that whoever asks can use; `None` for all there are."""
        ...

    def admit(self, width: int, height: int, *, what: str = "", hint: str = "", bytes_a_pixel: int = 10) -> None:
        """Takes a page of so many pixels, or raises `Refusal`; called before anything of it is decoded.

        Args:
            width: Of the page in its file, pixels.
            height: As well.
            what: Begins the reason of a refusal.
            hint: Ends it.
            bytes_a_pixel: What decoding all of it takes.
        """
        ...

    def canvas(self, height: int, width: int) -> NDArray[np.uint8]:
        """Memory for the pixels, (height, width, 3), which the process that asked sees."""
        ...


class Document(Protocol):
    """A file that is open."""

    def indices(self, wanted: slice | None) -> range:
        """Which pages `wanted` means; looks no further into the file than it must."""
        ...

    def page(self, index: int, desk: Desk) -> Drawn:
        """Draws one page; raises `Refusal`."""
        ...

    def close(self) -> None:
        """Lets go of the file."""
        ...
